"""The chart of a run, as SVG: bars of phases, with the lowest and the highest total as a line.

It brings its own background and follows the reader's colour scheme.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from xml.etree import ElementTree as ET

from bench import contenders
from bench.results import Results

_WIDTH = 880
_LEFT, _RIGHT = 250, 140
_BAR, _ROW, _HEAD, _AXIS = 18, 30, 44, 28
_MARGIN = 20

#: Light and dark; the phases that take the most get these in their order, the last is for others.
_COLOURS = (
    ("#4269d0", "#6e8ff0"), ("#e0a100", "#efb118"), ("#2a9d8f", "#6cc5b0"),
    ("#8a5cd6", "#a98bea"), ("#3b8f3e", "#5fc163"), ("#c2569a", "#ff8ab7"),
    ("#8a6a4f", "#b08d6e"), ("#d1483f", "#ff725c"), ("#7b8794", "#9498a0"),
)  # fmt: skip


def svg(results: Results) -> str:
    """The chart: a panel for each group, each with its own scale."""
    colours = _Colours(results)
    root = ET.Element("svg", xmlns="http://www.w3.org/2000/svg", role="img")
    ET.SubElement(root, "title").text = f"devvm: median times, {results.at}"
    style = ET.SubElement(root, "style")
    background = ET.SubElement(root, "rect", {"class": "background", "rx": "8", "width": "100%"})
    y = float(_MARGIN)
    for group in contenders.Group:
        keys = [key for key in results.ordered() if contenders.contender(key).group is group]
        if keys:
            y = _panel(root, results, group, keys, colours, y)
    y = _legend(root, colours, y)
    style.text = _style()
    height = f"{y:.0f}"
    background.set("height", height)
    for name, value in {"width": str(_WIDTH), "height": height,
                        "viewBox": f"0 0 {_WIDTH} {height}"}.items():  # fmt: skip
        root.set(name, value)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


class _Colours:
    """The class of each phase.

    Args:
        results: Phases that take a larger part of some bar get a colour of their own.
    """

    def __init__(self, results: Results) -> None:
        parts: dict[str, float] = {}
        for key in results.ordered():
            phases = results.phases(key)
            total = sum(phases.values()) or 1.0
            for name, seconds in phases.items():
                parts[name] = max(parts.get(name, 0.0), seconds / total)
        largest = sorted(parts, key=lambda name: -parts[name])[: len(_COLOURS) - 1]
        self.named = [name for name in parts if name in largest]  # in the order of the bars
        self.others = len(parts) > len(largest)

    def of(self, phase: str) -> str:
        number = self.named.index(phase) if phase in self.named else len(_COLOURS) - 1
        return f"phase{number}"


def _panel(
    root: ET.Element, results: Results, group: str, keys: list[str], colours: _Colours, y: float
) -> float:
    """Draw one group from `y` on; return where it ends."""
    spreads = [found for key in keys if (found := results.spread(key))]
    ticks = list(_ticks(max(spread.high for spread in spreads)))
    scale = (_WIDTH - _LEFT - _RIGHT) / ticks[-1]
    _text(root, _MARGIN, y + 16, group, "group")
    y += _HEAD - _ROW + 14
    bottom = y + len(keys) * _ROW
    unit = _Unit(ticks[-1])
    for tick in ticks:
        x = _LEFT + tick * scale
        _line(root, x, y - 4, x, bottom, "grid")
        _text(root, x, bottom + 16, unit.tick(tick), "tick")
    for key, spread in zip(keys, spreads, strict=True):
        middle = y + _ROW / 2
        _text(root, _LEFT - 12, middle + 4, contenders.contender(key).title, "name")
        _bar(root, results, key, scale, middle, colours)
        if spread.count > 1:
            low, high = _LEFT + spread.low * scale, _LEFT + spread.high * scale
            _line(root, low, middle, high, middle, "spread")
            for end in (low, high):
                _line(root, end, middle - 4, end, middle + 4, "spread")
        end = _LEFT + max(spread.median, spread.high) * scale
        _text(root, end + 10, middle + 4, _label(results, spread.median), "value")
        y += _ROW
    return bottom + _AXIS + 14


def _bar(
    root: ET.Element, results: Results, key: str, scale: float, middle: float, colours: _Colours
) -> None:
    """One bar: the phases, and what no phase says; scaled so that its length is the median."""
    total = results.median(key) or 0.0
    name = key.partition(contenders.OTHER)[0]
    phases = results.phases(key) or {name: total}
    known = sum(phases.values())
    shrink = min(1.0, total / known) if known else 1.0  # medians of phases may add up to more
    x = float(_LEFT)
    parts = [(name, seconds * shrink, colours.of(name)) for name, seconds in phases.items()]
    rest = total - sum(seconds for _, seconds, _ in parts)
    parts.append(("outside of phases", rest, "rest"))
    for name, seconds, kind in parts:
        width = max(seconds, 0.0) * scale
        if width < 0.05:
            continue
        rect = ET.SubElement(root, "rect", {
            "class": kind, "x": f"{x:.1f}", "y": f"{middle - _BAR / 2:.1f}",
            "width": f"{width:.1f}", "height": str(_BAR),
        })  # fmt: skip
        said = f"{contenders.contender(key).title}: {name} {seconds:.2f} s"
        ET.SubElement(rect, "title").text = said
        x += width


def _legend(root: ET.Element, colours: _Colours, y: float) -> float:
    """Name the colours; return where the chart ends."""
    x = float(_MARGIN)
    entries = [(name, colours.of(name)) for name in colours.named]
    entries += [("other phases", colours.of(""))] if colours.others else []
    entries += [("outside of phases", "rest")] if colours.named else []
    for name, kind in entries:
        width = 34 + 7 * len(name)
        if x + width > _WIDTH - _MARGIN:
            x, y = float(_MARGIN), y + 22
        ET.SubElement(root, "rect", {
            "class": kind, "x": f"{x:.0f}", "y": f"{y:.0f}", "width": "12", "height": "12",
        })  # fmt: skip
        _text(root, x + 18, y + 10.5, name, "legend")
        x += width
    _text(root, _MARGIN, y + 36, "bars: medians; thin lines: lowest to highest; "
          "x: divided by the floor of the same run", "legend")  # fmt: skip
    return y + 52


def _label(results: Results, seconds: float) -> str:
    """`48.2 s · 0.75 x`."""
    text = _Unit(seconds).value(seconds)
    floor = results.median(contenders.FLOOR)
    # What takes a moment has nothing to do with how fast a guest boots.
    return f"{text} · {seconds / floor:.2g} x" if floor and seconds > floor / 50 else text


class _Unit:
    """How times on a scale up to `most` seconds are written."""

    def __init__(self, most: float) -> None:
        self._divisor, self._unit = (60.0, "min") if most >= 300 else (1.0, "s")

    def value(self, seconds: float) -> str:
        shown = seconds / self._divisor
        if shown >= 100:
            return f"{shown:.0f} {self._unit}"
        return f"{shown:.1f} {self._unit}" if shown >= 1 else f"{shown:.2f} {self._unit}"

    def tick(self, seconds: float) -> str:
        return f"{seconds / self._divisor:g} {self._unit}"


def _ticks(most: float) -> Iterator[float]:
    """Round numbers from 0 to at least `most`, four to six of them."""
    most = max(most, 0.01)
    unit = 60.0 if most >= 300 else 1.0
    power = 10 ** math.floor(math.log10(most / unit / 4))
    step = next(unit * power * n for n in (1, 2, 5, 10) if unit * power * n * 5 >= most)
    for number in range(math.ceil(most / step) + 1):
        yield round(number * step, 6)


def _text(root: ET.Element, x: float, y: float, text: str, kind: str) -> None:
    place = {"class": kind, "x": f"{x:.1f}", "y": f"{y:.1f}"}
    ET.SubElement(root, "text", place).text = text


def _line(root: ET.Element, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    ET.SubElement(root, "line", {"class": kind, **{k: f"{v:.1f}" for k, v in ends.items()}})


def _style() -> str:
    def scheme(number: int, background: str, text: str, faint: str, grid: str, rest: str) -> str:
        phases = "".join(
            f".phase{index}{{fill:{colour[number]}}}" for index, colour in enumerate(_COLOURS)
        )
        return (
            f".background{{fill:{background}}}text{{fill:{text}}}"
            f".tick,.legend{{fill:{faint}}}.grid{{stroke:{grid}}}.spread{{stroke:{text}}}"
            f".rest{{fill:{rest}}}{phases}"
        )

    fonts = (
        "text{font:13px system-ui,sans-serif}.group{font-weight:600;font-size:15px}"
        ".name{text-anchor:end}.tick{text-anchor:middle;font-size:11px}.legend{font-size:12px}"
        ".value{font-variant-numeric:tabular-nums}.spread{stroke-width:1.5}"
    )
    light = scheme(0, "#ffffff", "#1f2328", "#59636e", "#e3e6ea", "#c8cdd3")
    dark = scheme(1, "#0d1117", "#e6edf3", "#9198a1", "#2a313a", "#4b535d")
    return f"{fonts}{light}@media (prefers-color-scheme:dark){{{dark}}}"
