"""Stand-ins for devvm's tools in a world in memory, all on the same host.

Each keeps its adapter's promises and records calls. mypy checks each against its port where
`world.World` builds its services.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from devvm.domain.box import Box
from devvm.domain.check import CheckResult, Outcome
from devvm.domain.disk import ROOT, DomainDisk
from devvm.domain.errors import OperationError
from devvm.domain.package_set import PackageSet
from devvm.domain.release.identity import same_release
from devvm.domain.release.stack import Release, Stack
from devvm.domain.run import AnsibleResult, PhaseRecord
from devvm.domain.vm import Target
from devvm.operations.provision import personalise
from devvm.ports.services import Detail
from devvm.stack.folder import StackFolder
from tests.support.memory_host import GIB, POOL, Domain, Host, Layer, Volumes

if TYPE_CHECKING:
    from tests.support.world import World

#: What an uploaded image takes in the pool, whatever is in it.
_UPLOADED = 1_000_000


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
        if box.path.exists():  # it is a real one
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
        if not self.box_registered(box):
            raise OperationError(f"Vagrant does not have the box {box.vagrant_name}")
        return self.folder / box.release / "box.img"

    def up(self, folder: Path, detail: Detail, log: Path) -> None:
        """Create the root, missing volumes and the domain, as vagrant-libvirt does."""
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
        #: Whether the last session could use the person's agent.
        self.forwards_agent = False
        #: Files that commands were given, by the command's last argument.
        self.received: dict[str, bytes] = {}
        #: What is in the guest's database.
        self.database = "Ann Lee\n"
        #: Whether boxes have a program that personalises, and the input it was given.
        self.personalises = False
        self.personalised: list[dict[str, Any]] = []
        self.program_answers = (0, '{"changed": []}\n', "")

    def wait(self, target: Target, *, timeout: float, detail: Detail) -> None:
        self.host.step("wait")

    def run(
        self, target: Target, argv: Sequence[str], *, check: bool = True, timeout: float = 300,
        stdin: str | None = None,
    ) -> tuple[int, str, str]:  # fmt: skip
        self.host.step("shell")
        self.asked.append((target.alias, list(argv)))
        if argv[-1] == personalise.PROGRAM:
            if not self.personalises:
                return 127, "", ""
            self.host.step("personalise")
            self.personalised.append(json.loads(stdin or ""))
            return self.program_answers
        if argv[-1] == "sanitize":
            self.database = self.database.replace("Ann Lee", "Person 1")
        return 0, self.answer, ""

    def transfer(
        self, target: Target, argv: Sequence[str], *, source: Path | int | None = None,
        destination: Path | int | None = None, through: Sequence[str] = (), timeout: float = 3600,
    ) -> None:  # fmt: skip
        self.host.step("transfer")
        self.asked.append((target.alias, list(argv)))
        if isinstance(source, Path):
            self.received[argv[-1]] = source.read_bytes()
        if destination is not None:
            text = self.database if "mariadb-dump" in argv else self.answer
            with _opened(destination, "w") as file:
                file.write(text)
        elif source is not None and "mariadb" in argv:
            self.database = "half of it"
            self.host.step("import")
            with _opened(source, "r") as file:
                self.database = file.read()

    def interactive(
        self, target: Target, argv: Sequence[str], *, forward_agent: bool = False
    ) -> int:
        self.asked.append((target.alias, list(argv)))
        self.forwards_agent = forward_agent
        return 7

    def forward(self, target: Target, port: int, socket: str) -> int:
        self.asked.append((target.alias, [str(port), socket]))
        return 130

    def opening(self, target: Target) -> AbstractContextManager[None]:
        return nullcontext()

    def disconnect(self, target: Target) -> None:
        self.host.step(f"disconnect {target.alias}")

    def new_key(self, path: Path, comment: str) -> str:
        path.write_text("PRIVATE")
        path.chmod(0o600)
        path.with_name(f"{path.name}.pub").write_text(f"ecdsa-sha2-nistp256 AAAA {comment}\n")
        return f"ecdsa-sha2-nistp256 AAAA {comment}"


def _opened(file: Path | int, mode: Literal["r", "w"]) -> IO[str]:
    return os.fdopen(os.dup(file), mode) if isinstance(file, int) else file.open(mode)


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
        self, target: Target, *, checks: Path, detail: Detail, log: Path,
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
    """The boxes, and the contents of their image files."""

    def __init__(self, box: Box) -> None:
        self.boxes = [box]
        self.damaged: dict[str, str] = {}  # the damage, by release
        self.files: dict[Path, str] = {}  # wrong hashes, by file
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
    """Recorded releases, each with the stack and the production of the working tree at the time."""

    def __init__(self) -> None:
        self.records: dict[str, Release] = {}
        self.stacks: dict[str, Stack] = {}
        self.production: dict[str, str] = {}  # the hash of the recorded production, by release
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

    def working_tree_stack(self, packages: Mapping[str, str]) -> Stack:
        return Stack(files=dict(self.files_in_hand), packages=packages)

    def production_sha256(self, release: str) -> str:
        return self.production[self._name(release)]

    def configured_production_sha256(self) -> str:
        return self.production_in_hand

    def folder(self, release: str) -> StackFolder | None:
        return None  # as for a release of an older devvm: the one in the working tree counts

    def package_set(self, release: str) -> PackageSet | None:
        return self.sets.get(self._name(release))

    def write(self, release: Release, packages: PackageSet | None = None) -> None:
        if release.release not in self.records:
            self.sets[release.release] = packages
            self.stacks[release.release] = self.working_tree_stack(release.packages)
        self.production[release.release] = self.production_in_hand
        self.records[release.release] = release

    def change(self, release: Release) -> None:
        self.records[release.release] = release


class Stacks:
    """Uses the world's tools for every release, and records for which release they were used."""

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
    """Records what the user was told."""

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


class UploadingVolumes(Volumes):
    """Volumes whose contents are uploaded: a data disk's identity, a box's image."""

    def __init__(self, host: Host, domain: str, world: World) -> None:
        super().__init__(host, domain)
        self.world = world

    def upload(self, name: str, source: Path, detail: Detail, *, overwrite: bool = False) -> Path:
        world, host = self.world, self.host
        data = "-data." in name
        host.step("upload_data" if data else "upload_box")
        if name in host.volumes and not overwrite:
            return POOL / name
        size = world.config.vm.data_gib * GIB if data else 20 * GIB
        if name not in host.volumes:
            host.take(_UPLOADED, f"the volume {name} can't be written")
        old = host.volumes.get(name, Layer(size=size))
        if data:
            key = world.data_disks.identity["ssh_host_ed25519_key.pub"]
            old.files["identity/ssh_host_ed25519_key.pub"] = key
        else:
            old.sha256 = self.world.boxes_in_use().sha256(source)
        host.volumes[name] = old
        return POOL / name
