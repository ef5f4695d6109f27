"""A channel of an IRC server that is told of a rollout.

Comes, says it, goes: RFC 2812, of which this needs little. Why our own: docs/decisions/0013.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from devvm.domain.errors import OperationError
from devvm.domain.rollout.message import Message, one_line
from devvm.system.secrets import read_secret

#: Bytes of a line, its end included (RFC 2812, 2.3).
_LINE = 512
#: Bytes of what a server puts before a line that it hands on, but for the nick: user and host.
_SENDER = len(":!~") + 10 + len("@") + 63 + len(" ")
#: Lines that a message may have. Servers throw out who says much at once.
_LINES = 4
#: Bytes without an end of line after which it is no IRC server (IRCv3 tags need 8 KiB).
_TOO_LONG = 16384
_NICK_TAKEN = ("433", "436", "437")
_NICKS_TRIED = 4
#: Seconds for a server to close the connection when it is asked to.
_GOODBYE = 1


class Irc:
    """Satisfies `Sender`.

    Args:
        server: Name or address.
        port: TCP port.
        tls: Whether to speak TLS; the certificate is always verified.
        ca_file: The authorities to trust; without, the host's.
        nick: Who devvm is there; with `_` after it where that is taken.
        channel: Where to say it.
        password_file: Holds the server's password; TLS only.
        timeout: Seconds for all of it.
    """

    name = "IRC"

    def __init__(
        self,
        *,
        server: str,
        port: int,
        tls: bool,
        nick: str,
        channel: str,
        ca_file: Path | None = None,
        password_file: Path | None = None,
        timeout: float = 15,
    ) -> None:
        self._server = server
        self._port = port
        self._tls = tls
        self._nick = nick
        self._channel = channel
        self._ca_file = ca_file
        self._password_file = password_file
        self._timeout = timeout

    def send(self, message: Message) -> None:
        """Say the message's text in the channel once.

        Raises:
            OperationError: it was not said, or not in time.
            UsageError: the password can't be used.
        """
        password = self._password()
        deadline = time.monotonic() + self._timeout
        try:
            with self._connected(deadline) as connection:
                lines = _Lines(connection, deadline)
                nick = self._register(lines, password)
                self._join(lines)
                self._say(lines, nick, message.text)
                self._leave(lines)
        except TimeoutError:
            raise OperationError(
                f"{self._server} did not let devvm speak within {self._timeout:g} s"
            ) from None
        except OSError as error:
            raise OperationError(
                f"{self._server} can't be notified", details=error.strerror or str(error)
            ) from None

    def _password(self) -> str | None:
        if self._password_file is None:
            return None
        if not self._tls:
            raise OperationError(
                "a password is not sent without TLS", details="set rollout.irc.tls to true"
            )
        return read_secret(self._password_file)

    def _connected(self, deadline: float) -> socket.socket:
        context = self._trust() if self._tls else None
        plain = socket.create_connection((self._server, self._port), _left(deadline))
        if context is None:
            return plain
        try:
            plain.settimeout(_left(deadline))
            return context.wrap_socket(plain, server_hostname=self._server)
        except BaseException:
            plain.close()
            raise

    def _trust(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._ca_file)
        except OSError as error:
            raise OperationError(
                f"{self._ca_file} holds no certificates", details=error.strerror or str(error)
            ) from None

    def _register(self, lines: _Lines, password: str | None) -> str:
        """Introduce devvm; the nick that it has there."""
        if password is not None:
            lines.write(f"PASS :{password}")
        nick = self._nick
        lines.write(f"NICK {nick}")
        lines.write(f"USER devvm 0 * :devvm on {socket.gethostname()}")
        for line in lines:
            if line.command == "001":
                return nick
            if line.command in _NICK_TAKEN and len(nick) < len(self._nick) + _NICKS_TRIED:
                nick += "_"
                lines.write(f"NICK {nick}")
            elif line.is_error:
                raise self._refused("did not let devvm in", line)
        raise self._closed()

    def _join(self, lines: _Lines) -> None:
        lines.write(f"JOIN {self._channel}")
        self._await(lines, lambda line: line.command == "366" and self._is_ours(line))

    def _say(self, lines: _Lines, nick: str, text: str) -> None:
        command = f"PRIVMSG {self._channel} :"
        room = _LINE - _SENDER - len(nick) - len(command.encode()) - len("\r\n")
        for part in split(text, room):
            lines.write(command + part)
        # A server says nothing of a line that it takes; its answer to what comes after it shows
        # that it is done with the line.
        lines.write("PING :said")
        self._await(lines, lambda line: line.command == "PONG")

    def _leave(self, lines: _Lines) -> None:
        with suppress(OSError, OperationError):  # it has been said
            lines.write("QUIT :said")
            lines.hurry(_GOODBYE)
            for _ in lines:
                pass

    def _await(self, lines: _Lines, wanted: Callable[[_Line], bool]) -> None:
        for line in lines:
            if wanted(line):
                return
            if line.is_error and self._is_ours(line):
                raise self._refused(f"did not let devvm speak in {self._channel}", line)
        raise self._closed()

    def _is_ours(self, line: _Line) -> bool:
        """Whether a line is about the channel, and not, say, about a missing message of the day."""
        return self._channel.lower() in (p.lower() for p in line.parameters[1:2])

    def _refused(self, what: str, line: _Line) -> OperationError:
        return OperationError(
            f"{self._server} {what}", details=one_line(" ".join(line.parameters[1:]))
        )

    def _closed(self) -> OperationError:
        return OperationError(f"{self._server} closed the connection")


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A line of a server: a command or a numeric reply, and its parameters."""

    command: str
    parameters: tuple[str, ...]

    @property
    def is_error(self) -> bool:
        return len(self.command) == 3 and self.command[0] in "45" and self.command.isdecimal()

    @classmethod
    def parse(cls, text: str) -> _Line:
        if text.startswith("@"):  # IRCv3 tags
            text = text.partition(" ")[2].lstrip()
        if text.startswith(":"):
            text = text.partition(" ")[2]
        head, colon, trailing = f" {text}".partition(" :")
        command, *parameters = head.split() or [""]
        return cls(
            command=command.upper(), parameters=(*parameters, *([trailing] if colon else ()))
        )


