"""The host's state folder, for what libvirt doesn't store.

Vagrantfiles, journals of unfinished operations, locks, pinned host keys, run records. Every write
is atomic; an unreadable file is reported, never ignored.
"""

from __future__ import annotations

import errno
import fcntl
import getpass
import json
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from devvm.domain.errors import HostNotReadyError, LockedError, OperationError
from devvm.domain.run import PhaseRecord, RunRecord
from devvm.system import trees

#: Runs that are kept for each VM, for `devvm show`.
_RUNS_KEPT = 10
#: A rollout over a large fleet writes one log for each VM, and its record refers to them.
_LOGS_KEPT = 2000
#: The command in a log's name, before the VM's. Commands of two words are listed, or `stop my-dev1`
#: would count as a command on dev1, and `box build` as one on a VM called build.
_GROUPS = r"(?:box|db|pool|production|release|snapshot|trash)-"
_ON_A_VM = (
    rf"(?:snapshot-(?:create|restore|delete)|db-(?:export|import)|verify---fix|(?!{_GROUPS})[a-z]+)"
)
#: Seconds to wait for a process that holds a lock only to see who has it.
_LOOKING = 0.3


def write_atomic(path: Path, text: str, *, mode: int = 0o660) -> None:
    """Replace a file atomically: after a crash, too, it has either the old text or the new one.

    The new file has no name until it is complete, so a process killed meanwhile leaves nothing.

    Raises:
        OperationError: there is no space left.
        HostNotReadyError: it can't be written for another reason.
    """
    with (
        _writing(path),
        whole_file(path, mode=mode) as descriptor,
        os.fdopen(descriptor, "w", encoding="utf-8", closefd=False) as file,
    ):
        file.write(text)


@contextmanager
def whole_file(path: Path, *, mode: int = 0o600) -> Iterator[int]:
    """A descriptor of a new file, which gets its name at the end of the block.

    If the block fails, or the process is killed, there is no such file, and none in part.

    Raises:
        OSError: it can't be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = _nameless(temporary)
    try:
        yield descriptor
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
        if not os.fstat(descriptor).st_nlink:
            # Python follows the link only if given a folder, which an absolute path ignores
            os.link(f"/proc/self/fd/{descriptor}", temporary, src_dir_fd=0)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def _nameless(path: Path) -> int:
    """Open a new file without a name in the folder of `path`, or `path` if that isn't possible."""
    try:
        return os.open(path.parent, os.O_TMPFILE | os.O_WRONLY, 0o600)
    except OSError as error:
        # These mean that the file system or the kernel doesn't support such files.
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)


