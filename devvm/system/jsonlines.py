"""Reads the events that a child process writes to a file as JSON lines, while it runs.

Ansible and pytest report to devvm this way, so that it needn't parse their output for people.
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
    """Yield a function that passes new events to `tell`: those written since its last call.

    The function never blocks, so call it on any sign of life of the child. Events that are left at
    the end are passed on too, even if the block raises.
    """
    path.touch()
    with path.open(encoding="utf-8") as stream:
        unfinished = ""

        def follow() -> None:
            nonlocal unfinished
            while line := stream.readline():
                unfinished += line
                if unfinished.endswith("\n"):  # otherwise the line is still being written
                    event, unfinished = json.loads(unfinished), ""
                    tell(event)

        try:
            yield follow
        except Exception:
            follow()
            raise
        follow()
