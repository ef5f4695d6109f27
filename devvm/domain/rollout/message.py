"""Messages about a rollout: a line for people, facts for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["start", "wave", "failure", "paused", "done", "aborted", "rolled-back"]


@dataclass(frozen=True, kw_only=True)
class Message:
    """Something that happened in a rollout.

    Attributes:
        kind: What happened.
        rollout: The rollout's id.
        release: The release that it rolls out.
        at: When; ISO 8601, UTC.
        by: The login of whoever started or changed the rollout.
        text: What happened, in one line for people.
        facts: The same for programs; JSON types only.
    """

    kind: Kind
    rollout: str
    release: str
    at: str
    by: str
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The message as a JSON object, in ASCII, on one line."""
        return json.dumps(asdict(self), default=str)


def one_line(text: str, *, limit: int = 300) -> str:
    """Untrusted text as one line: nothing in it moves the cursor or ends the line.

    Args:
        text: From a program, a server, a person.
        limit: How many characters to keep at most.
    """
    printable = "".join(c if c.isprintable() else " " for c in text)
    line = " ".join(printable.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
