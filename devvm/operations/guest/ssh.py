"""SSH to a VM: its key pair, its pinned host key, the files that SSH and Vagrant read.

They are all in the VM's folder, and can all be recreated from what libvirt knows.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
from contextlib import AbstractContextManager
from typing import Literal

from devvm.domain.disk import DATA, ROOT
from devvm.domain.errors import NotFoundError, OperationError
from devvm.domain.vm import Driver, Lease, Metadata, Target, Vm, VmState
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.ports.services import Services
from devvm.system import assets, sockets
from devvm.system.render import render
from devvm.system.state import write_atomic

_VAGRANT_HOME_IN_GUEST = "/var/lib/vagrant"
_KEY = "id_ecdsa"
#: A copy of the domain's definition, in case somebody deletes the domain.
DEFINITION = "domain.xml"
#: Files that devvm and Vagrant need in a VM's folder.
FILES = (_KEY, f"{_KEY}.pub", "known_hosts", "ssh_config", "Vagrantfile", DEFINITION)
_VAGRANT_ID = ".vagrant/machines/{fqdn}/libvirt/id"
_OFF = frozenset({VmState.SHUTOFF, VmState.CRASHED, VmState.PAUSED})
#: Run as root in the guest, with a login and a public key.
_ADMIT = """set -eu
home=$(getent passwd "$1" | cut -d: -f6)
file=$home/.ssh/authorized_keys
grep -qxF "$2" "$file" 2>/dev/null && exit 0
install -d -m 0700 -o "$1" -g "$1" "$home/.ssh"
{ cat "$file" 2>/dev/null || :; printf '%s\\n' "$2"; } >"$file.new"
chown "$1:" "$file.new"
chmod 0600 "$file.new"
mv -T "$file.new" "$file"
"""


def target(machine: Machine, *, login: Literal["engineer", "vagrant"]) -> Target:
    """The SSH target for a VM, as its engineer or as devvm's own account there.

    Raises:
        NotFoundError: the VM's folder has no SSH configuration.
    """
    ssh_config = machine.folder / "ssh_config"
    if not ssh_config.is_file():
        raise NotFoundError(
            f"devvm has lost what it needs to log in to {machine}",
            details=f"{ssh_config} is missing",
            resolution="devvm doctor --fix",
        )
    sockets.prepare()
    return Target(
        ssh_config=ssh_config, alias=machine.name if login == "engineer" else f"{machine}-vagrant"
    )


def disconnect(machine: Machine) -> None:
    """Close the SSH connections to a VM that are kept open for the next command."""
    for alias in (machine.name, f"{machine}-vagrant"):
        ssh_config = machine.folder / "ssh_config"
        machine.services.shell.disconnect(Target(ssh_config=ssh_config, alias=alias))


def opening(machine: Machine) -> AbstractContextManager[None]:
    """Open the engineer's connection beside the block, so that their first command is quick."""
    return machine.services.shell.opening(target(machine, login="engineer"))


def wait(machine: Machine, run: Run) -> Target:
    """Wait until devvm can log in to a VM that is booting.

    Raises:
        OperationError: it can't, or the VM stopped meanwhile.
    """
    services = machine.services
    way_in = target(machine, login="vagrant")

    def detail(text: str) -> None:
        vm = machine.vm()
        if vm is None or vm.state in _OFF:
            raise OperationError(
                f"{machine} stopped while booting",
                details=f"it is {vm.state if vm else 'gone'}; {_space(services)}",
                resolution=f"devvm doctor; to see its console: devvm console {machine}",
            )
        run.detail(text)

    timeout = services.config.vm.boot_timeout_seconds
    services.shell.wait(way_in, timeout=timeout, detail=detail)
    return way_in


def new_key(machine: Machine) -> str:
    """Create the key pair that devvm logs in with; return the public key."""
    public_key = prepare_key(machine)
    take_key(machine)
    return public_key


def prepare_key(machine: Machine) -> str:
    """Create a key pair that is not used until `take_key`; return the public key."""
    folder = machine.folder
    folder.mkdir(parents=True, exist_ok=True)
    return machine.services.shell.new_key(folder / f"{_KEY}.new", f"devvm {machine}")


def take_key(machine: Machine) -> None:
    """Use the prepared key pair from now on."""
    folder = machine.folder
    (folder / f"{_KEY}.new.pub").replace(folder / f"{_KEY}.pub")
    (folder / f"{_KEY}.new").replace(folder / _KEY)


def own_key(machine: Machine) -> str | None:
    """The public key that devvm logs in with; None if the key pair is lost."""
    folder = machine.folder
    if not (folder / _KEY).is_file() or not (folder / f"{_KEY}.pub").is_file():
        return None
    return (folder / f"{_KEY}.pub").read_text(encoding="utf-8").strip()


def admit(services: Services, way_in: Target, login: str, public_key: str) -> None:
    """Authorize another key for an account of a VM."""
    argv = ["sudo", "sh", "-s", "--", login, public_key]
    services.shell.run(way_in, argv, stdin=_ADMIT)


