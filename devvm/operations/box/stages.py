"""The stages of a box build, and which of them an interrupted build has finished."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from devvm.operations.core.progress import Run
from devvm.system.state import write_atomic

_FORMAT = 2
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of a build. Its output is complete, or doesn't exist.

    Args:
        name: The name of its phase.
        title: The title for people.
        work: Does the work.
        inputs: What it depends on besides earlier stages; JSON.
        output: What it creates; None if it changes the output of an earlier stage, and then it must
            be safe to repeat.
    """

    name: str
    title: str
    work: Callable[[], None]
    inputs: Mapping[str, Any]
    output: Path | None = None


class StageLog:
    """Which stages of a build have finished, in a file next to their outputs.

    A stage counts as finished if it and every stage before it finished with the same inputs as now,
    since the host booted: some of what was written before a crash may never have reached the disk.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "stages.json"

    def run(self, stages: Sequence[Stage], run: Run) -> None:
        """Run the stages in order, each as a phase, except the first ones that are finished."""
        finished = self._load()
        done: dict[str, dict[str, Any]] = {}
        before = ""
        for stage in stages:
            before = _fingerprint(before, stage.inputs)
            entry = finished.get(stage.name, {})
            if entry.get("inputs") == before and (stage.output is None or stage.output.exists()):
                run.note(f"{stage.title}: already done by an earlier run")
                done[stage.name] = entry
                continue
            finished = {}  # later stages had other inputs
            self._save(done)
            start = time.monotonic()
            with run.phase(stage.name, stage.title):
                stage.work()
            seconds = round(time.monotonic() - start, 2)
            done[stage.name] = {"inputs": before, "seconds": seconds}
            self._save(done)

    def seconds(self) -> dict[str, float]:
        """How many seconds each finished stage took."""
        return {name: entry["seconds"] for name, entry in self._load().items()}

    def forget(self) -> None:
        """Mark every stage as not finished."""
        self._path.unlink(missing_ok=True)

    def _load(self) -> dict[str, dict[str, Any]]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            valid = content["format"] == _FORMAT and content["boot"] == _this_boot()
            stages = content["stages"] if valid else {}
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return {}  # this only costs time: every stage can be run again
        assert isinstance(stages, dict)
        return stages

    def _save(self, stages: Mapping[str, Mapping[str, Any]]) -> None:
        content = {"format": _FORMAT, "boot": _this_boot(), "stages": stages}
        write_atomic(self._path, json.dumps(content, indent=2) + "\n", mode=0o600)


def _this_boot() -> str:
    """The kernel's ID of the host's current boot."""
    return _BOOT.read_text(encoding="utf-8").strip()


def _fingerprint(before: str, inputs: Mapping[str, Any]) -> str:
    return sha256(f"{before}\n{json.dumps(inputs, sort_keys=True)}".encode()).hexdigest()
