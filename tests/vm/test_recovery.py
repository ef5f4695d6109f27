"""A broken VM and its rebuild, a release that can't pass, snapshots, what was lost or damaged."""

import hashlib
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from devvm.adapters.image.box_store import FolderBoxStore
from devvm.system.state import State
from tests.vm.baseline import virsh, wait_for_agent
from tests.vm.conftest import ALL_THERE, healthy, look, work
from tests.vm.site_client import Site

pytestmark = pytest.mark.vm

BAD = "2001.01.01-00000000bad0"
_BREAK = """set -u
dpkg --purge --force-all nginx >/dev/null 2>&1
rm -rf /etc/nginx /etc/mysql/mariadb.conf.d /etc/sudoers.d/engineer
rm -f /usr/bin/python3
echo mine >/etc/motd
sync
"""


def data_disk(devvm):
    disks = devvm("show", "dev1", "--json").json["disks"]
    return next(disk for disk in disks if disk["role"] == "devvm-data")


def known_hosts(devvm):
    return (devvm.system.state / "vms" / "dev1" / "known_hosts").read_text()


def trash(devvm):
    return devvm("trash", "list", "--json").json["items"]


def test_a_broken_vm_is_rebuilt_with_everything_that_a_person_would_miss(dev1, devvm):
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
    was, now = dev1["vm"], done["vm"]
    assert now["generation"] == was["generation"] + 1
    for same in ("address", "uuid", "cpus", "memory_mib"):
        assert now[same] == was[same], same
    assert known_hosts(devvm) == before
    assert work(devvm) == ALL_THERE
    info = "cat /var/lib/mysql/*upgrade_info"
    assert "10.5.0" not in devvm("exec", "dev1", "--", "sudo", "sh", "-c", info).stdout
    site = Site(dev1["url"], devvm.system.state / "ca" / "ca.crt")
    assert site.json("/healthz")["status"] == "ok"
    assert any(item["id"] == done["previous"] for item in trash(devvm))
    healthy(devvm)


@pytest.fixture
def bad_release(devvm, box, tmp_path):
    """A release whose VM can't pass its checks: the box, with one program taken out of its disk."""
    store = FolderBoxStore(State(devvm.system.state))
    image, raw = tmp_path / "box.img", tmp_path / "disk.raw"
    subprocess.run(["tar", "-x", "-f", box["path"], "-C", tmp_path, "box.img"], check=True)
    raw.touch()
    with qcow2_as_raw(image, raw):
        listed = subprocess.run(["sfdisk", "--json", raw], capture_output=True, check=True).stdout
        partitions = json.loads(listed)["partitiontable"]["partitions"]
        start = max(partitions, key=lambda p: p["size"])["start"] * 512
        remove = ["debugfs", "-w", "-R", "rm /usr/sbin/nginx", f"{raw}?offset={start}"]
        subprocess.run(remove, check=True)
    candidate = store.pack(image, BAD, tmp_path / "devvm.box")
    facts = {"built_at": "2001-01-01T00:00:00+00:00", "debian": "12", "packages": {}}
    yield store.register(candidate, facts)
    devvm("destroy", "dev1", "--purge", "dev1")  # nothing may be based on it
    devvm("box", "remove", BAD, "--yes")


class qcow2_as_raw:  # noqa: N801 - used as a function
    """The disk in an image, as a file of its bytes: no copy is made of its gigabytes."""

    def __init__(self, image: Path, raw: Path) -> None:
        self._raw = raw
        self._command = [
            "qemu-storage-daemon",
            "--blockdev", f"driver=qcow2,node-name=disk,file.driver=file,file.filename={image}",
            "--export", f"type=fuse,id=raw,node-name=disk,mountpoint={raw},writable=on",
        ]  # fmt: skip

    def __enter__(self) -> None:
        self._daemon = subprocess.Popen(self._command)
        while self._raw.stat().st_size == 0:
            assert self._daemon.poll() is None
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self._daemon.terminate()
        assert self._daemon.wait(timeout=60) == 0


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
    assert work(devvm) == ALL_THERE
    site = Site(dev1["url"], devvm.system.state / "ca" / "ca.crt")
    assert site.json("/healthz")["status"] == "ok"


def test_snapshot_and_back(dev1, devvm):
    wait_for_agent("dev1.devvm-test.test")  # which freezes the file systems
    devvm("snapshot", "create", "dev1", "before")
    devvm("exec", "dev1", "--", "sh", "-c", "rm note.txt; sudo mysql -e 'drop table about.mine'")
    (snapshot,) = devvm("snapshot", "list", "dev1", "--json").json["snapshots"]
    assert (snapshot["name"], snapshot["consistency"]) == ("before", "frozen")
    assert snapshot["used_bytes"] > 0
    # libvirt keeps nothing of its own that could stand in the way
    assert virsh("snapshot-list", "dev1.devvm-test.test", "--name").strip() == ""
    devvm("snapshot", "restore", "dev1", "before", "--yes")
    assert work(devvm) == ALL_THERE

    # and forth again: the state that the snapshot replaced is in the trash
    devvm("exec", "dev1", "--", "sh", "-c", "echo later >later.txt; sync")
    (replaced,) = trash(devvm)
    back = devvm("recover", "dev1", "--item", replaced["id"], "--yes", "--json").json
    assert back["report"]["passed"], back["report"]
    assert work(devvm) == [" M about/templates/base.html", ""], "as when it was replaced"
    assert len(trash(devvm)) == 1  # the other one now
    devvm("snapshot", "delete", "dev1", "before")
    assert devvm("exec", "dev1", "--", "ls").stdout.split() == ["about"]
    healthy(devvm)


def test_resize_while_it_runs(dev1, devvm):
    size = data_disk(devvm)["size_bytes"] // 1024**3 + 3
    devvm("resize", "dev1", "--data", f"{size}G")
    assert data_disk(devvm)["size_bytes"] == size * 1024**3
    blocks = devvm("exec", "dev1", "--", "df", "--output=size", "-BM", "/data").stdout
    assert int(re.findall(r"(\d+)M$", blocks, re.MULTILINE)[0]) > (size - 1) * 1024
    assert devvm("resize", "dev1", "--data", "1G", "--json", code=2).json["error"]["resolution"]


def test_a_lost_state_folder_loses_nothing(dev1, devvm):
    shutil.rmtree(devvm.system.state / "vms" / "dev1")
    assert devvm("ssh", "dev1", "--", "true", code=None).code != 0
    found = devvm("doctor", "--json", code=1).json["findings"]
    assert [(f["kind"], f["subject"]) for f in found] == [("files", "dev1")]
    devvm("doctor", "--fix")
    assert work(devvm) == ALL_THERE
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
