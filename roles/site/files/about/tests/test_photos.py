import io
import struct
import zlib

import pytest
from conftest import image_file
from PIL import Image

from about.photos import PHOTO_SIDE, THUMBNAIL_SIDE, PhotoRefused, PhotoStore, read_upload


@pytest.fixture
def store(tmp_path):
    return PhotoStore(tmp_path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_photos_are_encoded_anew(store, kind):
    name = store.save(read_upload(image_file(kind)[0]))
    with Image.open(store.photo(name)) as kept:
        assert (kept.format, kept.size) == ("JPEG", (60, 40))
    assert oct(store.photo(name).stat().st_mode & 0o777) == "0o644"
    assert [file.name for file in store.photos.iterdir()] == [name]


def test_metadata_is_dropped_and_the_photo_turned_upright(store):
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    exif[0x010E] = "taken at home"
    name = store.save(read_upload(image_file("JPEG", exif=exif)[0]))
    assert b"taken at home" not in store.photo(name).read_bytes()
    with Image.open(store.photo(name)) as kept:
        assert kept.size == (40, 60)
        assert not kept.getexif()


def test_large_photos_are_made_smaller():
    assert read_upload(image_file(size=(3000, 1000))[0]).size == (PHOTO_SIDE, 400)


def test_what_is_transparent_becomes_white():
    image = read_upload(image_file(mode="RGBA", colour=(0, 0, 0, 0))[0])
    assert image.getpixel((1, 1)) == (255, 255, 255)


def test_a_bomb_is_refused_by_its_header():
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(PhotoRefused, match="40 megapixels"):
        read_upload(io.BytesIO(bomb))


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"<svg/>", b"\x89PNG\r\n\x1a\n"])
def test_no_image_no_photo(content):
    with pytest.raises(PhotoRefused):
        read_upload(io.BytesIO(content))


def test_half_an_image_is_refused():
    whole = image_file("PNG", size=(400, 400), colour="red")[0].getvalue()
    with pytest.raises(PhotoRefused, match="damaged"):
        read_upload(io.BytesIO(whole[: len(whole) // 2]))


def test_other_formats_are_refused_even_when_pillow_reads_them():
    with pytest.raises(PhotoRefused):
        read_upload(image_file("BMP")[0])


def test_the_thumbnail_is_square(store):
    name = store.save(read_upload(image_file(size=(900, 300))[0]))
    assert store.without_thumbnail() == [name]
    assert store.make_thumbnail(name)
    assert store.without_thumbnail() == []
    with Image.open(store.thumbnail(name)) as thumbnail:
        assert thumbnail.size == (THUMBNAIL_SIDE, THUMBNAIL_SIDE)


def test_no_thumbnail_of_a_photo_that_is_gone(store):
    assert not store.make_thumbnail("0" * 32 + ".jpg")


@pytest.mark.parametrize("name", ["", "../secret.jpg", "/etc/passwd", "a/b.jpg", "abc.png", ".jpg"])
def test_names_do_not_leave_the_directory(store, name):
    with pytest.raises(ValueError, match="not the name of a photo"):
        store.photo(name)
