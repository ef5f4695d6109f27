"""Bring a VM up on a box, and take one down: what create, the box's verification and others share.

`bring_up` leaves a journal open: the caller closes it with `settle` when all is well, or undoes
everything with `take_down`, now or when the same command is typed again after a crash.
"""

from __future__ import annotations

import base64
import shlex
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from devvm import assets
from devvm.config import Config, VmConfig
from devvm.errors import NotFoundError
from devvm.model import Box, Driver, Lease, Metadata, Target
from devvm.operations.ports import Services
from devvm.operations.progress import Run
from devvm.render import render
from devvm.state import write_atomic

#: Time for a guest to boot: an emulated one on a busy machine needs minutes.
BOOT_TIMEOUT = 600
_VAGRANT_HOME_IN_GUEST = "/var/lib/vagrant"
#: A socket's path has 108 bytes, and ssh adds 17 while it makes one.
_SOCKET_PATH_MAX = 90

CREATE = "create"
DESTROY = "destroy"


def fqdn_of(config: Config, name: str) -> str:
    """A VM's full name: its DNS name, its domain's name, the beginning of its volumes' names."""
    return f"{name}.{config.network.domain}"


def data_volume_of(config: Config, name: str) -> str:
    """The name of a VM's data volume."""
    return f"{fqdn_of(config, name)}-data.qcow2"


def url_of(config: Config, name: str) -> str:
    """Where a VM's site is."""
    return f"https://{fqdn_of(config, name)}/"


def target(services: Services, name: str, *, login: Literal["engineer", "vagrant"]) -> Target:
    """How to reach a VM over SSH, as its engineer or with the account that devvm works with.

    Raises:
        NotFoundError: this host's state folder knows no such VM.
    """
    ssh_config = services.state.vm(name) / "ssh_config"
    if not ssh_config.is_file():
        raise NotFoundError(
            f"devvm does not know how to log in to {name}",
            details=f"{ssh_config} is not there",
            resolution="devvm list",
        )
    return Target(ssh_config=ssh_config, alias=name if login == "engineer" else f"{name}-vagrant")


def bring_up(
    services: Services,
    *,
    name: str,
    box: Box,
    vm_config: VmConfig,
    metadata: Metadata,
    run: Run,
) -> Target:
    """Make a VM and boot it, up to where it lets devvm in.

    The caller holds the VM's lock, and has made sure that nothing of this name exists.

    Returns:
        The way in, with the account that devvm works with.

    Raises:
        DevvmError: something failed; the journal is open and `take_down` undoes what was done.
    """
    state, hypervisor = services.state, services.hypervisor
    identifier = str(uuid.uuid4())
    state.open_journal(
        name, CREATE, {"command": run.command, "uuid": identifier, "release": box.release}
    )
    with run.phase("network", "Preparing the network"), state.wait_lock("network"):
        hypervisor.ensure_network()
        lease = hypervisor.reserve_lease(name)
    with run.phase("disks", "Making the disks"):
        _place_box(services, box, run)
        run.detail("making the data disk")
        host_key = _place_data_disk(services, name, metadata.data_volume, vm_config.data_gib)
    with run.phase("boot", "Starting the VM"):
        driver, reason = hypervisor.driver(vm_config.driver)
        if driver is Driver.QEMU and vm_config.driver == "auto":
            run.note(f"The VM runs by {reason}")
        public_key = services.shell.new_key(state.vm(name) / "id_ecdsa", f"devvm {name}")
        _write_ssh_files(services, name, metadata.engineer, lease, host_key)
        text = _vagrantfile(services, name, box, vm_config, driver, identifier, lease, public_key)
        write_atomic(state.vm(name) / "Vagrantfile", text)
        services.vagrant.up(state.vm(name), run.detail, run.log(state))
        hypervisor.set_metadata(identifier, metadata)
        way_in = target(services, name, login="vagrant")
        services.shell.wait(way_in, timeout=BOOT_TIMEOUT, detail=run.detail)
    return way_in


def settle(services: Services, name: str) -> None:
    """What `bring_up` began is complete: nothing will undo it any more."""
    services.state.close_journal(name)


def take_down(services: Services, name: str) -> list[str]:
    """Remove everything of a VM: domain, disks with their data, lease, state folder.

    Safe to run again, from any state that a killed command left. A domain of the VM's name that
    devvm did not make is left alone, and so are its disks.

    Returns:
        What was removed, in words.
    """
    config, state, hypervisor = services.config, services.state, services.hypervisor
    fqdn = fqdn_of(config, name)
    removed: list[str] = []
    disconnect(services, name)
    if _is_ours(services, name):
        if hypervisor.domain_uuid(fqdn) is not None:
            hypervisor.remove_domain(fqdn)
            removed.append(f"the VM {fqdn}")
        for volume in hypervisor.volumes_of(fqdn):
            hypervisor.remove_volume(volume)
            removed.append(f"its disk {volume}")
    with state.wait_lock("network"):
        hypervisor.release_lease(name)
    state.forget(name)
    return removed


def disconnect(services: Services, name: str) -> None:
    """Drop the SSH connections to a VM that are kept open for the next command."""
    for alias in (name, f"{name}-vagrant"):
        ssh_config = services.state.vm(name) / "ssh_config"
        services.shell.disconnect(Target(ssh_config=ssh_config, alias=alias))


