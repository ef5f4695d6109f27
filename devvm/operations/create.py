"""`create`: from a box to a VM that is an engineer's own, checked and ready."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from devvm import __version__
from devvm import release as releases
from devvm.errors import ExistsError, HostNotReadyError, NotFoundError, OperationError
from devvm.model import Box, Engineer, Metadata, Report, Target, Vm, validate_name
from devvm.operations import machine
from devvm.operations.ports import Services
from devvm.operations.progress import Run

_GIB = 1024**3
#: Room that a VM needs in the pool to boot and be personalised, beside the box's image.
_HEADROOM = 2 * _GIB
#: What an emulator or KVM needs beside the guest's own memory.
_OVERHEAD_MIB = 128
PLAYBOOK = "personalise.yml"


@dataclass(frozen=True, kw_only=True)
class CreateRequest:
    """What a person asked for."""

    name: str
    engineer: Engineer
    release: str | None = None
    #: Leave what a failed create made, to look at it.
    keep: bool = False


@dataclass(frozen=True, kw_only=True)
class CreateResult:
    """The VM, and what was found when it was checked. It may not have passed."""

    vm: Vm
    report: Report
    url: str
    ssh_command: str


def find_box(services: Services, release: str | None) -> Box | None:
    """The box that `create` would use: of `release`, or of the present stack; None: build one."""
    return services.boxes.find(release or releases.new_release())


def create(services: Services, request: CreateRequest, run: Run) -> CreateResult:
    """Make a VM, personalise it, check it.

    Everything is undone when something fails or the person interrupts, but for `request.keep`.
    What a create of this VM left that was killed is undone first.

    Raises:
        UsageError: the name can't be one.
        ExistsError: there is such a VM, or somebody else's domain of its name.
        NotFoundError: there is no box.
        HostNotReadyError: the host lacks memory, disk space, or libvirt.
        LockedError: somebody is changing this VM.
        OperationError: a step failed.
    """
    name = validate_name(request.name)
    with services.state.lock(name, run.command):
        with run.phase("check", "Checking the host"):
            services.hypervisor.check()
            clear_unfinished(services, name, run)
            _refuse_if_exists(services, name)
            box = _require_box(services, request.release)
            _require_memory(services)
            _require_space(services, box)
        metadata = _metadata(services, request, box)
        with (
            machine.recorded(services, name, run),
            machine.undone_on_failure(services, name, run, keep=request.keep),
        ):
            way_in = machine.bring_up(
                services, name=name, box=box, vm_config=services.config.vm,
                metadata=metadata, run=run,
            )  # fmt: skip
            _personalise(services, way_in, request.engineer, box, run)
            report = _verify(services, way_in, name, box, run)
            vm = _finish(services, name, metadata)
            machine.settle(services, name)
    return CreateResult(
        vm=vm,
        report=report,
        url=machine.url_of(services.config, name),
        ssh_command=f"devvm ssh {name}",
    )


def check(services: Services, name: str) -> None:
    """Raise at once what `create` would refuse, before a box is built for it.

    Raises:
        UsageError: the name can't be one.
        ExistsError: there is such a VM, or somebody else's domain of its name.
        HostNotReadyError: the host lacks memory, or libvirt.
    """
    validate_name(name)
    services.hypervisor.check()
    if services.state.journal(name) is None:  # what a killed command left is cleared by `create`
        _refuse_if_exists(services, name)
    _require_memory(services)


def clear_unfinished(services: Services, name: str, run: Run) -> None:
    """Bring to its end what a killed command began: undo a create, finish a destroy.

    Raises:
        OperationError: another operation is unfinished, which only its own command can end.
    """
    journal = services.state.journal(name)
    if journal is None:
        return
    vm = services.hypervisor.vm(name)
    if journal["operation"] == machine.CREATE and vm and vm.metadata and vm.metadata.ready:
        machine.settle(services, name)  # killed after the last step, before the journal's end
        return
    if journal["operation"] not in {machine.CREATE, machine.DESTROY}:
        raise OperationError(
            f"{journal['operation']} of {name} has begun and not ended",
            details=f"it began at {journal['started_at']}",
            resolution=f"devvm {journal['operation']} {name}",
        )
    run.note(f"Clearing away an unfinished {journal['operation']} of {journal['started_at']}")
    machine.take_down(services, name)


def _refuse_if_exists(services: Services, name: str) -> None:
    fqdn = machine.fqdn_of(services.config, name)
    if services.hypervisor.vm(name) is not None:
        raise ExistsError(
            f"{name} exists already",
            resolution=f"to use it: devvm ssh {name}; to delete it: devvm destroy {name}",
        )
    if services.hypervisor.domain_exists(fqdn):
        raise ExistsError(
            f"there is a libvirt domain {fqdn} that devvm did not make",
            details="perhaps it was made with Vagrant or virsh, or its metadata was removed",
            resolution=f"choose another name, or look at it: virsh dominfo {fqdn}",
        )
    left = services.hypervisor.volumes_of(fqdn)
    if left:
        raise ExistsError(
            f"there are disks of an earlier {name}, whose domain is gone",
            details="devvm does not write over data that somebody may miss: " + ", ".join(left),
            resolution=f"choose another name, or delete them for good: devvm destroy {name}",
        )


def _require_box(services: Services, release: str | None) -> Box:
    box = find_box(services, release)
    if box is None:
        raise NotFoundError(
            f"there is no box of {f'the release {release}' if release else 'the present stack'}",
            resolution="devvm box build",
        )
    return box


def _require_memory(services: Services) -> None:
    wanted = services.config.vm.memory_mib + _OVERHEAD_MIB
    total, free = services.hypervisor.memory_mib()
    if wanted > free:
        fits = max(0, free - _OVERHEAD_MIB)
        raise HostNotReadyError(
            f"the host has not enough memory for a VM of {services.config.vm.memory_mib} MiB",
            details=f"{fits} MiB of {total} MiB can be given to a VM",
            resolution="devvm stop a VM that is not needed, or ask for less: --memory, or the "
            "setting vm.memory_mib",
        )


def _require_space(services: Services, box: Box) -> None:
    placed = services.hypervisor.volume_exists(services.vagrant.volume_name(box))
    needed = _HEADROOM + (0 if placed else box.size_bytes)
    free = services.hypervisor.free_bytes()
    if free < needed:
        raise HostNotReadyError(
            f"{services.config.pool_path} has not enough space for a VM",
            details=f"{needed / _GIB:.1f} GiB are needed, {free / _GIB:.1f} GiB are free",
            resolution="delete a box or a VM that is not needed: devvm box list, devvm list",
        )


def _metadata(services: Services, request: CreateRequest, box: Box) -> Metadata:
    return Metadata(
        name=request.name,
        engineer=request.engineer.login,
        release=box.release,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        data_volume=machine.data_volume_of(services.config, request.name),
    )


def _personalise(
    services: Services, way_in: Target, engineer: Engineer, box: Box, run: Run
) -> None:
    own_key = way_in.ssh_config.with_name("id_ecdsa.pub").read_text(encoding="utf-8").strip()
    with run.phase("personalise", f"Making it {engineer.login}'s own"):
        services.provisioner.apply(
            PLAYBOOK,
            way_in,
            variables={
                "engineer_login": engineer.login,
                # the VM's own key too, so that `devvm ssh` works whatever keys the person has
                "engineer_authorized_keys": [*engineer.authorized_keys, own_key],
                "engineer_git_name": engineer.git_name,
                "engineer_git_email": engineer.git_email,
                "devvm_stamp": {
                    "release": box.release,
                    "devvm": __version__,
                    "converged_at": datetime.now(UTC).isoformat(timespec="seconds"),
                },
            },
            detail=run.detail,
            log=run.log(services.state),
        )


def _verify(services: Services, way_in: Target, name: str, box: Box, run: Run) -> Report:
    start = time.monotonic()
    with run.phase("verify", "Checking it"):
        checks = services.verifier.check(way_in, detail=run.detail, log=run.log(services.state))
    seconds = round(time.monotonic() - start, 2)
    return Report(vm=name, release=box.release, checks=checks, seconds=seconds)


def _finish(services: Services, name: str, metadata: Metadata) -> Vm:
    """The VM is complete: from here on no command takes it for a remnant."""
    vm = services.hypervisor.vm(name)
    if vm is None:
        raise OperationError(
            f"{name} was deleted while it was made", resolution=f"devvm create {name}"
        )
    complete = replace(metadata, ready=True)
    services.hypervisor.set_metadata(vm.uuid, complete)
    return replace(vm, metadata=complete)
