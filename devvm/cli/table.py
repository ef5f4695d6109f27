"""Tables without borders: the widths of their columns, and rows as lines. No I/O.

Rich's own tables take half a millisecond a row, and a fleet has a thousand.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator, Sequence

_GAP = 2
#: Below this width, the last column isn't folded: a narrow terminal breaks the lines itself.
_LEAST = 10

Row = Sequence[str]


def widths(rows: Sequence[Row], limit: int | None = None) -> list[int]:
    """The widths of the columns in cells of a terminal.

    Args:
        rows: The cells; all rows have the same number.
        limit: The width of the terminal; the last column takes what remains of it.
    """
    found = [
        max((_width(line) for cell in column for line in cell.split("\n")), default=0)
        for column in zip(*rows, strict=True)
    ]
    if limit is not None:
        taken = sum(found[:-1]) + _GAP * (len(found) - 1)
        found[-1] = min(found[-1], max(_LEAST, limit - taken))
    return found


def fold(row: Row, widths: Sequence[int]) -> Iterator[list[str]]:
    """The lines of a row, each as its cells, padded to the widths of their columns."""
    cells = [cell.split("\n") for cell in row]
    cells[-1] = [part for line in cells[-1] for part in _wrapped(line, widths[-1])]
    for line in itertools.zip_longest(*cells, fillvalue=""):
        yield [
            text + " " * (width - _width(text) + _GAP)
            for text, width in zip(line, widths, strict=True)
        ]


def _wrapped(line: str, width: int) -> list[str]:
    if _width(line) <= width:
        return [line]
    return textwrap.wrap(line, width, break_on_hyphens=False)


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
