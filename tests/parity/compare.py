"""How a check ends that does not hold: one line that says what was expected and what is there."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest


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
