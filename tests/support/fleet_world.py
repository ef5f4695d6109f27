"""A world with recorded releases and a fleet, for updates and rollouts.

Thread-safe. On the data disk, people write below `home/` and services below `db/`; as in a real
guest, a home backup contains only the former.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from devvm.domain.box import Box
from devvm.domain.check import CheckResult, Outcome
from devvm.domain.disk import DATA, ROOT, DomainDisk
from devvm.domain.errors import OperationError
from devvm.domain.release.stack import Release, Stack
from devvm.domain.rollout.message import Message
from devvm.domain.run import AnsibleResult
from devvm.domain.vm import Lease, Metadata, Target
from devvm.operations.rollout.notify import Messenger
from devvm.ports import messenger
from devvm.ports.services import Detail
from tests.support.memory_state import Domain, Host, Layer
from tests.support.stand_ins import Provisioner, Shell, Verifier
from tests.support.world import GIB, POOL, RELEASE, World

NEW = "2026.11.30-aaaaaaaaaaaa"
ROLE = "roles/nginx/templates/nginx.conf.j2"
SITE = b"- {hosts: all, roles: [{role: nginx, tags: nginx}]}\n"
BASE_FILES = {"playbooks/site.yml": SITE, ROLE: b"http2 off;\n"}


class FleetShell(Shell):
    """Guests with active users, and with work that can be backed up."""

    def __init__(self, host: Host, world: FleetWorld) -> None:
        super().__init__(host)
        self.world = world
        self.people: dict[str, str] = {}  # by VM: output of the guest's script that lists sessions
        self.answers: dict[str, str] = {}
        self.told: list[tuple[str, str, str]] = []
        self.mirror = True  # whether guests can reach it

    def run(
        self, target: Target, argv: Sequence[str], *, check: bool = True, timeout: float = 300,
        stdin: str | None = None,
    ) -> tuple[int, str, str]:  # fmt: skip
        argv = list(argv)
        name = target.alias.removesuffix("-vagrant")
        if argv[:2] == ["sudo", "journalctl"]:
            return 0, f"{name} gunicorn[7]: no such option\n", ""
        if argv[:1] == ["python3"]:
            return 0 if self.mirror else 1, "", ""
        if argv[:3] == ["sudo", "sh", "-s"] and len(argv) > 3:
            words = [word for word in argv[3:] if word != "--"]
            if words[0] == "mark":
                self.host.step("mark")
                return 0, "", ""
            if words[0] in ("sessions", "ask", "answer", "clear", "tell"):
                return 0, self._of_people(name, *words), ""
            if words[0].isdigit():  # looks for work on the root
                return 0, self.world.on_roots.get(name, ""), ""
        return super().run(target, argv, check=check, timeout=timeout, stdin=stdin)

    def _of_people(self, name: str, verb: str, *words: str) -> str:
        if verb == "sessions":
            return self.people.get(name, "")
        if verb == "answer":
            return self.answers.get(name, "")
        if verb in ("ask", "tell"):
            self.told.append((name, verb, " ".join(words)))
        return ""

    def transfer(
        self, target: Target, argv: Sequence[str], *, source: Path | int | None = None,
        destination: Path | int | None = None, through: Sequence[str] = (), timeout: float = 3600,
    ) -> None:  # fmt: skip
        name = target.alias.removesuffix("-vagrant")
        if {"mariadb", "mariadb-dump"} & set(argv):
            super().transfer(target, argv, source=source, destination=destination)
        elif isinstance(destination, Path):
            self.host.step("save_work")
            files = self.host.read(self.world.top(name, DATA))
            home = {path: text for path, text in files.items() if path.startswith("home/")}
            destination.write_text(json.dumps(home))
        elif isinstance(source, Path):
            self.host.step("put_work_back")
            for path, text in json.loads(source.read_text()).items():
                self.world.write(name, path, text)


class FleetProvisioner(Provisioner):
    """Ansible that migrates the database, and fails if a test wants it to."""

    def __init__(self, host: Host, world: FleetWorld) -> None:
        super().__init__(host)
        self.world = world
        self.applied: list[tuple[str, str, tuple[str, ...], Mapping[str, Any]]] = []
        self.failing: dict[str, str] = {}  # by VM: what fails
        self.details = "no such file"

    def apply(
        self, playbook: str, target: Target, *, variables: Mapping[str, Any], detail: Detail,
        log: Path, tags: Sequence[str] = (),
    ) -> AnsibleResult:  # fmt: skip
        name = target.alias.removesuffix("-vagrant")
        self.host.step({"update.yml": "converge"}.get(playbook, "personalise"))
        self.applied.append((name, playbook, tuple(tags), variables))
        if (what := self.failing.get(name)) and what in playbook:
            raise OperationError(f"task '{what}' failed", details=self.details, log=log)
        if playbook == "personalise.yml":
            self.world.write(name, "db/schema", variables["devvm_stamp"]["release"])
        return AnsibleResult(ok=1, changed=1)


class FleetVerifier(Verifier):
    """Checks that fail on some VMs while they are on some release."""

    def __init__(self, host: Host, world: FleetWorld) -> None:
        super().__init__(host)
        self.world = world
        self.failing: set[tuple[str, str | None]] = (
            set()
        )  # (VM, release): the release that its services' data is from
        self.meanwhile: Callable[[], object] | None = None  # done once, while a VM is being checked

    def check(
        self, target: Target, *, checks: Path, detail: Detail, log: Path,
        packages: Mapping[str, str] | None = None, junit: Path | None = None,
    ) -> tuple[CheckResult, ...]:  # fmt: skip
        if (meanwhile := self.meanwhile) is not None:
            self.meanwhile = None
            meanwhile()
        self.host.step("verify")
        name = target.alias.removesuffix("-vagrant")
        schema = self.world.read(name, "db/schema")
        bad = {(name, schema), ("*", schema)} & self.failing
        outcome = Outcome.FAILED if bad else Outcome.PASSED
        return (
            CheckResult(
                name="unit/nginx.service", role="nginx", outcome=outcome,
                message="it is not active" if bad else "",
            ),
        )  # fmt: skip


class Time:
    """A clock that only sleeping advances."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
        self.lock = threading.Lock()

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        with self.lock:
            self.at += timedelta(seconds=max(seconds, 1))


