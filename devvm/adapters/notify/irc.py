"""Notifies about rollouts in a channel of an IRC server.

Connects, posts and leaves, which needs little of RFC 2812. Why our own: docs/decisions/0013.
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

#: Bytes in a line, including its end (RFC 2812, 2.3).
_LINE = 512
#: Bytes that a server puts before a line that it relays, without the nick: user and host.
_SENDER = len(":!~") + 10 + len("@") + 63 + len(" ")
#: Lines in a message, at most. Servers disconnect clients that send many at once.
_LINES = 4
#: If so many bytes have no end of line, the server isn't an IRC server (IRCv3 tags need 8 KiB).
_TOO_LONG = 16384
_NICK_TAKEN = ("433", "436", "437")
_NICKS_TRIED = 4
#: Seconds that the server has to close the connection after QUIT.
_GOODBYE = 1


class Irc:
    """Implements `Sender`.

    Args:
        server: Name or address.
        port: TCP port.
        tls: Whether to use TLS; the certificate is always verified.
        ca_file: CA certificates to trust; None for the host's.
        nick: devvm's nick; `_` is appended if it is taken.
        channel: The channel to post to.
        password_file: File with the server's password; TLS only.
        timeout: Seconds for sending a message.
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
        """Post the message's text to the channel once.

        Raises:
            OperationError: the message was not posted in time.
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
        """Log in and return the nick that devvm got."""
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
        # A server doesn't acknowledge messages. Its answer to a later command shows that it has
        # processed them.
        lines.write("PING :said")
        self._await(lines, lambda line: line.command == "PONG")

    def _leave(self, lines: _Lines) -> None:
        with suppress(OSError, OperationError):  # the message has been posted
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
        """Whether a line is about our channel, and not, say, about a missing message of the day."""
        return self._channel.lower() in (p.lower() for p in line.parameters[1:2])

    def _refused(self, what: str, line: _Line) -> OperationError:
        return OperationError(
            f"{self._server} {what}", details=one_line(" ".join(line.parameters[1:]))
        )

    def _closed(self) -> OperationError:
        return OperationError(f"{self._server} closed the connection")


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A line from the server: a command or a numeric reply, and its parameters."""

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
    """Iterates over the lines of a connection until it is closed, and answers PINGs.

    Raises:
        TimeoutError: the deadline has passed.
        OperationError: the server announced the end of the connection, or doesn't speak IRC.
    """

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._received = b""

    def hurry(self, seconds: float) -> None:
        """Bring the deadline forward to `seconds` from now."""
        self._deadline = min(self._deadline, time.monotonic() + seconds)

    def write(self, line: str) -> None:
        self._connection.settimeout(_left(self._deadline))
        # The last guard against injected lines, in case a caller forgot to clean its text.
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
    """Split a text into lines of at most `room` bytes, at spaces if there are any.

    A text that needs more lines than a message may have is cut off, and ends in `…`.
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
    """As much of a text as fits in `size` bytes."""
    return text.encode()[:size].decode(errors="ignore")


def _left(deadline: float) -> float:
    """Seconds until the deadline. Raises `TimeoutError` instead of returning 0 (non-blocking)."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
