"""A rollout's messages on IRC, with a real server: Debian's ngircd on loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devvm.adapters.notify.irc import Irc
from devvm.domain.errors import DevvmError
from devvm.domain.rollout.message import Message
from tests.support.tls import Certificate, self_signed

pytestmark = pytest.mark.container

PASSWORD = "s3cret-word"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("tls"))


@contextmanager
def ngircd(
    folder: Path,
    certificate: Certificate,
    *,
    password: str = "",
    channel_types: str = "#&+",
    penalty: int = 0,
) -> Iterator[tuple[int, int]]:
    """Run ngircd; yields its ports without and with TLS.

    Args:
        folder: For its configuration and log.
        certificate: For TLS.
        password: The server's password.
        channel_types: The kinds of channels that may be created.
        penalty: Seconds that clients have to wait after some commands; -1 for its default.
    """
    program = shutil.which("ngircd", path="/usr/sbin:/usr/bin")
    assert program, "ngircd is not installed: bin/test container"
    plain, tls = free_ports(2)
    settings, log = folder / "ngircd.conf", folder / "ngircd.log"
    settings.write_text(
        f"""
        [Global]
        Name = irc.example.test
        Listen = 127.0.0.1
        Ports = {plain}
        {f"Password = {password}" if password else ""}
        ; its certificate lies in a folder of root's
        ServerUID = root
        ServerGID = root
        [Limits]
        MaxConnectionsIP = 0
        MaxPenaltyTime = {penalty}
        [Options]
        AllowedChannelTypes = {channel_types}
        DNS = no
        Ident = no
        PAM = no
        [SSL]
        CertFile = {certificate.certificate}
        KeyFile = {certificate.key}
        Ports = {tls}
        """
    )
    with log.open("w") as sink:
        server = subprocess.Popen([program, "-n", "-f", settings], stdout=sink, stderr=sink)
    try:
        wait_for(plain, server, log)
        yield plain, tls
    finally:
        server.terminate()
        server.wait(10)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"ngircd does not run:\n{log.read_text()}", pytrace=False)


class Person:
    """A person in the channel, with their own client."""

    def __init__(self, port: int, nick: str, channel: str | None = "#ops") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        self._lines = self._socket.makefile("r", encoding="utf-8", newline="\r\n")
        self.write(f"NICK {nick}", f"USER {nick} 0 * :{nick}")
        self.read_until(" 001 ")
        if channel:
            self.write(f"JOIN {channel}")
            self.read_until(" 366 ")

    def __enter__(self) -> Person:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def write(self, *lines: str) -> None:
        self._socket.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def read_until(self, part: str) -> list[str]:
        seen = []
        for line in self._lines:
            seen.append(line.removesuffix("\r\n"))
            if part in line:
                return seen
        raise AssertionError(f"the server closed the connection; it said {seen}")

    def hears(self) -> list[str]:
        """Everything devvm does in the channel until it leaves."""
        return [line for line in self.read_until(" QUIT ") if ":devvm" in line]


def irc(port: int, **other) -> Irc:
    settings = {"tls": False, "nick": "devvm", "channel": "#ops"} | other
    return Irc(server="127.0.0.1", port=port, **settings)


def message(text: str = "wave 1 of 3: 10 VMs, „go“") -> Message:
    return Message(kind="wave", rollout="r1", release="r", at="t", by="jane", text=text)


def complaint(sender: Irc) -> str:
    with pytest.raises(DevvmError) as caught:
        sender.send(message())
    return f"{caught.value.brief}: {caught.value.details}"


@pytest.fixture
def ports(tmp_path, certificate) -> Iterator[tuple[int, int]]:
    with ngircd(tmp_path, certificate) as ports:
        yield ports


def test_who_is_in_the_channel_reads_it(ports):
    with Person(ports[0], "jane") as jane:
        irc(ports[0]).send(message())
        joined, said, left = jane.hears()
    assert joined.endswith("JOIN :#ops")
    assert said.startswith(":devvm!~devvm@")
    assert said.endswith(" PRIVMSG #ops :wave 1 of 3: 10 VMs, „go“")
    assert " QUIT " in left


def test_the_same_with_tls(ports, certificate):
    with Person(ports[0], "jane") as jane:
        irc(ports[1], tls=True, ca_file=certificate.certificate).send(message())
        heard = jane.hears()
    assert any(line.endswith("PRIVMSG #ops :wave 1 of 3: 10 VMs, „go“") for line in heard)


def test_a_server_that_nobody_vouches_for_is_refused(ports):
    assert "certificate verify failed" in complaint(irc(ports[1], tls=True))


def test_long_texts_arrive_whole_and_never_as_a_command(tmp_path, certificate):
    words = " ".join(f"dev{n}" for n in range(180))
    with (
        ngircd(tmp_path, certificate, penalty=-1) as (port, _),
        Person(port, "jane") as jane,
    ):
        irc(port).send(message(f"failed:\r\nPRIVMSG jane :hi {words}"))
        heard = jane.hears()
    lines = [line.partition(" PRIVMSG #ops :")[2] for line in heard if " PRIVMSG #ops :" in line]
    assert 1 < len(lines) <= 4
    assert " ".join(lines) == f"failed: PRIVMSG jane :hi {words}"
    assert len(heard) == len(lines) + 2  # it joined and left


def test_several_messages_one_after_the_other(ports):
    with Person(ports[0], "jane") as jane:
        for number in range(3):
            irc(ports[0]).send(message(f"wave {number}"))
            assert jane.hears()[1].endswith(f"PRIVMSG #ops :wave {number}")


def test_a_nick_that_somebody_has(ports):
    with Person(ports[0], "jane") as jane, Person(ports[0], "devvm", None):
        irc(ports[0]).send(message())
        assert jane.hears()[1].startswith(":devvm_!~devvm@")


def test_a_password_is_needed_and_right(tmp_path, certificate):
    secret = tmp_path / "password"
    secret.touch(mode=0o600)
    with ngircd(tmp_path, certificate, password=PASSWORD) as (_, port):

        def sender(**other):
            return irc(port, tls=True, ca_file=certificate.certificate, **other)

        secret.write_text(f"{PASSWORD}\n")
        sender(password_file=secret).send(message())
        secret.write_text("wrong\n")
        told = complaint(sender(password_file=secret))
        assert "password" in told.lower()
        assert "wrong" not in told
        assert "password" in complaint(sender()).lower()


@pytest.mark.parametrize(
    ("modes", "said"),
    [
        ("+k word", "(+k)"),
        ("+b devvm!*@*", "(+b)"),
        ("+i", "(+i)"),
        ("+l 1", "(+l)"),
    ],
)
def test_a_channel_that_does_not_let_it_in(ports, modes, said):
    with Person(ports[0], "jane") as jane:
        jane.write(f"MODE #ops {modes}")
        jane.read_until(" MODE ")
        told = complaint(irc(ports[0]))
    assert "did not let devvm speak in #ops" in told
    assert said in told


def test_a_channel_where_only_some_may_speak(ports):
    with Person(ports[0], "jane") as jane:
        jane.write("MODE #ops +m")
        jane.read_until(" MODE ")
        assert "Cannot send to channel" in complaint(irc(ports[0]))


def test_a_server_that_takes_no_new_channels(tmp_path, certificate):
    with ngircd(tmp_path, certificate, channel_types="") as (port, _):
        assert "did not let devvm speak in #ops" in complaint(irc(port))


def test_a_nick_that_is_too_long_for_it(ports):
    told = complaint(irc(ports[0], nick="devvm-of-the-platform-team"))
    assert "did not let devvm in" in told
    assert "Nickname too long" in told
