"""The second stack on real VMs: from its first box to a rollout, back, and a bad release.

Everything is done with the commands that the reference stack has, on a host that has that one's VMs
as well. The good release has another setting of PHP-FPM, a change of the shop's schema, and the
packages of a mirror that has moved; a box is built for it. Such a release is converged in place; a
VM that has drifted gets a new root instead.
"""

import json
import shutil
import ssl
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support import acme
from tests.vm import stacks
from tests.vm.baseline import Baseline
from tests.vm.conftest import HERE, Devvm, healthy, purge
from tests.vm.terminal import terminal

pytestmark = pytest.mark.vm

#: A package of which the good release has a newer version.
PACKAGE = "netbase"
SHOP, COPY = "shop1", "shop1-copy"
FPM = "/etc/php/8.2/fpm/pool.d/www.conf"

#: Work that people would miss: a file, an uncommitted edit, a row in the database.
WORK = """set -eu
echo 'a note' >~/note.txt
printf '\\n// not committed\\n' >>~/shop/index.php
cd /tmp
sudo runuser -u postgres -- psql --quiet shop --command 'INSERT INTO orders DEFAULT VALUES'
"""
ALL_THERE = ["a note", " M index.php", "1"]


@dataclass(frozen=True)
class Company:
    """The company of the second stack: its folder, and its configuration of devvm."""

    folder: Path
    config: Path
    devvm: Devvm

    def changed(self, folder: Path) -> tuple[Path, Devvm]:
        """A copy of its stack, to be changed, and the devvm of that."""
        made = Path(shutil.copytree(self.folder, folder / "acme"))
        return made, self.devvm.of(made, self.config)


def _config(folder: Path, stack: Path) -> Path:
    path = folder / "config.toml"
    vault = f'[ansible]\nvault_identities = ["{acme.identity(stack)}"]\n'
    path.write_text(f"{(HERE / 'config.toml').read_text()}\n{vault}")
    return path


@pytest.fixture(scope="module")
def company(devvm, archive, tmp_path_factory):
    """The company, with a box of its stack; the VMs of the reference stack are off meanwhile."""
    folder = tmp_path_factory.mktemp("company")
    stack = acme.copy(folder / "acme")
    config = _config(folder, stack)
    for vm in devvm("list", "--json").json["vms"]:
        devvm("stop", vm["name"], "--force")
    made = Company(stack, config, devvm.of(stack, config))
    release = made.devvm("box", "build", "--yes", "--json").json["release"]
    yield made
    made.devvm("box", "remove", release)


@dataclass(frozen=True)
class Two:
    """shop1, and a clone of it; `created` and `copy` are what the commands printed."""

    company: Company
    created: dict
    copy: dict
    baseline: Baseline


@pytest.fixture(scope="module")
def two(company, tmp_path_factory):
    """shop1 and shop1-copy, both running: a clone of a snapshot, with what shop1 no longer has."""
    devvm, folder = company.devvm, tmp_path_factory.mktemp("two")
    created = devvm("create", SHOP, "--engineer", "jane", "--yes", "--json").json
    devvm("exec", SHOP, "--", "sh", "-c", WORK)
    devvm("release", "create", "--note", "as it was")
    devvm("snapshot", "create", SHOP, "before")
    devvm("exec", SHOP, "--", "rm", "note.txt")
    copy = devvm("clone", SHOP, "--as", COPY, "--snapshot", "before", "--json").json
    devvm("snapshot", "delete", SHOP, "before")
    kept = Baseline(devvm.state, folder)
    kept.take()
    yield Two(company, created, copy, kept)
    kept.restore()
    kept.forget()
    purge(devvm, SHOP, COPY)


@pytest.fixture
def pair(two):
    """Both of them for one test, which may do anything with them."""
    two.baseline.restore()
    return two


