"""Events that a child process writes to a file as JSON lines, read while it runs.

The way by which Ansible and pytest tell devvm what they do, instead of their output for people.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Event = Mapping[str, Any]


@contextmanager
def following(path: Path, tell: Callable[[Event], None]) -> Iterator[Callable[[], None]]:
    """Give a function that hands over the events which were written since its last call.

    It never waits, so it can be called at each sign of life of the child. What is left at the end
    is handed over, also when the block fails.
    """
    path.touch()
    with path.open(encoding="utf-8") as stream:
        unfinished = ""

        def follow() -> None:
            nonlocal unfinished
            while line := stream.readline():
                unfinished += line
                if unfinished.endswith("\n"):  # one that is still being written waits for its end
                    event, unfinished = json.loads(unfinished), ""
                    tell(event)

        try:
            yield follow
        except Exception:
            follow()
            raise
        follow()
