"""Check every running VM, in parallel."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from devvm.domain.check import CheckResult, Outcome, Report
from devvm.domain.errors import DevvmError, InterruptedOperationError
from devvm.domain.run import PhaseRecord
from devvm.domain.vm import Vm, VmState
from devvm.operations.core.machine import Machine
from devvm.operations.core.parallel import for_each
from devvm.operations.core.progress import Run
from devvm.operations.verify import verify
from devvm.ports.services import Services

#: From this many on, checks with the same message are reported as one.
_ALIKE = 3


@dataclass(frozen=True, kw_only=True)
class OfRelease:
    """How many VMs of a release match production.

    Attributes:
        release: The release.
        vms_total: How many of its VMs were checked.
        vms_matching: How many of them match production.
        vms_differing: How many don't.
    """

    release: str
    vms_total: int
    vms_matching: int
    vms_differing: int


@dataclass(frozen=True, kw_only=True)
class OfCheck:
    """A check that fails somewhere, or several that fail with the same message.

    Attributes:
        check: Its name; for several, `FIRST ... LAST`.
        checks_total: How many checks it stands for.
        vms: Names of the VMs on which it fails.
        message: The message on the first of them.
    """

    check: str
    checks_total: int
    vms: tuple[str, ...]
    message: str


#: Failed checks, by the check's and the VM's name.
_Failures = dict[str, dict[str, CheckResult]]


@dataclass(frozen=True, kw_only=True)
class FleetReport:
    """The result of checking all VMs of a host.

    Attributes:
        reports: The reports, by VM name.
        not_running: Names of the VMs that are not running.
        not_checked: Why running VMs could not be checked, in one line each, by VM name.
        seconds: How long it all took.
    """

    reports: Mapping[str, Report] = field(default_factory=dict)
    not_running: tuple[str, ...] = ()
    not_checked: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every running VM was checked, and matches production."""
        return not self.not_checked and not self.differing

    @property
    def differing(self) -> tuple[str, ...]:
        """Names of the VMs that don't match production."""
        return tuple(name for name, report in self.reports.items() if not report.passed)

    def by_release(self) -> tuple[OfRelease, ...]:
        """How many of the checked VMs match production, by release, newest first."""
        passed: dict[str, list[bool]] = {}
        for report in self.reports.values():
            passed.setdefault(report.release, []).append(report.passed)
        return tuple(
            OfRelease(
                release=name,
                vms_total=len(each),
                vms_matching=sum(each),
                vms_differing=len(each) - sum(each),
            )
            for name, each in sorted(passed.items(), reverse=True)
        )

    def by_check(self) -> tuple[OfCheck, ...]:
        """What fails and where, on the most VMs first.

        Errors of one area with the same message are one, so that a server that is down isn't
        reported for each of its settings.
        """
        alike: dict[tuple[str, str], _Failures] = {}
        single: _Failures = {}
        for vm, report in self.reports.items():
            for check in report.failures():
                key = check.name.partition("/")[0], check.message
                error = check.outcome is Outcome.ERROR
                failures = alike.setdefault(key, {}) if error else single
                failures.setdefault(check.name, {})[vm] = check
        several = []
        for failures in alike.values():
            if len(failures) >= _ALIKE:
                several.append(failures)
                continue
            for name, found in failures.items():
                single.setdefault(name, {}).update(found)
        several += [{name: found} for name, found in single.items()]
        return tuple(sorted(map(_of_check, several), key=lambda one: (-len(one.vms), one.check)))


def verify_all(services: Services, run: Run, *, parallel: int) -> FleetReport:
    """Check every running VM, and record a run for each, as `verify` does.

    A VM that can't be checked is in the report, and doesn't stop the others.

    Args:
        services: The adapters to use.
        run: Reports the phase.
        parallel: How many VMs to check at a time.

    Raises:
        HostNotReadyError: libvirt does not answer.
    """
    start = time.monotonic()
    vms = [vm for vm in services.domains.vms() if not vm.is_devvms_own]
    running = {vm.name: vm for vm in vms if vm.state is VmState.RUNNING}
    reports: dict[str, Report] = {}
    failed: dict[str, DevvmError] = {}
    if running:
        stop = threading.Event()
        title = f"Checking {'1 VM' if len(running) == 1 else f'{len(running)} VMs'}"
        with run.phase("verify", title):
            reports, failed = for_each(
                run,
                "checking",
                running,
                lambda name: _examine(services, running[name], stop),
                size=parallel,
                stop=stop,
            )
    return FleetReport(
        reports=dict(sorted(reports.items())),
        not_running=tuple(vm.name for vm in vms if vm.state is not VmState.RUNNING),
        not_checked={name: _reason(error) for name, error in sorted(failed.items())},
        seconds=round(time.monotonic() - start, 2),
    )


def _examine(services: Services, vm: Vm, stop: threading.Event) -> Report:
    """Check one VM, in its own thread, and record the run."""
    machine = Machine(services, vm.name)
    run = Run(f"verify {vm.name}", _Silent(stop))
    release = vm.metadata.release if vm.metadata else "unknown"
    result = "failed"
    try:
        report = verify.examine(machine, release=release, run=run)
        result = "done" if report.passed else "failed"
    except BaseException:
        result = "interrupted" if stop.is_set() else "failed"
        raise
    finally:
        services.state.add_run(vm.name, run.record(result))
    return report


class _Silent:
    """A `Reporter` that shows nothing, and raises at the next detail once `stop` is set."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def phase_started(self, name: str, title: str) -> None:
        pass

    def detail(self, text: str) -> None:  # noqa: ARG002
        if self._stop.is_set():
            raise InterruptedOperationError("the check was interrupted")

    def phase_finished(self, record: PhaseRecord) -> None:
        pass

    def note(self, text: str) -> None:
        pass


def _of_check(failures: _Failures) -> OfCheck:
    names = sorted(failures)
    found = {vm: check for name in reversed(names) for vm, check in failures[name].items()}
    first = found[min(found)]
    return OfCheck(
        check=names[0] if len(names) == 1 else f"{names[0]} ... {names[-1]}",
        checks_total=len(names),
        vms=tuple(sorted(found)),
        message=first.message or first.difference or str(first.outcome),
    )


def _reason(error: DevvmError) -> str:
    """Why a VM could not be checked, in one line."""
    lines = (error.details or "").strip().splitlines()
    if len(lines) == 1:
        return f"{error.brief}: {lines[0]}"
    return f"{error.brief}: see {error.log}" if error.log else error.brief
