"""Collectors and probes, on this machine and on recorded output."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from devvm.parity.collect import inside
from devvm.parity.collect.collectors import (
    accounts,
    common,
    files,
    kernel,
    mounts,
    packages,
    python,
    settings,
    sockets,
    system,
    units,
)
from devvm.parity.collect.probes import commands, configs, http
from tests.unit.parity_bench import collect, needs_root


def test_what_files_hide(tmp_path):
    for path in ("/etc/ssl/private/site.key", "/etc/ssh/ssh_host_rsa_key", "/var/lib/a/secret_key"):
        assert common.matches(path, common.SECRET_PATHS), path
    key = tmp_path / "site.key"
    key.write_text("hunter2")
    (tmp_path / "app.conf").write_text("password = hunter2\nport = 1\n")
    found = {}
    for path in (key, tmp_path / "app.conf"):
        files.look(str(path), {}, found)
    assert "hunter2" not in json.dumps(found)
    assert set(found[str(key)]) == {"mode", "owner", "secret"}
    conf = found[f"{tmp_path}/app.conf"]
    assert conf["content"] == "password = {secret}\nport = 1\n"
    assert conf["secret"]
    assert conf["sha256"] == common.digest(conf["content"].encode())


# Files


def test_files_directories_and_links(tmp_path):
    (tmp_path / "file").write_text("a\n")
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder").mkdir(mode=0o700)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_text("x" * 40_000)
    found = {}
    for name in ("file", "link", "folder", "binary", "large", "none"):
        files.look(f"{tmp_path}/{name}", {}, found)
    assert found[f"{tmp_path}/file"]["mode"] == "0640"
    assert found[f"{tmp_path}/file"]["content"] == "a\n"
    assert found[f"{tmp_path}/link"] == {"link": "file"}
    assert found[f"{tmp_path}/folder/"]["mode"] == "0700"
    for name in ("binary", "large"):
        assert "content" not in found[f"{tmp_path}/{name}"]
        assert found[f"{tmp_path}/{name}"]["sha256"]
    assert f"{tmp_path}/none" not in found


def test_a_huge_file_is_not_read(tmp_path):
    found = {}
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(files.READ + 1)  # a sparse file
    files.look(f"{tmp_path}/huge", {}, found)
    assert found[f"{tmp_path}/huge"].keys() == {"mode", "owner", "size"}


def test_a_file_as_its_package_brought_it_names_the_package(tmp_path):
    file = tmp_path / "a.conf"
    file.write_text("a\n")
    known = {str(file): ("60b725f10c9c85c70d97880dfe8191b3", "a")}
    found = {}
    files.look(str(file), known, found)
    assert found[str(file)]["package"] == "a"
    file.write_text("b\n")
    files.look(str(file), known, found)
    assert "package" not in found[str(file)]


@needs_root
def test_the_configuration_of_this_machine(this_machine):
    found = this_machine["files"]["file"]
    assert found["/etc/shadow"].keys() == {"mode", "owner"}
    assert "content" not in found["/etc/passwd"]
    assert found["/etc/"[:-1] + "/apt/"]["mode"] == "0755"


# The rest of the system


def test_packages_are_found_with_version(this_machine):
    found = this_machine["packages"]["package"]
    assert found["dpkg"]["version"]
    assert "hold" not in found["dpkg"]


def test_programs_that_were_changed_are_told_by_their_package(tmp_path):
    info, code = tmp_path / "info", tmp_path / "bin"
    info.mkdir()
    code.mkdir()
    (code / "good").write_text("a\n")
    (code / "bad").write_text("b\n")
    sums = "".join(f"60b725f10c9c85c70d97880dfe8191b3  {code}/{n}\n"[:34] + f"{str(code)[1:]}/{n}\n"
                   for n in ("good", "bad"))  # fmt: skip
    (info / "tool.md5sums").write_text(sums)
    (info / "tool.list").touch()
    os.utime(info / "tool.list", (1, 1))
    packages._INFO, packages._CODE = str(info), (str(code),)
    assert packages._changed(inside.run) == {"tool": [f"{code}/bad"]}
    os.utime(code / "bad", (0, 0))  # as from an archive, unpacked just before: not hashed
    assert packages._changed(inside.run) == {}


MADE, LATER = 1_700_000_000.0, 1_760_000_000.25


@pytest.mark.parametrize(
    ("copied", "age", "changed", "suspect"),
    [
        pytest.param(True, "newer", MADE, True, id="written to since its package was installed"),
        pytest.param(True, "older", MADE + 30, False, id="as on the disk when it was made"),
        pytest.param(True, "older", LATER, True, id="its time was set back, and its list touched"),
        pytest.param(True, "older", 0.5, True, id="the clock was set far back"),
        pytest.param(True, "older", MADE + 0.25, True, id="the clock was set to that very time"),
        pytest.param(False, "older", LATER - 5, False, id="installed on this machine"),
        pytest.param(False, "newer", LATER - 5, True, id="its package brought a new time"),
        pytest.param(False, "older", LATER + 90, True, id="changed after that"),
        pytest.param(False, "older", 0.5, True, id="changed after that, with the clock set back"),
    ],
)
def test_a_changed_program_is_found_by_its_change_time(
    monkeypatch, tmp_path, copied, age, changed, suspect
):
    """Whatever its other times say. Only what may have been changed is hashed."""
    (tmp_path / "tool.md5sums").write_text(f"{'0' * 32}  usr/bin/tool\n")
    (tmp_path / "tool.list").touch()
    monkeypatch.setattr(packages, "_INFO", str(tmp_path))
    monkeypatch.setattr(os, "stat", lambda _: types.SimpleNamespace(st_mtime=1, st_ctime=LATER))
    monkeypatch.setattr(packages, "_is", lambda *_: False)
    others = f"older {MADE if copied else LATER:.10f} /usr/bin/other\n"
    out = f"{others}{age} {changed:.10f} /usr/bin/tool\n"
    found = packages._changed(lambda _: (0, out, ""))
    assert found == ({"tool": ["/usr/bin/tool"]} if suspect else {})


@pytest.mark.skipif(not all(map(shutil.which, ("mke2fs", "debugfs"))), reason="no tools for ext4")
def test_a_disk_made_by_mke2fs_has_change_times_in_whole_seconds(tmp_path):
    """What the kernel wrote later is known by its fraction of a second."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "tool").touch()
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(4 * 1024 * 1024)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tmp_path / "root", disk], check=True)
    shown = subprocess.run(
        ["debugfs", "-R", "stat /tool", disk], capture_output=True, text=True, check=True
    ).stdout
    assert re.search(r"^ ctime: 0x[0-9a-f]{8}:00000000 ", shown, re.MULTILINE), shown


