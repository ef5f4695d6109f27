"""The record of a rollout on the host: its plan, and its events in order.

Each event is one line, appended and flushed to the disk before the work that it announces is done.
So the record shows how far a rollout got, even if it or the host was killed. It is also the audit
log.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from devvm.domain.errors import LockedError, NotFoundError, OperationError
from devvm.domain.rollout import older_events
from devvm.domain.rollout import state as record
from devvm.domain.rollout.plan import Plan
from devvm.domain.rollout.state import Event, Record
from devvm.ports.services import Services
from devvm.system.state import write_atomic

Request = Literal["pause", "abort"]

_ID = re.compile(r"r[1-9][0-9]{0,5}")
_PLAN, _EVENTS, _REQUEST = "plan.json", "events.jsonl", "request"
_LOCK = ".rollout"  # no VM can have this name
_FORMAT = 1


class RolloutLog:
    """One rollout's files.

    Args:
        folder: The rollout's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def id(self) -> str:
        """The rollout's name."""
        return self._folder.name

    def plan(self) -> tuple[Plan, str]:
        """The plan, and when it was made.

        Raises:
            OperationError: it can't be read.
        """
        path = self._folder / _PLAN
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            known = data["format"] == _FORMAT
            plan, at = record.plan_of(data["plan"]), str(data["at"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _unreadable(path, error) from None
        if not known:
            raise _unreadable(path, f"it has format {data['format']}, this devvm reads {_FORMAT}")
        return plan, at

    def events(self) -> list[Event]:
        """Every event, in order; one that is only partly written is skipped.

        Raises:
            OperationError: it can't be read.
        """
        path = self._folder / _EVENTS
        try:
            return list(_events(path.read_bytes()))
        except FileNotFoundError:
            return []
        except (OSError, KeyError, TypeError) as error:
            raise _unreadable(path, error) from None

    def record(self) -> Record:
        """The state of the rollout, computed from its events.

        Raises:
            OperationError: it can't be read.
        """
        plan, at = self.plan()
        return record.add_up(plan, at, self.events())

    def append(self, event: Event, *, durable: bool = True) -> None:
        """Append an event.

        Args:
            event: What happened.
            durable: Whether to flush it to the disk before returning.

        Raises:
            OperationError: it can't be written; a partial line is skipped when read.
        """
        line = json.dumps(event.data(), ensure_ascii=False).encode() + b"\n"
        path = self._folder / _EVENTS
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o660)
            try:
                if os.fstat(descriptor).st_uid == os.geteuid():
                    os.fchmod(descriptor, 0o660)  # the umask removed the group's write permission
                fcntl.flock(descriptor, fcntl.LOCK_EX)  # `devvm start` of a due VM may write, too
                _write(descriptor, b"\n" + line if _is_torn(descriptor) else line)
                if durable:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise OperationError(
                f"{path} can't be written",
                details=error.strerror,
                resolution="make room: devvm trash list, devvm box list; then: "
                "devvm rollout resume",
            ) from None

    def ask_for(self, request: Request) -> None:
        """Ask the process that carries out the rollout to pause or abort it."""
        write_atomic(self._folder / _REQUEST, request)

    def request(self) -> Request | None:
        """What somebody has asked for; None if nothing."""
        with suppress(OSError):
            text = (self._folder / _REQUEST).read_text(encoding="utf-8").strip()
            return next((known for known in get_args(Request) if known == text), None)
        return None

    def clear_request(self) -> None:
        """Remove the request, once it has been carried out."""
        (self._folder / _REQUEST).unlink(missing_ok=True)


def new(services: Services, plan: Plan) -> RolloutLog:
    """Record a plan as a new rollout, and name it. The caller holds the rollout lock."""
    numbers = [int(log.id[1:]) for log in every(services)]
    identifier = f"r{max(numbers, default=0) + 1}"
    folder = services.state.rollouts / identifier
    folder.mkdir(exist_ok=True)
    folder.chmod(0o2770)  # for everybody who may use libvirt, like its parent
    named = record.plan_data(replace(plan, id=identifier))
    content = {"format": _FORMAT, "at": now(), "plan": named}
    write_atomic(folder / _PLAN, json.dumps(content, indent=2))
    return RolloutLog(folder)


def every(services: Services) -> list[RolloutLog]:
    """Every recorded rollout, oldest first."""
    root = services.state.rollouts
    found = [path for path in root.iterdir() if _ID.fullmatch(path.name)] if root.is_dir() else []
    there = [path for path in found if (path / _PLAN).is_file()]
    return [RolloutLog(path) for path in sorted(there, key=lambda path: int(path.name[1:]))]


def find(services: Services, identifier: str | None) -> RolloutLog:
    """The rollout of this name; the latest if that is None.

    Raises:
        NotFoundError: there is no such rollout.
    """
    logs = every(services)
    found = [log for log in logs if identifier in (None, log.id)]
    if not found:
        raise NotFoundError(
            f"there is no rollout {identifier}" if identifier else "there has been no rollout yet",
            details=f"there are: {', '.join(log.id for log in logs[-5:])}" if logs else None,
            resolution="devvm rollout list" if logs else "devvm rollout start RELEASE",
        )
    return found[-1]


@contextmanager
def held(services: Services, command: str) -> Iterator[None]:
    """Hold the rollout lock: only one process per host may carry one out.

    Raises:
        LockedError: another process holds it.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(services.state.lock(_LOCK, command))
        except LockedError as error:
            raise LockedError(
                "a rollout is in progress",
                details=error.details,
                resolution="devvm rollout status --follow",
            ) from None
        yield


def holder(services: Services) -> str | None:
    """Who is carrying out a rollout, in words; None if nobody is."""
    return services.state.holder(_LOCK)


def now() -> str:
    """The current time, as in events: ISO 8601, UTC, with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _is_torn(descriptor: int) -> bool:
    """Whether the last line is incomplete: the host or the process died while writing it."""
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"


def _write(descriptor: int, content: bytes) -> None:
    """Write all of it: the kernel may write only a part, as when the disk is nearly full.

    Raises:
        OSError: the rest can't be written.
    """
    while content:
        content = content[os.write(descriptor, content) :]


def _events(content: bytes) -> Iterator[Event]:
    """The events in a record; lines that are incomplete are skipped.

    A line that was cut off is not JSON, and perhaps not UTF-8. More events may follow it, as the
    next one written starts a new line.

    Raises:
        KeyError, TypeError: a line is JSON, but not an event.
    """
    for line in content.split(b"\n"):
        try:
            data = json.loads(line.decode())
        except ValueError:
            continue
        yield _event(data)


def _event(data: Mapping[str, Any]) -> Event:
    event = Event(
        at=data["at"],
        by=data["by"],
        what=data["what"],
        vm=data.get("vm"),
        facts=data.get("facts", {}),
    )
    return older_events.completed(event)


def _unreadable(path: Path, error: object) -> OperationError:
    return OperationError(
        f"{path} can't be read",
        details=str(error),
        resolution="restore it from a backup; the VMs themselves are fine: devvm list",
    )
