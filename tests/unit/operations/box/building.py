"""The tools that build boxes, in memory."""

import hashlib
from contextlib import contextmanager
from pathlib import Path

from devvm.adapters.packages.package_cache import PackageCache
from devvm.domain.errors import OperationError
from devvm.domain.package_set import Package, PackageSet
from devvm.domain.run import AnsibleResult
from devvm.domain.vm import Target
from devvm.operations.box import boxes
from devvm.ports.box import BuildServices
from devvm.stack.folder import StackFolder

GIB = 1024**3


def package(name, version="1"):
    """A package whose file states its name and version."""
    content = f"{name} {version}".encode()
    return Package(
        name=name, architecture="amd64", version=version, size=len(content), archive="main",
        sha256=hashlib.sha256(content).hexdigest(), path=f"pool/main/{name}_{version}_amd64.deb",
    )  # fmt: skip


KERNEL = package("linux-image-6.1.0-1-cloud-amd64", "6.1")


class Mirror:
    """A mirror with Debian's packages of today, and older files it still has."""

    def __init__(self):
        self.packages = PackageSet(packages=(package("nginx"), KERNEL))
        self.up = True
        self.files = {}
        self.asked = []
        self.needed = None  # needed packages of a repository; None for all

    def mirrors(self, archive):
        return ["http://mirror.test/debian"]

    def source_lines(self):
        return ["deb http://mirror.test/debian bookworm main"]

    def move(self, *packages):
        """Publish other versions; the previous ones disappear."""
        self.packages = PackageSet(packages=(*packages, KERNEL))

    def resolve(self, packages, *, detail, log):
        self.asked.append("resolve")
        if not self.up:
            raise OperationError("the package mirror can't be used")
        return self.packages

    def fetch(self, packages, folder, *, detail, log):
        self.asked += [f"fetch {p.name} {p.version}" for p in packages]
        for wanted in packages:
            if self.up and wanted in self.packages:
                file = folder / f"{wanted.sha256}.deb"
                file.write_text(f"{wanted.name} {wanted.version}")
        return [] if self.up else ["http://mirror.test/debian"]

    def closure(self, repository, packages, *, log):
        names = {path.name.partition("_")[0] for path in repository.glob("*.deb")}
        return {(name, "amd64"): "1" for name in self.needed or names}


class Repositories:
    def file(self, folder, package):
        return folder / f"{package.name}_{package.version}_{package.architecture}.deb"

    def index(self, folder, packages):
        (folder / "Packages").touch()


class Tools:
    """The tools that build boxes, in memory; `fail_at` makes one fail."""

    def __init__(self, writer, state):
        self.calls = []
        self.mirror = Mirror()
        self.cache = PackageCache(state)
        self.installed = {}
        self.role_installs = {}
        self.fail_at = ""
        self.free = 100 * GIB
        self.found_secrets = []
        self.services = BuildServices(
            declarations=self, roots=self, trees=self, containers=self, images=self,
            writer=writer, archive=self.mirror, cache=self.cache, repositories=Repositories(),
        )  # fmt: skip

    def step(self, name):
        self.calls.append(name)
        if name == self.fail_at:
            raise KeyboardInterrupt

    def packages(self, root=None):
        return ("nginx",) if root is None else dict(self.installed)

    def state_paths(self):
        return ("/home",)

    def secret_paths(self):
        return ("/var/lib/app/secret",)

    def check(self):
        self.step("check")

    def build(self, packages, *, repository, sources, destination, detail, log):
        self.step("packages")
        files = [path.name.removesuffix(".deb").split("_") for path in repository.glob("*.deb")]
        self.installed = {(name, arch): version for name, version, arch in files}
        self.sources = sources
        destination.write_text("rootfs")

    def unpack(self, tarball, destination, *, log):
        self.step("unpack")
        destination.mkdir(exist_ok=True)

    def remove(self, root):
        if root.is_dir():
            for path in sorted(root.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            root.rmdir()

    def anonymise(self, root, secrets):
        self.step("anonymise")

    def secrets(self, root, paths):
        return self.found_secrets

    def debian(self, root):
        return "12.15"

    def free_bytes(self, folder):
        return self.free

    @contextmanager
    def booted(self, root, *, name, detail, log, network=False):
        self.network = network
        self.step(f"boot {root.name}")
        yield Target(ssh_config=Path("/x"), alias=name)
        self.installed |= self.role_installs
        self.step("shut down")

    def assemble(self, root, destination, *, size_gib, log):
        self.step("disk")
        destination.write_text("disk")

    def install_bootloader(self, disk, root, destination, *, driver, detail, log):
        self.step("bootloader")
        destination.write_text("qcow2")


class Ansible:
    """Changes something the first time, then what a test sets."""

    def __init__(self):
        self.results = []
        self.playbooks = []

    def apply(self, playbook, target, *, variables, detail, log, tags=()):
        self.playbooks.append(playbook)
        return self.results.pop(0) if self.results else AnsibleResult(ok=9, changed=0)


def build(world, **options):
    return boxes.build(world.services, world.tools.services, world.run("box build"), **options)


def leftovers(world):
    """Anything left on the host outside the build folder."""
    found = [str(path) for path in world.state.boxes.iterdir()]
    found += [str(path) for path in world.state.vms.iterdir()]
    found += sorted(world.host.volumes) + sorted(world.host.domains)
    return found + [f"{release} registered with Vagrant" for release in world.host.added_boxes]


def lock(world, monkeypatch, packages):
    """Give the working tree a `packages.lock`."""
    path = world.state.root / "packages.lock"
    path.write_text(packages.text())
    monkeypatch.setattr(StackFolder, "package_lock", property(lambda folder: path))


NEWER = package("nginx", "2")
