"""`create`: make a VM from a box, set it up for its engineer, and check it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from devvm.domain.box import Box
from devvm.domain.check import Report
from devvm.domain.errors import OperationError
from devvm.domain.name import validate_new_name
from devvm.domain.vm import Engineer, Metadata, Vm
from devvm.operations.core import journal, own_stack
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import ssh
from devvm.operations.provision import checkouts, new_vm, personalise, provision, repair
from devvm.operations.storage import saved_states
from devvm.operations.transaction import transaction
from devvm.operations.transaction.transaction import Begun, Outcome
from devvm.operations.verify import gate
from devvm.operations.verify.verify import examine
from devvm.operations.vm import databases, lifecycle, requirements
from devvm.ports.services import Services


@dataclass(frozen=True, kw_only=True)
class CreateRequest:
    """What a person asked for."""

    name: str
    engineer: Engineer
    release: str | None = None
    #: Keep the VM if the create fails, to look at it.
    keep: bool = False


@dataclass(frozen=True, kw_only=True)
class CreateResult:
    """The new VM, and the result of its checks, which may have failed.

    Attributes:
        vm: The VM.
        report: The result of the checks.
        url: URL of its site.
        ssh_command: What to type to log in.
        ca_certificate: Certificate of the CA that signed the VM's, for a browser.
        log: The full output of the tools.
        other_release: The newest other release that has a box; None if there is none.
        welcome: What the stack tells its engineers, line by line.
    """

    vm: Vm
    report: Report
    url: str
    ssh_command: str
    ca_certificate: Path
    log: Path | None = None
    other_release: str | None = None
    welcome: tuple[str, ...] = ()


def create(services: Services, request: CreateRequest, run: Run) -> CreateResult:
    """Create a VM, personalise it, check it.

    If a step fails or the person interrupts it, everything is undone, except with `request.keep`.
    What a killed create left is undone first; if it had finished, the VM is only checked again.

    Raises:
        UsageError: the name is invalid, or the stack has an account of this name or the login.
        ExistsError: the VM exists, or a domain of its name that devvm didn't create.
        NotFoundError: there is no box, or a repository lacks the branch that is wanted.
        HostNotReadyError: the host lacks memory, disk space, or libvirt.
        LockedError: another command is changing the VM.
        OperationError: a step failed.
    """
    machine = Machine(services, validate_new_name(request.name))
    services.host.check()
    with transaction.changing(machine, run) as before:
        if before and before.done(journal.CREATE):
            return _check(machine, run)
        with run.phase("check", "Checking the host"):
            requirements.refuse_if_exists(machine)
            requirements.refuse_reserved(services, request.engineer.login, what="login")
            box = requirements.require_box(services, request.release)
            requirements.require_memory(services, services.config.vm.memory_mib)
            requirements.require_space(services, box)
        checkouts.fetch(services, box.release, run)
        _note_shell(request.engineer, box, run)
        metadata = _metadata(services, request, box)
        with (
            provision.recorded(machine, run),
            _undone(machine, metadata, run, keep=request.keep),
        ):
            new_vm.bring_up(
                machine, box=box, vm_config=services.config.vm,
                metadata=metadata, run=run, engineer=request.engineer,
            )  # fmt: skip
            personalise.from_box(
                machine, request.engineer, box.release, run, older_data=False, new=True
            )
            with ssh.opening(machine):
                report = examine(machine, release=box.release, run=run)
            _finish(machine)
            services.state.close_journal(machine.name)
            return _result(machine, report, run)


def end(begun: Begun) -> Outcome:
    """Undo a create, or finish it if the VM is ready."""
    machine = begun.machine
    vm = machine.vm()
    ready = vm is not None and vm.metadata is not None and vm.metadata.ready
    if vm is not None and ready and vm.uuid == begun.journal.get("uuid"):
        repair.write_files(machine)
        return "finished"
    begun.run.note(f"Undoing what was done for {machine}")
    if ready:  # a different VM, which is ready
        saved_states.delete_created_by(machine, begun.token)
    else:
        provision.take_down(machine)
    return "undone"


def check(
    services: Services,
    name: str,
    release: str | None = None,
    branches: Collection[str] = (),
) -> None:
    """Fail early if `create` would, before a box is built for it.

    Args:
        services: The adapters to use.
        name: The VM's name.
        release: Its release; None for the working tree's.
        branches: The applications that a branch was asked for.

    Raises:
        UsageError: the name is invalid, or the stack has an account of this name or the login, or
            no such application.
        ExistsError: the VM exists, or a domain of its name that devvm didn't create.
        HostNotReadyError: the host lacks memory, or libvirt.
    """
    validate_new_name(name)
    checkouts.refuse_unknown(services, release, branches)
    services.host.check()
    if services.state.journal(name) is None:  # `create` ends what a killed command left
        requirements.refuse_if_exists(Machine(services, name))
        requirements.require_memory(services, services.config.vm.memory_mib)


@contextmanager
def _undone(machine: Machine, metadata: Metadata, run: Run, *, keep: bool) -> Iterator[None]:
    """Undo the create if the block fails; with `keep`, keep the domain if there is one."""
    with transaction.ended_on_failure(machine, run):
        try:
            yield
        except BaseException:
            if keep and _has_domain(machine, metadata):
                machine.services.state.close_journal(machine.name)
                run.note(f"{machine} is kept unfinished; to remove it: devvm destroy {machine}")
            raise


def _has_domain(machine: Machine, metadata: Metadata) -> bool:
    """Whether the create has made a domain; if so, make sure that it is marked as devvm's."""
    begun, domains = machine.journal() or {}, machine.services.domains
    uuid = domains.uuid(machine.fqdn)
    if uuid is None or uuid != begun.get("uuid"):
        return False
    if machine.vm() is None:
        domains.set_metadata(uuid, metadata)
    return True


