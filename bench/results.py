"""What a run of the benchmark measured, in memory and as a file; medians and ratios of it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import contenders

_FORMAT = 1
#: What is used to compare runs on different machines, the best first: a contender, and one of its
#: phases or None for the whole. Tests have no floor, but they boot VMs.
_YARDSTICKS = (
    (contenders.FLOOR, None),
    (contenders.START, contenders.BOOT),
    (contenders.CREATE_COLD, contenders.BOOT),
)


class ResultsError(Exception):
    """A file of results can't be read."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One measurement.

    Attributes:
        seconds: Wall-clock time of the whole command.
        phases: The seconds of each of its phases, in their order.
        facts: What else was seen: `ssh_seconds` (until SSH answered), `root_mib` and `data_mib`
            (the VM's own layers), `memory_mib` (of the QEMU process), `failed_checks`.
    """

    seconds: float
    phases: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Spread:
    """The middle and the ends of some measurements."""

    median: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Yardstick:
    """What times are divided by, so that machines of different speed can be compared."""

    key: str
    phase: str | None
    seconds: float

    @property
    def title(self) -> str:
        """For people: `the floor`, `the boot of start`."""
        if self.phase is None:
            return f"the {self.key}"
        return f"the {self.phase} of {contenders.contender(self.key).title}"


@dataclass(kw_only=True)
class Results:
    """A run of the benchmark.

    Attributes:
        at: When it started (ISO 8601, UTC).
        commit: What was measured: the commit, and whether the work tree differed from it.
        machine: The machine, as keys and values for people.
        samples: The measurements of each contender, in their order.
        not_run: Contenders that were not measured, or not to the end, and why.
    """

    at: str = ""
    commit: str = ""
    machine: dict[str, str] = field(default_factory=dict)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)

    def add(self, key: str, sample: Sample) -> None:
        """Add a measurement."""
        self.samples.setdefault(key, []).append(sample)

    def ordered(self) -> list[str]:
        """What was measured, in the order of a report."""
        return sorted(self.samples, key=contenders.position)

    def spread(self, key: str) -> Spread | None:
        """The times of a contender; None if it was not measured."""
        return _spread([sample.seconds for sample in self.samples.get(key, ())])

    def median(self, key: str, phase: str | None = None) -> float | None:
        """The median seconds of a contender or of one phase of it; None if it was not measured."""
        if phase is not None:
            return self.phases(key).get(phase)
        found = self.spread(key)
        return found.median if found else None

    def phases(self, key: str) -> dict[str, float]:
        """The median seconds of each phase; one that a run didn't have took no time in it."""
        samples = self.samples.get(key, [])
        names = dict.fromkeys(name for sample in samples for name in sample.phases)
        return {
            name: statistics.median(sample.phases.get(name, 0.0) for sample in samples)
            for name in names
        }

    def fact(self, key: str, name: str) -> Spread | None:
        """A fact of a contender; None if it is not known."""
        samples = self.samples.get(key, ())
        return _spread([sample.facts[name] for sample in samples if name in sample.facts])

    def yardsticks(self) -> list[Yardstick]:
        """What this run's times can be divided by, the best first."""
        found = ((key, phase, self.median(key, phase)) for key, phase in _YARDSTICKS)
        return [Yardstick(key, phase, seconds) for key, phase, seconds in found if seconds]

    def write(self, path: Path) -> None:
        """Write the file, all or nothing."""
        content = {"format": _FORMAT, **asdict(self)}
        unfinished = path.with_name(f"{path.name}.part")
        unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(path)


def read(path: Path) -> Results:
    """The results in a file.

    Raises:
        ResultsError: it can't be read, or has another format.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != _FORMAT:
            raise ResultsError(f"{path} was written by another version of the benchmark")
        samples = content.pop("samples")
        found = Results(**content)
        found.samples = {
            key: [Sample(**sample) for sample in measured] for key, measured in samples.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultsError(f"{path} can't be read: {type(error).__name__}: {error}") from None
    return found


def sample_of(result: Mapping[str, Any], seconds: float | None = None) -> Sample:
    """The measurement in the JSON of a command.

    Args:
        result: What the command printed; its `run` has the phases, its `report` the checks.
        seconds: Wall-clock time of the command; by default what it says itself.
    """
    run = result.get("run") or {}
    phases: dict[str, float] = {}
    for phase in run.get("phases", ()):  # a phase can come twice: a VM is booted twice by a rebuild
        phases[phase["name"]] = phases.get(phase["name"], 0.0) + phase["seconds"]
    facts = {}
    if report := result.get("report"):
        good = sum(report[f"checks_{kind}"] for kind in ("passed", "waived", "ahead"))
        facts["failed_checks"] = float(report["checks_total"] - good)
    took = run.get("seconds", 0.0) if seconds is None else seconds
    return Sample(seconds=round(took, 3), phases=phases, facts=facts)


def _spread(values: list[float]) -> Spread | None:
    if not values:
        return None
    return Spread(statistics.median(values), min(values), max(values), len(values))