def test_a_program_whose_time_was_set_back_is_found(monkeypatch, tmp_path):
    """On real files, which can't be older than the test: so no time at all is allowed."""
    code = tmp_path / "bin"
    code.mkdir()
    (code / "tool").write_text("b\n")
    (tmp_path / "tool.md5sums").write_text(f"60b725f10c9c85c70d97880dfe8191b3  {code}/tool\n"[:34]
                                           + f"{str(code)[1:]}/tool\n")  # fmt: skip
    (tmp_path / "tool.list").touch()
    os.utime(code / "tool", (0, 0))
    monkeypatch.setattr(packages, "_INFO", str(tmp_path))
    monkeypatch.setattr(packages, "_CODE", (str(code),))
    monkeypatch.setattr(packages, "_AFTER", -1.0)
    assert packages._changed(inside.run) == {"tool": [f"{code}/tool"]}


def test_a_file_that_another_package_replaced_or_diverted_is_as_that_one_has_it(
    monkeypatch, tmp_path
):
    tool = tmp_path / "tool"
    tool.write_text("a\n")
    for package, md5 in (("old", "0" * 32), ("new", "60b725f10c9c85c70d97880dfe8191b3")):
        (tmp_path / f"{package}.md5sums").write_text(f"{md5}  {str(tool)[1:]}\n")
        (tmp_path / f"{package}.list").touch()
    os.utime(tmp_path / "old.list", (1, 1))
    monkeypatch.setattr(packages, "_INFO", str(tmp_path))
    monkeypatch.setattr(packages, "_CODE", (str(tmp_path),))
    assert packages._changed(inside.run) == {}
    tool.write_text("b\n")
    assert packages._changed(inside.run) == {"old": [str(tool)], "new": [str(tool)]}