@contextmanager
def undone_on_failure(
    services: Services, name: str, run: Run, *, keep: bool = False
) -> Iterator[None]:
    """Take the VM down when the block fails or is interrupted; with `keep`, leave what there is."""
    try:
        yield
    except BaseException as error:
        if keep:
            run.note(f"What was made of {name} is kept; devvm destroy {name} removes it")
            raise
        run.note(f"Undoing what was done for {name}")
        try:
            take_down(services, name)
        except Exception as second:
            run.note(
                f"Undoing failed too: {second}. The journal is kept: the same command, typed "
                "again, undoes it first"
            )
            raise error from second
        raise


@contextmanager
def recorded(services: Services, name: str, run: Run) -> Iterator[None]:
    """Keep the run's phases and durations with the VM, however it ends."""
    result = "failed"
    try:
        yield
        result = "done"
    except KeyboardInterrupt:
        result = "interrupted"
        raise
    finally:
        services.state.add_run(name, run.record(result))


def _is_ours(services: Services, name: str) -> bool:
    """Whether the domain of this name is a VM of devvm's, or what a killed create made of one."""
    found = services.hypervisor.domain_uuid(fqdn_of(services.config, name))
    journal = services.state.journal(name) or {}
    return found is None or journal.get("uuid") == found or services.hypervisor.vm(name) is not None


def _place_box(services: Services, box: Box, run: Run) -> None:
    """See that Vagrant has the box, and the pool its disk image, under vagrant-libvirt's name."""
    with services.state.wait_lock("upload"):  # many creates, one upload
        services.hypervisor.ensure_pool()
        if not services.vagrant.box_registered(box):
            run.detail("adding the box to Vagrant")
            services.vagrant.add_box(box, run.detail)
        name, image = services.vagrant.volume_name(box), services.vagrant.image(box)
        services.hypervisor.upload_volume(name, image, run.detail)


def _place_data_disk(services: Services, name: str, volume: str, size_gib: int) -> str:
    """Make the data disk with the VM's identity on it; the public half of its host key.

    The private halves exist on the host only while the disk is made, in a private folder.
    """
    fqdn = fqdn_of(services.config, name)
    private_key, public_key = services.data_disks.new_host_key(fqdn)
    authority = services.ca.ensure().read_text(encoding="utf-8")
    site_key, site_chain = services.ca.issue(fqdn)
    identity: Mapping[str, str] = {
        "ssh_host_ed25519_key": private_key,
        "ssh_host_ed25519_key.pub": public_key,
        "site.key": site_key,
        "site.crt": site_chain,
        "ca.crt": authority,
    }
    # in the VM's folder, which goes when a killed create is undone
    with tempfile.TemporaryDirectory(dir=services.state.vm(name), prefix=".disk-") as folder:
        image = Path(folder) / "data.qcow2"
        services.data_disks.make(image, size_gib, identity)
        services.hypervisor.upload_volume(volume, image, lambda _text: None)
    return public_key


def _write_ssh_files(
    services: Services, name: str, engineer: str, lease: Lease, host_key: str
) -> None:
    folder = services.state.vm(name)
    key = " ".join(host_key.split()[:2])
    write_atomic(folder / "known_hosts", f"{lease.fqdn} {key}\n")
    control_path = folder / "mux-%r"
    too_long = len(str(control_path)) + len(engineer) > _SOCKET_PATH_MAX
    text = render(
        assets.templates() / "ssh_config.j2",
        name=name,
        fqdn=lease.fqdn,
        address=lease.address,
        engineer=engineer,
        folder=str(folder),
        control_path="" if too_long else str(control_path),
    )
    write_atomic(folder / "ssh_config", text)


def _vagrantfile(
    services: Services,
    name: str,
    box: Box,
    vm_config: VmConfig,
    driver: Driver,
    identifier: str,
    lease: Lease,
    public_key: str,
) -> str:
    config, folder = services.config, services.state.vm(name)
    data = {
        "volume": data_volume_of(config, name),
        "size": f"{vm_config.data_gib}G",
        "serial": "devvm-data",
    }
    extra = [
        {"volume": f"{lease.fqdn}-{d.name}.qcow2", "size": f"{d.size_gib}G", "serial": d.name}
        for d in vm_config.extra_disks
    ]
    ssh_config = shlex.quote(str(folder / "ssh_config"))
    return render(
        assets.vagrantfile_template(),
        fqdn=lease.fqdn,
        box=box.vagrant_name,
        box_version="1.0.0",
        boot_timeout=BOOT_TIMEOUT,
        private_key=str(folder / "id_ecdsa"),
        proxy_command=f"ssh -F {ssh_config} -W 127.0.0.1:22 {name}-vagrant",
        uri=config.uri,
        driver=driver.value,
        cpu_mode="host-passthrough" if driver is Driver.KVM else "maximum",
        uuid=identifier,
        title=f"devvm {name}",
        description=f"{lease.fqdn}, made by devvm from the box {box.vagrant_name}",
        cpus=vm_config.cpus,
        memory_mib=vm_config.memory_mib,
        network=config.network.name,
        network_address=config.network.address,
        mac=lease.mac,
        pool=config.pool,
        root_gib=vm_config.root_gib,
        disks=[data, *extra],
        oem_strings=[f"io.systemd.credential.binary:tmpfiles.extra={_first_files(public_key)}"],
    )


def _first_files(public_key: str) -> str:
    """The first key of the account that devvm works with, as lines of tmpfiles.d, in base64."""
    ssh = f"{_VAGRANT_HOME_IN_GUEST}/.ssh"
    content = base64.b64encode(f"{public_key}\n".encode()).decode()
    lines = (
        f"d {ssh} 0700 vagrant vagrant -\n"
        f"f+~ {ssh}/authorized_keys 0600 vagrant vagrant - {content}\n"
    )
    return base64.b64encode(lines.encode()).decode()
