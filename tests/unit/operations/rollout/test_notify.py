"""Notifications of a rollout: sent to everybody configured; nobody can delay it."""

import dataclasses
import json
import threading
from pathlib import Path

import pytest

from devvm.domain.errors import OperationError, UsageError
from devvm.domain.rollout.message import Message, one_line
from devvm.operations.rollout.notify import Messenger, try_out
from devvm.system.secrets import read_secret

REPOSITORY = Path(__file__).parents[4]
MESSAGE = Message(kind="start", rollout="r1", release="r", at="t", by="jane", text="begins")


class Heard:
    """A sender that records messages."""

    name = "heard"

    def __init__(self):
        self.messages = []

    def send(self, message):
        self.messages.append(message)


class Failing:
    """A sender that fails."""

    name = "failing"

    def __init__(self, error):
        self.error = error

    def send(self, message):
        raise self.error


class Hanging:
    """A sender that hangs until it is released."""

    name = "hanging"

    def __init__(self):
        self.go = threading.Event()

    def send(self, message):
        self.go.wait(30)


def test_everybody_is_told():
    one, two = Heard(), Heard()
    assert Messenger([one, two]).tell(MESSAGE) == []
    assert one.messages == two.messages == [MESSAGE]


def test_nobody_is_configured():
    assert Messenger([]).tell(MESSAGE) == []


def test_who_fails_is_named_with_the_reason_in_one_line_and_the_others_are_told():
    heard = Heard()
    failed = OperationError("it failed\x1b[2J", details="first\nno such\troom\n")
    assert Messenger([Failing(failed), heard]).tell(MESSAGE) == [
        "failing: it failed [2J: no such room"
    ]
    assert heard.messages == [MESSAGE]


def test_who_hangs_is_left_behind_and_the_others_are_told():
    heard, hanging = Heard(), Hanging()
    assert Messenger([hanging, heard], patience=0.1).tell(MESSAGE) == [
        "hanging: not finished after 0.1 s"
    ]
    assert heard.messages == [MESSAGE]
    hanging.go.set()


def test_a_defect_of_a_sender_is_a_complaint_that_has_no_secret():
    told = Messenger([Failing(ValueError("Bearer s3cret"))]).tell(MESSAGE)
    assert told == ["failing: a bug in devvm (ValueError)"]


def test_settings_can_be_tried_out():
    heard = Heard()
    assert try_out(Messenger([heard, Failing(OperationError("no"))]), "jane") == ["failing: no"]
    [told] = heard.messages
    assert (told.kind, told.by, told.text) == ("start", "jane", "devvm: a test message")


def test_a_message_as_json_is_one_line_whatever_its_facts_are():
    message = dataclasses.replace(
        MESSAGE, text="a\nb\u2028", facts={"at": Path("/x"), "vms": ("dev1",)}
    )
    line = message.to_json()
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["facts"] == {"at": "/x", "vms": ["dev1"]}


def test_the_documentation_has_every_key_and_kind():
    text = (REPOSITORY / "docs" / "configuration.md").read_text()
    table = text.split("\n## Notifications\n")[1].split("\n## ")[0]
    for key in dataclasses.asdict(MESSAGE):
        assert f"| `{key}` |" in table
    for kind in ("start", "wave", "failure", "paused", "done", "rolled-back"):
        assert f"`{kind}`" in table


def test_one_line_of_anything():
    assert one_line("a\r\nb\0\x1b[1m  c\u202e ") == "a b [1m c"
    assert one_line("x" * 400, limit=10) == "x" * 9 + "…"


def test_a_secret_is_its_files_only_line(tmp_path):
    path = tmp_path / "secret"
    path.write_text("s3cret word\n")
    path.chmod(0o640)
    assert read_secret(path) == "s3cret word"


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"two\nlines\n", b"a\0b", b"\xff\xfe", b"x" * 500, b"\xc3\xa4"]
)
def test_what_is_no_secret_is_said_without_showing_it(tmp_path, content):
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(UsageError) as caught:
        read_secret(path)
    assert caught.value.brief == f"{path} does not hold a secret"
    assert "two" not in caught.value.details


def test_a_secret_that_everybody_can_read_is_none(tmp_path):
    path = tmp_path / "secret"
    path.write_text("s3cret")
    path.chmod(0o644)
    with pytest.raises(UsageError, match="everybody can read it"):
        read_secret(path)


def test_a_secret_file_that_can_not_be_read(tmp_path):
    with pytest.raises(UsageError, match="can't be read"):
        read_secret(tmp_path / "none")
    with pytest.raises(UsageError, match="can't be read"):
        read_secret(tmp_path)
