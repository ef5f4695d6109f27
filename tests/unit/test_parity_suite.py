"""The parity suite's own parts: expectations, checks, the observation and its collectors."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import types
from contextlib import contextmanager

import pytest
import yaml

from devvm import assets

sys.path.insert(0, str(assets.parity_suite().parent))
from parity import checks as catalogue
from parity import observe, schema

SUITE = assets.parity_suite()
SHIPPED = SUITE / "expectations"


def load(folder, text, overlay="dev"):
    (folder / "one.yml").write_text(text)
    return catalogue.expand(schema.load(folder, overlay=overlay))


def collector(name):
    module = types.ModuleType(name)
    source = (SUITE / "collectors" / f"{name}.py").read_text()
    exec(compile(source, name, "exec"), module.__dict__)
    return module


MAIN = collector("main")


class LocalHost:
    """testinfra's host, as far as the suite uses it: this machine, as whoever we are."""

    def __init__(self, rc=None, stderr=b""):
        self.rc, self.stderr, self.commands = rc, stderr, []

    def run(self, command, *args):
        self.commands.append(args)
        if self.rc is not None:
            return types.SimpleNamespace(rc=self.rc, stdout_bytes=b"", stderr_bytes=self.stderr)
        python = [sys.executable, "-c", *args[1:]]
        done = subprocess.run(python, capture_output=True, check=False)
        return types.SimpleNamespace(
            rc=done.returncode, stdout_bytes=done.stdout, stderr_bytes=done.stderr
        )


NOTHING = catalogue.wanted([])


# Expectations


@pytest.mark.parametrize("overlay", ["dev", "none"])
def test_the_shipped_expectations_are_well_formed(overlay):
    checks = catalogue.expand(schema.load(SHIPPED, overlay=overlay))
    names = [check.name for check in checks]
    assert names == sorted(set(names))
    for name in (
        "service/nginx/running",
        "service/nginx/enabled",
        "socket/tcp/443/bind",
        "socket/unexpected",
        "config/nginx/parses",
        "site/healthz/database",
        "worker/job",
    ):
        assert name in names


def test_every_role_of_the_stack_has_expectations():
    roles = {one.role for one in schema.load(SHIPPED, overlay="dev")}
    (play,) = yaml.safe_load((assets.playbooks() / "site.yml").read_text())
    assert {entry["role"] for entry in play["roles"]} <= roles


def test_every_kind_of_check_has_a_test_and_every_test_a_kind():
    kinds = {
        check.kind
        for overlay in ("dev", "none")
        for check in catalogue.expand(schema.load(SHIPPED, overlay=overlay))
    }
    tests = {
        line.split("(")[0].removeprefix("def test_")
        for file in SUITE.glob("test_*.py")
        for line in file.read_text().splitlines()
        if line.startswith("def test_")
    }
    assert kinds | {"waiver"} == tests


def test_overlay_chooses_files(tmp_path):
    (tmp_path / "a.yml").write_text("role: a\noverlay: none\npackages: [a]\n")
    (tmp_path / "b.yml").write_text("role: b\noverlay: dev\npackages: [b]\n")
    (tmp_path / "c.yml").write_text("role: c\npackages: [c]\n")
    for overlay, roles in (("none", ["a", "c"]), ("dev", ["b", "c"])):
        assert [one.role for one in schema.load(tmp_path, overlay=overlay)] == roles


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("role: x\nservcies: {}\n", "servcies: Extra inputs"),
        ("packages: [a]\n", "role: Field required"),
        ("role: x\nservices: {a: {state: up}}\n", "services.a.state"),
        ("role: x\nonly_if: [sunday]\n", "only_if.0"),
        ("role: x\nsettings: {mariadb: {slow_query_log: ON}}\n", "settings.mariadb.slow_query_log"),
        ("role: [\n", "one.yml"),
    ],
)
def test_bad_expectations_name_file_and_key(tmp_path, text, reason):
    with pytest.raises(schema.ExpectationError) as caught:
        load(tmp_path, text)
    assert "one.yml" in str(caught.value)
    assert reason in str(caught.value)


def test_no_expectations_at_all(tmp_path):
    with pytest.raises(schema.ExpectationError, match="no expectations"):
        schema.load(tmp_path, overlay="dev")


def test_two_files_can_not_expect_the_same(tmp_path):
    (tmp_path / "other.yml").write_text("role: other\npackages: [nginx]\n")
    with pytest.raises(schema.ExpectationError, match="expected twice: by one and other"):
        load(tmp_path, "role: one\npackages: [nginx]\n")


def test_conditions_of_file_and_item_add_up(tmp_path):
    (check,) = load(
        tmp_path,
        "role: x\nunless: [container]\nfiles: {/a: {only_if: [data_disk]}}\n",
    )
    facts = {"container": False, "data_disk": True, "identity": False, "engineer": False}
    assert check.not_for(facts) is None
    assert check.not_for({**facts, "container": True}) == "unless: container"
    assert check.not_for({**facts, "data_disk": False}) == "only if: data_disk"