@pytest.fixture(scope="module")
def releases(two, archive, tmp_path_factory):
    """The devvm of each of two changed stacks, by name; each stack has a box.

    The bad one, for which no box can be built, has the good one's image.
    """
    made, folders = {}, {}
    for name in ("good", "bad"):
        folders[name], made[name] = two.company.changed(tmp_path_factory.mktemp(name))
        stacks.children(folders[name], 2, 3)
        stacks.migration(folders[name], broken=name == "bad")
    made["good"]("release", "lock")
    archive.move(PACKAGE)
    made["good"]("release", "lock", "--check", code=3)
    good = made["good"]("box", "build", "--newest", "--yes", "--json").json["release"]
    locked = made["good"]("release", "lock").stdout
    assert PACKAGE in locked
    assert "+news1" in locked
    bad = stacks.give_box(two.company.devvm.state, folders["bad"], good).release
    yield made
    two.baseline.restore()
    for release in (bad, good):
        two.company.devvm("box", "remove", release)


@pytest.fixture
def cli(two):
    """The company's devvm, with the stack that both VMs were made of."""
    return two.company.devvm


def release_of(devvm, name=SHOP):
    (found,) = [vm for vm in devvm("list", "--json").json["vms"] if vm["name"] == name]
    return found


def setting(devvm, name=SHOP):
    return devvm("exec", name, "--", "sudo", "grep", "max_children", FPM).stdout.split()[-1]


def columns(devvm, name=SHOP):
    query = "SELECT COUNT(*) FROM information_schema.columns WHERE table_name = 'orders'"
    ask = f'cd /tmp; sudo runuser -u postgres -- psql -At shop --command "{query}"'
    return int(devvm("exec", name, "--", "sh", "-c", ask).stdout)


def orders(devvm, created):
    """How many orders the shop says it has; asked as a browser would, with devvm's CA."""
    context = ssl.create_default_context(cafile=str(devvm.state / "ca" / "ca.crt"))
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    with opener.open(f"{created['url'].rstrip('/')}/shop/", timeout=60) as answer:
        return json.load(answer)["orders"]


def work(devvm, name):
    """What is left of the work on a running VM; `ALL_THERE` if nothing is lost."""
    ask = (
        "cat note.txt; git -C shop status --short; "
        "cd /tmp; sudo runuser -u postgres -- psql -At shop --command 'SELECT count(*) FROM orders'"
    )
    return devvm("exec", name, "--", "sh", "-c", ask, code=None).stdout.split("\n")[:3]


def version(devvm, name=SHOP):
    return devvm("exec", name, "--", "dpkg-query", "-Wf", "${Version}", PACKAGE).stdout


def releases_of(devvm):
    found = devvm("release", "list", "--json").json["releases"]
    return [one["release"] for one in found if one["stack"] == "acme"]


def wait_until(seconds, condition):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(1)
    return value


def events(devvm, *args):
    return devvm("rollout", "log", *args, "--all", "--json").json["events"]


def test_a_clone_is_another_machine_with_the_same_work(two, cli):
    copy = two.copy
    assert copy["report"]["passed"], copy["report"]
    assert copy["vm"]["address"] != two.created["vm"]["address"]
    two.baseline.restore()
    assert work(cli, COPY) == ALL_THERE
    keys = [
        (cli.state / "vms" / name / "known_hosts").read_text().split()[2] for name in (SHOP, COPY)
    ]
    assert keys[0] != keys[1]
    ids = [cli("exec", n, "--", "cat", "/etc/machine-id").stdout for n in (SHOP, COPY)]
    assert ids[0] != ids[1]
    assert orders(cli, copy) == 1
    ours = [vm["name"] for vm in cli("list", "--json").json["vms"] if vm["stack"] == "acme"]
    assert ours == [SHOP, COPY]
    healthy(cli)


@pytest.fixture
def quiet(two, tmp_path):
    """A configuration with quiet hours now, by the host's clock, and for hours to come."""
    path = tmp_path / "quiet.toml"
    now, hour = datetime.now().astimezone(), timedelta(hours=1)
    hours = f"daily {now - hour:%H:00}-{now + 5 * hour:%H:00}"
    quiet = f'\n[rollout]\nquiet_hours = ["{hours}"]\n'
    path.write_text(two.company.config.read_text() + quiet)
    return {"DEVVM_CONFIG": str(path)}


