"""Keep people's work when a VM goes back to an earlier state of its disks.

What services write (databases, queues) goes back with them. What people have written to their homes
and checkouts since then must stay. The guest's own tar finds it.
"""

from __future__ import annotations

from pathlib import Path

from devvm.domain.errors import DevvmError
from devvm.operations.core import own_stack
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import ssh
from devvm.system import assets


def mark(machine: Machine, identifier: str) -> None:
    """Note in a running VM which files people have now, for `save` to compare with.

    Raises:
        OperationError: they can't be noted.
    """
    target = ssh.target(machine, login="vagrant")
    script = assets.keep_work().read_text(encoding="utf-8")
    machine.services.shell.run(
        target,
        ["sudo", "sh", "-s", "mark", identifier, *_checkouts(machine)],
        stdin=script,
        timeout=1800,
    )


def save(machine: Machine, identifier: str, run: Run) -> Path | None:
    """Fetch from a running VM what people have changed since `mark`.

    Returns:
        A private file in the VM's folder; None if it can't be fetched.
    """
    saved = _file(machine, identifier)
    unfinished = saved.with_suffix(".part")
    try:
        machine.services.shell.transfer(
            ssh.target(machine, login="vagrant"),
            ["sudo", "sh", "-s", "save", identifier, *_checkouts(machine)],
            source=assets.keep_work(),
            destination=unfinished,
        )
        unfinished.replace(saved)
    except (DevvmError, OSError) as error:
        unfinished.unlink(missing_ok=True)
        if saved.is_file():  # from an earlier try
            return saved
        run.note(
            f"What was written in {machine} meanwhile can't be carried over ({error}); it is in "
            f"the trash: devvm trash show {machine}"
        )
        return None
    return saved


def put_back(machine: Machine, run: Run) -> None:
    """Write saved work, if there is any, into a VM that was rolled back.

    If that fails, the file stays, and a note says where it is.
    """
    for saved in sorted(machine.folder.glob("work-*.tar")):
        try:
            _write(machine, saved)
        except DevvmError as error:
            run.note(
                f"What was written in {machine} meanwhile could not be written back ({error}); "
                f"it is in {saved}, a tar archive below /data/state"
            )


def _write(machine: Machine, saved: Path) -> None:
    machine.services.shell.transfer(
        ssh.target(machine, login="vagrant"),
        [
            "sudo", "tar", "--extract", "--acls", "--xattrs", "--numeric-owner",
            "--listed-incremental=/dev/null", "--directory=/data/state", "--file=-",
        ],
        source=saved,
    )  # fmt: skip
    saved.unlink()


def _checkouts(machine: Machine) -> list[str]:
    stack = own_stack.of(machine.services, machine.require().known.release).description()
    return [one.checkout.path for one in stack.applications if one.checkout]


def _file(machine: Machine, identifier: str) -> Path:
    return machine.folder / f"work-{identifier}.tar"
