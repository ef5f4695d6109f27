"""How a check fails: with one line that says what was expected and what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

import pytest

from devvm.parity.differences.compare import Difference
from devvm.parity.packages.attribution import Attribution
from devvm.parity.production.manifest import check_name


@dataclass(frozen=True)
class Ahead:
    """A difference caused by a package that moved.

    Args:
        difference: The difference.
        package: The package, with its version.
    """

    difference: Difference
    package: str


class ItemsDiffer(pytest.fail.Exception):  # type: ignore[misc,name-defined]
    """Items that aren't as expected, by the names of their checks.

    Args:
        differences: The unexplained differences.
        ahead: Differences because the machine's release has other packages than production.
    """

    def __init__(self, differences: Mapping[str, Difference], ahead: Mapping[str, Ahead]) -> None:
        lines = [*_of_packages(ahead), *_lines(differences)]
        super().__init__("\n".join(lines), pytrace=False)
        self.differences, self.ahead = differences, ahead


class ItemsAhead(pytest.skip.Exception):  # type: ignore[misc,name-defined]
    """Packages that are as in the release but not as in production, and what they brought."""

    def __init__(self, ahead: Mapping[str, Ahead]) -> None:
        super().__init__("\n".join(_of_packages(ahead)))
        self.differences: Mapping[str, Difference] = {}
        self.ahead = ahead


def judge(differences: Mapping[tuple[str, str], Difference], attribution: Attribution) -> None:
    """End the check if there are differences: fail, or skip if moved packages explain them all.

    Args:
        differences: By area and item.
        attribution: Which differences come with a moved package. These mean that the release is
            ahead of production (or behind), not that somebody changed the machine.
    """
    ahead, otherwise = {}, {}
    for (area, item), difference in differences.items():
        package = attribution.label_of(area, item)
        if package is None:
            otherwise[check_name(area, item)] = difference
        else:
            ahead[check_name(area, item)] = Ahead(difference, package)
    if otherwise:
        raise ItemsDiffer(otherwise, ahead)
    if ahead:
        raise ItemsAhead(ahead)


def _of_packages(ahead: Mapping[str, Ahead]) -> list[str]:
    return [
        line
        for name, one in ahead.items()
        for line in _lines({f"as in the release, {one.package}: {name}": one.difference})
    ]


def _lines(differences: Mapping[str, Difference]) -> list[str]:
    lines = []
    for name, difference in differences.items():
        lines.append(f"{name}: {difference.words()}")
        lines += (difference.diff or "").splitlines()
    return lines


def differs(expected: object, found: object) -> NoReturn:
    """Fail: the machine isn't as expected."""
    text = f"expected {_words(expected)}, found {_words(found)}"
    pytest.fail(" ".join(text.split()), pytrace=False)


def equal(expected: object, found: object) -> None:
    """Fail unless both are equal."""
    if expected != found:
        differs(expected, found)


def _words(value: object) -> str:
    if value is None or value == "":
        return "nothing"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