def _note_shell(engineer: Engineer, box: Box, run: Run) -> None:
    """Say so if the box lacks the person's shell; the guest then takes another."""
    package = Path(engineer.shell).name
    if package and package not in {*box.packages, "bash", "dash", "sh"}:
        run.note(f"Your shell is /bin/bash: the box has no package {package} (engineer.shell)")


def _metadata(services: Services, request: CreateRequest, box: Box) -> Metadata:
    engineer = request.engineer
    return Metadata(
        name=request.name,
        engineer=engineer.login,
        release=box.release,
        stack=box.stack,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        authorized_keys=engineer.authorized_keys,
        git_name=engineer.git_name,
        git_email=engineer.git_email,
        shell=engineer.shell,
        databases=databases.versions(services, box.release, box.packages, {}),
    )


def _finish(machine: Machine) -> None:
    """Mark the VM as ready: from now on, no command takes it for a remnant."""
    vm = machine.vm()
    if vm is None or vm.metadata is None:
        raise OperationError(
            f"{machine} was deleted while being created", resolution=f"devvm create {machine}"
        )
    journalled = machine.journal() or {}
    vm = provision.name_root(machine, journalled["token"])
    machine.services.domains.set_metadata(vm.uuid, replace(vm.known, ready=True))
    repair.write_files(machine)


def _check(machine: Machine, run: Run) -> CreateResult:
    vm = machine.require()
    lifecycle.power_on(machine, run)
    return _result(machine, examine(machine, release=vm.known.release, run=run), run)


def _result(machine: Machine, report: Report, run: Run) -> CreateResult:
    services, vm = machine.services, machine.require()
    welcome = own_stack.of(services, report.release).description().welcome
    filled = {"{host}": machine.fqdn, "{login}": vm.known.engineer}
    return CreateResult(
        vm=vm,
        report=report,
        url=machine.url,
        ssh_command=f"devvm ssh {machine}",
        ca_certificate=services.ca.ensure(),
        log=run.log(services.state),
        other_release=gate.another_release(services, report.release),
        welcome=tuple(_filled(line, filled) for line in welcome),
    )


def _filled(line: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        line = line.replace(name, value)
    return line
