"""A world with releases on record and a fleet, for updates and rollouts.

Safe to be used by several threads. What people write lies on the data disk below `home/`, what
services write below `db/`: taking work along moves the former only, as in a guest.
"""

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

from devvm.errors import OperationError
from devvm.fleet.stack import Release, Stack
from devvm.model import (
    DATA,
    ROOT,
    AnsibleResult,
    Box,
    CheckResult,
    DomainDisk,
    Lease,
    Metadata,
    Outcome,
)
from devvm.operations.ports import Services
from devvm.release import same_release
from tests.unit.memory_state import Domain, Layer
from tests.unit.world import (
    GIB,
    POOL,
    RELEASE,
    Boxes,
    Provisioner,
    Shell,
    UploadingHypervisor,
    Verifier,
    World,
)

NEW = "2026.11.30-aaaaaaaaaaaa"
ROLE = "roles/nginx/templates/nginx.conf.j2"
BASE_FILES = {"playbooks/site.yml": b"---\n", ROLE: b"http2 off;\n"}


class FleetShell(Shell):
    """Guests that can say who is active, and whose work can be taken along."""

    def __init__(self, host, world):
        super().__init__(host)
        self.world = world
        self.people = {}  # by VM: what the script in the guest says of sessions
        self.answers = {}
        self.told = []
        self.mirror = True  # whether guests reach it

    def run(self, target, argv, *, check=True, timeout=300, stdin=None):
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
            if words[0].isdigit():  # looking for work on the root
                return 0, self.world.on_roots.get(name, ""), ""
        return super().run(target, argv, check=check, timeout=timeout, stdin=stdin)

    def _of_people(self, name, verb, *words):
        if verb == "sessions":
            return self.people.get(name, "")
        if verb == "answer":
            return self.answers.get(name, "")
        if verb in ("ask", "tell"):
            self.told.append((name, verb, " ".join(words)))
        return ""

    def transfer(self, target, argv, *, source=None, destination=None, timeout=3600):
        name = target.alias.removesuffix("-vagrant")
        if destination is not None:
            self.host.step("save_work")
            top = next(disk.path for disk in self.world.vm(name).disks if disk.role == DATA)
            files = self.host.read(top)
            home = {path: text for path, text in files.items() if path.startswith("home/")}
            destination.write_text(json.dumps(home))
        else:
            self.host.step("put_work_back")
            for path, text in json.loads(source.read_text()).items():
                self.world.write(name, path, text)


class FleetProvisioner(Provisioner):
    """Ansible that migrates the database, and fails where a test wants it to."""

    def __init__(self, host, world):
        super().__init__(host)
        self.world = world
        self.applied = []
        self.failing = {}  # by VM: what fails
        self.details = "no such file"

    def apply(self, playbook, target, *, variables, detail, log, tags=()):
        name = target.alias.removesuffix("-vagrant")
        self.host.step({"update.yml": "converge"}.get(playbook, "personalise"))
        self.applied.append((name, playbook, tuple(tags), variables))
        if (what := self.failing.get(name)) and what in playbook:
            raise OperationError(f"task '{what}' failed", details=self.details, log=log)
        if playbook == "personalise.yml":
            self.world.write(name, "db/schema", variables["devvm_stamp"]["release"])
        return AnsibleResult(ok=1, changed=1)


class FleetVerifier(Verifier):
    """Checks that fail on some VMs as long as they are on some release."""

    def __init__(self, host, world):
        super().__init__(host)
        self.world = world
        self.failing = set()  # (VM, release): release as its services' data have it

    def check(self, target, *, detail, log, packages=None, junit=None):
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


class LockedHypervisor(UploadingHypervisor):
    """One call at a time, as far as one process is concerned."""

    lock = threading.RLock()

    def __getattribute__(self, name):
        value = super().__getattribute__(name)
        if name.startswith("_") or not callable(value):
            return value

        def locked(*arguments, **more):
            with LockedHypervisor.lock:
                return value(*arguments, **more)

        return locked


class FleetBoxes(Boxes):
    """Boxes of releases that are named; the stack in hand, which is slow to name, is none."""

    def find(self, release):
        return next((b for b in self.boxes if same_release(b.release, release)), None)


class Time:
    """A clock that sleeping moves."""

    def __init__(self):
        self.at = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
        self.lock = threading.Lock()

    def now(self):
        return self.at

    def sleep(self, seconds):
        with self.lock:
            self.at += timedelta(seconds=max(seconds, 1))


class Messenger:
    def __init__(self):
        self.messages = []

    def tell(self, message):
        self.messages.append(message)
        return []


def refuse_damage(host):
    """As `Host.refuse_damage`, but for layers that a VM being changed is about to be put on."""
    needed = {layer.name for path, _ in host.users() for layer in host.chain(path)}
    below = {volume.below for name, volume in host.volumes.items() if name in needed}
    for domain in host.domains.values():
        for disk in domain.live:
            assert disk.path not in below, f"{domain.name} writes under a layer: {disk.path}"


class FleetWorld(World):
    def __init__(self, tmp_path, *, watch_disks=True):
        super().__init__(tmp_path)
        self.host.refuse_damage = partial(refuse_damage, self.host) if watch_disks else bool
        self.on_roots = {}
        self.time, self.messenger = Time(), Messenger()
        self.shell = FleetShell(self.host, self)
        self.provisioner = FleetProvisioner(self.host, self)
        self.verifier = FleetVerifier(self.host, self)
        self.boxes = FleetBoxes(self.box)
        self.services: Services = replace(
            self.services,
            hypervisor=LockedHypervisor(self.host, self.domain, self),
            shell=self.shell,
            provisioner=self.provisioner,
            verifier=self.verifier,
            boxes=self.boxes,
        )
        self.record(RELEASE, BASE_FILES, self.box.packages)
        self.add(NEW, {**BASE_FILES, ROLE: b"http2 on;\n"})

    def record(self, release, files, packages):
        number = len(self.releases.records)
        self.releases.records[release] = Release(
            release=release, created_at=f"2026-11-2{number}T10:00:00+00:00", created_by="ann",
            packages=packages, changes=("nginx: http2 on",),
        )  # fmt: skip
        self.releases.stacks[release] = Stack(files=files, packages=packages)
        self.releases.production[release] = "p" * 64

    def add(self, release, files, packages=None):
        """A release with a box."""
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

    def fleet(self, count, *, off=()):
        """VMs dev001 ..., made at once and not by `create`."""
        names = [f"dev{number:03d}" for number in range(1, count + 1)]
        self.services.hypervisor.ensure_pool()
        self.host.volumes.setdefault(f"box-{RELEASE}.img", Layer(sha256="1" * 64))
        for name in names:
            self.give(name, running=name not in off)
        self.again()
        return names

    def give(self, name, *, running=True):
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

    def _lease(self, name, mac):
        third, fourth = divmod(len(self.host.leases), 250)
        address = f"10.1.{third + 3}.{fourth + 2}"
        return Lease(mac=mac, address=address, fqdn=f"{name}.{self.domain}")

    def release_of(self, name):
        return self.vm(name).metadata.release

    def schema_of(self, name):
        return self.read(name, "db/schema")