@pytest.fixture
def locked():
    """A file and a folder that even root can't change until `chattr` says otherwise."""
    # not in memory, where files have no attributes before Linux 6.6
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="devvm-test-") as top:
        file, folder = Path(top) / "file", Path(top) / "folder"
        file.touch()
        folder.mkdir()
        subprocess.run(["chattr", "+i", file], check=True)
        subprocess.run(["chattr", "+a", folder], check=True)
        yield file, folder
        subprocess.run(["chattr", "-ia", file, folder], check=True)


@needs_root
def test_attributes_that_lock_a_file_are_told(locked):
    file, folder = locked
    found = {}
    for path in locked:
        files.look(str(path), {}, found)
    assert found[str(file)]["attributes"] == ["immutable"]
    assert found[f"{folder}/"]["attributes"] == ["append only"]
    empty = "d41d8cd98f00b204e9800998ecf8427e"
    assert packages._state(str(file), empty) == f"{file}, immutable"


def test_attributes_are_none_where_there_can_be_none(tmp_path):
    (tmp_path / "plain").touch()
    (tmp_path / "link").symlink_to("plain")
    for path in ("/proc/version", f"{tmp_path}/plain", f"{tmp_path}/link", f"{tmp_path}/none"):
        assert common.attributes(path) == []


def test_where_packages_come_from():
    policy = """Package files:
 100 /var/lib/dpkg/status
     release a=now
 500 http://deb.debian.org/debian bookworm/main amd64 Packages
     release v=12.5,o=Debian,a=stable,n=bookworm,l=Debian,c=main,b=amd64
     origin deb.debian.org
Pinned packages:
"""
    listed = """nginx:
  Installed: 1.22
  Candidate: 1.22
  Version table:
 *** 1.22 500
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
        100 /var/lib/dpkg/status
ours:
  Installed: 1
  Candidate: 1
  Version table:
     2 500
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
 *** 1 100
        100 /var/lib/dpkg/status
"""
    found = {"nginx": {"origin": None}, "ours": {"origin": None}}
    origins = packages._origins(found, lambda argv: (0, listed if argv[2:] else policy, ""))
    assert list(origins) == [("nginx", "Debian bookworm")]
    assert found["ours"]["origin"] == "local"


def test_accounts():
    found = collect("accounts")
    root = found["user"]["root"]
    assert (root["uid"], root["group"], root["home"]) == (0, "root", "/root")
    assert found["group"]["root"] == {"gid": 0}


def test_sudo_rules_are_read_as_sudo_reads_them():
    rules = {
        "Defaults": [{"Options": [{"use_pty": True}, {"timestamp_timeout": "5"}]}],
        "User_Specs": [
            {
                "User_List": [{"usergroup": "sudo"}],
                "Host_List": [{"hostname": "ALL"}],
                "Cmnd_Specs": [
                    {
                        "runasusers": [{"username": "ALL"}],
                        "Options": [{"authenticate": False}],
                        "Commands": [
                            {"command": "/bin/ls"},
                            {"command": "/bin/rm", "negated": True},
                        ],
                    }
                ],
            }
        ],
    }
    found = accounts._sudo(lambda argv: (0, json.dumps(rules), ""))
    assert found["%sudo"] == {"rules": ["ALL = (ALL:) !authenticate: /bin/ls, !/bin/rm"]}
    assert found["Defaults"] == {"options": ["timestamp_timeout=5", "use_pty"]}
    assert accounts._sudo(lambda argv: (127, "", "")) == {}
    with pytest.raises(RuntimeError, match="syntax error"):
        accounts._sudo(lambda argv: (1, "", "syntax error"))


def test_units():
    shown = "\n\n".join(
        f"Type=simple\nId={name}\nLoadState=loaded\nActiveState={active}\nSubState={sub}\n"
        f"UnitFileState={file}\nFragmentPath=\nDropInPaths=\nTriggeredBy={by}\nNeedDaemonReload=no"
        for name, active, sub, file, by in (
            ("a.service", "active", "running", "enabled", ""),
            ("b.service", "inactive", "dead", "static", ""),
            ("c.service", "active", "exited", "static", "c.timer"),
            ("d.service", "failed", "failed", "static", "d.timer"),
            ("e.slice", "active", "active", "", ""),
            ("user@0.service", "active", "running", "static", ""),
        )
    )

    def run(argv, **_):
        return (0, shown, "") if argv[0] == "systemctl" else inside.run(argv)

    found = units.collect({}, run)["unit"]
    assert found["a.service"] == {"enabled": "enabled", "state": "active (running)"}
    assert "b.service" not in found
    assert "c.service" not in found  # its state depends on the time of day
    assert found["d.service"]["state"] == "failed (failed)"
    assert "e.slice" not in found
    assert "user@0.service" not in found


