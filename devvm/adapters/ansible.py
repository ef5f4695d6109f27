"""Ansible: applies a playbook to one machine.

What a person has configured for an Ansible of their own (`~/.ansible.cfg`, `ANSIBLE_*`,
collections) plays no part: settings come from here, files live in a private folder that is gone
afterwards. What happened is read as events (`devvm/ansible_plugins/callback/devvm_events.py`),
never from what Ansible prints.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devvm.domain.errors import OperationError
from devvm.domain.run import AnsibleResult
from devvm.domain.vm import Target
from devvm.ports.services import Detail
from devvm.system import process, tempdir
from devvm.system.jsonlines import following

#: Seconds that one task may take: an `apt` task on an emulated guest takes minutes.
_TASK_TIMEOUT = 1800
#: Seconds for a connection and for sudo: both have been seen to take 30 on a host that is busy.
_CONNECT_TIMEOUT = 90
#: Seconds without an answer after which a connection counts as lost (20 s x 9).
_KEEPALIVE = ("-o", "ServerAliveInterval=20", "-o", "ServerAliveCountMax=9")
#: Seconds that Ansible gets to stop its worker, which runs in a session of its own.
_STOP_GRACE = 5.0


class Ansible:
    """Satisfies `Provisioner`.

    Args:
        playbooks: The folder of playbooks.
        roles: The folder of roles.
        callback_plugins: The folder of devvm's callback plugin.
    """

    def __init__(self, *, playbooks: Path, roles: Path, callback_plugins: Path) -> None:
        self._playbooks = playbooks
        self._roles = roles
        self._callback_plugins = callback_plugins

    def apply(
        self,
        playbook: str,
        target: Target,
        *,
        variables: Mapping[str, Any],
        detail: Detail,
        log: Path,
        tags: Sequence[str] = (),
    ) -> AnsibleResult:
        """Run `playbooks/PLAYBOOK` on one machine; variables travel in a private file.

        `ok` counts as Ansible does: every task that ended well, those that changed something
        included.

        Raises:
            OperationError: a task failed, the machine can't be reached, Ansible can't read the
                playbook, or the playbook did nothing on the machine.
            HostNotReadyError: Ansible is not in devvm's Python environment.
        """
        with tempdir.folder("ansible") as private:
            events = private / "events.jsonl"
            story = _Story(playbook, target, log, detail)
            try:
                with following(events, story.tell) as follow:
                    process.stream(
                        self._argv(playbook, private, target, variables, tags),
                        lambda _: follow(),
                        env=self._environment(private, events),
                        log=log,
                        stop_grace=_STOP_GRACE,
                    )
            except process.ProcessError as error:
                raise story.failure(error) from None
            return story.result()

    def _argv(
        self,
        playbook: str,
        private: Path,
        target: Target,
        variables: Mapping[str, Any],
        tags: Sequence[str],
    ) -> list[str]:
        inventory = private / "inventory.yml"
        ssh_args = ["-F", str(target.ssh_config), *_KEEPALIVE]
        host = {
            "ansible_connection": "ssh",
            "ansible_ssh_args": shlex.join(ssh_args),
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        # JSON is YAML, and needs no quoting of our own.
        inventory.write_text(json.dumps({"all": {"hosts": {target.alias: host}}}), encoding="utf-8")
        extra = private / "variables.json"
        extra.touch(mode=0o600)
        extra.write_text(json.dumps(variables), encoding="utf-8")
        program = Path(sys.executable).parent / "ansible-playbook"
        return [
            # By this very interpreter: a script's `#!` line has no room for a long path.
            sys.executable,
            str(program),
            "--inventory",
            str(inventory),
            "--extra-vars",
            f"@{extra}",
            *(("--tags", ",".join(tags)) if tags else ()),
            str(self._playbooks / playbook),
        ]

    def _environment(self, private: Path, events: Path) -> dict[str, str]:
        nothing = private / "empty"
        nothing.mkdir()
        (private / "ansible.cfg").touch()
        return {
            "ANSIBLE_CALLBACK_PLUGINS": str(self._callback_plugins),
            "ANSIBLE_COLLECTIONS_PATH": str(nothing),
            "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "false",
            "ANSIBLE_CONFIG": str(private / "ansible.cfg"),
            "ANSIBLE_DUPLICATE_YAML_DICT_KEY": "error",
            "ANSIBLE_FORKS": "1",
            # A play means here what it means to plain ansible-playbook: facts unless it says
            # `gather_facts: false`; but once a run, not once a play.
            "ANSIBLE_GATHERING": "smart",
            "ANSIBLE_HOME": str(private),
            "ANSIBLE_HOST_KEY_CHECKING": "true",
            "ANSIBLE_INVENTORY_ENABLED": "yaml",
            "ANSIBLE_INVENTORY_UNPARSED_FAILED": "true",
            "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_NOCOWS": "true",
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_RETRY_FILES_ENABLED": "false",
            "ANSIBLE_ROLES_PATH": str(self._roles),
            "ANSIBLE_SSH_RETRIES": "2",
            "ANSIBLE_STDOUT_CALLBACK": "devvm_events",
            "ANSIBLE_TASK_TIMEOUT": str(_TASK_TIMEOUT),
            "ANSIBLE_TIMEOUT": str(_CONNECT_TIMEOUT),
            "DEVVM_EVENTS": str(events),
            # Ansible flushes its output at the end only; the log and the progress need it now.
            "PYTHONUNBUFFERED": "1",
        }


@dataclass
class _Story:
    """What the events of one run tell."""

    playbook: str
    target: Target
    log: Path
    detail: Detail
    changed: list[dict[str, Any]] = field(default_factory=list)
    ended: Mapping[str, Any] | None = None
    last_failure: Mapping[str, Any] | None = None

    def tell(self, event: Mapping[str, Any]) -> None:
        """Take in one event."""
        match event["event"]:
            case "task":
                self.detail(_title(event))
            case "retry":
                self.detail(f"{_title(event)} (try {event['attempt']} of {event['retries']})")
            case "result" if event["status"] == "changed":
                self.changed.append({key: event[key] for key in ("role", "task", "seconds")})
            case "result" if event["status"] in ("failed", "unreachable"):
                self.last_failure = event
            case "end":
                self.ended = event

    def result(self) -> AnsibleResult:
        """What a run that ended well did.

        Raises:
            OperationError: it did nothing: no play is for this machine, or no task has the tags.
        """
        if self.ended is None or not self.ended["ok"]:
            raise OperationError(
                f"the playbook {self.playbook} did nothing on {self.target.alias}",
                details="no play in it matches this machine, or no task has the requested tags",
                resolution=f"less {self.log}",
                log=self.log,
            )
        return AnsibleResult(
            ok=self.ended["ok"], changed=self.ended["changed"], tasks=tuple(self.changed)
        )

    def failure(self, error: process.ProcessError) -> OperationError:
        """What a run that failed is to be told as."""
        event = self.last_failure
        if event is None:  # no task ran: the playbook can't be read, a role is missing
            return OperationError(
                f"Ansible could not run the playbook {self.playbook}",
                details=error.details,
                resolution=f"less {self.log}",
                log=self.log,
            )
        if event["status"] == "unreachable":
            return OperationError(
                f"{self.target.alias} can't be reached over SSH (at: {_title(event)})",
                details=event["message"],
                resolution=f"ssh -F {shlex.quote(str(self.target.ssh_config))} {self.target.alias}",
                log=self.log,
            )
        where = f"role {event['role']}" if event["role"] else f"playbook {self.playbook}"
        return OperationError(
            f"{where}, task '{event['task']}' failed",
            details=f"{event['message']}\n(at {event['path']})",
            resolution=f"less {self.log}",
            log=self.log,
        )


def _title(event: Mapping[str, Any]) -> str:
    return f"{event['role']}: {event['task']}" if event["role"] else str(event["task"])
