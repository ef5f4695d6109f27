"""A real VM that departs from production, and its fixes: a sample of tests/container/drifts.

Also tests what only a virtual machine has: its own kernel, disks, the VM layer of the manifest.
"""

import json
import os
import re
import subprocess
import sys

import pytest

from devvm.parity.collect import capture
from devvm.parity.production import manifest
from tests.vm.conftest import REPOSITORY

pytestmark = pytest.mark.vm

#: Changes a program, and has its times say that it is as it was when the VM's disk was made. It is
#: of a package that the tests' mirror hasn't moved: what that brought would be told as well.
SET_BACK = (
    "was=$(stat -c %Y /usr/bin/pstree); date -s @$(stat -c %Z /usr/bin/pstree) >/dev/null;"
    "printf x | dd of=/usr/bin/pstree conv=notrunc status=none; touch -d @$was /usr/bin/pstree"
)
SWAP = "dd if=/dev/zero of=/swap bs=1M count=16 status=none; mkswap -q /swap; swapon /swap"
#: Commands to run on the VM as root, and the checks that must fail, and no others. All are applied
#: at once, because one verification can tell them apart.
DRIFTS = {
    "a sysctl at run time": ("sysctl -qw vm.swappiness=60", {"sysctl/vm.swappiness"}),
    "the root mounted with other options": ("mount -o remount,noatime /", {"mount/"}),
    "a package held and a unit disabled": (
        "apt-mark -q hold nginx; systemctl disable -q chrony",
        {"package/nginx", "unit/chrony.service"},
    ),
    "a file of the overlay and a user": (
        "sed -i '$a # mine' /etc/systemd/network/80-guest.network; useradd mallory",
        {"file/etc/systemd/network/80-guest.network", "user/mallory", "group/mallory"},
    ),
    "a file system of the kernel": ("mount -o remount,suid,dev /dev/shm", {"api-mount/dev/shm"}),
    "a module and swap": (
        f"modprobe dummy; {SWAP}",
        {"loaded-module/dummy", "swap/swap"},
    ),
    "a program, changed in the second in which the disk was made, with its old time": (
        f"now=$(date +%s); {SET_BACK}; date -s @$now >/dev/null",
        {"package/psmisc"},
    ),
    "a server that is down": (
        "systemctl stop redis-server",
        {
            "unit/redis-server.service",
            "worker/job",
            "site/healthz/queue",
            "site/healthz/worker",
        },
    ),
}


@pytest.fixture
def root(dev1, devvm):
    def run(command):
        return devvm("exec", "dev1", "--", "sudo", "sh", "-euc", command)

    return run


def found_otherwise(report):
    return {
        c["name"]: c["message"] for c in report["checks"] if c["outcome"] in ("failed", "error")
    }


def test_drifts_are_told_by_the_checks_concerned(root, devvm):
    root("; ".join(apply for apply, _ in DRIFTS.values()))
    found = found_otherwise(devvm("verify", "dev1", "--json", code=3).json)
    for drift, (_, expected) in DRIFTS.items():
        assert expected <= set(found), (drift, found)
    rest = set(found).difference(*(expected for _, expected in DRIFTS.values()))
    assert rest, "what a server that is down is set to can't be seen"
    assert all(name.startswith("setting/redis/") for name in rest), rest


def test_what_a_role_answers_for_is_mended_and_the_rest_is_said(root, devvm, tmp_path):
    root(
        "chmod 0666 /etc/memcached.conf; sed -i 's/^-m .*/-m 32/' /etc/memcached.conf;"
        " systemctl restart memcached; touch /etc/memcached-mine.conf"
    )
    page = tmp_path / "report.html"
    done = devvm("verify", "dev1", "--fix", "--html", str(page), "--json", code=3).json
    assert done["roles"] == ["memcached"]
    assert {"file/etc/memcached.conf", "setting/memcached/maxbytes"} <= set(done["mended"])
    assert set(found_otherwise(done["report"])) == {"file/etc/memcached-mine.conf"}
    assert "file/etc/memcached-mine.conf" in page.read_text()


def test_the_shipped_layer_is_what_a_vm_is(dev1, made, devvm, tmp_path):
    """The shipped layer equals one captured now, except for what Debian's archives determine.

    `create` reported that as ahead: packages that moved, and what they bring.
    """
    production = REPOSITORY / "production"
    shipped = production / "overlay" / "30-guest.yml"
    output = tmp_path / "layer.yml"
    output.write_bytes(shipped.read_bytes())  # what varies there must vary here
    below = [production / "manifest.yml", *sorted((production / "overlay").glob("[12]*.yml"))]
    devvm(
        "production", "capture", "--host", "dev1-vagrant",
        "--ssh-config", str(devvm.state / "vms" / "dev1" / "ssh_config"),
        *(f"--over={file}" for file in below), "--unless", "container",
        "--no-packaged-contents", "--output", str(output),
    )  # fmt: skip
    checks = made.created["report"]["checks"]
    ahead = {check["name"] for check in checks if check["outcome"] == "ahead"}
    differing = capture.over(manifest.load(shipped), manifest.load(output)).areas
    names = {manifest.check_name(area, item) for area, items in differing.items() for item in items}
    assert {name for name in names - ahead if not name.startswith("package/")} == set()


def test_what_is_the_engineers_is_a_layer_of_its_own(dev1, devvm, tmp_path):
    """As docs/adopt.md tells it, with nothing below but production and what every VM has."""
    production, guest = REPOSITORY / "production", tmp_path / "30-guest.yml"
    manifests = [production / "manifest.yml", production / "overlay" / "10-devtools.yml"]
    config = devvm.state / "vms" / "dev1" / "ssh_config"

    def capture(output, *options):
        return devvm(
            "production", "capture", "--host", "dev1-vagrant", "--ssh-config", str(config),
            *(f"--over={file}" for file in manifests), "--no-packaged-contents",
            "--output", str(output), "--json", *options,
        ).json  # fmt: skip

    first = capture(guest, "--unless", "container")
    assert {"file/etc/devvm/stamp.json", "user/{engineer}"} <= set(first["left_out"])
    manifests.append(guest)
    assert capture(tmp_path / "40-engineer.yml", "--only-if", "engineer")["left_out"] == []
    found = manifest.load(tmp_path / "40-engineer.yml").areas
    shipped = manifest.load(production / "overlay" / "20-engineer.yml").areas
    assert {area: set(items) for area, items in found.items()} == {
        area: set(items) - {"/etc/devvm/"} for area, items in shipped.items()
    }


def test_people_who_know_testinfra_run_the_suite_themselves(dev1, devvm, box, tmp_path):
    config = devvm.state / "vms" / "dev1" / "ssh_config"
    packages = tmp_path / "packages.json"
    shown = devvm("box", "show", box["release"], "--json").json
    packages.write_text(json.dumps(shown["packages"]))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--hosts=ssh://dev1-vagrant", f"--ssh-config={config}",
         f"--release-packages={packages}", "-pno:cacheprovider", "tests/parity"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300, env=os.environ,
    )  # fmt: skip
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert failed == []
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None, done.stdout[-2000:] + done.stderr[-2000:]
    assert int(passed[1]) > 2500
