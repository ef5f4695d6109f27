"""Records of what a command did, and how long it took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class PhaseRecord:
    """One finished phase of a run."""

    name: str
    title: str
    seconds: float
    result: str  # "done", "failed", "skipped"


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run of a command that changes something; kept for the timings of `devvm show`."""

    command: str
    started_at: str
    seconds: float
    result: str  # "done", "failed", "interrupted"
    phases: tuple[PhaseRecord, ...]


@dataclass(frozen=True, kw_only=True)
class AnsibleResult:
    """The result of a playbook run."""

    ok: int
    changed: int
    tasks: tuple[Mapping[str, Any], ...] = ()  # that changed something: role, task, seconds
