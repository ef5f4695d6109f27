"""`devvm pin`, `unpin`: text, JSON, and where a pin is shown."""

from dataclasses import replace
from datetime import timedelta

import pytest

from devvm.cli import formatting
from tests.unit.cli.documented import documented, documented_for


@pytest.fixture
def dev(world):
    world.fleet(2)
    return world


@pytest.fixture
def until():
    return (formatting.today() + timedelta(days=3)).isoformat()


@pytest.fixture
def typed(until):
    return ("pin", "dev001", "--until", until, "--reason", "demo on Friday")


def pin_of(world, name="dev001"):
    facts = world.vm(name).metadata
    return facts.pinned_until, facts.pinned_by, facts.pin_reason


def test_pin(cli, dev, typed, until):
    result = cli(*typed)
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout == f"dev001 is pinned until {until} by jane: demo on Friday\n"
    assert pin_of(dev) == (until, "jane", "demo on Friday")
    assert not any(pin_of(dev, "dev002"))


def test_its_json(cli, dev, typed, until):
    data = cli(*typed, "--json").json
    assert set(data) == documented_for("pin")
    assert data["vm"]["pinned_until"] == until
    assert (data["vm"]["pinned_by"], data["vm"]["pin_reason"]) == ("jane", "demo on Friday")


def test_unpin(cli, dev, typed):
    cli(*typed)
    assert cli("unpin", "dev001").stdout == "dev001 is no longer pinned\n"
    assert not any(pin_of(dev))
    cli(*typed)
    data = cli("unpin", "dev001", "--json").json
    assert set(data) == documented_for("unpin")
    assert data["was_pinned"] is True
    assert data["vm"]["pinned_until"] is None


def test_unpinning_what_is_not_pinned_is_no_failure(cli, dev):
    result = cli("unpin", "dev001")
    assert (result.code, result.stdout) == (0, "dev001 was not pinned\n")
    assert cli("unpin", "dev001", "--json").json["was_pinned"] is False


def test_without_a_name_it_is_ones_own_vm(cli, dev, typed, typed_by):
    typed_by("dev002")
    cli("pin", *typed[2:])
    assert pin_of(dev, "dev002")[1] == "dev002"
    assert not any(pin_of(dev))
    assert cli("unpin").stdout == "dev002 is no longer pinned\n"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("--until", "friday", "--reason", "x"), "'friday' does not match"),
        (("--until", "2030-02-31", "--reason", "x"), "'2030-02-31' does not match"),
        (("--until", "2030-01-31"), "--reason"),
        (("--reason", "x"), "--until"),
    ],
)
def test_what_is_typed_wrong_is_said(cli, dev, typed, said):
    result = cli("pin", "dev001", *typed)
    assert result.code == 2
    assert said in result.stderr
    assert not any(pin_of(dev))


def test_why_it_can_not_be_pinned_is_said(cli, dev, typed):
    domain = dev.host.domains["dev001.devvm.test"]
    unfinished = replace(domain, facts=replace(domain.facts, ready=False))
    dev.host.domains[domain.name] = unfinished
    result = cli(*typed)
    assert result.code == 1
    assert "dev001 is unfinished" in result.stderr
    assert "Next: to finish it: devvm create dev001; to remove it" in result.stderr


def test_show_says_that_a_vm_is_pinned(cli, dev, typed, until):
    cli(*typed)
    shown = " ".join(cli("show", "dev001").stdout.split())
    assert f"Pinned until {until} by jane: demo on Friday" in shown
    data = cli("show", "dev001", "--json").json["vm"]
    assert {"pinned_until", "pinned_by", "pin_reason"} <= set(data) & documented("VM")
    assert data["pin_reason"] == "demo on Friday"


def test_a_pin_that_is_over_is_none(cli, dev, typed):
    cli(*typed)
    domain = dev.host.domains["dev001.devvm.test"]
    yesterday = (formatting.today() - timedelta(days=1)).isoformat()
    over = replace(domain, facts=replace(domain.facts, pinned_until=yesterday))
    dev.host.domains[domain.name] = over
    assert "Pinned" not in cli("show", "dev001").stdout
    data = cli("show", "dev001", "--json").json["vm"]
    assert [data[key] for key in ("pinned_until", "pinned_by", "pin_reason")] == [None] * 3
