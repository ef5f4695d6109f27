"""A world in memory for operations: libvirt, Vagrant, SSH and Ansible.

`host.fail_at` makes a step fail by name, `host.fail_number` by number, with any exception. The
exception `Killed` stands for SIGKILL: nothing works until `again()`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from devvm.adapters.git import GitOrigins
from devvm.config import Config
from devvm.domain.box import Box
from devvm.domain.disk import DATA, ROOT, DomainDisk
from devvm.domain.vm import Engineer, Target, Vm, VmState
from devvm.operations import recovery
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.vm import create
from devvm.ports.services import BoxStore, Services
from devvm.system.state import State
from tests.support.memory_host import (
    GIB,
    POOL,
    Disks,
    Domain,
    Domains,
    Hardware,
    Host,
    Killed,
    Layer,
    Memory,
    Network,
)
from tests.support.reference_stack import REFERENCE
from tests.support.stand_ins import (
    Boxes,
    Ca,
    DataDisks,
    Provisioner,
    Releases,
    Reporter,
    Shell,
    Stacks,
    UploadingVolumes,
    Vagrant,
    Verifier,
)

__all__ = ["GIB", "POOL", "RELEASE", "Killed", "World"]

RELEASE = "2026.11.23-1a2b3c4d5e6f"
ANN = Engineer(
    login="ann", authorized_keys=("ssh-ed25519 ANN",), git_name="Ann Lee", git_email="ann@x.test"
)


class World:
    """A host with devvm on it."""

    services: Services

    def __init__(self, tmp_path: Path) -> None:
        self.host = Host()
        self.config = Config.model_validate(
            {"state_dir": str(tmp_path / "state"), "pool_path": str(POOL)}
        )
        self.state = State(self.config.state_dir)
        self.state.ensure()
        self.box = Box(
            release=RELEASE, path=Path("/boxes/devvm.box"), sha256="0" * 64, built_at="",
            size_bytes=GIB, verified=True, debian="12", image_sha256="1" * 64,
            packages={"mariadb-server": "1:10.11.14-0+deb12u2"}, content=REFERENCE.content(),
        )  # fmt: skip
        self.domain = self.config.network.domain
        self.shell, self.provisioner = Shell(self.host), Provisioner(self.host)
        self.verifier, self.data_disks = Verifier(self.host), DataDisks(self.host)
        self.boxes = Boxes(self.box)
        self.releases, self.stacks = Releases(), Stacks(self)
        self.pauses: list[float] = []  # in seconds; they take no time here
        self.services = Services(
            config=self.config,
            stack=REFERENCE,
            state=self.state,
            host=Hardware(self.host, self.domain),
            network=Network(self.host, self.domain),
            domains=Domains(self.host, self.domain),
            volumes=UploadingVolumes(self.host, self.domain, self),
            disks=Disks(self.host, self.domain),
            memory=Memory(self.host, self.domain),
            vagrant=Vagrant(self.host, self.domain, tmp_path / "vagrant"),
            shell=self.shell,
            provisioner=self.provisioner,
            verifier=self.verifier,
            ca=Ca(tmp_path),
            boxes=self.boxes,
            origins=GitOrigins(tmp_path / "mirrors"),
            data_disks=self.data_disks,
            releases=self.releases,
            stacks=self.stacks,
            endings=recovery.ENDINGS,
            pause=self.pauses.append,
        )
        self.reporter = Reporter()

    def boxes_in_use(self) -> BoxStore:
        """The box store of the test's services."""
        return self.services.boxes

    def configured(self, **vm: object) -> Services:
        """The services with other settings in `[vm]`."""
        return replace(
            self.services,
            config=self.config.model_copy(update={"vm": self.config.vm.model_copy(update=vm)}),
        )

    def run(self, command: str) -> Run:
        return Run(command, self.reporter)

    def again(self) -> None:
        """Start the next command, whatever happened to the last one."""
        self.host.dead = False
        self.host.fail_at, self.host.fail_number, self.host.failure = "", 0, None
        self.host.calls.clear()
        self.reporter.notes.clear()
        self.reporter.phases.clear()

    def create(self, name: str = "dev1", *, release: str | None = None, keep: bool = False) -> Vm:
        """Create a VM to start a test with."""
        request = create.CreateRequest(name=name, engineer=ANN, release=release, keep=keep)
        result = create.create(self.services, request, self.run(f"create {name}"))
        self.again()
        return result.vm

    def machine(self, name: str = "dev1") -> Machine:
        return Machine(self.services, name)

    def vm(self, name: str = "dev1") -> Vm | None:
        return self.services.domains.vm(name)

    def top(self, name: str, role: str) -> Path:
        """The volume that a VM's disk currently writes to."""
        vm = self.vm(name)
        assert vm is not None, f"there is no {name}"
        return next(disk.path for disk in vm.disks if disk.role == role)

    def write(self, name: str, path: str, text: str, role: str = DATA) -> None:
        """Make a guest write a file on one of its disks."""
        self.host.volumes[self.top(name, role).name].files[path] = text

    def read(self, name: str, path: str, role: str = DATA) -> str | None:
        """What a guest reads from a file."""
        return self.host.read(self.top(name, role)).get(path)

    def unused(self) -> list[str]:
        """Volumes that nothing needs."""
        return [volume.name for volume in self.services.volumes.unused()]

    def picture(self) -> dict[str, Any]:
        """The host's state, which must be unchanged after something was undone."""
        return {
            "domains": {
                d.name: (d.uuid, d.mac, d.disks, d.facts, d.read_only, d.state)
                for d in self.host.domains.values()
            },
            "volumes": {n: (v.size, v.below, dict(v.files)) for n, v in self.host.volumes.items()},
            "leases": dict(self.host.leases),
            "folders": self.state.names(),
            "journals": [n for n in self.state.names() if self.state.journal(n)],
        }

    def remnants(self, name: str) -> list[str]:
        """Anything left of a VM."""
        fqdn = f"{name}.{self.domain}"
        found = [v for v in sorted(self.host.volumes) if v.startswith((f"{fqdn}.img", f"{fqdn}-"))]
        found += [d for d in sorted(self.host.domains) if d.partition("@")[0] == fqdn]
        found += [f"lease of {name}"] if name in self.host.leases else []
        found += [str(self.state.vm(name))] if self.state.vm(name).exists() else []
        return found

    def target(self, name: str, alias: str) -> Target:
        return Target(ssh_config=self.state.vm(name) / "ssh_config", alias=alias)

    def foreign(self, fqdn: str, *volumes: str) -> None:
        """Add somebody else's domain."""
        disks = []
        for volume in volumes:
            self.host.volumes[volume] = Layer()
            disks.append(DomainDisk(device="vda", role=ROOT, path=POOL / volume))
        self.host.domains[fqdn] = Domain(
            name=fqdn, uuid="foreign", disks=tuple(disks), state=VmState.SHUTOFF
        )
