"""The probe of packages that moved: on this machine, and on made-up folders."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from devvm.parity.collect import inside
from devvm.parity.collect.collectors import common, settings
from devvm.parity.collect.probes import moved
from tests.unit.parity_bench import collect


@pytest.fixture(autouse=True)
def nothing_is_known_yet():
    common.packaged.cache_clear()


def never(argv, **_):
    raise AssertionError(argv)


def test_where_nothing_moved_nothing_is_asked():
    assert moved.probe({"moved": []}, never) == {}
    assert moved.probe({}, never) == {}
    assert moved.probe({"moved": ["devvm-no-such-package"]}, never) == {}


def test_a_packages_files_are_told_and_which_are_unchanged():
    told = moved.probe({"moved": ["dpkg", "init-system-helpers", "devvm-none"]}, inside.run)
    assert set(told) == {"dpkg", "init-system-helpers"}
    assert {"/etc/dpkg/dpkg.cfg", "/etc/cron.daily", "/usr/bin/dpkg"} <= {*told["dpkg"]["paths"]}
    assert not [path for path in told["dpkg"]["paths"] if path.startswith("/usr/share/doc")]
    listed = subprocess.run(["dpkg", "-V", "dpkg"], capture_output=True, text=True, check=False)
    assert ("/etc/dpkg/dpkg.cfg" in told["dpkg"]["unchanged"]) is (
        "/etc/dpkg/dpkg.cfg" not in listed.stdout
    )
    assert "/usr/bin/deb-systemd-helper" in told["init-system-helpers"]["paths"]
    assert told["dpkg"]["obsolete"] == []


def test_a_file_that_is_left_behind_is_told_while_nobody_changed_it(tmp_path):
    (tmp_path / "same").write_text("x")
    (tmp_path / "edited").write_text("y")
    md5 = "9dd4e461268c8034f5c8564e155c67a6"
    answer = f"p\n {tmp_path}/same {md5} obsolete\n {tmp_path}/edited {md5} obsolete\n /x {md5}\n"
    found = moved._obsolete(["p"], lambda _: (0, answer, ""))
    assert found == {"p": {f"{tmp_path}/same": True, f"{tmp_path}/edited": False}}


def test_what_is_left_behind_is_not_among_what_a_package_brings():
    conffiles = "dpkg\n /etc/dpkg/dpkg.cfg 00 obsolete\n"

    def run(argv, **more):
        asked = argv[0] == "dpkg-query" and argv[-1] == "dpkg"
        return (0, conffiles, "") if asked else inside.run(argv, **more)

    told = moved.probe({"moved": ["dpkg"]}, run)["dpkg"]
    assert "/etc/dpkg/dpkg.cfg" not in (*told["paths"], *told["unchanged"], *told["obsolete"])
    assert "/usr/bin/dpkg" in told["paths"]


@pytest.mark.parametrize(
    ("seconds", "recorded", "told"), [(0, True, True), (60, True, False), (0, False, False)]
)
def test_a_link_was_made_by_the_package_that_is_as_old_as_its_record(
    tmp_path, seconds, recorded, told
):
    for name in ("system", "records"):
        (tmp_path / name / "x.target.wants").mkdir(parents=True)
    link = tmp_path / "system/x.target.wants/p.service"
    link.symlink_to("/lib/systemd/system/p.service")
    if recorded:
        (tmp_path / "records/x.target.wants/p.service").touch()
    now = os.lstat(link).st_mtime
    os.utime(link, (now + seconds, now + seconds), follow_symlinks=False)
    moved._ENABLED, moved._RECORDS = str(tmp_path / "system"), str(tmp_path / "records")
    assert moved._records() == ({"p.service"} if told else set())
    other = tmp_path / "system/y.target.wants"
    other.mkdir()
    (other / "p.service").symlink_to("/lib/systemd/system/p.service")
    assert moved._records() == set(), "one link more, that somebody made"


def test_users_are_told_as_sysusers_d_asks_for_them(monkeypatch):
    lines = [
        'u p - "News of p" /var/lib/p /bin/false',
        "u q 42:games -",
        "g r -",
        "m p r",
        "m stranger r",
    ]
    monkeypatch.setattr(common, "lines", lambda _: lines)
    users, groups = moved._sysusers(["/usr/lib/sysusers.d/p.conf", "/etc/p.conf"])
    assert users == {
        "p": {
            "uid": None, "group": "p", "groups": ["r"], "home": "/var/lib/p",
            "password": "locked", "shell": "/bin/false",
        },
        "q": {
            "uid": 42, "group": "games", "groups": [], "home": "/", "password": "locked",
            "shell": "/usr/sbin/nologin",
        },
    }  # fmt: skip
    assert groups == ["p", "r"]


@pytest.mark.parametrize(
    ("commands", "untouched"),
    [
        ("cmdstat_config|get:calls=1\r\ncmdstat_get:calls=2\r\n", True),
        ("cmdstat_config|get:calls=1\r\ncmdstat_config|set:calls=1\r\n", False),
        ("cmdstat_config|resetstat:calls=1\r\n", False),
        ("cmdstat_config:calls=1\r\n", False),  # before 7, which doesn't list subcommands
        ("cmdstat_module|load:calls=1\r\n", False),
        ("cmdstat_replicaof:calls=1\r\n", False),
    ],
)
def test_a_redis_that_somebody_told_something_is_not_untouched(
    monkeypatch, tmp_path, commands, untouched
):
    (tmp_path / "redis.conf").touch()
    answer = f"config_file:{tmp_path}/redis.conf\r\nprocess_id:1\r\n{commands}+OK\r\n"
    monkeypatch.setattr(settings, "_ask", lambda *_: answer.encode())
    began = (tmp_path / "redis.conf").stat().st_ctime
    monkeypatch.setattr(settings, "_start", lambda _: began + 1)
    assert settings._own_of_redis(inside.run) == {"untouched": untouched}
    monkeypatch.setattr(settings, "_start", lambda _: began - 1)
    assert settings._own_of_redis(inside.run) == {"untouched": False}, "its file is newer"


def test_collectors_say_which_files_and_units_facts_come_from():
    said_by = collect("kernel")["evidence"]["said_by"]
    assert set(said_by) == {"sysctl", "module"}
    assert set(collect("manager")["evidence"]["said_by"]) == {"limit"}
    assert all(Path(path).is_file() for paths in said_by["sysctl"].values() for path in paths)
    sockets = collect("sockets")
    assert sockets["evidence"]["listening"].keys() == sockets["socket"].keys()