def test_in_quiet_hours_a_rollout_waits_and_changes_nothing(pair, cli, releases, quiet):
    good = releases["good"]
    good("release", "create")
    with ThreadPoolExecutor() as pool:
        start = pool.submit(good, "rollout", "start", "latest", "--yes", "--json", **quiet)
        wait_until(60, lambda: _has_a_rollout(cli) and "quiet hours until" in str(events(cli)))
        cli("rollout", "abort", "--yes")
        assert start.result().json["rollout"]["state"] == "aborted"
    assert release_of(cli)["release"] == pair.created["vm"]["release"]


def _has_a_rollout(devvm):
    return devvm("rollout", "list", "--json").json["rollouts"]


def test_a_rollout_of_two_vms_and_back(pair, releases, cli, tmp_path):
    """Canary, pause, an owner's own update, resume; a second rollout; back from the first."""
    first = pair.created["vm"]["release"]
    cli("exec", SHOP, "--", "sh", "-c", "echo before >notes; echo gone >gone")
    # a VM that differs from its own release is rebuilt
    cli("exec", COPY, "--", "sudo", "systemctl", "disable", "--now", "--quiet", "apache2")
    checks = cli("verify", COPY, "--json", code=3).json["checks"]
    assert "http/shop/status" in {one["name"] for one in checks if one["outcome"] == "failed"}
    before, was = columns(cli), version(cli)
    good = releases["good"]
    created = good("release", "create", "--note", "one more process", "--json").json
    new = created["release"]["release"]
    assert "pm.max_children 2 → 3" in "\n".join(created["release"]["changes"])
    compared = good("release", "diff", first, "latest").stdout
    assert "pm.max_children 2 → 3" in compared
    assert f"{PACKAGE} {was} → {was}+news1" in compared
    assert new in good("release", "list").stdout
    assert "one more process" in good("release", "show", "latest").stdout
    assert release_of(cli)["behind"] == 1

    until = str(datetime.now(UTC).date() + timedelta(days=2))
    cli("pin", COPY, "--until", until, "--reason", "demo")
    argv = ["rollout", "plan", "latest", "--canary", "1", "--wave", "50%", "--wave", "100%"]
    plan = good(*argv, "--json").json
    ways = [[(vm["name"], vm["way"]) for vm in wave["vms"]] for wave in plan["waves"]]
    assert ways == [[(SHOP, "converge")], [(COPY, "converge")]]
    assert "demo" in plan["waves"][1]["vms"][0]["waits"]
    cli("unpin", COPY)
    assert cli("show", COPY, "--json").json["vm"]["pinned_until"] is None

    with ThreadPoolExecutor() as pool:
        argv = ["rollout", "start", "latest", "--canary", "1", "--wave", "100%", "--yes", "--json"]
        start = pool.submit(good, *argv, code=None)
        wait_until(120, lambda: _has_a_rollout(cli) and "updating" in str(events(cli)))
        follow = pool.submit(cli, "rollout", "status", "--follow")
        cli("rollout", "pause")
        paused = start.result().json["rollout"]
        assert (paused["state"], paused["waves"][0]["vms"][0]["state"]) == ("paused", "done")
        assert SHOP in follow.result().stderr + follow.result().stdout
    assert (release_of(cli)["release"], release_of(cli)["behind"]) == (new, 0)
    assert release_of(cli, COPY)["release"] == first
    assert (setting(cli), columns(cli)) == ("3", before + 1)
    assert version(cli) == f"{was}+news1"  # from the mirror, with the VM's own apt
    assert orders(cli, pair.created) == 1

    updated = cli("update", COPY, "--yes", "--json").json
    assert updated["way"]["kind"] == "rebuild", updated["way"]
    done = good("rollout", "resume", "--json").json["rollout"]
    assert done["state"] == "done", done
    (copy,) = done["waves"][1]["vms"]
    assert (copy["state"], "already on this release" in copy["why"]) == ("left", True)
    for name in (SHOP, COPY):
        assert release_of(cli, name)["release"] == new
        assert (setting(cli, name), columns(cli, name)) == ("3", before + 1)
        assert version(cli, name) == f"{was}+news1"
    assert work(cli, COPY) == ALL_THERE
    fleet = good("verify", "--all", "--json").json
    assert [report["vm"] for report in fleet["vms"]] == [SHOP, COPY]
    assert fleet["passed"], fleet["by_check"]
    assert "done" in cli("rollout", "log", "--vm", SHOP).stdout
    cli("exec", SHOP, "--", "sh", "-c", "echo after >notes; rm gone; echo new >new")

    _put_off_and_due(cli, releases["bad"], tmp_path)

    back = good("rollout", "rollback", done["id"], "--yes", "--json").json["rollout"]
    assert back["state"] == "rolled back", back
    assert release_of(cli)["release"] == first
    assert (setting(cli), columns(cli), version(cli)) == ("2", before, was)
    assert orders(cli, pair.created) == 1
    files = cli("exec", SHOP, "--", "sh", "-c", "cat notes new; ls gone || true")
    assert files.stdout == "after\nnew\n"
    assert release_of(cli, COPY)["release"] == new  # by its owner, not by the rollout
    page = tmp_path / "fleet.html"
    cli("fleet", "report", "--html", str(page))
    assert all(word in page.read_text() for word in (SHOP, COPY, new, "rolled back"))


