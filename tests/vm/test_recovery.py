"""A broken VM and its rebuild, the trash, snapshots, a clone, and commands that were killed.

On the real VM that test_end_to_end left in the trash; the many kill points are in tests/kill.
"""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from devvm.adapters.box_store import FolderBoxStore
from devvm.state import State
from tests.vm.conftest import HERE, REPOSITORY, look, virsh
from tests.vm.site_client import Site

pytestmark = pytest.mark.vm

BAD = "2001.01.01-00000000bad0"
_PREPARE = """set -eu
echo 'a note' >~/note.txt
printf '\\n<!-- not committed -->\\n' >>~/about/about/templates/base.html
sudo mysql -e 'create table if not exists about.mine (x int); insert into about.mine values (42)'
"""
_BREAK = """set -u
dpkg --purge --force-all nginx >/dev/null 2>&1
rm -rf /etc/nginx /etc/mysql/mariadb.conf.d /etc/sudoers.d/engineer
rm -f /usr/bin/python3
echo mine >/etc/motd
sync
"""


@pytest.fixture(scope="module")
def dev1(dev1, devvm):
    """dev1 with work in it."""
    devvm("exec", "dev1", "--", "sh", "-c", _PREPARE)
    return devvm("show", "dev1", "--json").json


def work(devvm, name="dev1"):
    """What a person would miss."""
    ask = "cat note.txt; git -C about status --short; sudo mysql -N -e 'select * from about.mine'"
    return devvm("exec", name, "--", "sh", "-c", ask).stdout.split("\n")[:3]


WORK = ["a note", " M about/templates/base.html", "42"]


def healthy(devvm):
    found = devvm("doctor", "--json", code=None).json
    assert found["healthy"], found


def data_disk(devvm):
    disks = devvm("show", "dev1", "--json").json["disks"]
    return next(disk for disk in disks if disk["role"] == "devvm-data")


def known_hosts(devvm):
    return (devvm.state / "vms" / "dev1" / "known_hosts").read_text()


def test_a_broken_vm_is_rebuilt_with_everything_that_a_person_would_miss(dev1, devvm):
    assert work(devvm) == WORK
    before = known_hosts(devvm)
    # MariaDB's files as an older version left them
    older = "cd /var/lib/mysql && echo 10.5.0-MariaDB >$(ls *upgrade_info)"
    devvm("exec", "dev1", "--", "sudo", "sh", "-c", older)
    devvm("exec", "dev1", "--", "sudo", "sh", "-c", _BREAK)
    refused = devvm("rebuild", "dev1", code=2).stderr
    assert "/etc/motd: changed since" in refused
    assert "/srv/about/checkout: 1 uncommitted change (stays)" in refused
    assert "Next: devvm rebuild dev1 --yes" in refused
    done = devvm("rebuild", "dev1", "--yes", "--json").json
    assert done["report"]["passed"]
    assert done["vm"]["generation"] == dev1["vm"]["generation"] + 1
    assert (done["vm"]["address"], done["vm"]["uuid"]) == (
        dev1["vm"]["address"],
        dev1["vm"]["uuid"],
    )
    assert known_hosts(devvm) == before
    assert work(devvm) == WORK
    info = "cat /var/lib/mysql/*upgrade_info"
    assert "10.5.0" not in devvm("exec", "dev1", "--", "sudo", "sh", "-c", info).stdout
    site = Site(dev1["url"], devvm.state / "ca" / "ca.crt")
    assert site.json("/healthz")["status"] == "ok"
    assert any(item["id"] == done["previous"] for item in trash(devvm))
    healthy(devvm)


def trash(devvm):
    return devvm("trash", "list", "--json").json["items"]


