"""A world in memory for operations: what they may see of libvirt, Vagrant, SSH and Ansible.

Each part does what its adapter promises and notes what it was asked; `host.fail_at` makes a step
fail by its name, `host.fail_number` by its number, with whatever exception a test wants. The
exception `Killed` stands for SIGKILL: nothing answers any more until `again()`.
"""

import functools
import re
import tarfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from devvm.config import Config
from devvm.errors import OperationError
from devvm.fleet.stack import Stack
from devvm.model import (
    DATA,
    ROOT,
    AnsibleResult,
    Box,
    CheckResult,
    DomainDisk,
    Engineer,
    Outcome,
    Target,
    VmState,
)
from devvm.operations import create
from devvm.operations.ports import Services
from devvm.operations.progress import Run
from devvm.release import content_hash, same_release
from devvm.state import State
from tests.unit.memory_host import GIB, POOL, Domain, Host, Hypervisor, Killed, Layer

__all__ = ["GIB", "POOL", "RELEASE", "Killed", "World"]

RELEASE = "2026.11.23-1a2b3c4d5e6f"
#: Of the stack in hand; it takes a while to name it.
_content = functools.cache(content_hash)
ANN = Engineer(
    login="ann", authorized_keys=("ssh-ed25519 ANN",), git_name="Ann Lee", git_email="ann@x.test"
)


class Vagrant:
    def __init__(self, host, domain, folder):
        self.host = host
        self.domain = domain
        self.folder = folder

    def box_registered(self, box):
        return box.release in self.host.added_boxes

    def add_box(self, box, detail):
        self.host.step("add_box")
        self.host.added_boxes.add(box.release)
        if box.path.exists():  # a real one
            with tarfile.open(box.path) as archive:
                member = archive.extractfile("box.img")
                self.image(box).parent.mkdir(parents=True, exist_ok=True)
                self.image(box).write_bytes(member.read())
                if "packages.lock" in archive.getnames():
                    text = archive.extractfile("packages.lock").read()
                    self.image(box).with_name("packages.lock").write_bytes(text)

    def remove_box(self, box):
        self.host.step("remove_box")
        self.host.added_boxes.discard(box.release)

    def volume_name(self, box):
        return f"box-{box.release}.img"

    def image(self, box):
        return self.folder / box.release / "box.img"

    def up(self, folder, detail, log):
        """Make the root, the volumes that are missing and the domain, as vagrant-libvirt does."""
        text = (folder / "Vagrantfile").read_text()
        fqdn = f"{folder.name}.{self.domain}"

        def given(name):
            return re.search(rf'{name} = "([^"]*)"', text)[1]

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
    def __init__(self, host):
        self.host = host
        self.asked = []
        self.answer = "journal\n"

    def wait(self, target, *, timeout, detail):
        self.host.step("wait")

    def run(self, target, argv, *, check=True, timeout=300, stdin=None):
        self.host.step("shell")
        self.asked.append((target.alias, list(argv)))
        return 0, self.answer, ""

    def interactive(self, target, argv):
        self.asked.append((target.alias, list(argv)))
        return 7

    def disconnect(self, target):
        self.host.step(f"disconnect {target.alias}")

    def new_key(self, path, comment):
        path.write_text("PRIVATE")
        path.chmod(0o600)
        path.with_name(f"{path.name}.pub").write_text(f"ecdsa-sha2-nistp256 AAAA {comment}\n")
        return f"ecdsa-sha2-nistp256 AAAA {comment}"


class Provisioner:
    def __init__(self, host):
        self.host = host
        self.variables = None

    def apply(self, playbook, target, *, variables, detail, log, tags=()):
        self.host.step("personalise")
        self.variables = variables
        return AnsibleResult(ok=1, changed=1)


class Verifier:
    def __init__(self, host):
        self.host = host
        self.outcome = Outcome.PASSED
        self.packages = None

    def check(self, target, *, detail, log, packages=None, junit=None):
        self.host.step("verify")
        self.packages = packages
        return (CheckResult(name="unit/nginx.service", role="nginx", outcome=self.outcome),)


class Ca:
    def __init__(self, folder):
        self.path = folder / "ca.crt"

    def ensure(self):
        self.path.write_text("CA\n")
        return self.path

    def issue(self, fqdn):
        return "SITE KEY\n", _chain(datetime.now(UTC).date() + timedelta(days=824))

    def renew(self, fqdn, chain):
        self.ends(chain)
        return self.issue(fqdn)[1]

    def ends(self, chain):
        if not chain.startswith(_CHAIN):
            raise OperationError("a certificate can't be read", details=chain)
        return datetime.fromisoformat(f"{chain.split()[-1]}T00:00:00+00:00")


_CHAIN = "SITE CHAIN until "


def _chain(end):
    return f"{_CHAIN}{end}\n"


class Boxes:
    """The boxes, and what the files of their images hold."""

    def __init__(self, box):
        self.boxes = [box]
        self.damaged = {}  # releases whose files are damaged, and how
        self.files = {}  # hashes of files that are not as they should be
        self.sets = {}  # exact packages, by release

    def list(self):
        return list(self.boxes)

    def find(self, release):
        return next((b for b in self.boxes if same_release(b.release, release)), None)

    def package_set(self, box):
        return self.sets.get(box.release)

    def damage(self, box):
        return self.damaged.get(box.release)

    def image_sha256(self, box):
        return box.image_sha256

    def sha256(self, file):
        return self.files.get(file, next(iter(self.boxes)).image_sha256)

    def remove(self, box):
        self.boxes.remove(box)