def test_wanted_names_what_collectors_can_not_list_themselves():
    wanted = catalogue.wanted(schema.load(SHIPPED, overlay="none"))
    assert "nginx" in wanted["configs"]
    assert wanted["healthz"] == "/healthz"
    assert wanted["commands"]["site/revision"]["argv"][0] == "runuser"
    assert json.loads(json.dumps(wanted))


# The observation


def test_one_round_trip_brings_every_collector():
    host = LocalHost()
    seen = observe.observe(host, NOTHING)
    assert len(host.commands) == 1
    files = {path.stem for path in (SUITE / "collectors").glob("*.py")}
    assert set(seen.collected) == files - {"__init__", "main"} | {"boot"}
    assert "one round trip" in seen.timing()


def test_the_command_fits_on_a_command_line():
    shipped = catalogue.wanted(schema.load(SHIPPED, overlay="dev"))
    assert len(observe.payload(shipped)) < 60_000  # Linux allows 131072 for one argument


def test_an_unreachable_machine_is_said():
    class Unreachable:
        def run(self, command, *args):
            raise RuntimeError(types.SimpleNamespace(stderr_bytes=b"noise\nConnection refused\n"))

    with pytest.raises(observe.CannotObserveError, match=r"^Connection refused$"):
        observe.observe(Unreachable(), NOTHING)


def test_a_machine_without_sudo_is_said():
    host = LocalHost(rc=1, stderr=b"sudo: a password is required\n")
    with pytest.raises(observe.CannotObserveError, match="a password is required"):
        observe.observe(host, NOTHING)


def test_a_failing_and_a_hanging_collector_hide_nothing():
    sources = {
        "good": "def collect(wanted, run): return wanted['x']",
        "bad": "def collect(wanted, run): raise OSError('no such thing')",
        "broken": "def collect(wanted, run)",
        "slow": "import time\ndef collect(wanted, run): time.sleep(30)",
    }
    found = MAIN.observe(sources, {"x": 1}, deadline=0.5)
    assert found["good"]["data"] == 1
    assert found["bad"]["error"] == "OSError: no such thing"
    assert found["broken"]["error"].startswith("SyntaxError")
    assert found["slow"]["error"] == "no answer after 0.5 s"
    seen = observe.Observation(collected=found, seconds=1)
    with pytest.raises(observe.NotObservedError, match="slow: no answer"):
        seen["slow"]


def test_bad_commands_give_codes_instead_of_exceptions():
    assert MAIN.run(["devvm-no-such-program"])[0] == 127
    assert MAIN.run(["sleep", "5"], timeout=0.1)[0] == 124
    assert MAIN.run(["sh", "-c", "echo out; echo err >&2; exit 3"]) == (3, "out\n", "err\n")


# Collectors, on this machine


def test_sockets_are_found_with_address_and_program():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = [e for e in collector("sockets").collect({}, MAIN.run) if e["port"] == port]
    assert found == [
        {"protocol": "tcp", "port": port, "address": "127.0.0.1", "process": found[0]["process"]}
    ]
    assert found[0]["process"] != "?"


def test_sockets_of_udp_and_ipv6():
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as tcp,
    ):
        udp.bind(("127.0.0.1", 0))
        entries = collector("sockets").collect({}, MAIN.run)
        ports = {(e["protocol"], e["port"]): e["address"] for e in entries}
        assert ports["udp", udp.getsockname()[1]] == "127.0.0.1"
        assert ports["tcp", tcp.getsockname()[1]] == "::1"


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
    assert collector("sockets")._address(text) == address


def test_files(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "link").symlink_to("file")
    paths = [str(tmp_path / name) for name in ("file", "link", "none")]
    file, link, nothing = collector("files").collect({"files": paths}, MAIN.run).values()
    assert (file["mode"], file["link"]) == ("0640", None)
    assert link["link"] == "file"
    assert nothing is None


def test_sysctls():
    found = collector("sysctls").collect({"sysctls": ["kernel.ostype", "no.such.key"]}, MAIN.run)
    assert found == {"kernel.ostype": "Linux", "no.such.key": None}


def test_mounts():
    found = collector("mounts").collect({}, MAIN.run)
    assert found["/proc"]["type"] == "proc"
    assert collector("mounts")._unescape(r"/a\040b") == "/a b"


def test_packages():
    assert "dpkg" in collector("packages").collect({}, MAIN.run)


def test_commands(tmp_path):
    def command(*argv):
        return {"argv": argv, "cwd": str(tmp_path), "timeout": 10}

    wanted = {
        "good": command("sh", "-c", 'echo noise; echo \'{"status": "ok"}\''),
        "bad": command("sh", "-c", "echo why >&2; exit 2"),
    }
    found = collector("commands").collect({"commands": wanted}, MAIN.run)
    assert found["good"] == {"code": 0, "line": '{"status": "ok"}', "error": ""}
    assert found["bad"] == {"code": 2, "line": "", "error": "why"}


