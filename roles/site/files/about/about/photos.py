"""Photos: what is accepted, how it is kept, and its thumbnail.

Nothing that a browser sent is kept as it came: a photo is decoded and encoded
anew, which drops its metadata (where it was taken, among others) and whatever
hides behind the image. Its file name is random. Pillow is imported where it is
used: most processes never touch an image.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import string
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_PIXELS = 40_000_000
PHOTO_SIDE = 1200
THUMBNAIL_SIDE = 384
NAME_LETTERS = frozenset(string.hexdigits.lower())


class PhotoRefused(Exception):
    """The upload is not a photo that we take; the text is for the person who sent it."""


class PhotoStore:
    """The photos and thumbnails below one directory, which the web server serves."""

    def __init__(self, media_dir: Path) -> None:
        self.photos = media_dir / "photos"
        self.thumbnails = media_dir / "thumbnails"

    def photo(self, name: str) -> Path:
        return self.photos / _checked(name)

    def thumbnail(self, name: str) -> Path:
        return self.thumbnails / _checked(name)

    def save(self, image: PillowImage) -> str:
        """Store a photo; return the name it goes by from now on."""
        name = f"{secrets.token_hex(16)}.jpg"
        _write_jpeg(image, self.photo(name))
        return name

    def remove(self, name: str) -> None:
        for file in (self.photo(name), self.thumbnail(name)):
            file.unlink(missing_ok=True)

    def make_thumbnail(self, name: str) -> bool:
        """Cut the thumbnail out of the photo; False when the photo is gone again."""
        from PIL import Image, ImageOps

        try:
            image = Image.open(self.photo(name))
        except FileNotFoundError:
            return False
        with image:
            # Faces are in the upper part of a portrait: cut more off below.
            square = ImageOps.fit(image, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), centering=(0.5, 0.35))
            _write_jpeg(square, self.thumbnail(name))
        return True

    def without_thumbnail(self) -> list[str]:
        """Photos whose thumbnail was never made, such as when the queue was down."""
        if not self.photos.is_dir():
            return []
        return sorted(
            file.name
            for file in self.photos.glob("*.jpg")
            if not file.name.startswith(".") and not self.thumbnail(file.name).exists()
        )


def read_upload(stream: BinaryIO) -> PillowImage:
    """Decode an upload into an upright RGB image of at most PHOTO_SIDE pixels.

    Raises :class:`PhotoRefused`. The dimensions are judged from the header,
    before the first pixel is decoded: a few kilobytes can claim gigapixels.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        image = Image.open(stream, formats=FORMATS)
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise PhotoRefused(
                f"The photo has {width} × {height} pixels; "
                f"{MAX_PIXELS // 1_000_000} megapixels are the most we take."
            )
        image.draft("RGB", (PHOTO_SIDE, PHOTO_SIDE))
        upright = ImageOps.exif_transpose(image)
        flat = _on_white(upright)
        flat.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
    except UnidentifiedImageError:
        raise PhotoRefused("This is not an image: please send a JPEG, PNG or WebP file.") from None
    except Image.DecompressionBombError:
        raise PhotoRefused("The photo has too many pixels.") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        # Pillow's decoders report damaged data with any of these.
        raise PhotoRefused("The image is damaged and cannot be read.") from error
    return flat


def _on_white(image: PillowImage) -> PillowImage:
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _write_jpeg(image: PillowImage, target: Path) -> None:
    """Write under another name and rename: nobody is ever served half an image."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with partial.open("xb") as stream:
            image.convert("RGB").save(stream, "JPEG", quality=85, optimize=True, exif=b"")
            stream.flush()
            os.fsync(stream.fileno())
        partial.chmod(0o644)
        partial.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def _checked(name: str) -> str:
    """Names come out of our own database and queue; still, never leave the directory."""
    stem, dot, suffix = name.partition(".")
    if not stem or set(stem) - NAME_LETTERS or (dot, suffix) != (".", "jpg"):
        raise ValueError(f"not the name of a photo: {name!r}")
    return name