class Releases:
    """The releases on record; each has the stack and the production that were in hand."""

    def __init__(self):
        self.records = {}
        self.stacks = {}
        self.production = {}  # the hash that is kept of it, by release
        self.sets = {}  # exact packages, by release
        self.files_in_hand = {"playbooks/site.yml": b"---\n"}
        self.production_in_hand = "p" * 64

    def list(self):
        newest = sorted(self.records.values(), key=lambda r: (r.created_at, r.release))
        return newest[::-1]

    def find(self, release):
        return next((r for r in self.list() if same_release(r.release, release)), None)

    def stack(self, release):
        return self.stacks[self.find(release).release]

    def stack_in_hand(self, packages):
        return Stack(files=dict(self.files_in_hand), packages=packages)

    def production_sha256(self, release):
        return self.production[self.find(release).release]

    def production_in_hand_sha256(self):
        return self.production_in_hand

    def package_set(self, release):
        return self.sets.get(self.find(release).release)

    def write(self, release, packages=None):
        if release.release not in self.records:
            self.sets[release.release] = packages
            self.stacks[release.release] = self.stack_in_hand(release.packages)
        self.production[release.release] = self.production_in_hand
        self.records[release.release] = release

    def change(self, release):
        self.records[release.release] = release


class Stacks:
    """The world's own tools for every release; notes for which they were asked."""

    def __init__(self, world):
        self.world = world
        self.asked = []

    def provisioner(self, release):
        self.asked.append(("provisioner", release))
        return self.world.provisioner

    def verifier(self, release):
        self.asked.append(("verifier", release))
        return self.world.verifier


class DataDisks:
    def __init__(self, host):
        self.host = host
        self.identity = {}
        self.folder_mode = 0

    def make(self, destination, size_gib, identity):
        self.host.step("make_data_disk")
        self.identity = dict(identity)
        self.folder_mode = destination.parent.stat().st_mode & 0o777
        destination.write_text("disk")

    def new_host_key(self, comment):
        return "HOST KEY\n", f"ssh-ed25519 HOST-{len(self.host.calls)} {comment}\n"


class Reporter:
    """Remembers what a person was told."""

    def __init__(self):
        self.notes = []
        self.phases = []

    def phase_started(self, name, title):
        self.phases.append(name)

    def detail(self, text):
        pass

    def phase_finished(self, record):
        pass

    def note(self, text):
        self.notes.append(text)


class UploadingHypervisor(Hypervisor):
    """With the one call that looks at files: a data disk has its identity, a box its image."""

    def __init__(self, host, domain, world):
        super().__init__(host, domain)
        self.world = world

    def upload_volume(self, name, source, detail, *, mend=False):
        world, host = self.world, self.host
        data = "-data." in name
        host.step("upload_data" if data else "upload_box")
        if name in host.volumes and not mend:
            return POOL / name
        size = world.config.vm.data_gib * GIB if data else 20 * GIB
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

    def __init__(self, tmp_path):
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
        self.pauses = []  # seconds; here they pass at once
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

    def boxes_in_use(self):
        """The box store of the services that a test uses."""
        return self.services.boxes

    def configured(self, **vm):
        """The services with other settings of `[vm]`."""
        return replace(
            self.services,
            config=self.config.model_copy(update={"vm": self.config.vm.model_copy(update=vm)}),
        )

    def run(self, command):
        return Run(command, self.reporter)

    def again(self):
        """The next command, after whatever became of the last one."""
        self.host.dead = False
        self.host.fail_at, self.host.fail_number, self.host.failure = "", 0, None
        self.host.calls.clear()
        self.reporter.notes.clear()
        self.reporter.phases.clear()

    def create(self, name="dev1", **more):
        """A VM that is made, as a test's beginning."""
        request = create.CreateRequest(name=name, engineer=ANN, **more)
        result = create.create(self.services, request, self.run(f"create {name}"))
        self.again()
        return result.vm

    def vm(self, name="dev1"):
        return self.services.hypervisor.vm(name)

    def write(self, name, path, text, role=DATA):
        """A guest writes a file on one of its disks."""
        top = next(disk.path for disk in self.vm(name).disks if disk.role == role)
        self.host.volumes[top.name].files[path] = text

    def read(self, name, path, role=DATA):
        """What a guest reads."""
        top = next(disk.path for disk in self.vm(name).disks if disk.role == role)
        return self.host.read(top).get(path)

    def unused(self):
        """Volumes that nothing needs."""
        return [volume.name for volume in self.services.hypervisor.unused_volumes()]

    def picture(self):
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

    def remnants(self, name):
        """Whatever is there of a VM."""
        fqdn = f"{name}.{self.domain}"
        found = [v for v in sorted(self.host.volumes) if v.startswith((f"{fqdn}.img", f"{fqdn}-"))]
        found += [d for d in sorted(self.host.domains) if d.partition("@")[0] == fqdn]
        found += [f"lease of {name}"] if name in self.host.leases else []
        found += [str(self.state.vm(name))] if self.state.vm(name).exists() else []
        return found

    def target(self, name, alias):
        return Target(ssh_config=self.state.vm(name) / "ssh_config", alias=alias)

    def foreign(self, fqdn, *volumes):
        """Somebody else's domain."""
        disks = []
        for volume in volumes:
            self.host.volumes[volume] = Layer()
            disks.append(DomainDisk(device="vda", role=ROOT, path=POOL / volume))
        self.host.domains[fqdn] = Domain(
            name=fqdn, uuid="foreign", disks=tuple(disks), state=VmState.SHUTOFF
        )
