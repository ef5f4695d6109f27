"""The people who are logged in to a VM: whether they are active, asking them, their answer.

Looked for in the VM itself, with nothing but a shell: Python may be what is broken. A person
without a terminal, such as one with files open in an editor over SSH, is not seen.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Literal

from devvm.operations.core.machine import Machine
from devvm.operations.guest import ssh
from devvm.system import assets

Answer = Literal["now", "later"]

#: What a person notices, where it is not known better.
NOTICE = "Services will restart, and the VM may reboot. Save your work."

_LINES, _COLUMNS = 5, 78
_WAYS = (
    "  To update now:    touch ~/update-now      (or log out)",
    "  To postpone it:   touch ~/update-later",
)
#: Characters of a name in a message; a login has no more.
_NAME_MAX = 32
#: Seconds; an emulated guest on a busy host takes its time for a look at its accounts.
_TIMEOUT = 120


@dataclass(frozen=True, kw_only=True)
class Session:
    """A terminal that somebody is logged in on.

    Attributes:
        login: Whose it is.
        terminal: Its name below /dev: `pts/0`.
        idle_seconds: Since a key was last pressed there; the kernel rounds it to 8 seconds.
    """

    login: str
    terminal: str
    idle_seconds: int


def active(machine: Machine, *, within_seconds: float) -> tuple[Session, ...]:
    """Terminals of a VM on which a key was pressed not long ago, the latest first.

    devvm's own connections have no terminal and are none of them.

    Raises:
        DevvmError: the VM does not let devvm in.
    """
    found = parse(_in_guest(machine, "sessions"))
    return tuple(session for session in found if session.idle_seconds <= within_seconds)


def ask(
    machine: Machine, release: str, minutes: int, by: str, *, notice: str = NOTICE
) -> tuple[str, ...]:
    """Tell everybody who is logged in to a VM what is about to be done, and how to answer.

    Earlier answers are removed first.

    Args:
        machine: The VM.
        release: What the VM is brought to.
        minutes: When, from now on.
        by: The login of who does it.
        notice: What a person will notice of it, a sentence.

    Returns:
        The terminals that it was written to.

    Raises:
        DevvmError: the VM does not let devvm in.
    """
    return _told(_in_guest(machine, "ask", *question(release, minutes, by, notice)))


def answer(machine: Machine) -> Answer | None:
    """What people said since they were asked; who says `later` counts more than who says `now`.

    Raises:
        DevvmError: the VM does not let devvm in.
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
        DevvmError: the VM does not let devvm in.
    """
    _in_guest(machine, "clear")


def tell(machine: Machine, text: str) -> tuple[str, ...]:
    """Write a line to every terminal of a VM that somebody is logged in on.

    Returns:
        The terminals that it was written to.

    Raises:
        DevvmError: the VM does not let devvm in.
    """
    return _told(_in_guest(machine, "tell", *_wrapped(f"devvm: {text}")))


def question(release: str, minutes: int, by: str, notice: str = NOTICE) -> tuple[str, ...]:
    """The lines that a person reads on the terminal."""
    when = "1 minute" if minutes == 1 else f"{minutes} minutes"
    who, room = _plain(by)[:_NAME_MAX], _LINES - len(_WAYS)
    what = _wrapped(f"devvm: {who} will update this VM to {release} in {when}.", room - 1)
    return (*what, *_wrapped(notice, room - len(what)), *_WAYS)


def parse(text: str) -> tuple[Session, ...]:
    """What the script in the guest printed of sessions, the latest active one first."""
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
    """`text` without anything that drives a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()