@pytest.fixture
def bad_release(devvm, box, tmp_path):
    """A release whose VM can't pass its checks: the box, with one program taken out of its disk."""
    store = FolderBoxStore(State(devvm.state))
    archive, raw, image = box["path"], tmp_path / "disk.raw", tmp_path / "box.img"
    subprocess.run(["tar", "-x", "-f", archive, "-C", tmp_path, "box.img"], check=True)
    subprocess.run(["qemu-img", "convert", "-O", "raw", image, raw], check=True)
    table = json.loads(subprocess.run(["sfdisk", "--json", raw], capture_output=True, check=True)
                       .stdout)["partitiontable"]  # fmt: skip
    start = max(table["partitions"], key=lambda p: p["size"])["start"] * 512
    subprocess.run(
        ["debugfs", "-w", "-R", "rm /usr/sbin/nginx", f"{raw}?offset={start}"], check=True
    )
    image.unlink()
    subprocess.run(["qemu-img", "convert", "-c", "-O", "qcow2", raw, image], check=True)
    raw.unlink()
    candidate = store.pack(image, BAD, tmp_path / "devvm.box")
    facts = {"built_at": "2001-01-01T00:00:00+00:00", "debian": "12", "packages": {}}
    yield store.register(candidate, facts)
    devvm("box", "remove", BAD, "--yes")


def test_a_release_that_can_not_pass_brings_the_old_vm_back(dev1, devvm, bad_release):
    before = look(devvm)
    failed = devvm("rebuild", "dev1", "--release", BAD, "--yes", "--json", code=3)
    error = failed.json["error"]
    assert "nginx" in error["details"]
    assert "as it was before" in error["brief"]
    after = look(devvm)
    bad_image = [v for v in after["volumes"] if BAD in v]
    assert after | {"volumes": [v for v in after["volumes"] if v not in bad_image]} == before
    devvm("start", "dev1")  # waits: it has been started already
    assert devvm("verify", "dev1", "--json").json["passed"]
    assert work(devvm) == WORK


def test_snapshot_and_back(dev1, devvm):
    devvm("snapshot", "create", "dev1", "before")
    devvm("exec", "dev1", "--", "sh", "-c", "rm note.txt; sudo mysql -e 'drop table about.mine'")
    (snapshot,) = devvm("snapshot", "list", "dev1", "--json").json["snapshots"]
    assert (snapshot["name"], snapshot["consistency"]) == ("before", "frozen")
    assert snapshot["used_bytes"] > 0
    # libvirt keeps nothing of its own that could stand in the way
    assert virsh("snapshot-list", "dev1.devvm-test.test", "--name").strip() == ""
    devvm("snapshot", "restore", "dev1", "before", "--yes")
    assert work(devvm) == WORK
    assert devvm("verify", "dev1", "--json").json["passed"]
    devvm("snapshot", "delete", "dev1", "before")
    assert work(devvm) == WORK
    healthy(devvm)


def test_resize_while_it_runs(dev1, devvm):
    size = data_disk(devvm)["size_bytes"] // 1024**3 + 3
    devvm("resize", "dev1", "--data", f"{size}G")
    assert data_disk(devvm)["size_bytes"] == size * 1024**3
    blocks = devvm("exec", "dev1", "--", "df", "--output=size", "-BM", "/data").stdout
    assert int(re.findall(r"(\d+)M$", blocks, re.MULTILINE)[0]) > (size - 1) * 1024
    assert devvm("resize", "dev1", "--data", "1G", "--json", code=2).json["error"]["resolution"]


def test_a_clone_is_another_machine_with_the_same_work(dev1, devvm):
    copy = devvm("clone", "dev1", "--as", "dev1-copy", "--json").json
    assert copy["report"]["passed"], copy["report"]
    assert copy["vm"]["address"] != dev1["vm"]["address"]
    assert work(devvm, "dev1-copy") == WORK
    keys = [
        (devvm.state / "vms" / name / "known_hosts").read_text().split()[2]
        for name in ("dev1", "dev1-copy")
    ]
    assert keys[0] != keys[1]
    ids = [devvm("exec", n, "--", "cat", "/etc/machine-id").stdout for n in ("dev1", "dev1-copy")]
    assert ids[0] != ids[1]
    assert Site(copy["url"], devvm.state / "ca" / "ca.crt").json("/healthz")["status"] == "ok"
    devvm("destroy", "dev1-copy", "--purge", "dev1-copy")
    assert work(devvm) == WORK
    healthy(devvm)


