"""A world in memory for operations: what they may see of libvirt, Vagrant, SSH and Ansible.

Each part does what its adapter promises, and notes what it was asked; mypy holds it against its
port, where `Services` is made. `host.fail_at` makes a step fail by its name, `host.fail_number` by
its number, with whatever exception a test wants. The exception `Killed` stands for SIGKILL: nothing
answers any more until `again()`.
"""

from __future__ import annotations

import functools
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from devvm.config import Config
from devvm.errors import OperationError
from devvm.fleet.stack import Release, Stack
from devvm.model import (
    DATA,
    ROOT,
    AnsibleResult,
    Box,
    CheckResult,
    DomainDisk,
    Engineer,
    Outcome,
    PhaseRecord,
    Target,
    Vm,
    VmState,
)
from devvm.operations import create
from devvm.operations.ports import BoxStore, Detail, Services
from devvm.operations.progress import Run
from devvm.package_set import PackageSet
from devvm.release import content_hash, same_release
from devvm.state import State
from tests.unit.memory_host import GIB, POOL, Domain, Host, Hypervisor, Killed, Layer

__all__ = ["GIB", "POOL", "RELEASE", "Killed", "World"]

RELEASE = "2026.11.23-1a2b3c4d5e6f"
#: What an uploaded image takes of the pool, whatever it holds.
_UPLOADED = 1_000_000
#: Of the stack in hand; it takes a while to name it.
_content = functools.cache(content_hash)
ANN = Engineer(
    login="ann", authorized_keys=("ssh-ed25519 ANN",), git_name="Ann Lee", git_email="ann@x.test"
)


class Vagrant:
    def __init__(self, host: Host, domain: str, folder: Path) -> None:
        self.host = host
        self.domain = domain
        self.folder = folder

    def box_registered(self, box: Box) -> bool:
        return box.release in self.host.added_boxes

    def add_box(self, box: Box, detail: Detail) -> None:
        self.host.step("add_box")
        self.host.added_boxes.add(box.release)
        if box.path.exists():  # a real one
            with tarfile.open(box.path) as archive:
                self.image(box).parent.mkdir(parents=True, exist_ok=True)
                for name in {"box.img", "packages.lock"} & {*archive.getnames()}:
                    member = archive.extractfile(name)
                    assert member is not None
                    self.image(box).with_name(name).write_bytes(member.read())

    def remove_box(self, box: Box) -> None:
        self.host.step("remove_box")
        self.host.added_boxes.discard(box.release)

    def volume_name(self, box: Box) -> str:
        return f"box-{box.release}.img"

    def image(self, box: Box) -> Path:
        return self.folder / box.release / "box.img"

    def up(self, folder: Path, detail: Detail, log: Path) -> None:
        """Make the root, the volumes that are missing and the domain, as vagrant-libvirt does."""
        text = (folder / "Vagrantfile").read_text()
        fqdn = f"{folder.name}.{self.domain}"

        def given(name: str) -> str:
            found = re.search(rf'{name} = "([^"]*)"', text)
            assert found is not None, name
            return found[1]

        release = given("machine.vm.box").removeprefix("devvm/")
        self.host.volumes[f"{fqdn}.img"] = Layer(below=POOL / f"box-{release}.img")
        disks = [DomainDisk(device="vda", role=ROOT, path=POOL / f"{fqdn}.img")]
        found = re.findall(r':path => "([^"]*)".*\n.*:serial => "([^"]*)"', text)
        for number, (volume, role) in enumerate(found):
            self.host.volumes.setdefault(volume, Layer())
            device = f"vd{'bcdef'[number]}"
            disks.append(DomainDisk(device=device, role=role, path=POOL / volume))
        self.host.step("define")
        domain = Domain(
            name=fqdn, uuid=given("libvirt.uuid"), mac=given("management_network_mac"),
            disks=tuple(disks),
        )  # fmt: skip
        self.host.domains[fqdn] = domain
        self.host.boot(domain)
        self.host.step("boot")


