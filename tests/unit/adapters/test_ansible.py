"""The Ansible adapter, with real runs of ansible-playbook on scratch playbooks (locally)."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from devvm.adapters.ansible import Ansible
from devvm.domain.errors import OperationError
from devvm.domain.run import AnsibleResult
from devvm.domain.vm import Target
from devvm.stack.folder import StackFolder
from devvm.system import assets

LOCAL = {"ansible_connection": "local"}


class Bench:
    """A playbook folder, a role folder, and what a run reported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.overlay: Path | None = None
        self.identities: list[str] = []
        self.playbooks = folder / "playbooks"
        self.roles = folder / "roles"
        self.log = folder / "run.log"
        self.details: list[str] = []
        self.playbooks.mkdir()
        self.roles.mkdir()

    def role(self, name: str, tasks: str) -> None:
        path = self.roles / name / "tasks" / "main.yml"
        path.parent.mkdir(parents=True)
        path.write_text(tasks)

    def play(self, body: str) -> None:
        header = "- hosts: all\n  gather_facts: false\n"
        (self.playbooks / "play.yml").write_text(header + body)

    def apply(self, **more) -> AnsibleResult:
        ansible = Ansible(
            StackFolder(self.folder, overlay=self.overlay),
            groups=more.pop("groups", None),
            vault_identities=self.identities,
            callback_plugins=assets.callback_plugins(),
        )
        variables = {**LOCAL, **more.pop("variables", {})}
        return ansible.apply(
            "play.yml",
            Target(ssh_config=self.folder / "no such config", alias="dev1"),
            variables=variables,
            detail=more.pop("detail", self.details.append),
            log=self.log,
            **more,
        )

    def fail(self, **more) -> OperationError:
        with pytest.raises(OperationError) as caught:
            self.apply(**more)
        return caught.value


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_counts_and_details_come_from_events(bench):
    bench.role(
        "mariadb",
        """
- name: Look
  ansible.builtin.command: "true"
  changed_when: false
- name: Configure the server
  ansible.builtin.command: echo {{ port }}
  changed_when: true
  notify: Restart the server
- name: Not here
  ansible.builtin.command: "false"
  when: false
""",
    )
    (bench.roles / "mariadb" / "handlers").mkdir()
    (bench.roles / "mariadb" / "handlers" / "main.yml").write_text(
        "- name: Restart the server\n  ansible.builtin.command: 'true'\n  changed_when: true\n"
    )
    bench.play("  roles: [mariadb]\n")

    result = bench.apply(variables={"port": 3306})

    assert (result.ok, result.changed) == (3, 2)
    assert [(t["role"], t["task"]) for t in result.tasks] == [
        ("mariadb", "Configure the server"),
        ("mariadb", "Restart the server"),
    ]
    assert all(t["seconds"] > 0 for t in result.tasks)
    assert bench.details == [
        "mariadb: Look",
        "mariadb: Configure the server",
        "mariadb: Not here",
        "mariadb: Restart the server",
    ]
    assert "TASK [mariadb : Configure the server]" in bench.log.read_text()


def test_details_are_live(bench):
    bench.play(
        "  tasks:\n"
        "    - {name: first, ansible.builtin.command: sleep 1, changed_when: false}\n"
        "    - {name: second, ansible.builtin.command: sleep 1, changed_when: false}\n"
    )
    seen: dict[str, float] = {}
    bench.apply(detail=lambda text: seen.setdefault(text, time.monotonic()))
    assert seen["second"] - seen["first"] > 0.8


def test_failure_names_role_task_and_reason(bench):
    bench.role(
        "mariadb",
        """
- name: Configure the server
  ansible.builtin.shell: "echo listening on nothing >&2; exit 3"
""",
    )
    bench.play("  roles: [mariadb]\n")

    error = bench.fail()

    assert error.brief == "role mariadb, task 'Configure the server' failed"
    assert "non-zero return code" in error.details
    assert "listening on nothing" in error.details
    assert "roles/mariadb/tasks/main.yml:2" in error.details
    assert error.log == bench.log
    assert error.resolution


def test_failed_items_of_a_loop_are_named(bench):
    bench.play(
        """
  tasks:
    - name: Try each
      ansible.builtin.shell: "[ {{ item }} = good ] || { echo no {{ item }} >&2; exit 1; }"
      changed_when: false
      loop: [good, bad, worse]
"""
    )
    error = bench.fail()
    assert "bad: non-zero return code\nno bad" in error.details
    assert "worse: non-zero return code\nno worse" in error.details
    assert "good:" not in error.details