def _put_off_and_due(devvm, bad, tmp_path):
    """A rollout in which nothing is updated: one VM's owner postpones it, the other VM is off.

    The question is shown on a real terminal; the answer postpones the VM for the whole rollout.
    """
    newest = bad("release", "create", "--json").json["release"]["release"]
    was = [release_of(devvm, name)["release"] for name in (SHOP, COPY)]
    devvm("stop", COPY, "--force")
    weekly = tmp_path / "weekly.yml"
    weekly.write_text("release: latest\ncanary: 2\nask_minutes: 30\nvms: [shop1, shop1-copy]\n")
    plan = bad("rollout", "plan", "--plan", str(weekly), "--json").json
    assert [vm["name"] for vm in plan["waves"][0]["vms"]] == [SHOP, COPY]
    with terminal("devvm", "ssh", SHOP) as shell:
        shell.wait_for("jane@shop1")
        shell.type("true\n")
        with ThreadPoolExecutor() as pool:
            argv = ["rollout", "start", "--plan", str(weekly), "--yes", "--json"]
            rollout = pool.submit(bad, *argv, code=None)
            shell.wait_for(f"will update this VM to {newest}")
            shell.type("touch ~/update-later\n")
            done = rollout.result()
    assert (done.code, done.json["rollout"]["state"]) == (1, "paused"), done.json
    assert "no canary" in done.json["rollout"]["why"]
    shop, copy = done.json["rollout"]["waves"][0]["vms"]
    assert (shop["state"], "postponed" in shop["why"], copy["state"]) == ("later", True, "due")
    devvm("restart", COPY, "--no-update")
    devvm("rollout", "abort", "--yes")
    assert [release_of(devvm, name)["release"] for name in (SHOP, COPY)] == was


def test_a_bad_release_is_stopped_at_the_canary_which_is_as_it_was(releases, pair, cli):
    before = columns(cli)
    bad = releases["bad"]
    newest = bad("release", "create", "--json").json["release"]["release"]
    failed = bad("rollout", "start", "latest", "--yes", code=1)
    assert "Bring the database to this release" in failed.stderr
    assert 'syntax error at or near "nonsense"' in failed.stdout
    status = bad("rollout", "status", "--json").json["rollout"]
    (vm,) = status["waves"][0]["vms"]
    assert (status["state"], vm["state"]) == ("failed", "failed")
    assert "shop" in vm["why"]
    assert release_of(cli)["release"] == pair.created["vm"]["release"]
    assert (setting(cli), columns(cli)) == ("2", before)
    # going back checks the VM itself, against its own release
    assert "checks pass" in str(events(cli)) + failed.stderr
    assert "retired" in cli("release", "retire", "latest").stdout
    assert cli("release", "show", newest, "--json").json["retired_at"]
    assert releases_of(cli)[-1] == pair.created["vm"]["release"]


def test_an_update_to_where_a_vm_is_checks_it(pair, cli):
    done = cli("update", SHOP, "--release", pair.created["vm"]["release"], "--json").json
    assert (done["way"], done["report"]["passed"]) == (None, True)