class Shell:
    def __init__(self, host: Host) -> None:
        self.host = host
        self.asked: list[tuple[str, list[str]]] = []
        self.answer = "journal\n"

    def wait(self, target: Target, *, timeout: float, detail: Detail) -> None:
        self.host.step("wait")

    def run(
        self, target: Target, argv: Sequence[str], *, check: bool = True, timeout: float = 300,
        stdin: str | None = None,
    ) -> tuple[int, str, str]:  # fmt: skip
        self.host.step("shell")
        self.asked.append((target.alias, list(argv)))
        return 0, self.answer, ""

    def transfer(
        self, target: Target, argv: Sequence[str], *, source: Path | None = None,
        destination: Path | None = None, timeout: float = 3600,
    ) -> None:  # fmt: skip
        self.host.step("transfer")
        self.asked.append((target.alias, list(argv)))
        if destination is not None:
            destination.write_text(self.answer)

    def interactive(self, target: Target, argv: Sequence[str]) -> int:
        self.asked.append((target.alias, list(argv)))
        return 7

    def disconnect(self, target: Target) -> None:
        self.host.step(f"disconnect {target.alias}")

    def new_key(self, path: Path, comment: str) -> str:
        path.write_text("PRIVATE")
        path.chmod(0o600)
        path.with_name(f"{path.name}.pub").write_text(f"ecdsa-sha2-nistp256 AAAA {comment}\n")
        return f"ecdsa-sha2-nistp256 AAAA {comment}"


class Provisioner:
    def __init__(self, host: Host) -> None:
        self.host = host
        self.variables: Mapping[str, Any] = {}

    def apply(
        self, playbook: str, target: Target, *, variables: Mapping[str, Any], detail: Detail,
        log: Path, tags: Sequence[str] = (),
    ) -> AnsibleResult:  # fmt: skip
        self.host.step("personalise")
        self.variables = variables
        return AnsibleResult(ok=1, changed=1)


class Verifier:
    def __init__(self, host: Host) -> None:
        self.host = host
        self.outcome = Outcome.PASSED
        self.packages: Mapping[str, str] | None = None

    def check(
        self, target: Target, *, detail: Detail, log: Path,
        packages: Mapping[str, str] | None = None, junit: Path | None = None,
    ) -> tuple[CheckResult, ...]:  # fmt: skip
        self.host.step("verify")
        self.packages = packages
        return (CheckResult(name="unit/nginx.service", role="nginx", outcome=self.outcome),)


class Ca:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "ca.crt"

    def ensure(self) -> Path:
        self.path.write_text("CA\n")
        return self.path

    def issue(self, fqdn: str) -> tuple[str, str]:
        return "SITE KEY\n", _chain(datetime.now(UTC).date() + timedelta(days=824))

    def renew(self, fqdn: str, chain: str) -> str:
        self.ends(chain)
        return self.issue(fqdn)[1]

    def ends(self, chain: str) -> datetime:
        if not chain.startswith(_CHAIN):
            raise OperationError("a certificate can't be read", details=chain)
        return datetime.fromisoformat(f"{chain.split()[-1]}T00:00:00+00:00")


_CHAIN = "SITE CHAIN until "


def _chain(end: date) -> str:
    return f"{_CHAIN}{end}\n"


class Boxes:
    """The boxes, and what the files of their images hold."""

    def __init__(self, box: Box) -> None:
        self.boxes = [box]
        self.damaged: dict[str, str] = {}  # releases whose files are damaged, and how
        self.files: dict[Path, str] = {}  # hashes of files that are not as they should be
        self.sets: dict[str, PackageSet] = {}  # exact packages, by release

    def list(self) -> list[Box]:
        return [*self.boxes]

    def find(self, release: str) -> Box | None:
        return next((b for b in self.boxes if same_release(b.release, release)), None)

    def package_set(self, box: Box) -> PackageSet | None:
        return self.sets.get(box.release)

    def damage(self, box: Box) -> str | None:
        return self.damaged.get(box.release)

    def image_sha256(self, box: Box) -> str:
        return box.image_sha256

    def sha256(self, file: Path) -> str:
        return self.files.get(file, next(iter(self.boxes)).image_sha256)

    def remove(self, box: Box) -> None:
        self.boxes.remove(box)


