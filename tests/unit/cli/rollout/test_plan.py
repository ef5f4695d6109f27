"""`devvm rollout plan`: options, plan files, and what it refuses."""

import re

import pytest

from devvm.operations.rollout import store
from tests.support.fleet_world import NEW
from tests.support.world import RELEASE
from tests.unit.cli.documented import documented, documented_for


def test_a_plan_says_who_goes_when_how_and_what_is_noticed(cli, world):
    world.fleet(4, off=("dev003",))
    data = cli("rollout", "plan", "latest", "--json").json
    assert set(data) == documented_for("rollout plan")
    assert set(data["terms"]) == documented("Terms")
    assert set(data["waves"][0]["vms"][0]) == documented("Planned")
    assert data["release"] == NEW
    assert [len(wave["vms"]) for wave in data["waves"]] == [1, 1, 2]
    text = cli("rollout", "plan", NEW).stdout
    for part in (
        f"{NEW} for 4 VMs", "nginx: http2 on", "canary: 1 VM", "dev001 (ann)", RELEASE,
        "converge in place: 1 role changes, which needs no new root",
        "Services of nginx may restart; the VM itself restarts only if it has to be rebuilt.",
        "VMs that differ from their own release,",
        "not running: updated at its next start",
    ):  # fmt: skip
        assert part in text
    assert not store.every(world.services)


def test_a_plan_for_many_names_some_and_counts_the_others(cli, world):
    world.fleet(60)
    short = cli("rollout", "plan", "latest", "--wave", "100%")
    assert "dev013 (ann) and 47 more" in short.stdout
    assert "--all" in short.stderr
    assert len(short.stdout.splitlines()) < 30
    everything = cli("rollout", "plan", "latest", "--all").stdout
    assert all(f"dev{number:03d} (ann)" in everything for number in range(1, 61))
    waves = cli("rollout", "plan", "latest", "--json").json["waves"]
    assert sum(len(wave["vms"]) for wave in waves) == 60


def test_a_plan_file_and_options_before_it(cli, world, tmp_path):
    world.fleet(6)
    file = tmp_path / "plan.yml"
    file.write_text(
        f"release: {NEW}\ncanary: 2\nwaves: [3, 100%]\nmax_failures: 1\nparallel: 3\n"
        "rebuild: true\nask_minutes: 0\nvms: [dev001, dev002, dev003, dev002]\n"
    )
    terms = cli("rollout", "plan", "--plan", str(file), "--json").json["terms"]
    assert terms == {
        "canary": 2, "waves": ["3", "100%"], "max_failures": 1, "parallel": 3, "rebuild": True,
        "ask_minutes": 0, "vms": ["dev001", "dev002", "dev003"],
    }  # fmt: skip
    options = (
        "--canary", "1", "--wave", "50%", "--max-failures", "0", "--no-rebuild", "--vm", "dev004",
        "--ask-minutes", "5", "--parallel", "1",
    )  # fmt: skip
    terms = cli("rollout", "plan", "--plan", str(file), *options, "--json").json["terms"]
    assert terms == {
        "canary": 1, "waves": ["50%"], "max_failures": 0, "parallel": 1, "rebuild": False,
        "ask_minutes": 5, "vms": ["dev004"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("canaries: 2\n", "canaries: unknown key"),
        ("canary: two\n", "canary: bad value"),
        ("canary: -1\n", "canary: bad value"),
        ("parallel: 65\n", "parallel: bad value"),
        ("rebuild: 1\n", "rebuild: bad value"),
        ("waves: 50%\n", "waves: bad value"),
        ("waves: []\n", "waves: bad value"),
        ("waves: [50%, 10%]\n", "do not grow"),
        ("waves: [1.5]\n", "waves.0: bad value"),
        ("vms: [1]\n", "vms.0: bad value"),
        ("1: 2\n", "bad value|unknown key"),
        ("release: nothing\n", "'nothing' is not a release"),
        ("- a\n", "is not a rollout plan"),
        ("", "is not a rollout plan"),
        ("a: [\n", "is not valid YAML"),
        ("a: \x00\n", "is not valid YAML"),
        ("!!python/object/apply:os.system [true]\n", "is not valid YAML"),
        (b"\xff\xfe\x00", "is not valid YAML"),
    ],
)
def test_a_plan_file_that_can_not_be_accepted(cli, world, tmp_path, content, said):
    world.fleet(1)
    file = tmp_path / "plan.yml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused = cli("rollout", "start", "--plan", str(file), "--yes")
    assert refused.code == 2
    assert re.search(said, refused.stderr)
    assert not store.every(world.services)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "which release?"),
        (("2026.12.01-cccccccccccc",), "is not on record"),
        (("newest",), "'newest' is not a release"),
        (("latest", "--wave", "0%"), "'0%' is not a wave size"),
        (("latest", "--wave", "many"), "'many' is not a wave size"),
        (("latest", "--wave", "50%", "--wave", "50%"), "do not grow"),
        (("latest", "--canary", "-1"), "--canary"),
        (("latest", "--parallel", "0"), "--parallel"),
        (("latest", "--parallel", "65"), "--parallel"),
        (("latest", "--max-failures", "x"), "--max-failures"),
        (("latest", "--ask-minutes", "2000"), "--ask-minutes"),
        (("latest", "--vm", "nobody"), "there is no VM nobody"),
        (("latest", "--plan", "/nowhere.yml"), "/nowhere.yml can't be read"),
        (("latest", "--plan", "/"), "/ can't be read"),
    ],
)
def test_bad_input_has_one_clear_line(cli, world, arguments, said):
    world.fleet(1)
    for verb in ("plan", "start"):
        refused = cli("rollout", verb, *arguments)
        assert refused.code == 2
        assert said in refused.stderr
        assert "Next: " in refused.stderr
    assert not store.every(world.services)


@pytest.mark.parametrize("verb", ["status", "log", "pause", "resume", "abort", "rollback"])
def test_a_rollout_that_is_not_there(cli, world, verb):
    assert "there has been no rollout yet" in cli("rollout", verb).stderr
    refused = cli("rollout", verb, "../x", "--json")
    assert refused.code == 2
    assert refused.json["error"]["code"] == "not-found"