class _Lines:
    """The lines of a connection until it is closed; answers the server's PINGs by itself.

    Raises:
        TimeoutError: the time ran out.
        OperationError: the server says that it ends the connection, or does not speak IRC.
    """

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._received = b""

    def hurry(self, seconds: float) -> None:
        """Bring the deadline forward."""
        self._deadline = min(self._deadline, time.monotonic() + seconds)

    def write(self, line: str) -> None:
        self._connection.settimeout(_left(self._deadline))
        # The last guard against a line in a line: whatever a caller forgot ends here.
        safe = line.replace("\r", " ").replace("\n", " ").replace("\0", " ")
        self._connection.sendall(safe.encode("utf-8", errors="replace") + b"\r\n")

    def __iter__(self) -> Iterator[_Line]:
        while True:
            while b"\n" not in self._received:
                if len(self._received) > _TOO_LONG:
                    raise OperationError("the server does not speak IRC")
                self._connection.settimeout(_left(self._deadline))
                read = self._connection.recv(4096)
                if not read:
                    return
                self._received += read
            raw, _, self._received = self._received.partition(b"\n")
            line = _Line.parse(raw.decode("utf-8", errors="replace").strip("\r"))
            if line.command == "PING":
                self.write(f"PONG :{' '.join(line.parameters[:1])}")
            elif line.command == "ERROR":
                raise OperationError(
                    "the server ended the connection", details=one_line(" ".join(line.parameters))
                )
            else:
                yield line


def split(text: str, room: int) -> list[str]:
    """A text as lines of at most `room` bytes, where there are spaces if there are.

    What does not fit the few lines that a message may have is cut off, which is shown.
    """
    rest = one_line(text, limit=_LINES * room)
    parts = []
    while rest:
        part = _cut(rest, room)
        if part != rest and " " in part:
            part = part[: part.rindex(" ")]
        parts.append(part)
        rest = rest[len(part) :].lstrip()
    if len(parts) > _LINES:
        last = _cut(parts[_LINES - 1], room - len("…".encode()))
        parts = [*parts[: _LINES - 1], f"{last}…"]
    return parts


def _cut(text: str, size: int) -> str:
    """As much of a text as fits so many bytes."""
    return text.encode()[:size].decode(errors="ignore")


def _left(deadline: float) -> float:
    """Seconds until the deadline; a socket takes 0 for something else."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