class Releases:
    """The releases on record; each has the stack and the production that were in hand."""

    def __init__(self) -> None:
        self.records: dict[str, Release] = {}
        self.stacks: dict[str, Stack] = {}
        self.production: dict[str, str] = {}  # the hash that is kept of it, by release
        self.sets: dict[str, PackageSet | None] = {}  # exact packages, by release
        self.files_in_hand = {"playbooks/site.yml": b"---\n"}
        self.production_in_hand = "p" * 64

    def list(self) -> list[Release]:
        newest = sorted(self.records.values(), key=lambda r: (r.created_at, r.release))
        return newest[::-1]

    def find(self, release: str) -> Release | None:
        return next((r for r in self.list() if same_release(r.release, release)), None)

    def _name(self, release: str) -> str:
        found = self.find(release)
        assert found is not None, release
        return found.release

    def stack(self, release: str) -> Stack:
        return self.stacks[self._name(release)]

    def stack_in_hand(self, packages: Mapping[str, str]) -> Stack:
        return Stack(files=dict(self.files_in_hand), packages=packages)

    def production_sha256(self, release: str) -> str:
        return self.production[self._name(release)]

    def production_in_hand_sha256(self) -> str:
        return self.production_in_hand

    def package_set(self, release: str) -> PackageSet | None:
        return self.sets.get(self._name(release))

    def write(self, release: Release, packages: PackageSet | None = None) -> None:
        if release.release not in self.records:
            self.sets[release.release] = packages
            self.stacks[release.release] = self.stack_in_hand(release.packages)
        self.production[release.release] = self.production_in_hand
        self.records[release.release] = release

    def change(self, release: Release) -> None:
        self.records[release.release] = release


class Stacks:
    """The world's own tools for every release; notes for which they were asked."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked: list[tuple[str, str]] = []

    def provisioner(self, release: str) -> Provisioner:
        self.asked.append(("provisioner", release))
        return self.world.provisioner

    def verifier(self, release: str) -> Verifier:
        self.asked.append(("verifier", release))
        return self.world.verifier


class DataDisks:
    def __init__(self, host: Host) -> None:
        self.host = host
        self.identity: dict[str, str] = {}
        self.folder_mode = 0

    def make(self, destination: Path, size_gib: int, identity: Mapping[str, str]) -> None:
        self.host.step("make_data_disk")
        self.identity = dict(identity)
        self.folder_mode = destination.parent.stat().st_mode & 0o777
        destination.write_text("disk")

    def new_host_key(self, comment: str) -> tuple[str, str]:
        return "HOST KEY\n", f"ssh-ed25519 HOST-{len(self.host.calls)} {comment}\n"


class Reporter:
    """Remembers what a person was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.phases: list[str] = []

    def phase_started(self, name: str, title: str) -> None:
        self.phases.append(name)

    def detail(self, text: str) -> None:
        pass

    def phase_finished(self, record: PhaseRecord) -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)


class UploadingHypervisor(Hypervisor):
    """With the one call that looks at files: a data disk has its identity, a box its image."""

    def __init__(self, host: Host, domain: str, world: World) -> None:
        super().__init__(host, domain)
        self.world = world

    def upload_volume(self, name: str, source: Path, detail: Detail, *, mend: bool = False) -> Path:
        world, host = self.world, self.host
        data = "-data." in name
        host.step("upload_data" if data else "upload_box")
        if name in host.volumes and not mend:
            return POOL / name
        size = world.config.vm.data_gib * GIB if data else 20 * GIB
        if name not in host.volumes:
            host.take(_UPLOADED, f"the volume {name} can't be filled")
        old = host.volumes.get(name, Layer(size=size))
        if data:
            key = world.data_disks.identity["ssh_host_ed25519_key.pub"]
            old.files["identity/ssh_host_ed25519_key.pub"] = key
        else:
            old.sha256 = self.world.boxes_in_use().sha256(source)
        host.volumes[name] = old
        return POOL / name