class Sender:
    """Records messages."""

    name = "hook"

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def send(self, message: Message) -> None:
        self.messages.append(message)


_port: messenger.Sender = Sender()  # mypy checks it against the port


class FleetWorld(World):
    shell: FleetShell
    provisioner: FleetProvisioner
    verifier: FleetVerifier

    def __init__(self, tmp_path: Path, *, watch_disks: bool = True) -> None:
        super().__init__(tmp_path)
        self.host.watched, self.host.busy = watch_disks, True
        self.on_roots: dict[str, str] = {}
        self.time, self.sender = Time(), Sender()
        self.messenger = Messenger([self.sender])
        self.shell = FleetShell(self.host, self)
        self.provisioner = FleetProvisioner(self.host, self)
        self.verifier = FleetVerifier(self.host, self)
        self.services = replace(
            self.services,
            shell=self.shell,
            provisioner=self.provisioner,
            verifier=self.verifier,
        )
        self.record(RELEASE, BASE_FILES, self.box.packages)
        self.add(NEW, {**BASE_FILES, ROLE: b"http2 on;\n"})

    def record(self, release: str, files: Mapping[str, bytes], packages: Mapping[str, str]) -> None:
        number = len(self.releases.records)
        self.releases.records[release] = Release(
            release=release, created_at=f"2026-11-2{number}T10:00:00+00:00", created_by="ann",
            packages=packages, changes=("nginx: http2 on",),
        )  # fmt: skip
        self.releases.stacks[release] = Stack(files=files, packages=packages)
        self.releases.production[release] = "p" * 64

    def add(
        self, release: str, files: Mapping[str, bytes], packages: Mapping[str, str] | None = None
    ) -> None:
        """Record a release, with a box."""
        packages = dict(self.box.packages if packages is None else packages)
        self.record(release, files, packages)
        self.boxes.boxes.append(
            Box(
                release=release,
                path=POOL / "devvm.box",
                sha256="0" * 64,
                built_at="",
                size_bytes=GIB,
                verified=True,
                debian="12",
                image_sha256="1" * 64,
                packages=packages,
            )
        )

    def fleet(self, count: int, *, off: Container[str] = ()) -> list[str]:
        """Add VMs dev001 ... directly, without `create`."""
        names = [f"dev{number:03d}" for number in range(1, count + 1)]
        self.services.volumes.ensure()
        self.host.volumes.setdefault(f"box-{RELEASE}.img", Layer(sha256="1" * 64))
        for name in names:
            self.give(name, running=name not in off)
        self.again()
        return names

    def give(self, name: str, *, running: bool = True) -> None:
        fqdn = f"{name}.{self.domain}"
        root, data = f"{fqdn}-root.00000000.qcow2", f"{fqdn}-data.00000000.qcow2"
        self.host.volumes[root] = Layer(below=POOL / f"box-{RELEASE}.img")
        self.host.volumes[data] = Layer(
            files={"identity/ssh_host_ed25519_key.pub": "ssh-ed25519 KEY", "db/schema": RELEASE}
        )
        number = int.from_bytes(name.encode(), "big") % 2**24
        domain = Domain(
            name=fqdn, uuid=f"uuid-{name}", mac=f"52:54:00:{number >> 16:02x}:"
            f"{number >> 8 & 255:02x}:{number & 255:02x}",
            disks=(
                DomainDisk(device="vda", role=ROOT, path=POOL / root),
                DomainDisk(device="vdb", role=DATA, path=POOL / data),
            ),
            facts=Metadata(
                name=name, engineer="ann", release=RELEASE, created_at="2026-11-20T10:00:00+00:00",
                ready=True, authorized_keys=("ssh-ed25519 ANN",), git_name="Ann",
                host_key="ssh-ed25519 KEY",
            ),
        )  # fmt: skip
        self.host.domains[fqdn] = domain
        self.host.leases[name] = self._lease(name, domain.mac)
        folder = self.state.vm(name)
        folder.mkdir(parents=True, exist_ok=True)
        for file in ("ssh_config", "known_hosts", "Vagrantfile", "domain.xml"):
            (folder / file).write_text("")
        self.shell.new_key(folder / "id_ecdsa", name)
        identifier = folder / f".vagrant/machines/{fqdn}/libvirt/id"
        identifier.parent.mkdir(parents=True)
        identifier.write_text(domain.uuid)
        if running:
            self.host.boot(domain)

    def _lease(self, name: str, mac: str) -> Lease:
        third, fourth = divmod(len(self.host.leases), 250)
        address = f"10.1.{third + 3}.{fourth + 2}"
        return Lease(mac=mac, address=address, fqdn=f"{name}.{self.domain}")

    def release_of(self, name: str) -> str:
        vm = self.vm(name)
        assert vm is not None
        assert vm.metadata is not None
        return vm.metadata.release

    def schema_of(self, name: str) -> str | None:
        return self.read(name, "db/schema")
