"""The reference hosts: containers that match production or a development machine.

As a program (`bin/test reference`), captures the manifests that the repository ships from them. Run
it after the roles change or Debian's mirrors move. What only virtual machines have is captured from
a VM: the program's last lines say how.
"""

from __future__ import annotations

import datetime
import fcntl
import hashlib
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from devvm import config, wiring
from devvm.adapters.ansible import Ansible
from devvm.adapters.image.mmdebstrap import Mmdebstrap
from devvm.adapters.image.nspawn import Nspawn, remove_leftovers
from devvm.adapters.image.root_tree import RootTrees
from devvm.adapters.packages.apt import Apt
from devvm.adapters.packages.flat_repository import FlatRepositories
from devvm.adapters.production_hosts import SshHosts
from devvm.adapters.role_declarations import RoleDeclarations
from devvm.adapters.testinfra import Testinfra
from devvm.cli.progress import SilentReporter
from devvm.domain.check import CheckResult
from devvm.domain.package_set import Package, PackageSet
from devvm.domain.run import AnsibleResult
from devvm.domain.vm import Target
from devvm.operations.core.progress import Run
from devvm.operations.production import capture
from devvm.parity.production.manifest import Condition
from devvm.stack.folder import StackFolder
from devvm.system import assets
from tests.support.reference_stack import REFERENCE

STATE = Path("/var/lib/devvm-test/container")

#: Roles whose packages production's hosts don't have.
OVERLAY = {"devtools", "engineer", "guest", "site_checkout"}
#: What turns a root file system into a virtual machine has no place in a container.
GUEST = {"guest"}

_GET = """import ssl, sys, urllib.request
unverified = ssl._create_unverified_context()
print(urllib.request.urlopen(sys.argv[1], context=unverified).read().decode(), end="")
"""

#: The inventory groups of a machine that isn't production's.
DEVELOPMENT = ("development",)

MANIFEST = "manifest.yml"
DEVTOOLS = "overlay/10-devtools.yml"
ENGINEER = "overlay/20-engineer.yml"
GUEST_LAYER = "overlay/30-guest.yml"


@dataclass(frozen=True)
class Plan:
    """What Ansible said in check mode.

    Attributes:
        text: Its output.
        changes: The tasks that would change something, as `ROLE : NAME`.
        failed: How many tasks failed.
    """

    text: str
    changes: tuple[str, ...]
    failed: int