class State:
    """The state folder.

    Args:
        root: `state_dir` of the configuration.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.boxes = root / "boxes"
        self.build = root / "build"
        self.ca = root / "ca"
        self.vms = root / "vms"
        self.locks = root / "locks"
        self.logs = root / "logs"
        self.releases = root / "releases"
        self.rollouts = root / "rollouts"

    def ensure(self) -> None:
        """Create the subfolders. `devvm setup` has created the root, for the group `libvirt`.

        Raises:
            HostNotReadyError: a folder can't be created or written to.
        """
        try:
            for folder in (
                self.boxes,
                self.ca,
                self.vms,
                self.locks,
                self.logs,
                self.releases,
                self.rollouts,
            ):
                if not folder.is_dir():
                    folder.mkdir(parents=True, exist_ok=True)
                    folder.chmod(0o2770)  # group access, whatever the umask is
            with tempfile.TemporaryFile(dir=self.locks):
                pass
        except OSError as error:
            raise HostNotReadyError(
                f"the state folder {self.root} can't be written",
                details=str(error),
                resolution="devvm setup",
            ) from None

    def vm(self, name: str) -> Path:
        """The folder of one VM."""
        return self.vms / name

    def new_log(self, command: str) -> Path:
        """Create a log file for the output of one run, and delete the oldest ones."""
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
        path = self.logs / f"{stamp}-{command.replace(' ', '-')}-{os.getpid()}.log"
        with _writing(path):
            path.touch(mode=0o640)
        for old in sorted(self.logs.glob("*.log"))[:-_LOGS_KEPT]:
            old.unlink(missing_ok=True)
        return path

    def logs_of(self, name: str) -> list[Path]:
        """The log files of commands on one VM, oldest first."""
        pattern = re.compile(rf"[0-9T]+-{_ON_A_VM}-{re.escape(name)}-[0-9]+\.log")
        return sorted(p for p in self.logs.glob("*.log") if pattern.fullmatch(p.name))

    @contextmanager
    def lock(self, name: str, command: str) -> Iterator[None]:
        """Hold the lock of a VM (or `box-RELEASE`, `network`) while changing it.

        The kernel releases the lock when its holder dies, so a dead holder never blocks anyone. The
        file of a VM that is gone by then is deleted.

        Raises:
            LockedError: another process holds it. The error says who, since when, doing what.
        """
        path = self.locks / f"{name}.lock"
        descriptor = _open_lock(path)
        try:
            while True:
                if not _taken(descriptor):
                    raise _locked(name, os.read(descriptor, 4096))
                if _is_at(descriptor, path):
                    break
                os.close(descriptor)  # its last holder has deleted it
                descriptor = _open_lock(path)
            holder = {
                "pid": os.getpid(),
                "user": getpass.getuser(),
                "command": command,
                "since": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            with suppress(OSError):  # no space left: the lock is held anyway
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps(holder).encode(), 0)
            try:
                yield
            finally:
                if not self.vm(name).exists():
                    path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    @contextmanager
    def wait_lock(self, name: str) -> Iterator[None]:
        """Wait for and hold a lock that is only held briefly (the network's, an upload's).

        The file's name is one that no VM can have, so that a VM may be called `network`.
        """
        descriptor = _open_lock(self.locks / f".{name}.lock")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def journal(self, name: str) -> dict[str, Any] | None:
        """The journal of the VM's unfinished operation; None if there is none.

        Raises:
            OperationError: the journal can't be read.
        """
        return _read(self._journal(name), "operation", "started_at", mend="devvm doctor --fix")

    def has_journal(self, name: str) -> bool:
        """Whether an operation on the VM is unfinished, whether or not its journal can be read."""
        return self._journal(name).exists()

    def journal_is_damaged(self, name: str) -> str | None:
        """Why a VM's journal can't be read; None if it can, or if there is none."""
        try:
            self.journal(name)
        except OperationError as error:
            return f"{error.brief}: {error.details}"
        return None

    def set_journal_aside(self, name: str) -> None:
        """Rename an unreadable journal to `.damaged`, for people to inspect."""
        self._journal(name).replace(self._journal(name).with_suffix(".damaged"))

    def open_journal(self, name: str, operation: str, facts: Mapping[str, Any]) -> None:
        """Record, before its first change, an operation and what is needed to undo it.

        Raises:
            OperationError: there is no space left; nothing was started.
            HostNotReadyError: the journal can't be written for another reason.
        """
        with _writing(self.vm(name)):
            self.vm(name).mkdir(parents=True, exist_ok=True)
        entry = {
            "operation": operation,
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
            **facts,
        }
        write_atomic(self._journal(name), json.dumps(entry, indent=2))

    def close_journal(self, name: str) -> None:
        """Delete the journal: the operation is finished or undone."""
        self._journal(name).unlink(missing_ok=True)

    def add_run(self, name: str, record: RunRecord) -> None:
        """Add a run to the VM's records. If the earlier ones can't be read, it replaces them."""
        if self.vm(name).is_dir():
            earlier: list[RunRecord] = []
            with suppress(OperationError):
                earlier = self.runs(name)[-(_RUNS_KEPT - 1) :]
            entries = [asdict(run) for run in (*earlier, record)]
            with suppress(OperationError):  # no space left: the run has succeeded anyway
                write_atomic(self._runs(name), json.dumps({"version": 1, "runs": entries}))

    def runs(self, name: str) -> list[RunRecord]:
        """The latest runs on a VM, oldest first.

        Raises:
            OperationError: they can't be read.
        """
        data = _read(self._runs(name), "runs", mend=f"rm {self._runs(name)}") or {"runs": []}
        try:
            return [
                RunRecord(**{**run, "phases": tuple(PhaseRecord(**p) for p in run["phases"])})
                for run in data["runs"]
            ]
        except (KeyError, TypeError) as error:
            raise _damaged(self._runs(name), error, mend=f"rm {self._runs(name)}") from None

    def forget(self, name: str) -> None:
        """Delete a VM's folder, which is renamed first, so that it never exists in part."""
        for left in self.vms.glob(f".{name}.gone-*"):  # left by killed calls
            with suppress(OSError):
                trees.remove(left)
        gone = self.vms / f".{name}.gone-{os.getpid()}"
        with suppress(FileNotFoundError):
            self.vm(name).rename(gone)
        with suppress(OSError):
            trees.remove(gone)

    def names(self) -> list[str]:
        """The names of VMs that have a folder."""
        if not self.vms.is_dir():
            return []
        folders = (path for path in self.vms.iterdir() if path.is_dir())
        return sorted(path.name for path in folders if not path.name.startswith("."))

    def _journal(self, name: str) -> Path:
        return self.vm(name) / "journal.json"

    def _runs(self, name: str) -> Path:
        return self.vm(name) / "runs.json"

    def holder(self, name: str) -> str | None:
        """A sentence that says who holds a VM's lock; None if nobody does."""
        path = self.locks / f"{name}.lock"
        if not path.exists():  # to open it would make it
            return None
        descriptor = _open_lock(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _locked(name, os.read(descriptor, 4096)).details
        finally:
            os.close(descriptor)
        return None


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what, why = f"{path} can't be written", error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            room = "make room: devvm trash list, devvm box list"
            raise OperationError(what, details=why, resolution=room) from None
        raise HostNotReadyError(what, details=why, resolution="devvm setup") from None


def _open_lock(path: Path) -> int:
    """Open a lock file, and let the folder's whole group open it, whoever created it.

    Raises:
        HostNotReadyError: this user has no permission.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o660)
    except OSError as error:
        raise HostNotReadyError(
            f"the lock {path} can't be opened", details=error.strerror, resolution="devvm setup"
        ) from None
    if os.fstat(descriptor).st_uid == os.geteuid():
        os.fchmod(descriptor, 0o660)  # the umask may have removed the group's write permission
    return descriptor


def _taken(descriptor: int) -> bool:
    """Take a lock, waiting out processes that only look at it; False if it is held."""
    deadline = time.monotonic() + _LOOKING
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOKING / 10)
        else:
            return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _read(path: Path, *keys: str, mend: str) -> dict[str, Any] | None:
    """Read a JSON object that must have these keys; None if there is no such file."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _damaged(path, error, mend) from None
    if not isinstance(data, dict) or not data.keys() >= set(keys):
        raise _damaged(path, f"it does not have {', '.join(keys)}", mend)
    return data


def _damaged(path: Path, why: object, mend: str) -> OperationError:
    return OperationError(f"{path} can't be read", details=str(why), resolution=mend)


def _locked(name: str, content: bytes) -> LockedError:
    try:
        holder = json.loads(content)
        who = (
            f"{holder['user']} (process {holder['pid']}) has held it since "
            f"{holder['since']}: {holder['command']}"
        )
    except (ValueError, KeyError):
        who = "another process holds it"
    return LockedError(
        f"{name} is being changed by somebody else",
        details=who,
        resolution="wait for it to finish, then run the command again",
    )
