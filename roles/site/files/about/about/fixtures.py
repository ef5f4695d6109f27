"""Invented people for a site that has nobody yet, with portraits drawn on the spot."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import redis
import sqlalchemy as sa

from about import people
from about.people import Person
from about.photos import PhotoStore
from about.queue import JobQueue
from about.revision import ROOT

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

FILE = ROOT / "fixtures" / "people.json"
SIDE = 800

log = logging.getLogger(__name__)


def load(engine: sa.engine.Engine, photos: PhotoStore, jobs: JobQueue) -> int:
    """Add the fixtures when the table is empty; return how many were added.

    Only then: people who were removed by hand stay removed.
    """
    if people.every(engine):
        return 0
    entries = json.loads(FILE.read_text(encoding="utf-8"))
    newcomers = []
    for entry in entries:
        photo = photos.save(draw_portrait(**entry.pop("portrait")))
        newcomers.append(Person(**entry, photo=photo))
    added = people.add_all_if_none(engine, newcomers)
    if not added:  # somebody else was faster
        for person in newcomers:
            photos.remove(person.photo)
        return 0
    try:
        for person in newcomers:
            jobs.make_thumbnail(person.photo)
    except redis.RedisError as error:
        # The worker looks for photos without a thumbnail when it starts.
        log.warning("thumbnails must wait: %s", error)
    return added


def draw_portrait(
    backdrop: str,
    skin: str,
    hair: str,
    shirt: str,
    style: str,
    beard: bool = False,
    glasses: bool = False,
) -> PillowImage:
    """A flat portrait of SIDE × SIDE pixels, drawn twice as large for smooth edges."""
    from PIL import Image, ImageDraw

    unit = SIDE * 2 / 100
    image = Image.new("RGB", (SIDE * 2, SIDE * 2), backdrop)
    draw = ImageDraw.Draw(image)

    def box(left: float, top: float, right: float, bottom: float) -> list[float]:
        return [left * unit, top * unit, right * unit, bottom * unit]

    def oval(*corners: float, fill: str) -> None:
        draw.ellipse(box(*corners), fill=fill)

    def block(*corners: float, fill: str, radius: float = 0) -> None:
        draw.rounded_rectangle(box(*corners), radius=radius * unit, fill=fill)

    shade = _darker(skin)
    oval(-12, 8, 112, 132, fill=_lighter(backdrop))
    # behind the head
    if style == "long":
        block(24, 18, 76, 84, fill=hair, radius=26)
    elif style == "bob":
        block(25, 17, 75, 63, fill=hair, radius=23)
    elif style == "bun":
        oval(38, 3, 62, 27, fill=hair)
        oval(28, 15, 72, 60, fill=hair)
    # body
    block(17, 77, 83, 130, fill=shirt, radius=24)
    block(42, 58, 58, 84, fill=shade, radius=7)
    oval(40, 74, 60, 88, fill=shade)
    # head
    if style not in ("long", "bob"):
        oval(25.5, 42, 33, 54, fill=skin)
        oval(67, 42, 74.5, 54, fill=skin)
    block(29, 22, 71, 74, fill=skin, radius=20)
    if beard:
        draw.pieslice(box(29, 32, 71, 76), 8, 172, fill=hair)
        block(29, 50, 71, 58, fill=skin)
        oval(38, 54, 62, 66, fill=skin)
    # hair in front
    if style != "bald":
        draw.pieslice(box(27, 17, 73, 62), 188, 352, fill=hair)
    if style == "short":
        block(28, 30, 33, 46, fill=hair, radius=2)
        block(67, 30, 72, 46, fill=hair, radius=2)
    elif style in ("long", "bob"):
        block(26, 34, 31.5, 60, fill=hair, radius=2.5)
        block(68.5, 34, 74, 60, fill=hair, radius=2.5)
    # face
    ink = "#2a2020"
    for middle in (41, 59):
        oval(middle - 1.9, 45.6, middle + 1.9, 49.8, fill=ink)
        block(middle - 4.2, 41, middle + 4.2, 42.2, fill=_darker(hair), radius=0.6)
        if glasses:
            draw.ellipse(
                box(middle - 7, 41.5, middle + 7, 54.5), outline=ink, width=round(unit * 1.1)
            )
    if glasses:
        draw.line(box(48, 47, 52, 47), fill=ink, width=round(unit * 1.1))
    draw.arc(box(47, 48, 53, 57), 20, 160, fill=shade, width=round(unit * 1.1))
    draw.arc(box(42, 52, 58, 65), 25, 155, fill=_darker(shade), width=round(unit * 1.3))
    return image.resize((SIDE, SIDE), Image.LANCZOS)


def _mixed(colour: str, other: int, part: float) -> str:
    channels = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(value + (other - value) * part):02x}" for value in channels)


def _darker(colour: str) -> str:
    return _mixed(colour, 0, 0.16)


def _lighter(colour: str) -> str:
    return _mixed(colour, 255, 0.35)