def test_units_are_read_in_the_order_asked():
    shown = "LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\n"
    absent = "LoadState=not-found\nActiveState=inactive\nSubState=dead\nUnitFileState=\n"

    def run(argv):
        out = '[{"unit": "bad.service"}]' if "--failed" in argv else f"{shown}\n{absent}"
        return 0, out, ""

    found = collector("units").collect({"units": ["a.service", "b.service"]}, run)
    assert found["wanted"]["a.service"]["file"] == "enabled"
    assert found["wanted"]["b.service"]["load"] == "not-found"
    assert found["failed"] == ["bad.service"]


def test_an_unknown_validator_is_said():
    found = collector("configs").collect({"configs": ["apache"]}, MAIN.run)
    assert "no validator" in found["apache"]


@contextmanager
def serving(answer, connections=1):
    """Answer the first connections on the loopback with these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            for _ in range(connections):
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(5)


def test_http_probe_and_samples():
    http = collector("http")
    with serving(b"HTTP/1.1 308 Moved\r\nLocation: https://x/\r\n\r\nbody") as port:
        answer = http._probe(f"http://127.0.0.1:{port}/a", "host")
    assert answer == {"status": 308, "headers": {"location": "https://x/"}, "body": "body"}
    metrics = b'HTTP/1.1 200 OK\r\n\r\n# HELP up\nup 1\nseconds{mode="idle"} 2.5e1\nupper 3\n'
    with serving(metrics) as port:
        found = http._samples(f"http://127.0.0.1:{port}/metrics", ["up", "seconds", "none"])
    assert found == {"values": {"up": 1.0, "seconds": 25.0}}


def test_a_closed_port_is_an_error_of_that_probe_only():
    wanted = {"http": {"gone": "http://127.0.0.1:1/"}, "healthz": None, "metrics": {}}
    found = collector("http").collect(wanted, MAIN.run)
    assert "refused" in found["probes"]["gone"]["error"]


def test_redis_answers_are_parsed(monkeypatch):
    settings = collector("settings")
    answer = b"*4\r\n$4\r\nbind\r\n$9\r\n127.0.0.1\r\n$4\r\nsave\r\n$0\r\n\r\n+OK\r\n"
    monkeypatch.setattr(settings, "_ask", lambda *_: answer)
    assert settings._redis(MAIN.run) == {"bind": "127.0.0.1", "save": ""}
    monkeypatch.setattr(settings, "_ask", lambda *_: b"-NOAUTH Authentication required.\r\n")
    found = settings.collect({"settings": ["redis", "oracle"]}, MAIN.run)
    assert "NOAUTH" in found["redis"]["error"]
    assert "no reader" in found["oracle"]["error"]


# The suite as people run it


def run_suite(folder, *options, expectations):
    (folder / "expectations").mkdir()
    (folder / "expectations" / "x.yml").write_text(expectations)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [
        sys.executable, "-B", "-m", "pytest", str(SUITE), f"-c={folder}/pytest.ini",
        "-pno:cacheprovider", "--hosts=local://", f"--expectations={folder}/expectations",
        f"--results={folder}/results", *options,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    results = folder / "results"
    lines = results.read_text().splitlines() if results.exists() else []
    return done, {e["name"]: e for e in map(json.loads, lines) if e["event"] == "result"}


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the suite needs root where it looks")


@needs_root
def test_results_and_junit_go_by_the_names_of_checks(tmp_path):
    (tmp_path / "file").touch(mode=0o644)
    done, results = run_suite(
        tmp_path,
        f"--junitxml={tmp_path}/junit.xml",
        expectations=f"""
role: base
files: {{{tmp_path}/file: {{mode: "0600"}}, /gone: {{only_if: [data_disk]}}}}
settings: {{redis: {{bind: 127.0.0.1}}}}
sysctls: {{kernel.ostype: Linux}}
""",
    )
    assert done.returncode == 1
    assert {name: e["outcome"] for name, e in results.items()} == {
        f"file{tmp_path}/file/exists": "passed",
        f"file{tmp_path}/file/mode": "failed",
        "file/gone/exists": "skipped",
        "setting/redis/bind": "error",
        "sysctl/kernel.ostype": "passed",
    }
    assert results[f"file{tmp_path}/file/mode"]["message"] == "expected 0600, found 0644"
    assert "redis does not answer" in results["setting/redis/bind"]["message"]
    junit = (tmp_path / "junit.xml").read_text()
    assert 'classname="parity.base" name="sysctl/kernel.ostype"' in junit
    assert "expected 0600, found 0644" in junit


@needs_root
def test_what_listens_and_is_not_expected_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        _, results = run_suite(tmp_path, expectations="role: base\nno_other_sockets: true\n")
    assert f"tcp/{port} on 127.0.0.1" in results["socket/unexpected"]["message"]


def test_a_broken_expectation_file_is_a_usage_error(tmp_path):
    done, results = run_suite(tmp_path, expectations="role: base\nsokets: {}\n")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "sokets" in done.stderr
    assert not results