@dataclass(frozen=True)
class Machine:
    """A container, as devvm sees a machine: through SSH."""

    target: Target
    log: Path
    stack: StackFolder = REFERENCE
    vault: tuple[str, ...] = ()
    #: The groups that it is in where it stands for production.
    groups: tuple[str, ...] = ()
    #: The key that its engineer logs in with.
    jane: Path = Path()

    def apply(self, playbook: str, *tags: str, **variables) -> AnsibleResult:
        """Apply a playbook, or only its tasks with these tags; `site.yml` as in production."""
        ansible = Ansible(
            self.stack,
            groups=self.groups if playbook == "site.yml" else None,
            vault_identities=self.vault,
            callback_plugins=assets.callback_plugins(),
        )
        return ansible.apply(
            playbook, self.target, variables=variables, detail=quiet, log=self.log, tags=tags
        )

    def get(self, path: str) -> str:
        """What the machine's web server answers."""
        return self.sh(shlex.join(["python3", "-c", _GET, f"https://localhost{path}"]))

    def plan(self, playbook: str, **variables: object) -> Plan:
        """What a playbook would change: `ansible-playbook --check --diff`, as people type it."""
        groups = {name: {"hosts": {self.target.alias: None}} for name in self.groups}
        inventory = {"hosts": {self.target.alias: self.reached}, "children": groups}
        options = ("--check", "--diff", f"--extra-vars={json.dumps(variables)}")
        said = ansible_playbook(self.stack, playbook, inventory, *options, log=self.log)
        failed = re.search(r"failed=(\d+)", said)
        assert failed, said
        tasks = re.split(r"^(?:TASK|RUNNING HANDLER) \[(.*)\] \*+$", said, flags=re.MULTILINE)
        told = zip(tasks[1::2], tasks[2::2], strict=True)
        changes = tuple(name for name, text in told if "\nchanged: [" in text)
        return Plan(said, changes, int(failed[1]))

    @property
    def reached(self) -> dict[str, str]:
        """The variables by which an inventory says how to reach it."""
        return {"ansible_ssh_args": shlex.join(["-F", str(self.target.ssh_config)])}

    def check(
        self, production: Path, overlay: str = "none", *, packages: Mapping[str, str] | None = None
    ) -> tuple[CheckResult, ...]:
        """Run the shipped parity suite against a production folder."""
        suite = Testinfra(suite=assets.parity_suite(), production=production, overlay=overlay)
        return suite.check(
            self.target, checks=self.stack.checks, detail=quiet, log=self.log, packages=packages
        )

    def packages(self) -> dict[str, str]:
        """The versions of the installed packages."""
        out = self.sh("dpkg-query --show --showformat='${Package} ${Version}\\n'")
        return dict(line.split() for line in out.splitlines())

    def capture(
        self, output: Path, *over: Path, only_if: tuple[Condition, ...] = ()
    ) -> capture.Captured:
        """Capture a manifest, as `devvm production capture` does."""
        hosts = SshHosts(
            checks=self.stack.checks,
            overlay="dev" if over else "none",
            ssh_config=self.target.ssh_config,
        )
        plan = capture.Plan(
            hosts=(self.target.alias,),
            output=output,
            over=over,
            only_if=only_if,
            packaged_contents=False,
        )
        today = datetime.datetime.now(tz=datetime.UTC).date()
        return capture.capture(hosts, plan, Run("capture", SilentReporter()), today)

    def sh(self, command: str, *, user: str = "root", timeout: float = 90) -> str:
        """Run a shell command in the container, and return its output."""
        remote = shlex.join(["sudo", "-n", "-H", "-u", user, "sh", "-euc", command])
        done = subprocess.run(
            ["ssh", "-F", self.target.ssh_config, self.target.alias, remote],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}[{done.returncode}]"
        return done.stdout


