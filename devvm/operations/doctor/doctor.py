"""`doctor`: find problems on this host, and fix them."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

from devvm.domain.errors import DevvmError
from devvm.operations.core.progress import Run
from devvm.operations.doctor import checks as findings
from devvm.operations.doctor.checks import Finding
from devvm.ports.services import Services


@dataclass(frozen=True, kw_only=True)
class Busy:
    """A VM that another command is changing, so that it is not examined."""

    name: str
    holder: str


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The problems found, and the VMs that were not examined."""

    findings: tuple[Finding, ...]
    busy: tuple[Busy, ...]


@dataclass(frozen=True, kw_only=True)
class Treated:
    """A finding, and whether it was fixed."""

    finding: Finding
    fixed: bool
    error: str | None = None  # why the fix failed, if it did


def examine(services: Services) -> Diagnosis:
    """Run every check. Changes nothing.

    Raises:
        HostNotReadyError: libvirt does not answer.
    """
    services.host.check()
    busy = _busy(services)
    names = {held.name for held in busy}
    unreadable = tuple(findings.unreadable(services, names))
    names |= {finding.subject for finding in unreadable}
    found = [finding for check in findings.CHECKS for finding in check(services, names)]
    return Diagnosis(findings=(*unreadable, *found), busy=busy)


def fix(services: Services, run: Run) -> tuple[Treated, ...]:
    """Fix what can be fixed, and return the result for every finding.

    A fix may reveal or solve other problems. So the checks run again after one fix per subject,
    until they find nothing new.
    """
    services.volumes.ensure()
    treated: dict[tuple[str, str, str], Treated] = {}
    while True:
        fresh = [
            finding
            for finding in examine(services).findings
            if (finding.kind, finding.subject, finding.problem) not in treated
        ]
        if not fresh:
            return tuple(treated.values())
        for finding in {finding.subject: finding for finding in reversed(fresh)}.values():
            key = (finding.kind, finding.subject, finding.problem)
            treated[key] = _treat(services, finding, run)


def _treat(services: Services, finding: Finding, run: Run) -> Treated:
    if finding.fix is None:
        return Treated(finding=finding, fixed=False)
    lock = (
        services.state.lock(finding.locked, run.command)
        if finding.locked is not None
        else nullcontext()
    )
    try:
        with run.phase(finding.kind, f"Fixing {finding.subject}: {finding.kind}"), lock:
            finding.fix(run)
    except DevvmError as error:
        return Treated(finding=finding, fixed=False, error=f"{error.brief}: {error.details}")
    return Treated(finding=finding, fixed=True)


def _busy(services: Services) -> tuple[Busy, ...]:
    names = {vm.name for vm in services.domains.vms()} | set(services.state.names())
    held = ((name, services.state.holder(name)) for name in sorted(names))
    return tuple(Busy(name=name, holder=holder) for name, holder in held if holder)
