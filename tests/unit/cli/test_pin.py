"""pin, unpin: text, JSON, and where a pin is shown."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from devvm.cli import words
from devvm.errors import OperationError
from devvm.operations import lifecycle, pins, standing
from tests.unit.cli.documented import documented, documented_for, fake


@pytest.fixture
def pinned(vm):
    facts = {"pinned_by": "jane", "pin_reason": "demo on Friday"}
    until = (words.today() + timedelta(days=3)).isoformat()
    return replace(vm, metadata=replace(vm.metadata, pinned_until=until, **facts))


def test_pin(cli, services, monkeypatch, pinned):
    until = pinned.metadata.pinned_until
    calls = fake(monkeypatch, pins, "pin", pinned)
    typed = ("pin", "dev1", "--until", until, "--reason", "demo on Friday")
    result = cli(*typed)
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout == f"dev1 is pinned until {until} by jane: demo on Friday\n"
    asked = {
        "until": date.fromisoformat(until), "reason": "demo on Friday", "by": "jane",
        "today": words.today(), "command": "pin dev1",
    }  # fmt: skip
    assert calls == [(("dev1",), asked)]
    data = cli(*typed, "--json").json
    assert set(data) == documented_for("pin")
    assert data["vm"]["pinned_until"] == until
    assert (data["vm"]["pinned_by"], data["vm"]["pin_reason"]) == ("jane", "demo on Friday")


def test_unpin(cli, services, monkeypatch, vm):
    calls = fake(monkeypatch, pins, "unpin", (vm, True))
    assert cli("unpin", "dev1").stdout == "dev1 is not pinned any more\n"
    assert calls == [(("dev1",), {"command": "unpin dev1"})]
    data = cli("unpin", "dev1", "--json").json
    assert set(data) == documented_for("unpin")
    assert data["was_pinned"] is True
    assert data["vm"]["pinned_until"] is None


def test_unpinning_what_is_not_pinned_is_no_failure(cli, services, monkeypatch, vm):
    fake(monkeypatch, pins, "unpin", (vm, False))
    result = cli("unpin", "dev1")
    assert (result.code, result.stdout) == (0, "dev1 was not pinned\n")


def test_without_a_name_it_is_ones_own_vm(cli, services, monkeypatch, pinned):
    calls = fake(monkeypatch, pins, "pin", pinned)
    cli("pin", "--until", "2030-01-31", "--reason", "demo")
    assert calls[0][0] == ("jane",)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("--until", "friday", "--reason", "x"), "'friday' does not match"),
        (("--until", "2030-02-31", "--reason", "x"), "'2030-02-31' does not match"),
        (("--until", "2030-01-31"), "--reason"),
        (("--reason", "x"), "--until"),
    ],
)
def test_what_is_typed_wrong_is_said(cli, services, monkeypatch, pinned, typed, said):
    calls = fake(monkeypatch, pins, "pin", pinned)
    result = cli("pin", "dev1", *typed)
    assert result.code == 2
    assert said in result.stderr
    assert not calls


def test_why_it_can_not_be_pinned_is_said(cli, services, monkeypatch):
    fake(monkeypatch, pins, "pin", OperationError("dev1 is unfinished", resolution="devvm list"))
    result = cli("pin", "dev1", "--until", "2030-01-31", "--reason", "demo")
    assert result.code == 1
    assert "Next: devvm list" in result.stderr


@pytest.fixture
def there(services, monkeypatch):
    """Makes a VM the one that is shown."""

    def show(vm):
        url = "https://dev1.devvm.test/"
        details = lifecycle.VmDetails(vm=vm, url=url, disks=(), runs=(), logs=())
        fake(monkeypatch, lifecycle, "show", details)
        fake(monkeypatch, standing, "of", {"dev1": standing.Standing()})

    return show


def test_show_says_that_a_vm_is_pinned(cli, there, pinned):
    there(pinned)
    shown = " ".join(cli("show", "dev1").stdout.split())
    assert f"Pinned until {pinned.metadata.pinned_until} by jane: demo on Friday" in shown
    data = cli("show", "dev1", "--json").json["vm"]
    assert {"pinned_until", "pinned_by", "pin_reason"} <= set(data) & documented("VM")
    assert data["pin_reason"] == "demo on Friday"


def test_a_pin_that_is_over_is_none(cli, there, pinned):
    yesterday = (words.today() - timedelta(days=1)).isoformat()
    there(replace(pinned, metadata=replace(pinned.metadata, pinned_until=yesterday)))
    assert "Pinned" not in cli("show", "dev1").stdout
    data = cli("show", "dev1", "--json").json["vm"]
    assert [data[key] for key in ("pinned_until", "pinned_by", "pin_reason")] == [None] * 3