def ansible_playbook(
    stack: StackFolder, playbook: str, inventory: Mapping[str, object], *options: str, log: Path
) -> str:
    """Run Ansible without anything of devvm's, and return its output."""
    with tempfile.TemporaryDirectory() as folder:
        hosts = Path(folder) / "inventory.yml"
        hosts.write_text(json.dumps({"all": inventory}))
        environment = {
            "ANSIBLE_HOME": folder,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_ROLES_PATH": os.pathsep.join(str(roles) for roles in stack.roles),
        }
        program = Path(sys.executable).with_name("ansible-playbook")
        done = subprocess.run(
            [sys.executable, program, f"--inventory={hosts}", *options, stack.playbook(playbook)],
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    with log.open("a") as output:
        output.write(done.stdout)
    return done.stdout


def mirrors() -> dict[str, str]:
    """The variables for mirrors that the box build also passes to the roles."""
    return config.load().box.role_variables


def declared(without: set[str], stack: StackFolder = REFERENCE) -> tuple[str, ...]:
    """The packages declared by all roles of a stack but these."""
    without = without | stack.description().roles_off
    with tempfile.TemporaryDirectory() as folder:
        for role in (role for folder in stack.roles for role in folder.iterdir()):
            if role.is_dir() and role.name not in without:
                (Path(folder) / role.name).symlink_to(role)
        return RoleDeclarations(Path(folder)).packages()


def _debs(archive: Apt, packages: PackageSet, log: Path) -> dict[Package, Path]:
    """The files of packages, cached: root file systems have most of them in common."""
    pool = STATE / "debs"
    pool.mkdir(exist_ok=True)
    found = {package: pool / f"{package.sha256}.deb" for package in packages}
    with tempfile.TemporaryDirectory(dir=STATE) as folder:
        missing = [package for package, deb in found.items() if not deb.exists()]
        archive.fetch(missing, Path(folder), detail=quiet, log=log)
        for package in missing:
            (Path(folder) / found[package].name).rename(found[package])
    return found


def tarball(without: set[str], log: Path, stack: StackFolder = REFERENCE) -> Path:
    """A Debian root with the packages that roles declare, kept between runs."""
    packages = declared(without, stack)
    box = config.load().box
    tool = Path(inspect.getfile(Mmdebstrap)).read_text(encoding="utf-8")
    sources = stack.description().apt.model_dump()
    made_of = json.dumps([packages, box.mirror, box.security_mirror, sources, tool])
    path = STATE / f"{hashlib.sha256(made_of.encode()).hexdigest()[:16]}.tar"
    if not path.exists():
        archive = wiring.archive(config.load(), stack)
        found = archive.resolve(packages, detail=quiet, log=log)
        files = FlatRepositories()
        with tempfile.TemporaryDirectory(dir=STATE) as folder:
            repository = Path(folder)
            for package, deb in _debs(archive, found, log).items():
                files.file(repository, package).hardlink_to(deb)
            files.index(repository, found)
            Mmdebstrap().build(
                packages,
                repository=repository,
                sources=archive.source_lines(),
                destination=path,  # written atomically
                detail=quiet,
                log=log,
            )
    return path


@contextmanager
def locked(*names: str) -> Iterator[None]:
    """Lock the tests' folder against other runs, and remove what a killed run left.

    That is roots, and the containers with these names.
    """
    STATE.mkdir(parents=True, exist_ok=True)
    with (STATE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in names:
            remove_leftovers(name)
        for root in STATE.glob("root-*"):
            RootTrees().remove(root)
        yield


@contextmanager
def unpacked(without: set[str], log: Path, stack: StackFolder = REFERENCE) -> Iterator[Path]:
    """A root file system with the packages of all roles but these."""
    with tempfile.TemporaryDirectory(prefix="root-", dir=STATE) as folder:
        root = Path(folder) / "root"
        RootTrees().unpack(tarball(without, log, stack), root, log=log)
        yield root


@contextmanager
def booted(root: Path, name: str, log: Path) -> Iterator[Machine]:
    """A booted container; shut down properly at the end, even after a failure."""
    console = log.with_name(f"{name}-console")
    with Nspawn().booted(root, name=name, detail=quiet, log=console) as target:
        machine = Machine(target, log)
        # The container's network gets this from the host, where libvirt may have turned it on.
        machine.sh("sysctl --quiet --write net.ipv4.ip_forward=0")
        yield machine


def stamp() -> dict[str, str]:
    """A stamp like those that devvm gives machines."""
    return {"release": "r1", "devvm": "0", "converged_at": "2026-01-02T03:04:05+00:00"}


def engineer(public_key: str) -> dict[str, object]:
    """The variables that make a machine jane's."""
    return {
        "engineer_login": "jane",
        "engineer_authorized_keys": [public_key],
        "engineer_git_name": "Jane Doe",
        "engineer_git_email": "jane@example.com",
        "devvm_stamp": stamp(),
    }


def new_key(path: Path) -> str:
    """Make a key pair for logging in at `path`, and return the public key."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path.with_name(f"{path.name}.pub").read_text().strip()


def quiet(text: str) -> None:
    pass


def main() -> None:
    """Capture the shipped manifests, except what containers don't have."""
    production = REFERENCE.production
    below = [production / name for name in (MANIFEST, DEVTOOLS, ENGINEER)]
    with locked(), tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with unpacked(OVERLAY, log) as root, booted(root, "devvm-reference", log) as host:
            host.apply("site.yml", **mirrors())
            _captured(below[0], host.capture(below[0]))
        with unpacked(GUEST, log) as root, booted(root, "devvm-reference", log) as host:
            host = replace(host, groups=DEVELOPMENT)
            host.apply("site.yml", **mirrors())
            host.apply("box.yml", "engineer")
            _captured(below[1], host.capture(below[1], below[0]))
            host.apply("personalise.yml", **engineer(new_key(Path(folder) / "key")))
            layer = host.capture(below[2], *below[:2], only_if=("engineer",))
            _captured(below[2], layer)
    over = " ".join(f"--over production/{name}" for name in (MANIFEST, DEVTOOLS, ENGINEER))
    sys.stdout.write(
        "And of a virtual machine of the present stack, whose name is dev1:\n"
        "devvm production capture --host dev1-vagrant --ssh-config"
        f" /var/lib/devvm/vms/dev1/ssh_config {over} --unless container"
        f" --no-packaged-contents --output production/{GUEST_LAYER}\n"
    )


def _captured(file: Path, done: capture.Captured) -> None:
    sys.stdout.write(f"{file}: {done.changed} items otherwise than before\n")


if __name__ == "__main__":
    main()
