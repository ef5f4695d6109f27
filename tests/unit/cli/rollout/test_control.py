"""`devvm rollout pause`, `resume`, `abort`, `rollback`: questions, refusals and output."""

from devvm.operations.rollout import store
from tests.unit.cli.documented import documented_for
from tests.unit.cli.rollout.rollouts import START, killed


def test_rollback_says_what_it_does_asks_and_brings_all_back(cli, world):
    world.fleet(3)
    cli(*START)
    refused = cli("rollout", "rollback")
    assert refused.code == 2
    for part in ("3 VMs", "databases", "homes and checkouts", "trash", "rollback --yes"):
        assert part in refused.stderr
    done = cli("rollout", "rollback", "r1", "--yes", "--json")
    assert (done.code, done.json["rollout"]["state"]) == (0, "rolled back")
    assert done.json["rollout"]["counts"]["back"] == 3
    again = cli("rollout", "rollback", "--yes")
    assert again.code == 2
    assert "has already been rolled back" in again.stderr


def test_one_that_can_not_be_brought_back_ends_with_1(cli, world):
    world.fleet(2)
    cli(*START)
    assert cli("trash", "empty", "dev001", "--purge", "dev001").code == 0
    done = cli("rollout", "rollback", "--yes")
    assert done.code == 1
    assert "dev001 stuck, and could not be restored:" in done.stdout
    assert "Not restored: dev001. Next: devvm doctor" in done.stdout


def test_a_killed_one_says_so_wherever_it_is_looked_at(cli, world):
    killed(world)
    text = cli("rollout", "status").stdout
    assert "Rollout r1: running" in text
    assert "Applying nginx" in text
    assert "was killed. Next: devvm rollout resume" in text
    paused = cli("rollout", "pause")
    assert (paused.code, paused.stdout) == (
        0, "r1 has no running process. Next: devvm rollout resume\n",
    )  # fmt: skip
    followed = cli("rollout", "status", "--follow")
    assert followed.code == 1
    assert "was killed" in followed.stdout
    assert cli("rollout", "resume", "--json").json["rollout"]["state"] == "done"


def test_abort_of_a_killed_one_ends_it(cli, world):
    killed(world)
    assert cli("rollout", "abort").code == 2
    done = cli("rollout", "abort", "--yes", "--json")
    assert done.code == 0
    assert set(done.json) == documented_for("rollout abort")
    assert (done.json["rollout"]["state"], done.json["asked"]) == ("aborted", False)
    for verb in ("abort", "pause", "resume"):
        refused = cli("rollout", verb)
        assert refused.code == 2
        assert "the rollout r1 has ended: it is aborted" in refused.stderr


def test_a_process_that_carries_it_out_is_asked(cli, world):
    log = killed(world)
    with store.held(world.services, "rollout start"):
        paused = cli("rollout", "pause", "--json")
        assert set(paused.json) == documented_for("rollout pause")
        assert paused.json["asked"] is True
        assert log.request() == "pause"
        said = cli("rollout", "pause").stdout
        assert said == (
            "r1 will pause as soon as dev001 is done. Next: devvm rollout status --follow\n"
        )
        assert "r1 will abort as soon as dev001 is done" in cli("rollout", "abort", "--yes").stdout
        assert log.request() == "abort"
        assert "rollout start" in cli("rollout", "status", "--json").json["holder"]
        assert cli("rollout", "resume").code == 5


def test_a_pause_that_was_asked_for_is_a_success(cli, world):
    world.fleet(3)
    real = world.provisioner.apply

    def apply(*arguments, **more):
        store.find(world.services, None).ask_for("pause")
        return real(*arguments, **more)

    world.provisioner.apply = apply
    done = cli(*START)
    assert done.code == 0
    assert "Rollout r1: paused" in done.stdout
