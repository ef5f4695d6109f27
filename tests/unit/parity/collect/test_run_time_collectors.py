"""Collectors of what was changed at run time: in files of the kernel, in systemd, in MariaDB."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from devvm.parity.collect import inside
from devvm.parity.collect.collectors import (
    common,
    database,
    firewall,
    manager,
    modules,
    mounts,
)
from devvm.system import assets
from tests.container.drifts_system import NFTABLES
from tests.unit.parity_bench import collect, needs_root


def machine(monkeypatch, *, container):
    monkeypatch.setattr(common, "is_container", lambda _: container)


# Mounts and swap

EVERY = ("mount", "api-mount", "swap")
MOUNTED = [
    ("/", "/", {"rw", "relatime"}, "ext4", "/dev/vda2"),
    ("/data", "/", {"rw", "nodev"}, "ext4", "/dev/vdb"),
    ("/proc", "/", {"rw", "hidepid=invisible"}, "proc", "proc"),
    ("/proc/sys/fs/binfmt_misc", "/", {"rw"}, "autofs", "systemd-1"),
    ("/sys/fs/cgroup", "/", {"rw", "nosuid"}, "cgroup2", "cgroup2"),
    ("/sys/kernel/debug/tracing", "/", {"rw"}, "tracefs", "tracefs"),
    ("/dev/shm", "/", {"rw", "size=5k", "inode64"}, "tmpfs", "tmpfs"),
    ("/run/user/0", "/", {"rw"}, "tmpfs", "tmpfs"),
    ("/run/lock", "/", {"rw"}, "tmpfs", "tmpfs"),
    ("/mnt/auto", "/", {"rw"}, "autofs", "systemd-1"),
]


def test_file_systems_of_the_kernel_have_an_area_of_their_own(monkeypatch):
    machine(monkeypatch, container=False)
    monkeypatch.setattr(mounts, "mounts", lambda: iter(MOUNTED))
    found = mounts.collect({}, inside.run)
    assert set(found["mount"]) == {"/", "/data", "/mnt/auto"}
    assert found["api-mount"] == {
        "/dev/shm": {"type": "tmpfs", "options": ["rw"]},
        "/proc": {"type": "proc", "options": ["hidepid=invisible", "rw"]},
        "/run/lock": {"type": "tmpfs", "options": ["rw"]},
        "/sys/fs/cgroup": {"type": "cgroup2", "options": ["nosuid", "rw"]},
    }


def test_of_a_container_only_its_own_file_systems_are_listed(monkeypatch):
    machine(monkeypatch, container=True)
    monkeypatch.setattr(mounts, "mounts", lambda: iter(MOUNTED))
    found = mounts.collect({}, inside.run)
    assert set(found["mount"]) == {"/data", "/mnt/auto"}
    assert set(found["api-mount"]) == {"/dev/shm", "/proc", "/run/lock"}
    assert found["swap"] == {}


def test_swap():
    text = (
        "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
        "/dev/zram0                              partition\t1024\t\t0\t\t100\n"
        "/my\\040swap                              file\t\t1024\t\t0\t\t-2\n"
    )
    assert mounts.swaps(text) == {
        "/dev/zram0": {"type": "partition", "priority": "100"},
        "/my swap": {"type": "file", "priority": "-2"},
    }
    assert mounts.swaps("") == {}


# Modules

LOADED = """\
dummy 16384 0 - Live 0x0000000000000000
virtio_net 90112 0 - Live 0x0000000000000000
net_failover 24576 1 virtio_net, Live 0x0000000000000000
usb_storage 81920 0 - Live 0x0000000000000000
evdev 28672 2 - Live 0x0000000000000000
aesni_intel 380928 0 - Live 0x0000000000000000
tcp_diag 16384 0 - Live 0x0000000000000000
ext4 983040 1 - Live 0x0000000000000000
nls_ascii 16384 1 - Live 0x0000000000000000
button 24576 0 - Live 0x0000000000000000
rootkit 16384 0 - Live 0x0000000000000000 (OE)
""".splitlines()
ALIASES = """\
# Aliases extracted from modules themselves.
alias rtnl-link-dummy dummy
alias virtio:d00000001v* virtio_net
alias usb:v*p*d*dc*dsc*dp*ic08isc06ip50in* usb_storage
alias input:b*v*p*e*-e*1,*k*r*a*m*l*s*f*w* evdev
alias crypto-aes aesni_intel
alias cpu:type:x86,ven*fam*mod*:feature:*0099* aesni_intel
alias net-pf-16-proto-4-type-2-6 tcp_diag
alias fs-ext4 ext4
alias acpi*:LNXPWRBN:* button
"""
HARDWARE = (
    "acpi:LNXPWRBN:",
    "cpu:type:x86,ven0000fam0006mod0006:feature:,0000,0001",
    "input:b0011v0001p0001eAB41-e0,1,4,11,14,k71,72,ram4,l0,1,2,sfw",
)


def test_modules_that_nothing_here_needs(tmp_path):
    driver = tmp_path / "virtio_net/drivers/virtio:virtio_net"
    driver.mkdir(parents=True)
    (driver / "module").symlink_to(tmp_path)
    (driver / "virtio0").symlink_to(tmp_path)
    idle = tmp_path / "usb_storage/drivers/usb:usb-storage"
    idle.mkdir(parents=True)
    (idle / "module").symlink_to(tmp_path)
    (idle / "bind").touch()
    found = modules.loaded(LOADED, ALIASES, str(tmp_path), HARDWARE)
    assert found == {"dummy": {}, "usb_storage": {}, "rootkit": {"taint": "OE"}}


def test_a_containers_modules_are_its_hosts(monkeypatch):
    machine(monkeypatch, container=True)
    assert modules.collect({}, inside.run) == {"loaded-module": {}}


# The service manager


def test_the_service_managers_variables():
    shown = 'LANG=C.UTF-8 "A=b c" $\'Q=it\\\'s\' DB_PASSWORD=hunter2 "E="'
    found = manager._environment(shown)
    assert found["environment/LANG"] == {"value": "C.UTF-8"}
    assert found["environment/A"] == {"value": "b c"}
    assert found["environment/Q"] == {"value": "it\\'s"}
    assert found["environment/E"] == {"value": ""}
    assert found["environment/DB_PASSWORD"] == {"secret": common.digest(b"hunter2")}
    assert len(found) == 5


def test_limits_and_settings_of_the_service_manager():
    shown = "DefaultLimitNOFILE=524288\nLogLevel=info\nEnvironment=PATH=/bin\n"
    found = manager.collect({}, lambda argv: (0, shown, ""))
    assert found["limit"]["systemd DefaultLimitNOFILE"] == {"value": "524288"}
    assert found["manager"] == {
        "LogLevel": {"value": "info"},
        "environment/PATH": {"value": "/bin"},
    }
    assert found["errors"] == {}


def test_a_service_manager_that_does_not_answer_is_an_error_of_its_settings_only():
    found = manager.collect({}, lambda argv: (1, "", "Failed to connect to bus\n"))
    assert found["manager"] == {}
    assert found["errors"] == {"manager/": "Failed to connect to bus"}


# The firewall

LOOK = """
import json
from devvm.parity.collect import inside
from devvm.parity.collect.collectors import firewall
print(json.dumps(firewall.collect({}, inside.run)["firewall"]))
"""


def in_a_network_of_its_own(*commands):
    """Run Python programs in a new network; return the last line of the output."""
    quoted = [["python3", "-c", *argv] for argv in (*commands, (LOOK,))]
    script = "import json,subprocess,sys\nfor a in json.loads(sys.argv[1]):\n"
    script += "    subprocess.run([sys.executable, *a[1:]], check=True)\n"
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", script, json.dumps(quoted)],
        capture_output=True, text=True, check=True, cwd=assets.parity_suite().parents[1],
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


@needs_root
def test_nftables_are_listed_without_its_program():
    assert in_a_network_of_its_own() == {}
    chains = {"chains": {"c": "forward 0, policy drop"}}
    assert in_a_network_of_its_own((NFTABLES, "0", "3")) == {"nft/ip drift": chains}
    assert in_a_network_of_its_own((NFTABLES, "0", "3"), (NFTABLES, "2")) == {}


@needs_root
@pytest.mark.skipif(not shutil.which("iptables-nft"), reason="no iptables")
def test_rules_differ_by_what_they_do_not_by_what_they_count():
    def ruled(*rules):
        program = "import os,sys; os.execvp('iptables-nft', ['iptables-nft', *sys.argv[1:]])"
        found = in_a_network_of_its_own(*((program, *rule.split()) for rule in rules))
        return found.get("nft/ip filter", {}).get("chains")

    ssh = "-A INPUT -p tcp --dport 22 -j ACCEPT"
    assert ruled("-L") is None, "an empty table does nothing"
    first = ruled(ssh)
    assert first.keys() == {"INPUT"}
    assert first["INPUT"].startswith("input 0, policy accept, rules: 1, ")
    assert ruled(f"{ssh} -c 5 500") == first
    assert ruled("-A INPUT -p tcp --dport 23 -j ACCEPT") != first


def rule(*expressions):
    attribute = firewall._attribute
    return b"".join(
        attribute(1, attribute(1, name + b"\0") + attribute(2, data)) for name, data in expressions
    )


def test_counters_and_quotas_are_no_part_of_a_rule():
    one, other = (
        rule((b"cmp", b"\1"), (b"counter", b"7")),
        rule((b"cmp", b"\1"), (b"counter", b"8")),
    )
    assert firewall._rule(one) == firewall._rule(other)
    assert firewall._rule(one) != firewall._rule(rule((b"cmp", b"\2"), (b"counter", b"7")))


def test_the_old_firewall():
    saved = "# x\n*filter\n:INPUT {} [1:2]\n:OUTPUT ACCEPT [3:4]\n{}COMMIT\n"

    def rules(policy, more=""):
        return firewall._iptables("x", "filter", lambda _: (0, saved.format(policy, more), ""))

    assert rules("ACCEPT") == []
    assert rules("DROP") == [":INPUT DROP", ":OUTPUT ACCEPT"]
    assert rules("ACCEPT", "-A INPUT -j DROP\n")[-1] == "-A INPUT -j DROP"
    assert firewall._iptables("x", "filter", lambda _: (127, "", "")) is None


# MariaDB

ROOT = {
    "access": 1, "plugin": "mysql_native_password", "authentication_string": "invalid",
    "auth_or": [{}, {"plugin": "unix_socket"}], "password_last_changed": 7,
}  # fmt: skip


def account(**properties):
    return database._account(properties)


def test_an_account_is_told_by_how_it_logs_in_and_never_by_its_password():
    native = {"plugin": "mysql_native_password"}
    assert account(**ROOT) == {"login": ["mysql_native_password, no password fits", "unix_socket"]}
    assert account(**native, authentication_string="")["login"] == [
        "mysql_native_password, no password"
    ]
    hashed = account(**native, authentication_string="*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19")
    assert hashed == {"login": ["mysql_native_password, password"]}
    assert account(plugin="unix_socket", ssl_type=1, is_role=True) == {
        "login": ["unix_socket"], "ssl_type": "1", "is_role": "True",
    }  # fmt: skip


def answers(monkeypatch, *rows):
    monkeypatch.setattr(database, "_SERVER", os.devnull)
    text = "\n--- end of an answer\n".join(["\n".join(one) for one in rows])
    return lambda argv: (0, f"{text}\n--- end of an answer\n", "")


def test_what_mariadb_keeps_about_itself(monkeypatch):
    escaped = json.dumps({**ROOT, "x": '"'}).replace("\\", "\\\\")
    run = answers(
        monkeypatch,
        [f"root@localhost\t{escaped}"],
        ["tables mysql\tdb\ttable", "tables sys\tversion\ttable"],
        ["routines sys\tps\tprocedure, 01"],
        [],
    )
    found = database.collect({}, run)["database"]
    assert set(found) == {
        "mariadb/account root@localhost", "mariadb/tables mysql", "mariadb/tables sys",
        "mariadb/routines sys",
    }  # fmt: skip
    assert found["mariadb/tables mysql"] == {"db": "table"}
    assert found["mariadb/routines sys"] == {"ps": "procedure, 01"}
    moved = database.collect({"moved": ["mariadb-server"]}, run)["database"]
    assert moved["mariadb/routines sys"] == {"ps": None}, "a newer server's may be another"


def test_mariadb_that_does_not_answer_is_an_error_of_its_items_only(monkeypatch):
    monkeypatch.setattr(database, "_SERVER", os.devnull)
    found = database.collect({}, lambda argv: (1, "", "ERROR 2002: no socket\n"))
    assert found["database"] == {}
    assert found["errors"] == {"database/mariadb/": "mariadb: ERROR 2002: no socket"}


def test_answers_of_mariadb_are_told_apart():
    out = "a\t1\n--- end of an answer\n--- end of an answer\nb\t\n--- end of an answer\n"
    asked = common.ask_mariadb(lambda argv: (0, out, ""), "x", "y", "z")
    assert asked == [[["a", "1"]], [], [["b", ""]]]


# All of them, on this machine


@pytest.mark.parametrize("name", ["mounts", "modules", "manager", "database"])
def test_they_run_on_this_machine(name):
    found = collect(name)
    areas = {area: found[area] for area in sys.modules[f"{common.__package__}.{name}"].AREAS}
    assert all(isinstance(items, dict) for items in areas.values())