def test_secrets_stay_out_of_details_and_log(bench):
    bench.play(
        """
  tasks:
    - name: Set the password
      ansible.builtin.shell: "echo {{ password }}; echo {{ password }} >&2; exit 1"
      no_log: true
"""
    )
    error = bench.fail(variables={"password": "hunter2-XYZZY"})
    assert "hidden" in error.details
    assert "XYZZY" not in f"{error.details}{error.brief}{bench.log.read_text()}"


def test_secrets_of_loops_stay_out(bench):
    bench.play(
        """
  tasks:
    - name: Set passwords
      ansible.builtin.command: "false {{ item }}"
      no_log: true
      loop: "{{ passwords }}"
"""
    )
    error = bench.fail(variables={"passwords": ["hunter2-XYZZY", "hunter3-XYZZY"]})
    assert "XYZZY" not in f"{error.details}{bench.log.read_text()}"


def test_a_rescued_or_ignored_failure_is_not_the_reason(bench):
    bench.play(
        """
  tasks:
    - block:
        - {name: Rescued, ansible.builtin.command: "false"}
      rescue:
        - {name: Rescue, ansible.builtin.command: "true", changed_when: false}
    - {name: The reason, ansible.builtin.command: "false"}
"""
    )
    assert "'The reason'" in bench.fail().brief


def test_a_run_with_an_ignored_failure_ends_well(bench):
    bench.play(
        "  tasks:\n    - {ansible.builtin.command: 'false', ignore_errors: true}\n"
        "    - {ansible.builtin.command: 'true'}\n"
    )
    assert bench.apply().changed == 1 + 1  # Ansible counts a failed command as a change


def test_unreachable_has_its_own_message(bench):
    bench.play("  tasks:\n    - {name: Look, ansible.builtin.ping: }\n")
    config = bench.folder / "no such config"
    config.write_text("Host dev1\n  HostName 127.0.0.1\n  Port 1\n  ConnectTimeout 1\n")
    error = bench.fail(variables={"ansible_connection": "ssh", "ansible_ssh_retries": 0})
    assert error.brief == "dev1 can't be reached over SSH (at: Look)"
    assert "onnection refused" in error.details
    assert error.resolution == f"ssh -F '{config}' dev1"


def test_a_broken_playbook(bench):
    bench.play("  tasks:\n    - {nonsense: }\n")
    error = bench.fail()
    assert error.brief == "Ansible could not run the playbook play.yml"
    assert "nonsense" in error.details


def test_a_missing_role(bench):
    bench.play("  roles: [absent]\n")
    error = bench.fail()
    assert "could not run" in error.brief
    assert "absent" in error.details


def test_a_playbook_for_other_hosts_is_an_error(bench):
    (bench.playbooks / "play.yml").write_text(
        "- hosts: web\n  gather_facts: false\n  tasks:\n    - {ansible.builtin.ping: }\n"
    )
    assert "did nothing on dev1" in bench.fail().brief


def test_tags_are_passed(bench):
    bench.play(
        "  tasks:\n"
        "    - {name: one, ansible.builtin.command: 'true', tags: one}\n"
        "    - {name: two, ansible.builtin.command: 'true', tags: two}\n"
    )
    bench.apply(tags=["two"])
    assert bench.details == ["two"]
    assert "did nothing" in bench.fail(tags=["three"]).brief


