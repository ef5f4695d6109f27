"""How a check ends that does not hold: one line that says what was expected and what is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import pytest

from devvm.parity.compare import Difference, Kind


class ItemsDiffer(pytest.fail.Exception):  # type: ignore[misc,name-defined]
    """Items of the manifest that are not as expected, by the names of their checks.

    Args:
        differences: What is otherwise.
        ahead: What is otherwise because the machine's release has other packages.
    """

    def __init__(
        self, differences: Mapping[str, Difference], ahead: Mapping[str, Difference]
    ) -> None:
        super().__init__(_lines({**ahead, **differences}), pytrace=False)
        self.differences, self.ahead = differences, ahead


class ItemsAhead(pytest.skip.Exception):  # type: ignore[misc,name-defined]
    """Packages that are not as in production, and as the machine's release brought them."""

    def __init__(self, ahead: Mapping[str, Difference]) -> None:
        super().__init__(f"as in the release: {_lines(ahead)}")
        self.differences: Mapping[str, Difference] = {}
        self.ahead = ahead


def judge(differences: Mapping[str, Difference], release: Mapping[str, str]) -> None:
    """End the check by what differs, if anything does.

    Args:
        differences: By the names of their checks.
        release: The versions of packages in the machine's release; empty where none is known. A
            package as the release has it says that the release is ahead of production (or behind),
            and not that somebody changed the machine.
    """
    ahead = {name: one for name, one in differences.items() if _of_release(name, one, release)}
    otherwise = {name: one for name, one in differences.items() if name not in ahead}
    if otherwise:
        raise ItemsDiffer(otherwise, ahead)
    if ahead:
        raise ItemsAhead(ahead)


def _of_release(name: str, difference: Difference, release: Mapping[str, str]) -> bool:
    area, _, package = name.partition("/")
    other = {*difference.expected, *difference.found} - {"version", "origin"}
    return (
        area == "package"
        and bool(release)
        and (difference.kind is not Kind.DIFFERS or not other)
        and "status" not in difference.found
        and difference.found.get("version") == release.get(package)
    )


def _lines(differences: Mapping[str, Difference]) -> str:
    lines = []
    for name, difference in differences.items():
        lines.append(f"{name}: {difference.words()}")
        lines += (difference.diff or "").splitlines()
    return "\n".join(lines)


def differs(expected: Any, found: Any) -> NoReturn:
    """Fail: the machine is otherwise than expected."""
    text = f"expected {_words(expected)}, found {_words(found)}"
    pytest.fail(" ".join(text.split()), pytrace=False)


def equal(expected: Any, found: Any) -> None:
    """Fail unless both are the same."""
    if expected != found:
        differs(expected, found)


def _words(value: Any) -> str:
    if value is None or value == "":
        return "nothing"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
