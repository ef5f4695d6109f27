"""Releases and rollouts on real VMs: forward, back, and a bad release that is stopped.

The good release has a different nginx setting, a change of the site's schema, and the packages of a
mirror that has moved; a box is built for it. Such a release is converged in place; a VM that has
drifted gets a new root instead.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from tests.vm import stacks
from tests.vm.baseline import Baseline
from tests.vm.conftest import ALL_THERE, HERE, healthy, work
from tests.vm.site_client import Site
from tests.vm.terminal import terminal

pytestmark = pytest.mark.vm


@dataclass(frozen=True)
class Two:
    """dev1, and a clone of it."""

    created: dict
    copy: dict
    baseline: Baseline


@pytest.fixture(scope="module")
def two(made, devvm, tmp_path_factory):
    """dev1 and dev1-copy, both running: a clone of a snapshot, with what dev1 no longer has."""
    made.baseline.restore()
    devvm("snapshot", "create", "dev1", "before")
    devvm("exec", "dev1", "--", "rm", "note.txt")
    copy = devvm("clone", "dev1", "--as", "dev1-copy", "--snapshot", "before", "--json").json
    devvm("snapshot", "delete", "dev1", "before")
    kept = Baseline(devvm.state, tmp_path_factory.mktemp("two"))
    kept.take()
    yield Two(made.created, copy, kept)
    kept.forget()


@pytest.fixture
def pair(two):
    """Both of them for one test, which may do anything with them."""
    two.baseline.restore()
    return two


#: A package of which the good release has a newer version.
PACKAGE = "netbase"


@pytest.fixture(scope="module")
def releases(devvm, archive, box, tmp_path_factory):
    """The devvm of each of two changed stacks, by name; each stack has a box.

    The bad one, for which no box can be built, has the good one's image.
    """
    folders = {name: stacks.checkout(tmp_path_factory.mktemp(name)) for name in ("good", "bad")}
    stacks.keep_alive(folders["good"], "65s", "75s")
    stacks.migration(folders["good"])
    stacks.keep_alive(folders["bad"], "65s", "85s")
    stacks.migration(folders["bad"], broken=True)
    made = {name: devvm.of(folder) for name, folder in folders.items()}
    made["good"]("release", "lock")
    archive.move(PACKAGE)
    made["good"]("release", "lock", "--check", code=3)
    good = made["good"]("box", "build", "--newest", "--yes", "--json").json["release"]
    locked = made["good"]("release", "lock").stdout
    assert PACKAGE in locked
    assert "+news1" in locked
    bad = stacks.give_box(devvm.state, folders["bad"], good).release
    yield made
    for release in (bad, good):
        devvm("box", "remove", release)


def release_of(devvm, name="dev1"):
    (found,) = [vm for vm in devvm("list", "--json").json["vms"] if vm["name"] == name]
    return found


def setting(devvm, name="dev1"):
    out = devvm("exec", name, "--", "sudo", "nginx", "-T").stdout
    return next(line.split()[1] for line in out.splitlines() if "keepalive_timeout" in line)


def columns(devvm, name="dev1"):
    query = "SELECT COUNT(*) FROM information_schema.columns WHERE table_name = 'people'"
    argv = ["exec", name, "--", "sudo", "mariadb", "--batch", "--skip-column-names"]
    return int(devvm(*argv, "--execute", query).stdout)


def version(devvm, name="dev1"):
    return devvm("exec", name, "--", "dpkg-query", "-Wf", "${Version}", PACKAGE).stdout


def releases_of(devvm):
    return [r["release"] for r in devvm("release", "list", "--json").json["releases"]]


def wait_until(seconds, condition):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(1)
    return value


def events(devvm, *args):
    return devvm("rollout", "log", *args, "--all", "--json").json["events"]


def test_a_clone_is_another_machine_with_the_same_work(two, devvm):
    copy = two.copy
    assert copy["report"]["passed"], copy["report"]
    assert copy["vm"]["address"] != two.created["vm"]["address"]
    two.baseline.restore()
    assert work(devvm, "dev1-copy") == ALL_THERE
    keys = [
        (devvm.state / "vms" / name / "known_hosts").read_text().split()[2]
        for name in ("dev1", "dev1-copy")
    ]
    assert keys[0] != keys[1]
    ids = [devvm("exec", n, "--", "cat", "/etc/machine-id").stdout for n in ("dev1", "dev1-copy")]
    assert ids[0] != ids[1]
    site = Site(copy["url"], devvm.state / "ca" / "ca.crt")
    assert site.json("/healthz")["status"] == "ok"
    assert {vm["name"] for vm in devvm("list", "--json").json["vms"]} == {"dev1", "dev1-copy"}
    healthy(devvm)


@pytest.fixture
def quiet(tmp_path):
    """A configuration with quiet hours now, by the host's clock, and for hours to come."""
    path = tmp_path / "quiet.toml"
    now, hour = datetime.now().astimezone(), timedelta(hours=1)
    hours = f"daily {now - hour:%H:00}-{now + 5 * hour:%H:00}"
    quiet = f'\n[rollout]\nquiet_hours = ["{hours}"]\n'
    path.write_text((HERE / "config.toml").read_text() + quiet)
    return {"DEVVM_CONFIG": str(path)}