def start(*args):
    """A command in a session of its own, to be killed."""
    return subprocess.Popen(
        # in the background, Ctrl-C may be ignored, which children inherit
        ["env", "--default-signal=INT", sys.executable, "-m", "devvm", *args],
        cwd=REPOSITORY,
        env=os.environ | {"DEVVM_CONFIG": str(HERE / "config.toml")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill_after(child, line, seconds):
    """Kill a command's whole process group so many seconds after it said something."""
    for said in child.stderr:
        if line in said:
            time.sleep(seconds)
            os.killpg(child.pid, signal.SIGKILL)
            break
    else:
        pytest.fail(f"it never said {line}")
    child.wait()
    child.stderr.close()


@pytest.mark.parametrize(("line", "seconds"), [("boot: Starting", 20), ("personalise:", 25)])
def test_a_rebuild_that_is_killed_is_undone_by_the_next_command(dev1, devvm, line, seconds):
    before = look(devvm)
    kill_after(start("rebuild", "dev1", "--yes"), line, seconds)
    assert "has not ended" in str(devvm("doctor", "--json", code=1).json)
    devvm("start", "dev1")
    assert look(devvm) == before
    assert work(devvm) == WORK
    healthy(devvm)


def test_destroy_that_is_killed_and_recover_that_is_killed(dev1, devvm):
    kill_after(start("destroy", "dev1", "--yes"), "destroy:", 2)
    devvm("destroy", "dev1", "--yes")
    assert "dev1" not in look(devvm)["vms"]
    kill_after(start("recover", "dev1"), "boot: Starting", 10)
    assert devvm("recover", "dev1", "--json").json["report"]["passed"]
    assert work(devvm) == WORK
    healthy(devvm)


def test_an_interrupted_rebuild_cleans_up(dev1, devvm):
    before = look(devvm)
    child = start("rebuild", "dev1", "--yes")
    for said in child.stderr:
        if "boot: Starting" in said:
            time.sleep(3)
            os.kill(child.pid, signal.SIGINT)
            break
    rest = child.stderr.read()
    child.stderr.close()
    assert child.wait() == 130
    assert "Bringing dev1 back as it was" in rest
    devvm("start", "dev1")
    assert look(devvm) == before
    assert work(devvm) == WORK


def test_a_lost_state_folder_loses_nothing(dev1, devvm):
    folder = devvm.state / "vms" / "dev1"
    gone = folder.with_name("moved-by-a-test")
    folder.rename(devvm.state / "moved-by-a-test")
    try:
        assert devvm("ssh", "dev1", "--", "true", code=None).code != 0
        found = devvm("doctor", "--json", code=1).json["findings"]
        assert [(f["kind"], f["subject"]) for f in found] == [("files", "dev1")]
        devvm("doctor", "--fix")
        assert work(devvm) == WORK
        assert devvm("verify", "dev1", "--json").json["passed"]
    finally:
        subprocess.run(["rm", "-rf", devvm.state / "moved-by-a-test", gone], check=True)


def test_a_domain_deleted_behind_devvms_back_comes_back(dev1, devvm):
    virsh("destroy", "dev1.devvm-test.test")
    virsh("undefine", "dev1.devvm-test.test")
    assert devvm("start", "dev1", code=1).stderr.count("devvm doctor --fix") == 1
    assert "disks of an earlier dev1" in devvm("create", "dev1", code=2).stderr
    devvm("doctor", "--fix")
    devvm("start", "dev1")
    assert work(devvm) == WORK
    healthy(devvm)


def test_a_damaged_box_image_is_mended_under_the_vm(dev1, devvm, box):
    name = next(v for v in look(devvm)["volumes"] if box["release"] in v)
    path = virsh("vol-path", "--pool", "devvm-test", name).strip()
    good = _sha256(path)
    with Path(path).open("r+b") as file:
        file.seek(200_000_000)
        byte = file.read(1)
        file.seek(200_000_000)
        file.write(bytes([byte[0] ^ 1]))
    assert _sha256(path) != good
    found = devvm("doctor", "--json", code=1).json["findings"]
    assert [f["kind"] for f in found] == ["box-image"]
    devvm("doctor", "--fix")
    assert _sha256(path) == good
    healthy(devvm)


def _sha256(path):
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