def test_sysctls_modules_and_limits():
    found = collect("kernel")
    if found["sysctl"]:
        assert all("value" in facts for facts in found["sysctl"].values())
    assert "kernel.hostname" not in found["sysctl"]
    assert kernel._foreign("net.ipv4.conf.eth0.forwarding")
    assert not kernel._foreign("net.ipv4.conf.all.forwarding")


def test_mounts():
    assert any(point == "/proc" and kind == "proc" for point, _, _, kind, _ in mounts.mounts())
    assert mounts._unescape(r"/a\040b") == "/a b"
    assert "/proc" not in mounts.collect({}, inside.run)["mount"]


def test_the_system_and_its_jobs():
    found = collect("system")
    assert found["system"]["os"]["version"]
    assert "zone" in found["system"]["time"]
    job = system._JOB
    assert job.match("*/5 * * * * root true")
    assert job.match("@daily root true")
    assert not job.match("MAILTO=root")


def test_python_packages(tmp_path):
    (tmp_path / "My_Tool-1.2.dist-info").mkdir()
    (tmp_path / "old-3.egg-info").mkdir()
    python.FOLDERS = (str(tmp_path),)
    assert python.collect({}, inside.run)["python"] == {
        f"my-tool in {tmp_path}": {"version": "1.2"},
        f"old in {tmp_path}": {"version": "3"},
    }


def test_the_application():
    def program(*argv):
        return {"argv": argv, "cwd": "/", "timeout": 10}

    found = collect(
        "application",
        application={
            "revision": program("sh", "-c", "echo noise; echo abc"),
            "schema": program("sh", "-c", "echo 'no database' >&2; exit 1"),
        },
    )
    assert found["application"] == {"revision": {"value": "abc"}}
    assert found["errors"] == {"application/schema": "no database"}


# Sockets


def test_sockets_are_found_with_address_and_program():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = collect("sockets")["socket"][f"tcp/{port}"]
    assert found["bind"] == ["127.0.0.1"]
    assert found["process"] != ["?"]


def test_sockets_of_udp_and_ipv6():
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as tcp,
    ):
        udp.bind(("127.0.0.1", 0))
        found = collect("sockets")["socket"]
        assert found[f"udp/{udp.getsockname()[1]}"]["bind"] == ["127.0.0.1"]
        assert found[f"tcp/{tcp.getsockname()[1]}"]["bind"] == ["::1"]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0100007F", "127.0.0.1"),
        ("00000000", "0.0.0.0"),
        ("00000000000000000000000000000000", "::"),
        ("00000000000000000000000001000000", "::1"),
    ],
)
def test_kernel_addresses(text, address):
    assert sockets._address(text) == address


def test_an_address_of_its_own_is_not_another_machines():
    assert sockets._kind("192.168.7.7") == "own"


# Servers


def test_redis_answers_are_parsed(monkeypatch):
    user = f"user ann on #{'0' * 64} ~* +@all"
    answer = (
        "*4\r\n$4\r\nbind\r\n$9\r\n127.0.0.1\r\n$4\r\nsave\r\n$0\r\n\r\n"
        f"*1\r\n${len(user)}\r\n{user}\r\n+OK\r\n"
    ).encode()
    monkeypatch.setattr(settings, "_ask", lambda *_: answer)
    assert settings._redis(inside.run) == {
        "bind": "127.0.0.1",
        "save": "",
        "acl": {"users": ["user ann on {secret} ~* +@all"]},
    }


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", ("127.0.0.1", 6379)),
        ("# unixsocket /no\nport 7000\n", ("127.0.0.1", 7000)),
        ("port 0\nunixsocketperm 770\nunixsocket /run/redis/a.sock\n", "/run/redis/a.sock"),
    ],
)
def test_redis_is_asked_where_its_configuration_says(monkeypatch, tmp_path, text, address):
    monkeypatch.setattr(settings, "_REDIS_CONF", str(tmp_path / "redis.conf"))
    (tmp_path / "redis.conf").write_text(text)
    assert settings._address_of_redis() == address


