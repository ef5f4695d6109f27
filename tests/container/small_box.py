"""Builds the box of a small stack with the real tools, and says what it is doing; to be killed.

    python small_box.py FOLDER

All that is real but the virtual machine which checks a box, and the libvirt that has it: killed
checks are tried by the tier `kill`. What Ansible is to do takes a moment, to be killed in.
"""

import sys
from dataclasses import replace
from pathlib import Path

from devvm import assets, config, wiring
from devvm.errors import DevvmError
from devvm.model import CheckResult, Driver, Outcome, Report
from devvm.operations import box
from devvm.operations.progress import Run

PACKAGES = (
    "dbus grub-pc-bin grub2-common initramfs-tools linux-image-cloud-amd64 openssh-server python3 "
    "sudo systemd-sysv zstd"
)
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
    """Make the stack that is built."""
    for path, text in {
        "playbooks/box.yml": PLAYBOOK,
        "roles/small/tasks/main.yml": TASKS,
        "roles/small/vars/main.yml": f"small_packages: [{', '.join(PACKAGES.split())}]\n",
    }.items():
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text(text)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Teller:
    """Says each step in a line."""

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
    """No VMs, no volumes, and Vagrant knows no box."""

    def driver(self, wanted):
        return Driver.QEMU, "emulation runs everywhere"

    def vms(self):
        return []

    def volumes(self):
        return []

    def users_of_volume(self, name):
        return []

    def remove_volume(self, name):
        pass

    def volume_name(self, box):
        return box.release

    def remove_box(self, box):
        pass


def check(services, candidate, run):
    """Stands for the VM that a box is checked in."""
    with run.phase("verify", "Checking the box"):
        run.detail("checking")
    checks = (CheckResult(name="small", role="", outcome=Outcome.PASSED, message=""),)
    return Report(vm="small", release=candidate.release, checks=checks, seconds=0)


def main(folder: Path) -> int:
    assets.roles = lambda: folder / "stack/roles"
    assets.playbooks = lambda: folder / "stack/playbooks"
    box.check = check
    settings = config.load().model_copy(update={"state_dir": folder / "state"})
    libvirt = NoLibvirt()
    services = replace(wiring.build_services(settings), hypervisor=libvirt, vagrant=libvirt)
    try:
        box.build(services, wiring.build_box_services(settings), Run("box build", Teller()))
    except DevvmError as error:
        say(f"Error: {error}\n{error.details}\n{error.resolution}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
