"""A person's work, taken along when a VM goes back to an earlier state of its disks.

What services write (databases, queues) goes back with the services; what people write in their
homes and checkouts since then must not go out of sight. The guest's own tar tells it apart.
"""

from __future__ import annotations

from pathlib import Path

from devvm.domain.errors import DevvmError
from devvm.operations.core.progress import Run
from devvm.operations.guest import ssh
from devvm.ports.services import Services
from devvm.system import assets


def mark(services: Services, name: str, identifier: str) -> None:
    """Note, in a running VM, what of a person's work is there now.

    Raises:
        OperationError: it can't be noted.
    """
    target = ssh.target(services, name, login="vagrant")
    script = assets.keep_work().read_text(encoding="utf-8")
    services.shell.run(target, ["sudo", "sh", "-s", "mark", identifier], stdin=script, timeout=1800)


def save(services: Services, name: str, identifier: str, run: Run) -> Path | None:
    """Take out of a running VM what of a person's work has changed since it was noted.

    Returns:
        The file with it, private, in the VM's folder; None where it can't be had.
    """
    saved = _file(services, name, identifier)
    unfinished = saved.with_suffix(".part")
    try:
        services.shell.transfer(
            ssh.target(services, name, login="vagrant"),
            ["sudo", "sh", "-s", "save", identifier],
            source=assets.keep_work(),
            destination=unfinished,
        )
        unfinished.replace(saved)
    except (DevvmError, OSError) as error:
        unfinished.unlink(missing_ok=True)
        if saved.is_file():  # by an earlier try
            return saved
        run.note(
            f"What was written in {name} meanwhile can't be carried over ({error}); it is in "
            f"the trash: devvm trash show {name}"
        )
        return None
    return saved


def put_back(services: Services, name: str, run: Run) -> None:
    """Write saved work into a VM that went back, where some is saved and it runs.

    Where that fails, the file stays, and the person is told.
    """
    for saved in sorted(services.state.vm(name).glob("work-*.tar")):
        try:
            _write(services, name, saved)
        except DevvmError as error:
            run.note(
                f"What was written in {name} meanwhile could not be written back ({error}); "
                f"it is in {saved}, a tar archive below /data/state"
            )


def _write(services: Services, name: str, saved: Path) -> None:
    services.shell.transfer(
        ssh.target(services, name, login="vagrant"),
        [
            "sudo", "tar", "--extract", "--acls", "--xattrs", "--numeric-owner",
            "--listed-incremental=/dev/null", "--directory=/data/state", "--file=-",
        ],
        source=saved,
    )  # fmt: skip
    saved.unlink()


def _file(services: Services, name: str, identifier: str) -> Path:
    return services.state.vm(name) / f"work-{identifier}.tar"