def test_a_unix_socket_is_asked(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(settings._ask, str(tmp_path / "socket"), b"PING\r\n", b"\r\n")
            connection, _ = server.accept()
            with connection:
                assert connection.recv(100) == b"PING\r\n"
                connection.sendall(b"+PONG\r\n")
            assert answer.result() == b"+PONG\r\n"


def test_a_server_that_does_not_answer_is_an_error_of_its_settings_only(monkeypatch):
    monkeypatch.setattr(settings, "_ask", lambda *_: b"-NOAUTH Authentication required.\r\n")
    settings._INSTALLED = dict.fromkeys(settings._INSTALLED, "/none") | {"redis": os.devnull}
    found = settings.collect({}, inside.run)
    assert found["setting"] == {}
    assert "NOAUTH" in found["errors"]["setting/redis/"]


def test_a_servers_password_is_no_setting():
    fact = settings._fact
    assert fact("requirepass", "hunter2") == {"secret": common.digest(b"hunter2")}
    assert fact("requirepass", "") == {"value": ""}
    assert fact("maxmemory", "1") == {"value": "1"}


def test_the_configuration_that_nginx_reads():
    dump = "# configuration file /none.conf:\nuser a; # who\n\n  # comment\n http {\n}\n"
    assert list(settings._effective(dump, {})) == ["# /none.conf", "user a; # who", "http {", "}"]


@pytest.mark.parametrize("title", [b"nginx: worker process", b"python3\0/usr/bin/gunicorn\0x:app"])
def test_a_process_that_ends_while_it_is_looked_at_is_left_out(monkeypatch, title):
    """Its settings are still reported, and so is every other server."""
    monkeypatch.setattr(os, "listdir", lambda _: ["7"])
    monkeypatch.setattr(common, "read", lambda path: title if path.endswith("cmdline") else None)
    assert settings._start("7") is None
    assert settings._older_than_its_files(f"# configuration file {__file__}:\n") is False
    assert settings._gunicorn(inside.run) == {}


def test_a_redis_that_has_ended_is_not_untouched(monkeypatch, tmp_path):
    (tmp_path / "redis.conf").touch()
    answer = f"config_file:{tmp_path}/redis.conf\r\nprocess_id:7\r\n+OK\r\n"
    monkeypatch.setattr(settings, "_ask", lambda *_: answer.encode())
    monkeypatch.setattr(settings, "_start", lambda _: None)
    assert settings._own_of_redis(inside.run) == {"untouched": False}


# Probes


def test_commands(tmp_path):
    def command(*argv):
        return {"argv": argv, "cwd": str(tmp_path), "timeout": 10}

    wanted = {
        "good": command("sh", "-c", 'echo noise; echo \'{"status": "ok"}\''),
        "bad": command("sh", "-c", "echo why >&2; exit 2"),
    }
    found = commands.probe({"commands": wanted}, inside.run)
    assert found["good"] == {"code": 0, "line": '{"status": "ok"}', "error": ""}
    assert found["bad"] == {"code": 2, "line": "", "error": "why"}


def test_an_unknown_validator_is_said():
    found = configs.probe({"configs": ["varnish"]}, inside.run)
    assert "no validator" in found["varnish"]


@contextmanager
def serving(answer):
    """Answer the first connection on loopback with these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(5)


def test_http_probe_and_samples():
    with serving(b"HTTP/1.1 308 Moved\r\nLocation: https://x/\r\n\r\nbody") as port:
        answer = http._probe(f"http://127.0.0.1:{port}/a", "host")
    assert answer == {"status": 308, "headers": {"location": "https://x/"}, "body": "body"}
    metrics = b'HTTP/1.1 200 OK\r\n\r\n# HELP up\nup 1\nseconds{mode="idle"} 2.5e1\nupper 3\n'
    with serving(metrics) as port:
        found = http._samples(f"http://127.0.0.1:{port}/metrics", ["up", "seconds", "none"])
    assert found == {"values": {"up": 1.0, "seconds": 25.0}}


def test_a_closed_port_is_an_error_of_that_probe_only():
    wanted = {"http": {"gone": "http://127.0.0.1:1/"}, "healthz": None, "metrics": {}}
    found = http.probe(wanted, inside.run)
    assert "refused" in found["probes"]["gone"]["error"]
