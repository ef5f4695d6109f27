"""The IRC client, line by line. tests/container/test_irc.py uses a real server."""

import socket
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from devvm.adapters.notify.irc import Irc, split
from devvm.domain.errors import DevvmError
from devvm.domain.rollout.message import Message

WELCOME = ":irc.test 001 devvm :Welcome"
NO_MOTD = ":irc.test 422 devvm :MOTD file is missing"
JOINED = ":irc.test 366 devvm #ops :End of NAMES list"
SAID = ":irc.test PONG irc.test :said"


def message(text="wave 1 of 3: 10 VMs"):
    return Message(kind="wave", rollout="r1", release="r", at="t", by="jane", text=text)


@contextmanager
def server(*steps):
    """A server that expects lines with these beginnings (`<...`) and sends the others.

    Yields its port and the lines it received. It closes the connection after the last step.
    """
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            connection, _ = listening.accept()
            with (
                suppress(OSError),  # the client hangs up
                connection,
                connection.makefile("r", encoding="utf-8", newline="\r\n") as lines,
            ):
                for step in steps:
                    if not step.startswith("<"):
                        connection.sendall(f"{step}\r\n".encode())
                        continue
                    for line in lines:
                        heard.append(line.removesuffix("\r\n"))
                        if line.startswith(step[1:]):
                            break

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1], heard
        thread.join()


def irc(port, **other):
    settings = {"tls": False, "nick": "devvm", "channel": "#ops", "timeout": 10} | other
    return Irc(server="127.0.0.1", port=port, **settings)


def complaint(port, **other):
    with pytest.raises(DevvmError) as caught:
        irc(port, **other).send(message())
    return f"{caught.value.brief}: {caught.value.details}"


def test_it_comes_says_it_and_goes():
    with server("<USER", WELCOME, NO_MOTD, "<JOIN", JOINED, "<PING", SAID, "<QUIT") as (
        port,
        heard,
    ):
        irc(port).send(message())
    assert [line.split(" ")[0] for line in heard] == [
        "NICK", "USER", "JOIN", "PRIVMSG", "PING", "QUIT",
    ]  # fmt: skip
    assert heard[0] == "NICK devvm"
    assert heard[3] == "PRIVMSG #ops :wave 1 of 3: 10 VMs"


def test_a_ping_is_answered_wherever_it_comes():
    with server(
        "<USER", "PING :one two", "<PONG", WELCOME, "<JOIN", "PING three", "<PONG", JOINED,
        "<PING", "@time=now :irc.test PING :four", "<PONG", SAID, "<QUIT",
    ) as (port, heard):  # fmt: skip
        irc(port).send(message())
    assert [x for x in heard if x.startswith("PONG")] == [
        "PONG :one two",
        "PONG :three",
        "PONG :four",
    ]


def test_a_nick_that_is_taken_gets_a_line_below_it():
    with server(
        "<USER", ":irc.test 433 * devvm :in use", "<NICK", ":irc.test 433 * devvm_ :in use",
        "<NICK", WELCOME, "<JOIN", JOINED, "<PING", SAID, "<QUIT",
    ) as (port, heard):  # fmt: skip
        irc(port).send(message())
    assert [x for x in heard if x.startswith("NICK")] == [
        "NICK devvm",
        "NICK devvm_",
        "NICK devvm__",
    ]


def test_after_a_few_nicks_it_gives_up():
    taken = ":irc.test 433 * devvm :Nickname already in use"
    with server("<USER", *[taken, "<NICK"] * 4, taken) as (port, heard):
        assert "did not let devvm in: devvm Nickname already in use" in complaint(port)
    assert heard[-1] == "NICK devvm____"


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (":irc.test 471 devvm #ops :Cannot join channel (+l)", "(+l)"),
        (":irc.test 473 devvm #OPS :Cannot join channel (+i)", "(+i)"),
        (":irc.test 474 devvm #ops :Cannot join channel (+b)", "(+b)"),
        (":irc.test 475 devvm #ops :Cannot join channel (+k)", "(+k)"),
        (":irc.test 403 devvm #ops :No such channel", "No such channel"),
        (":irc.test 470 devvm #ops ##ops :Forwarding", "##ops Forwarding"),
    ],
)
def test_a_channel_that_does_not_let_it_in(refusal, said):
    with server("<USER", WELCOME, NO_MOTD, "<JOIN", refusal) as (port, heard):
        told = complaint(port)
    assert "did not let devvm speak in #ops" in told
    assert told.endswith(said)
    assert not [line for line in heard if line.startswith("PRIVMSG")]