def oem_string(public_key: str) -> str:
    """The SMBIOS string that authorizes a key for devvm's own account, at boot.

    systemd reads it as a credential with lines of tmpfiles.d (systemd-tmpfiles(8)).
    """
    ssh = f"{_VAGRANT_HOME_IN_GUEST}/.ssh"
    content = base64.b64encode(f"{public_key}\n".encode()).decode()
    lines = (
        f"d {ssh} 0700 vagrant vagrant -\n"
        f"f+~ {ssh}/authorized_keys 0600 vagrant vagrant - {content}\n"
    )
    encoded = base64.b64encode(lines.encode()).decode()
    return f"io.systemd.credential.binary:tmpfiles.extra={encoded}"


def write_ssh_files(services: Services, metadata: Metadata, lease: Lease) -> None:
    """Write what SSH reads: its configuration, and the one host key that is accepted."""
    folder = services.state.vm(metadata.name)
    key = " ".join(metadata.host_key.split()[:2])
    write_atomic(folder / "known_hosts", f"{lease.fqdn} {key}\n")
    sockets.prepare()
    # A connection to a VM that had another host key is never used again.
    socket = hashlib.sha256(f"{folder}\n{key}".encode()).hexdigest()[:16]
    text = render(
        assets.templates() / "ssh_config.j2",
        name=metadata.name,
        fqdn=lease.fqdn,
        address=lease.address,
        engineer=metadata.engineer,
        folder=str(folder),
        socket_folders=sockets.FOLDERS,
        socket=socket,
    )
    write_atomic(folder / "ssh_config", text)


def write_vagrant_files(services: Services, vm: Vm, lease: Lease, public_key: str) -> None:
    """Write what Vagrant reads, from the domain as it is: the Vagrantfile, and the machine's ID."""
    sizes = {d.role: -(-d.size_bytes // 1024**3) for d in services.disks.of(vm.fqdn)}
    write_vagrantfile(
        services,
        metadata=vm.known,
        lease=lease,
        uuid=vm.uuid,
        driver=vm.driver,
        cpus=vm.cpus,
        memory_mib=vm.memory_mib,
        sizes_gib={ROOT: 20, **sizes},
        volumes={d.role: d.path.name for d in vm.disks if d.role != ROOT},
        public_key=public_key,
    )
    identifier = services.state.vm(vm.name) / _VAGRANT_ID.format(fqdn=vm.fqdn)
    identifier.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(identifier, vm.uuid)


def missing_files(machine: Machine, fqdn: str) -> list[str]:
    """The files that a VM's folder lacks."""
    folder = machine.folder
    return [
        file for file in (*FILES, _VAGRANT_ID.format(fqdn=fqdn)) if not (folder / file).is_file()
    ]


def write_vagrantfile(
    services: Services,
    *,
    metadata: Metadata,
    lease: Lease,
    uuid: str,
    driver: Driver,
    cpus: int,
    memory_mib: int,
    sizes_gib: dict[str, int],
    volumes: dict[str, str],
    public_key: str,
) -> None:
    """Write a VM's Vagrantfile.

    Args:
        services: The adapters to use.
        metadata: The VM's metadata.
        lease: Its DHCP lease.
        uuid: The UUID of its domain.
        driver: KVM or emulation.
        cpus: How many CPUs it has.
        memory_mib: How much memory it has.
        sizes_gib: The sizes of its disks, by role.
        volumes: Names of its volumes, by role; without the root, which comes from the box.
        public_key: The key that devvm logs in with.
    """
    config, folder = services.config, services.state.vm(metadata.name)
    roles = sorted(volumes, key=lambda role: (role != DATA, role))
    ssh_config = shlex.quote(str(folder / "ssh_config"))
    box = f"devvm/{metadata.release}"
    text = render(
        assets.vagrantfile_template(),
        fqdn=lease.fqdn,
        box=box,
        box_version="1.0.0",
        boot_timeout=config.vm.boot_timeout_seconds,
        private_key=str(folder / _KEY),
        proxy_command=f"ssh -F {ssh_config} -W 127.0.0.1:22 {metadata.name}-vagrant",
        uri=config.uri,
        driver=driver.value,
        cpu_model="" if driver is Driver.KVM else config.vm.emulated_cpu,
        uuid=uuid,
        title=f"devvm {metadata.name}",
        description=f"{lease.fqdn}, made by devvm from the box {box}",
        cpus=cpus,
        memory_mib=memory_mib,
        network=config.network.name,
        network_address=config.network.address,
        mac=lease.mac,
        pool=config.pool,
        root_gib=sizes_gib[ROOT],
        disks=[
            {"volume": volumes[role], "size": f"{sizes_gib[role]}G", "serial": role}
            for role in roles
        ],
        oem_strings=[oem_string(public_key)],
    )
    write_atomic(folder / "Vagrantfile", text)


def _space(services: Services) -> str:
    return f"{services.volumes.free_bytes() / 1024**3:.1f} GiB free in the pool"