def test_in_quiet_hours_a_rollout_waits_and_changes_nothing(dev1, devvm, releases, quiet):
    good = releases["good"]
    good("release", "create")
    with ThreadPoolExecutor() as pool:
        start = pool.submit(good, "rollout", "start", "latest", "--yes", "--json", **quiet)
        wait_until(60, lambda: _has_a_rollout(devvm) and "quiet hours until" in str(events(devvm)))
        devvm("rollout", "abort", "--yes")
        assert start.result().json["rollout"]["state"] == "aborted"
    assert release_of(devvm)["release"] == dev1["vm"]["release"]


def _has_a_rollout(devvm):
    return devvm("rollout", "list", "--json").json["rollouts"]


def test_a_rollout_of_two_vms_and_back(pair, releases, devvm, tmp_path):
    """Canary, pause, an owner's own update, resume; a second rollout; back from the first."""
    first = pair.created["vm"]["release"]
    site = Site(pair.created["url"], devvm.state / "ca" / "ca.crt")
    site.add(None, login="ann", name="Ann", title="Engineer", bio="Was here before.")
    devvm("exec", "dev1", "--", "sh", "-c", "echo before >notes; echo gone >gone")
    # a VM that differs from its own release is rebuilt
    devvm("exec", "dev1-copy", "--", "sudo", "touch", "/etc/memcached-mine.conf")
    before, was = columns(devvm), version(devvm)
    good = releases["good"]
    created = good("release", "create", "--note", "keep alive for longer", "--json").json
    new = created["release"]["release"]
    assert "keepalive_timeout 65s → 75s" in "\n".join(created["release"]["changes"])
    compared = good("release", "diff", first, "latest").stdout
    assert "keepalive_timeout 65s → 75s" in compared
    assert f"{PACKAGE} {was} → {was}+news1" in compared
    assert new in good("release", "list").stdout
    assert "keep alive for longer" in good("release", "show", "latest").stdout
    assert release_of(devvm)["behind"] == 1

    until = str(datetime.now(UTC).date() + timedelta(days=2))
    devvm("pin", "dev1-copy", "--until", until, "--reason", "demo")
    argv = ["rollout", "plan", "latest", "--canary", "1", "--wave", "50%", "--wave", "100%"]
    plan = good(*argv, "--json").json
    ways = [[(vm["name"], vm["way"]) for vm in wave["vms"]] for wave in plan["waves"]]
    assert ways == [[("dev1", "converge")], [("dev1-copy", "converge")]]
    assert "demo" in plan["waves"][1]["vms"][0]["waits"]
    devvm("unpin", "dev1-copy")
    assert devvm("show", "dev1-copy", "--json").json["vm"]["pinned_until"] is None

    with ThreadPoolExecutor() as pool:
        argv = ["rollout", "start", "latest", "--canary", "1", "--wave", "100%", "--yes", "--json"]
        start = pool.submit(good, *argv, code=None)
        wait_until(120, lambda: _has_a_rollout(devvm) and "updating" in str(events(devvm)))
        follow = pool.submit(devvm, "rollout", "status", "--follow")
        devvm("rollout", "pause")
        paused = start.result().json["rollout"]
        assert (paused["state"], paused["waves"][0]["vms"][0]["state"]) == ("paused", "done")
        assert "dev1" in follow.result().stderr + follow.result().stdout
    assert (release_of(devvm)["release"], release_of(devvm)["behind"]) == (new, 0)
    assert release_of(devvm, "dev1-copy")["release"] == first
    assert (setting(devvm), columns(devvm)) == ("75s;", before + 1)
    assert version(devvm) == f"{was}+news1"  # from the mirror, with the VM's own apt
    assert "ann" in site.people()

    updated = devvm("update", "dev1-copy", "--yes", "--json").json
    assert updated["way"]["kind"] == "rebuild", updated["way"]
    done = good("rollout", "resume", "--json").json["rollout"]
    assert done["state"] == "done", done
    (copy,) = done["waves"][1]["vms"]
    assert (copy["state"], "already on this release" in copy["why"]) == ("left", True)
    for name in ("dev1", "dev1-copy"):
        assert release_of(devvm, name)["release"] == new
        assert (setting(devvm, name), columns(devvm, name)) == ("75s;", before + 1)
        assert version(devvm, name) == f"{was}+news1"
    assert work(devvm, "dev1-copy") == ALL_THERE
    fleet = good("verify", "--all", "--json").json
    assert [report["vm"] for report in fleet["vms"]] == ["dev1", "dev1-copy"]
    assert fleet["passed"], fleet["by_check"]
    assert "done" in devvm("rollout", "log", "--vm", "dev1").stdout
    devvm("exec", "dev1", "--", "sh", "-c", "echo after >notes; rm gone; echo new >new")

    _put_off_and_due(devvm, releases["bad"], tmp_path)

    back = good("rollout", "rollback", done["id"], "--yes", "--json").json["rollout"]
    assert back["state"] == "rolled back", back
    assert release_of(devvm)["release"] == first
    assert (setting(devvm), columns(devvm), version(devvm)) == ("65s;", before, was)
    assert "ann" in site.people()
    files = devvm("exec", "dev1", "--", "sh", "-c", "cat notes new; ls gone || true")
    assert files.stdout == "after\nnew\n"
    assert release_of(devvm, "dev1-copy")["release"] == new  # by its owner, not by the rollout
    page = tmp_path / "fleet.html"
    devvm("fleet", "report", "--html", str(page))
    assert all(word in page.read_text() for word in ("dev1", "dev1-copy", new, "rolled back"))


