"""How a check ends that does not hold: one line that says what was expected and what is there."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest


def differs(expected: Any, found: Any) -> NoReturn:
    """Fail: the machine is otherwise than expected."""
    text = f"expected {expected}, found {found}"
    pytest.fail(" ".join(text.split()), pytrace=False)


def equal(expected: Any, found: Any) -> None:
    """Fail unless both are the same."""
    if expected != found:
        differs(expected, "nothing" if found is None else found)