class World:
    """A host, and devvm on it."""

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
            packages={"mariadb-server": "1:10.11.14-0+deb12u2"}, content=_content(),
        )  # fmt: skip
        self.domain = self.config.network.domain
        self.shell, self.provisioner = Shell(self.host), Provisioner(self.host)
        self.verifier, self.data_disks = Verifier(self.host), DataDisks(self.host)
        self.boxes = Boxes(self.box)
        self.releases, self.stacks = Releases(), Stacks(self)
        self.pauses: list[float] = []  # seconds; here they pass at once
        self.services = Services(
            config=self.config,
            state=self.state,
            hypervisor=UploadingHypervisor(self.host, self.domain, self),
            vagrant=Vagrant(self.host, self.domain, tmp_path / "vagrant"),
            shell=self.shell,
            provisioner=self.provisioner,
            verifier=self.verifier,
            ca=Ca(tmp_path),
            boxes=self.boxes,
            data_disks=self.data_disks,
            releases=self.releases,
            stacks=self.stacks,
            pause=self.pauses.append,
        )
        self.reporter = Reporter()

    def boxes_in_use(self) -> BoxStore:
        """The box store of the services that a test uses."""
        return self.services.boxes

    def configured(self, **vm: object) -> Services:
        """The services with other settings of `[vm]`."""
        return replace(
            self.services,
            config=self.config.model_copy(update={"vm": self.config.vm.model_copy(update=vm)}),
        )

    def run(self, command: str) -> Run:
        return Run(command, self.reporter)

    def again(self) -> None:
        """The next command, after whatever became of the last one."""
        self.host.dead = False
        self.host.fail_at, self.host.fail_number, self.host.failure = "", 0, None
        self.host.calls.clear()
        self.reporter.notes.clear()
        self.reporter.phases.clear()

    def create(self, name: str = "dev1", *, release: str | None = None, keep: bool = False) -> Vm:
        """A VM that is made, as a test's beginning."""
        request = create.CreateRequest(name=name, engineer=ANN, release=release, keep=keep)
        result = create.create(self.services, request, self.run(f"create {name}"))
        self.again()
        return result.vm

    def vm(self, name: str = "dev1") -> Vm | None:
        return self.services.hypervisor.vm(name)

    def top(self, name: str, role: str) -> Path:
        """The volume that a VM writes to as one of its disks."""
        vm = self.vm(name)
        assert vm is not None, f"there is no {name}"
        return next(disk.path for disk in vm.disks if disk.role == role)

    def write(self, name: str, path: str, text: str, role: str = DATA) -> None:
        """A guest writes a file on one of its disks."""
        self.host.volumes[self.top(name, role).name].files[path] = text

    def read(self, name: str, path: str, role: str = DATA) -> str | None:
        """What a guest reads."""
        return self.host.read(self.top(name, role)).get(path)

    def unused(self) -> list[str]:
        """Volumes that nothing needs."""
        return [volume.name for volume in self.services.hypervisor.unused_volumes()]

    def picture(self) -> dict[str, Any]:
        """All that is there: what must be the same after something that was undone."""
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
        """Whatever is there of a VM."""
        fqdn = f"{name}.{self.domain}"
        found = [v for v in sorted(self.host.volumes) if v.startswith((f"{fqdn}.img", f"{fqdn}-"))]
        found += [d for d in sorted(self.host.domains) if d.partition("@")[0] == fqdn]
        found += [f"lease of {name}"] if name in self.host.leases else []
        found += [str(self.state.vm(name))] if self.state.vm(name).exists() else []
        return found

    def target(self, name: str, alias: str) -> Target:
        return Target(ssh_config=self.state.vm(name) / "ssh_config", alias=alias)

    def foreign(self, fqdn: str, *volumes: str) -> None:
        """Somebody else's domain."""
        disks = []
        for volume in volumes:
            self.host.volumes[volume] = Layer()
            disks.append(DomainDisk(device="vda", role=ROOT, path=POOL / volume))
        self.host.domains[fqdn] = Domain(
            name=fqdn, uuid="foreign", disks=tuple(disks), state=VmState.SHUTOFF
        )
