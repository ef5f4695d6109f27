"""The people who are logged in to a VM: find out who is active, ask them, read their answers.

Uses only a shell in the VM, as its Python may be broken. People without a terminal, such as one
with files open in an editor over SSH, are not seen.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Literal

from devvm.operations.core.machine import Machine
from devvm.operations.guest import ssh
from devvm.system import assets

Answer = Literal["now", "later"]

#: What a person notices, unless the caller knows better.
NOTICE = "Services will restart, and the VM may reboot. Save your work."

_LINES, _COLUMNS = 5, 78
_WAYS = (
    "  To update now:    touch ~/update-now      (or log out)",
    "  To postpone it:   touch ~/update-later",
)
#: Characters of a name in a message; no login is longer.
_NAME_MAX = 32
#: Seconds; an emulated guest on a busy host is slow to look up its accounts.
_TIMEOUT = 120


@dataclass(frozen=True, kw_only=True)
class Session:
    """A terminal that somebody is logged in on.

    Attributes:
        login: The login of the person.
        terminal: Its name below /dev: `pts/0`.
        idle_seconds: Seconds since a key was last pressed; the kernel rounds them to 8.
    """

    login: str
    terminal: str
    idle_seconds: int


def active(machine: Machine, *, within_seconds: float) -> tuple[Session, ...]:
    """Terminals of a VM on which a key was pressed recently, latest first.

    devvm's own connections have no terminal, and are not among them.

    Raises:
        DevvmError: devvm can't log in to the VM.
    """
    found = parse(_in_guest(machine, "sessions"))
    return tuple(session for session in found if session.idle_seconds <= within_seconds)


def ask(
    machine: Machine, release: str, minutes: int, by: str, *, notice: str = NOTICE
) -> tuple[str, ...]:
    """Tell everybody who is logged in to a VM about its update, and how to answer.

    Earlier answers are removed first.

    Args:
        machine: The VM.
        release: The release to update to.
        minutes: Minutes until the update.
        by: Login of the person who updates it.
        notice: What a person will notice, in a sentence.

    Returns:
        The terminals that it was written to.

    Raises:
        DevvmError: devvm can't log in to the VM.
    """
    return _told(_in_guest(machine, "ask", *question(release, minutes, by, notice)))


def answer(machine: Machine) -> Answer | None:
    """What people have answered; None if nothing. `later` outweighs `now`.

    Raises:
        DevvmError: devvm can't log in to the VM.
    """
    match _in_guest(machine, "answer").strip():
        case "now":
            return "now"
        case "later":
            return "later"
    return None


def clear(machine: Machine) -> None:
    """Remove people's answers.

    Raises:
        DevvmError: devvm can't log in to the VM.
    """
    _in_guest(machine, "clear")


def tell(machine: Machine, text: str) -> tuple[str, ...]:
    """Write a message to every terminal of a VM on which somebody is logged in.

    Returns:
        The terminals that it was written to.

    Raises:
        DevvmError: devvm can't log in to the VM.
    """
    return _told(_in_guest(machine, "tell", *_wrapped(f"devvm: {text}")))


def question(release: str, minutes: int, by: str, notice: str = NOTICE) -> tuple[str, ...]:
    """The lines of the message that `ask` writes."""
    when = "1 minute" if minutes == 1 else f"{minutes} minutes"
    who, room = _plain(by)[:_NAME_MAX], _LINES - len(_WAYS)
    what = _wrapped(f"devvm: {who} will update this VM to {release} in {when}.", room - 1)
    return (*what, *_wrapped(notice, room - len(what)), *_WAYS)


def parse(text: str) -> tuple[Session, ...]:
    """Parse the sessions that the script in the guest printed; latest active first."""
    found = []
    for line in text.splitlines():
        match line.split("\t"):
            case ["session", login, terminal, idle] if idle.isascii() and idle.isdigit():
                session = Session(login=login, terminal=terminal, idle_seconds=int(idle))
                found.append(session)
    return tuple(sorted(found, key=lambda session: (session.idle_seconds, session.terminal)))


def _told(text: str) -> tuple[str, ...]:
    parts = (line.partition("\t") for line in text.splitlines())
    return tuple(terminal for kind, _, terminal in parts if kind == "told")


def _in_guest(machine: Machine, *argv: str) -> str:
    target = ssh.target(machine, login="vagrant")
    script = assets.people().read_text(encoding="utf-8")
    command = ["sudo", "sh", "-s", "--", *argv]
    _, out, _ = machine.services.shell.run(target, command, timeout=_TIMEOUT, stdin=script)
    return out


def _wrapped(text: str, lines: int = _LINES) -> list[str]:
    return textwrap.wrap(_plain(text), _COLUMNS, max_lines=lines, placeholder=" ...")


def _plain(text: str) -> str:
    """`text` without characters that control a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()
