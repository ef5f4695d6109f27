"""Personalise a VM: account, keys, checkout; and migrate its data to its release.

A box has a program for it, from the role `engineer`, which takes seconds; Ansible takes a minute.
It reads the same variables as the playbook that applies that role.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from devvm import __version__
from devvm.domain.errors import OperationError
from devvm.domain.vm import Engineer
from devvm.operations.core import own_stack
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import ssh
from devvm.operations.provision import checkouts

PLAYBOOK = "personalise.yml"
PROGRAM = "/usr/lib/devvm/personalise"
#: Exit code if the box has no such program: an older devvm built it, or the stack has none.
_ABSENT = 127
_IF_PRESENT = f'test -x "$1" || exit {_ABSENT}; exec "$1"'
#: Seconds; data of an older release may have to be migrated.
_TIMEOUT = 1800


def for_boot(engineer: Engineer) -> dict[str, str]:
    """Files for a new data disk, with which the program does its work while the VM boots."""
    return {"engineer.json": json.dumps(_own(engineer, engineer.authorized_keys))}


def from_box(
    machine: Machine,
    engineer: Engineer,
    release: str,
    run: Run,
    *,
    older_data: bool,
    new: bool = False,
) -> None:
    """Personalise a VM whose root is new, by the box's own program if it has one.

    Args:
        machine: The VM, which devvm can log in to.
        engineer: Its engineer.
        release: Its release now.
        run: Reports the phases.
        older_data: Whether its data is of another release than its root.
        new: Whether its data disk is new, too, and `checkouts.fetch` was called.

    Raises:
        OperationError: a step failed.
    """
    variables = _variables(machine, engineer, release, run, new=new)
    variables["devvm_older_data"] = older_data
    with run.phase("personalise", f"Setting it up for {engineer.login}"):
        if not _by_program(machine, variables, run):
            _by_ansible(machine, variables, run)


def again(machine: Machine, engineer: Engineer, release: str, run: Run) -> None:
    """Personalise a VM that may have been changed since its root was new, by Ansible.

    Raises:
        OperationError: a task failed.
    """
    variables = _variables(machine, engineer, release, run, new=False)
    with run.phase("personalise", f"Setting it up for {engineer.login}"):
        _by_ansible(machine, variables, run)


def _variables(
    machine: Machine, engineer: Engineer, release: str, run: Run, *, new: bool
) -> dict[str, Any]:
    services, target = machine.services, ssh.target(machine, login="vagrant")
    own_key = ssh.own_key(machine)
    # the VM's own key too, so that `devvm ssh` works whatever keys the person has
    keys = [*engineer.authorized_keys, *([own_key] if own_key else [])]
    return {
        **_own(engineer, keys),
        "engineer_checkouts": checkouts.provide(services, target, release, run, new=new),
        "devvm_stamp": {
            "release": release,
            "devvm": __version__,
            "converged_at": run.started_at,
        },
    }


def _own(engineer: Engineer, keys: Sequence[str]) -> dict[str, Any]:
    return {
        **({"engineer_shell": engineer.shell} if engineer.shell else {}),
        "engineer_files": {path: asdict(file) for path, file in engineer.files.items()},
        "engineer_login": engineer.login,
        "engineer_authorized_keys": list(keys),
        "engineer_git_name": engineer.git_name,
        "engineer_git_email": engineer.git_email,
    }


def _by_program(machine: Machine, variables: dict[str, Any], run: Run) -> bool:
    """Run the box's program; return whether it has one."""
    code, out, err = machine.services.shell.run(
        ssh.target(machine, login="vagrant"),
        ["sudo", "-n", "sh", "-c", _IF_PRESENT, "sh", PROGRAM],
        check=False,
        timeout=_TIMEOUT,
        stdin=json.dumps(variables),
    )
    if code == _ABSENT:
        return False
    log = run.log(machine.services.state)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"{PROGRAM} (exit code {code})\n{out}{err}")
    if code:
        lines = err.strip().splitlines() or [f"exit code {code}"]
        raise OperationError(
            f"{machine} could not be set up for {variables['engineer_login']}",
            details=lines[-1],
            resolution=f"less {log}",
            log=log,
        )
    return True


def _by_ansible(machine: Machine, variables: dict[str, Any], run: Run) -> None:
    own_stack.provisioner(machine.services, variables["devvm_stamp"]["release"]).apply(
        PLAYBOOK,
        ssh.target(machine, login="vagrant"),
        variables=variables,
        detail=run.detail,
        log=run.log(machine.services.state),
    )