def test_a_channel_where_it_may_not_speak():
    refusal = ":irc.test 404 devvm #ops :Cannot send to channel"
    with server("<USER", WELCOME, "<JOIN", JOINED, "<PING", refusal, SAID) as (port, _):
        assert "did not let devvm speak in #ops: #ops Cannot send to channel" in complaint(port)


@pytest.mark.parametrize(
    "steps",
    [
        ("<USER",),
        ("<USER", WELCOME, "<JOIN"),
        ("<USER", WELCOME, "<JOIN", JOINED, "<PING"),
    ],
)
def test_a_server_that_closes_in_the_middle(steps):
    with server(*steps) as (port, _):
        assert "127.0.0.1 closed the connection" in complaint(port)


def test_the_reason_of_a_server_is_one_printable_line():
    with server("<USER", "ERROR :K-lined\x1b[2J\x07 for a day") as (port, _):
        told = complaint(port)
    assert told == "the server ended the connection: K-lined [2J for a day"


def test_a_server_that_says_nothing_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        told = complaint(listening.getsockname()[1], timeout=0.1)
    assert "did not let devvm speak within 0.1 s" in told


def test_one_deadline_holds_for_all_of_it():
    """The server keeps sending something, but never what the client waits for."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def chat():
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                while True:
                    connection.sendall(b":irc.test NOTICE * :one moment\r\n")
                    time.sleep(0.01)

        thread = threading.Thread(target=chat)
        thread.start()
        told = complaint(listening.getsockname()[1], timeout=0.2)
        thread.join()
    assert "within 0.2 s" in told


def test_one_that_does_not_speak_irc():
    with server("<USER", "x" * 40_000, "<QUIT") as (port, _):
        assert "does not speak IRC" in complaint(port)


def test_one_that_does_not_hang_up_after_the_goodbye_has_been_told():
    """The client doesn't wait until the deadline, and this isn't a failure."""
    with server("<USER", WELCOME, "<JOIN", JOINED, "<PING", SAID, "<QUIT", "<more") as (
        port,
        heard,
    ):
        irc(port, timeout=600).send(message())
    assert heard[-1] == "QUIT :said"


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert "Connection refused" in complaint(port)


def test_a_password_never_goes_without_tls(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        told = complaint(listening.getsockname()[1], password_file=tmp_path / "password")
    assert "a password is not sent without TLS" in told


def test_authorities_that_can_not_be_read(tmp_path):
    empty = tmp_path / "empty"
    empty.touch()
    assert f"{tmp_path}/none holds no certificates" in complaint(
        1, tls=True, ca_file=tmp_path / "none"
    )
    assert f"{empty} holds no certificates" in complaint(1, tls=True, ca_file=empty)


def test_a_text_can_not_become_a_command():
    text = "dev1 failed\r\nJOIN #other\n\0QUIT\x01ACTION\u2028KICK \udc80"
    with server("<USER", WELCOME, "<JOIN", JOINED, "<PING", SAID, "<QUIT") as (port, heard):
        irc(port).send(message(text))
    assert [x for x in heard if x.startswith(("JOIN", "PRIVMSG", "KICK"))] == [
        "JOIN #ops",
        "PRIVMSG #ops :dev1 failed JOIN #other QUIT ACTION KICK",
    ]


def test_a_long_text_has_lines_that_fit_with_what_the_server_puts_before_them():
    text = " ".join(f"dev{n}" for n in range(150))
    with server("<USER", WELCOME, "<JOIN", JOINED, "<PING", SAID, "<QUIT") as (port, heard):
        irc(port).send(message(text))
    lines = [line for line in heard if line.startswith("PRIVMSG")]
    relayed = [f":devvm!~{'u' * 10}@{'h' * 63} {line}\r\n" for line in lines]
    assert 1 < len(lines) <= 4
    assert max(len(line) for line in relayed) <= 512
    assert " ".join(line.partition(":")[2] for line in lines) == text


def test_a_text_is_split_between_characters_and_cut_off_in_the_end():
    parts = split("ä" * 1000, 101)
    assert [len(part.encode()) for part in parts] == [100, 100, 100, 101]
    assert parts[-1].endswith("ä…")
    assert split("short", 101) == ["short"]
    assert split("one two", 5) == ["one", "two"]
    assert split("", 101) == []


def test_a_silent_handshake_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        told = complaint(listening.getsockname()[1], tls=True, timeout=0.1)
    assert "within 0.1 s" in told
