"""Runs playbooks on one machine, with Ansible.

The user's own Ansible configuration (`~/.ansible.cfg`, `ANSIBLE_*`, collections) is ignored: all
settings come from here, collections from the stack. Files are in a private folder that is removed
afterwards. What happened is read from events (`devvm/ansible_plugins/callback/devvm_events.py`),
never from Ansible's output.
"""

from __future__ import annotations

import json
import os
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
from devvm.stack import variables as stack_variables
from devvm.stack.description import DEVELOPMENT
from devvm.stack.folder import StackFolder
from devvm.system import process, tempdir
from devvm.system.jsonlines import following

#: Seconds that a task may take: an `apt` task on an emulated guest takes minutes.
_TASK_TIMEOUT = 1800
#: Seconds to connect, and for sudo: both can take 30 on a busy host.
_CONNECT_TIMEOUT = 90
#: A connection counts as lost after 180 seconds without an answer.
_KEEPALIVE = ("-o", "ServerAliveInterval=20", "-o", "ServerAliveCountMax=9")
#: Seconds for Ansible to stop its worker, which runs in another session.
_STOP_GRACE = 5.0
#: What Ansible says of an encrypted value without a password.
_NO_VAULT = "no vault secrets found"


class Ansible:
    """Implements `Provisioner`.

    Args:
        stack: The stack whose roles, playbooks and values to use.
        groups: The inventory groups that the machine is in; None for those of a VM.
        vault_identities: Files with passwords of Ansible Vault, or programs that print them, as
            FILE or ID@FILE.
        callback_plugins: The folder of devvm's callback plugin.
    """

    def __init__(
        self,
        stack: StackFolder,
        *,
        groups: Sequence[str] | None = None,
        vault_identities: Sequence[str] = (),
        callback_plugins: Path,
    ) -> None:
        self._stack = stack
        self._groups = groups
        self._vault_identities = vault_identities
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
        """Run a playbook of the stack, or of devvm, on one machine.

        Variables are passed in a private file.

        As in Ansible's own summary, the result's `ok` includes tasks that changed something.

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
        if self._stack.group_vars.is_dir():  # Ansible looks for it beside the inventory
            (private / "group_vars").symlink_to(self._stack.group_vars.absolute())
        ssh_args = ["-F", str(target.ssh_config), *_KEEPALIVE]
        host = {
            "ansible_connection": "ssh",
            "ansible_ssh_args": shlex.join(ssh_args),
            "ansible_python_interpreter": target.python,
        }
        # JSON is valid YAML, and does the quoting for us.
        described = self._stack.description()
        names = (DEVELOPMENT, *described.groups) if self._groups is None else self._groups
        groups = {name: {"hosts": {target.alias: None}} for name in names}
        everything: Any = {"all": {"hosts": {target.alias: host}, "children": groups}}
        inventory.write_text(json.dumps(everything), encoding="utf-8")
        extra = private / "variables.json"
        extra.touch(mode=0o600)
        own = {"devvm_site": str(self._stack.playbook("site.yml")), **stack_variables.of(described)}
        extra.write_text(json.dumps({**own, **variables}), encoding="utf-8")
        program = Path(sys.executable).parent / "ansible-playbook"
        return [
            # Run by this interpreter, because a script's `#!` line can't hold a long path.
            sys.executable,
            str(program),
            "--inventory",
            str(inventory),
            "--extra-vars",
            f"@{extra}",
            *(("--tags", ",".join(tags)) if tags else ()),
            str(self._stack.playbook(playbook)),
        ]

    def _environment(self, private: Path, events: Path) -> dict[str, str]:
        collections, nothing = self._stack.collections, private / "empty"
        nothing.mkdir()
        (private / "ansible.cfg").touch()
        vault = {"ANSIBLE_VAULT_IDENTITY_LIST": ",".join(self._vault_identities)}
        return {
            **(vault if self._vault_identities else {}),
            "ANSIBLE_CALLBACK_PLUGINS": str(self._callback_plugins),
            "ANSIBLE_COLLECTIONS_PATH": str(collections if collections.is_dir() else nothing),
            "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "false",
            "ANSIBLE_CONFIG": str(private / "ansible.cfg"),
            "ANSIBLE_DUPLICATE_YAML_DICT_KEY": "error",
            "ANSIBLE_FORKS": "1",
            # As with plain ansible-playbook, plays gather facts unless they say
            # `gather_facts: false`; but only once per run, not in every play.
            "ANSIBLE_GATHERING": "smart",
            "ANSIBLE_HOME": str(private),
            "ANSIBLE_HOST_KEY_CHECKING": "true",
            "ANSIBLE_INVENTORY_ENABLED": "yaml",
            "ANSIBLE_INVENTORY_UNPARSED_FAILED": "true",
            "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_NOCOWS": "true",
            "ANSIBLE_PIPELINING": "true",
            # The stack's playbook is imported by devvm's; values beside either count.
            "ANSIBLE_PLAYBOOK_VARS_ROOT": "all",
            "ANSIBLE_RETRY_FILES_ENABLED": "false",
            "ANSIBLE_ROLES_PATH": os.pathsep.join(str(folder) for folder in self._stack.roles),
            "ANSIBLE_SSH_RETRIES": "2",
            "ANSIBLE_STDOUT_CALLBACK": "devvm_events",
            "ANSIBLE_TASK_TIMEOUT": str(_TASK_TIMEOUT),
            "ANSIBLE_TIMEOUT": str(_CONNECT_TIMEOUT),
            "DEVVM_EVENTS": str(events),
            # Otherwise Ansible only flushes its output at the end; log and progress need it sooner.
            "PYTHONUNBUFFERED": "1",
        }


@dataclass
class _Story:
    """What the events say about a run."""

    playbook: str
    target: Target
    log: Path
    detail: Detail
    changed: list[dict[str, Any]] = field(default_factory=list)
    ended: Mapping[str, Any] | None = None
    last_failure: Mapping[str, Any] | None = None

    def tell(self, event: Mapping[str, Any]) -> None:
        """Process an event."""
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
        """The result of a successful run.

        Raises:
            OperationError: it did nothing: no play matches this machine, or no task has the tags.
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
        """The error for a failed run."""
        event = self.last_failure
        if _NO_VAULT in (error.details or "") + (event["message"] if event else ""):
            return OperationError(
                f"the playbook {self.playbook} uses Ansible Vault, and the password is unknown",
                details=_NO_VAULT,
                resolution="name the file with it: ansible.vault_identities (devvm config show)",
                log=self.log,
            )
        if event is None:  # no task failed: the playbook can't be read, or a role is missing
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
