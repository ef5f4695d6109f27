"""VMs restored from the warm box of the box, two at once: each is itself, and no other."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.vm.baseline import virsh
from tests.vm.conftest import HERE, REPOSITORY, look
from tests.vm.test_killed import kill, start

pytestmark = pytest.mark.vm

TWINS = ("twin1", "twin2")
#: Prints what makes a machine itself, as JSON.
WHO_ARE_YOU = """
import glob, hashlib, json, os, subprocess
def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
def read(path):
    return open(path, errors="replace").read().strip()
def digest(path):
    return hashlib.sha256(open(path, "rb").read()).hexdigest()
card = next(p.split("/")[4] for p in glob.glob("/sys/class/net/*/device"))
journal = run("journalctl", "--no-pager", "--output=json", "--output-fields=_HOSTNAME,_MACHINE_ID")
print(json.dumps({
    "own": {
        "machine ID": read("/etc/machine-id"),
        "D-Bus machine ID": read("/var/lib/dbus/machine-id"),
        "host name": os.uname().nodename,
        "name in /etc": read("/etc/hostname") + read("/etc/hosts"),
        "MAC address": read(f"/sys/class/net/{card}/address"),
        "address": run("hostname", "-I"),
        "SSH host key": read("/etc/ssh/ssh_host_ed25519_key.pub").split()[1],
        "private host key": digest("/etc/ssh/ssh_host_ed25519_key"),
        "TLS key": digest("/etc/ssl/private/site.key"),
        "certificate": digest("/etc/ssl/certs/site.crt"),
        "random seed": digest("/var/lib/systemd/random-seed"),
        "random numbers": os.urandom(16).hex(),
        "application's secret": digest("/var/lib/about/secret_key"),
        "data disk": run("blkid", "-o", "value", "-s", "UUID", "/dev/vdb"),
        "engineer": run("id", "-un", "2000"),
        "devvm's key": digest("/var/lib/vagrant/.ssh/authorized_keys"),
        "journal": ",".join(os.listdir("/var/log/journal")),
    },
    "clock": run("date", "+%s.%N"),
    "host keys": sorted(glob.glob("/etc/ssh/ssh_host_*")),
    "logged as": sorted({json.loads(line)["_HOSTNAME"] for line in journal.splitlines()}),
    "accounts": [e.split(":")[0] for e in read("/etc/passwd").splitlines() if ":2000:" in e],
    "template": run("grep", "-rlE", "(boxcheck|spare)-[0-9a-f]{8}",
                    "/etc", "/home", "/root", "/var/lib", "/data"),
    "left": os.path.exists("/run/devvm-frozen"),
    "state": run("systemctl", "is-system-running", "--wait"),
}))
"""


@pytest.fixture(scope="module")
def before(devvm, box, made):
    made.baseline.restore()
    devvm("stop", "dev1")  # for its processors
    return look(devvm)


@pytest.fixture(scope="module")
def twins(devvm, box, before):
    """Two VMs that were restored at the same time: their JSON, and who they are."""
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "devvm", "create", name, "--engineer", f"{name}er", "--json"],
            cwd=REPOSITORY, env=os.environ | {"DEVVM_CONFIG": str(HERE / "config.toml")},
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        for name in TWINS
    ]  # fmt: skip
    made = {name: json.loads(child.communicate(timeout=900)[0])
            for name, child in zip(TWINS, children, strict=True)}  # fmt: skip
    for name in TWINS:
        script = ["sudo", "python3", "-c", WHO_ARE_YOU]
        asked = time.time()
        made[name]["is"] = devvm("exec", name, "--", *script).json
        made[name]["asked"] = (asked, time.time())
    yield made
    for name in TWINS:
        devvm("destroy", name, "--purge", name)


def test_they_were_restored_and_pass_every_check(twins):
    for name in TWINS:
        phases = [phase["name"] for phase in twins[name]["run"]["phases"]]
        assert "restore" in phases
        assert "boot" not in phases
        assert twins[name]["report"]["passed"], twins[name]["report"]
        assert twins[name]["is"]["state"] == "running"


def test_nothing_that_identifies_a_machine_is_shared(twins):
    one, other = (twins[name]["is"]["own"] for name in TWINS)
    shared = {what for what in one if one[what] == other[what]}
    assert shared == set()
    assert all(one.values())
    assert all(other.values())


def test_each_is_who_devvm_says(twins):
    for name in TWINS:
        vm, found = twins[name]["vm"], twins[name]["is"]
        assert found["own"]["host name"] == name
        assert found["own"]["MAC address"] == vm["mac"]
        assert found["own"]["address"] == vm["address"]
        assert found["own"]["engineer"] == f"{name}er"
        assert found["own"]["journal"] == found["own"]["machine ID"]
        assert found["own"]["D-Bus machine ID"] == found["own"]["machine ID"]
        assert vm["uuid"] == virsh("domuuid", vm["fqdn"]).strip()


def test_nothing_of_the_template_is_left(twins):
    for name in TWINS:
        found = twins[name]["is"]
        assert found["template"] == ""
        assert found["logged as"] == [name]
        assert found["accounts"] == [f"{name}er"]
        assert found["host keys"] == [f"/etc/ssh/ssh_host_ed25519_key{end}" for end in ("", ".pub")]
        assert not found["left"]


def test_their_clocks_are_right(twins):
    for name in TWINS:
        first, last = twins[name]["asked"]
        assert first - 2 < float(twins[name]["is"]["clock"]) < last + 2


def test_a_restored_vm_takes_little_of_the_disk(twins, devvm):
    for name in TWINS:
        disks = devvm("show", name, "--json").json["disks"]
        assert sum(disk["used_bytes"] for disk in disks) < 60 * 1024**2, disks


def test_it_can_be_made_again_under_vms(twins, devvm, box):
    made = devvm("box", "warm", "--json").json
    assert made["release"] == box["release"]
    assert made["warm"]["made_at"] > box["warm"]["made_at"]
    for name in TWINS:
        assert devvm("exec", name, "--", "hostname").stdout.strip() == name


def test_one_that_is_killed_while_it_is_restored_leaves_nothing(devvm, before, twins):
    there = look(devvm)
    kill(start("create", "twin3", "--engineer", "joe"), "restore: Restoring")
    devvm("doctor", "--fix")
    assert look(devvm) == there


def test_one_that_is_interrupted_while_it_is_restored_is_undone(devvm, twins):
    there = look(devvm)
    child = start("create", "twin3", "--engineer", "joe")
    for said in child.stderr:
        if "restore: Restoring" in said:
            break
    os.kill(child.pid, signal.SIGINT)
    child.stderr.read()
    child.stderr.close()
    assert child.wait() == 130
    assert look(devvm) == there