def test_nothing_is_written_to_the_home_and_no_setting_of_the_person_counts(bench, monkeypatch):
    home = bench.folder / "home"
    home.mkdir()
    (home / ".ansible.cfg").write_text("[defaults]\nstdout_callback = no_such_callback\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("ANSIBLE_STDOUT_CALLBACK", "minimal")
    bench.play("  tasks:\n    - {ansible.builtin.ping: }\n")
    # With a local connection the "remote" temporary folder would be in this home.
    assert bench.apply(variables={"ansible_remote_tmp": str(bench.folder / "r")}).ok == 1
    assert [p.name for p in home.iterdir()] == [".ansible.cfg"]


def test_variables_travel_in_a_private_file_that_is_gone_afterwards(bench, monkeypatch):
    temporary = bench.folder / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    seen = {}

    def look(_: str) -> None:
        (folder,) = temporary.glob("devvm-ansible-*")
        file = folder / "variables.json"
        seen["modes"] = stat.S_IMODE(folder.stat().st_mode), stat.S_IMODE(file.stat().st_mode)
        seen["secret"] = json.loads(file.read_text())["secret"]
        seen["argv"] = Path("/proc/self/cmdline").read_bytes()

    bench.play("  tasks:\n    - {name: Look, ansible.builtin.ping: }\n")
    bench.apply(detail=look, variables={"secret": "hunter2"})
    assert seen["modes"] == (0o700, 0o600)
    assert seen["secret"] == "hunter2"
    assert "hunter2" not in bench.log.read_text()
    assert not list(temporary.glob("devvm-ansible-*"))


def test_an_interrupt_stops_ansible_and_its_worker(bench):
    mark = f"31.4{os.getpid()}"
    bench.play(
        f"  tasks:\n    - {{name: Wait, ansible.builtin.command: sleep {mark}}}\n"
        "    - {name: Never, ansible.builtin.ping: }\n"
    )

    def interrupt(text: str) -> None:
        threading.Event().wait(2)  # until the worker runs the command
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.apply(detail=interrupt)
    deadline = time.monotonic() + 5
    while _running(mark) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _running(mark)


def _running(mark: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"sleep {mark}" in line or ("ansible" in line and str(os.getpid()) in line):
            found.append(line)
    return found


def _says(bench, *names):
    """The values of variables, in a run."""
    says = [f"    - ansible.builtin.debug: {{msg: '{name}={{{{ {name} }}}}'}}\n" for name in names]
    bench.play("  tasks:\n" + "".join(says))
    bench.apply()
    return re.findall(r'"msg": "(.*)"', bench.log.read_text())


def test_values_are_those_of_the_stack_for_a_vm_and_for_every_group_it_is_in(bench):
    for name, text in {
        "stack.yml": "groups: [web]\n",
        "group_vars/all.yml": "a: all\nb: all\nc: all\n",
        "group_vars/development.yml": "b: development\n",
        "group_vars/production.yml": "a: production\n",
        "group_vars/web/main.yml": "c: web\n",
        "playbooks/group_vars/all.yml": "d: beside\n",
    }.items():
        path = bench.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert _says(bench, "a", "b", "c", "d") == ["a=all", "b=development", "c=web", "d=beside"]


def test_a_play_for_development_is_for_vms_only(bench):
    play = "- hosts: development\n  gather_facts: false\n  tasks:\n    - {ansible.builtin.ping: }\n"
    (bench.playbooks / "play.yml").write_text(play)
    assert bench.apply().ok == 1
    with pytest.raises(OperationError, match="did nothing"):
        bench.apply(groups=())


def test_collections_are_the_stacks(bench):
    role = bench.folder / "collections/ansible_collections/acme/base/roles/motd/tasks/main.yml"
    role.parent.mkdir(parents=True)
    role.write_text("- {name: greet, ansible.builtin.command: 'true'}\n")
    bench.play("  roles: [acme.base.motd]\n")
    assert [task["task"] for task in bench.apply().tasks] == ["greet"]


def test_devvms_playbooks_import_the_stacks(bench, tmp_path_factory):
    overlay = tmp_path_factory.mktemp("overlay")
    (overlay / "playbooks").mkdir()
    (overlay / "playbooks/play.yml").write_text(
        '- ansible.builtin.import_playbook: "{{ devvm_site }}"\n'
        "- hosts: all\n  gather_facts: false\n  roles: [own, theirs]\n"
    )
    (overlay / "roles/own/tasks").mkdir(parents=True)
    (overlay / "roles/own/tasks/main.yml").write_text("- {name: own, ansible.builtin.ping: }\n")
    bench.role("theirs", "- {name: theirs, ansible.builtin.ping: }\n")
    (bench.playbooks / "site.yml").write_text(
        "- hosts: all\n  gather_facts: false\n  tasks: [{name: site, ansible.builtin.ping: }]\n"
    )
    bench.overlay = overlay
    bench.apply()
    assert bench.details == ["site", "own: own", "theirs: theirs"]


def _encrypted(folder, text, *, by):
    """A file's text, encrypted by Ansible Vault with a password."""
    (folder / "password").write_text(by)
    program = Path(sys.executable).parent / "ansible-vault"
    argv = [sys.executable, program, "encrypt", "--output=-", f"--vault-id=dev@{folder}/password"]
    return subprocess.run(argv, input=text, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def vault(bench):
    """A bench whose values are encrypted, and the file with their password."""
    (bench.folder / "group_vars").mkdir()
    secret = _encrypted(bench.folder, "a: sesame\n", by="open")
    (bench.folder / "group_vars/all.yml").write_text(secret)
    return bench


def test_values_in_a_vault_are_read_with_the_password(vault):
    vault.identities = [f"dev@{vault.folder}/password"]
    assert _says(vault, "a") == ["a=sesame"]


def test_a_program_may_tell_the_password_of_a_vault(vault):
    client = vault.folder / "tell"
    client.write_text("#!/bin/sh\necho open\n")
    client.chmod(0o755)
    vault.identities = [str(client)]
    assert _says(vault, "a") == ["a=sesame"]


def test_without_the_password_it_is_said_what_to_set(vault):
    vault.play("  tasks: [{ansible.builtin.debug: {msg: '{{ a }}'}}]\n")
    error = vault.fail()
    assert error.brief == "the playbook play.yml uses Ansible Vault, and the password is unknown"
    assert "ansible.vault_identities" in error.resolution