def _put_off_and_due(devvm, bad, tmp_path):
    """A rollout in which nothing is updated: one VM's owner postpones it, the other VM is off.

    The question is shown on a real terminal; the answer postpones the VM for the whole rollout.
    """
    newest = bad("release", "create", "--json").json["release"]["release"]
    was = [release_of(devvm, name)["release"] for name in ("dev1", "dev1-copy")]
    devvm("stop", "dev1-copy", "--force")
    weekly = tmp_path / "weekly.yml"
    weekly.write_text("release: latest\ncanary: 2\nask_minutes: 30\nvms: [dev1, dev1-copy]\n")
    plan = bad("rollout", "plan", "--plan", str(weekly), "--json").json
    assert [vm["name"] for vm in plan["waves"][0]["vms"]] == ["dev1", "dev1-copy"]
    with terminal("devvm", "ssh", "dev1") as shell:
        shell.wait_for("jane@dev1")
        shell.type("true\n")
        with ThreadPoolExecutor() as pool:
            argv = ["rollout", "start", "--plan", str(weekly), "--yes", "--json"]
            rollout = pool.submit(bad, *argv, code=None)
            shell.wait_for(f"will update this VM to {newest}")
            shell.type("touch ~/update-later\n")
            done = rollout.result()
    assert (done.code, done.json["rollout"]["state"]) == (1, "paused"), done.json
    assert "no canary" in done.json["rollout"]["why"]
    dev1, copy = done.json["rollout"]["waves"][0]["vms"]
    assert (dev1["state"], "postponed" in dev1["why"], copy["state"]) == ("later", True, "due")
    devvm("restart", "dev1-copy", "--no-update")
    devvm("rollout", "abort", "--yes")
    assert [release_of(devvm, name)["release"] for name in ("dev1", "dev1-copy")] == was


def test_a_bad_release_is_stopped_at_the_canary_which_is_as_it_was(releases, dev1, devvm):
    before = columns(devvm)
    bad = releases["bad"]
    newest = bad("release", "create", "--json").json["release"]["release"]
    failed = bad("rollout", "start", "latest", "--yes", code=1)
    assert "Migrate" in failed.stdout + failed.stderr
    status = bad("rollout", "status", "--json").json["rollout"]
    (vm,) = status["waves"][0]["vms"]
    assert (status["state"], vm["state"]) == ("failed", "failed")
    assert "nonsense" in vm["why"]
    assert release_of(devvm)["release"] == dev1["vm"]["release"]
    assert (setting(devvm), columns(devvm)) == ("65s;", before)
    # going back checks the VM itself, against its own release
    assert "checks pass" in str(events(devvm)) + failed.stderr
    assert "retired" in devvm("release", "retire", "latest").stdout
    assert devvm("release", "show", newest, "--json").json["retired_at"]
    assert releases_of(devvm)[-1] == dev1["vm"]["release"]


def test_an_update_to_where_a_vm_is_checks_it(dev1, devvm):
    done = devvm("update", "dev1", "--release", dev1["vm"]["release"], "--json").json
    assert (done["way"], done["report"]["passed"]) == (None, True)
