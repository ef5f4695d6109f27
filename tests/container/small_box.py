"""Builds the box of a small stack with the real tools, and reports each step; made to be killed.

    python small_box.py FOLDER [RELEASE]

Packages come from the mirror in the configuration (DEVVM_CONFIG). Everything is real except the
virtual machine that checks a box, and its libvirt: the tier `kill` kills checks. Ansible's work
takes a moment, so that there is time to kill it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from devvm import config, wiring
from devvm.domain.check import CheckResult, Outcome, Report
from devvm.domain.errors import DevvmError
from devvm.domain.vm import Driver
from devvm.operations.box import boxes as box
from devvm.operations.core.progress import Run
from devvm.system import assets
from tests.support import stack_mirror
from tests.support.stack_mirror import StackMirror

PACKAGES = (
    "dbus grub-pc-bin grub2-common initramfs-tools linux-image-cloud-amd64 openssh-server python3 "
    "sudo systemd-sysv zstd"
)
_MIRROR = Path("/var/cache/devvm-test-small")
PLAYBOOK = """\
- hosts: all
  become: true
  gather_facts: false
  roles: [small]
"""
TASKS = """\
- name: Write a file
  ansible.builtin.copy: {content: "small\\n", dest: /etc/small, mode: "0644"}
- name: Take a moment
  ansible.builtin.command: sleep 1
  changed_when: false
"""


def make_stack(folder: Path) -> None:
    """Create the stack to build."""
    for path, text in {
        "stack.yml": "box: {network: true}\n",
        "playbooks/box.yml": PLAYBOOK,
        "roles/small/tasks/main.yml": TASKS,
        "roles/small/vars/main.yml": f"small_packages: [{', '.join(PACKAGES.split())}]\n",
    }.items():
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text(text)


@dataclass(frozen=True)
class SmallMirror:
    """The tests' own mirror, with what the stack needs.

    Attributes:
        stack: The mirror.
        address: Its URL.
    """

    stack: StackMirror
    address: str

    def settings(self, file: Path) -> Path:
        """Write a configuration that uses this mirror."""
        address = self.address
        file.write_text(
            f'[box]\nmirror = "{address}/debian"\nsecurity_mirror = "{address}/debian-security"\n'
            f'keyring = "{self.stack.mirror.keyring}"\n'
        )
        return file


@contextmanager
def served() -> Iterator[SmallMirror]:
    """Serve the mirror until the block ends; its packages are kept between runs."""
    made = stack_mirror.ensure(_MIRROR, PACKAGES.split(), news=False)
    with made.mirror.served() as server:
        yield SmallMirror(made, server.base)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Teller:
    """Prints a line for each step."""

    def __init__(self):
        self.phase = ""

    def phase_started(self, name, title):
        self.phase = name
        self.detail("begins")

    def detail(self, text):
        say(f"{self.phase}: {text}")

    def phase_finished(self, record):
        self.detail(f"{record.result} after {record.seconds} s")

    def note(self, text):
        say(text)


class NoLibvirt:
    """No VMs, no volumes, no boxes in Vagrant."""

    def driver(self, wanted):
        return Driver.QEMU, "emulation runs everywhere"

    def vms(self):
        return []

    def saved_states(self):
        return []

    def all(self):
        return []

    def users_of(self, name):
        return []

    def remove(self, name):
        pass

    def volume_name(self, box):
        return box.release

    def remove_box(self, box):
        pass


def check(services, candidate, run, then):
    """Stands for the VM that a box is checked in; there is none that could be kept warm."""
    with run.phase("verify", "Checking the box"):
        run.detail("checking")
    checks = (CheckResult(name="small", role="", outcome=Outcome.PASSED, message=""),)
    return Report(vm="small", release=candidate.release, checks=checks, seconds=0)


def main(folder: Path, release: str | None = None) -> int:
    assets.reference_stack = lambda: folder / "stack"
    assets.overlay = lambda: folder / "none"
    box.check = check
    settings = config.load().model_copy(update={"state_dir": folder / "state"})
    libvirt = NoLibvirt()
    services = replace(
        wiring.build_services(settings),
        host=libvirt, domains=libvirt, volumes=libvirt, vagrant=libvirt,
    )  # fmt: skip
    try:
        tools = wiring.build_box_services(settings)
        box.build(services, tools, Run("box build", Teller()), release=release)
    except DevvmError as error:
        say(f"Error: {error}\n{error.details}\n{error.resolution}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
