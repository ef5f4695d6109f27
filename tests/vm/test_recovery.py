"""A broken VM and its rebuild, snapshots, a lost state folder, a damaged box image."""

import hashlib
import re
import shutil
import time
from pathlib import Path

import pytest

from tests.vm.baseline import virsh, wait_for_agent
from tests.vm.conftest import ALL_THERE, healthy, look, work
from tests.vm.site_client import Site

pytestmark = pytest.mark.vm

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
    return (devvm.state / "vms" / "dev1" / "known_hosts").read_text()


def trash(devvm):
    return devvm("trash", "list", "--json").json["items"]


def test_a_broken_vm_is_rebuilt_with_everything_that_a_person_would_miss(dev1, devvm):
    before = known_hosts(devvm)
    # MariaDB's files as if from an older version
    older = "cd /var/lib/mysql && echo 10.5.0-MariaDB >$(ls *upgrade_info)"
    devvm("exec", "dev1", "--", "sudo", "sh", "-c", older)
    devvm("exec", "dev1", "--", "sudo", "sh", "-c", _BREAK)
    refused = devvm("rebuild", "dev1", code=2).stderr
    assert "/etc/motd: changed since" in refused
    assert "/srv/about/checkout: 1 uncommitted change (kept)" in refused
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
    deadline = time.monotonic() + 300  # MariaDB upgrades its tables once it has started
    while "10.5.0" in devvm("exec", "dev1", "--", "sudo", "sh", "-c", info).stdout:
        assert time.monotonic() < deadline
        time.sleep(2)
    site = Site(dev1["url"], devvm.state / "ca" / "ca.crt")
    assert site.json("/healthz")["status"] == "ok"
    assert any(item["id"] == done["previous"] for item in trash(devvm))
    healthy(devvm)


def test_snapshot_and_back(dev1, devvm):
    wait_for_agent("dev1.devvm-test.test")  # it freezes the file systems
    devvm("snapshot", "create", "dev1", "before")
    devvm("exec", "dev1", "--", "sh", "-c", "rm note.txt; sudo mysql -e 'drop table about.mine'")
    (snapshot,) = devvm("snapshot", "list", "dev1", "--json").json["snapshots"]
    assert (snapshot["name"], snapshot["consistency"]) == ("before", "frozen")
    assert snapshot["used_bytes"] > 0
    # libvirt has no snapshots of its own, which could get in the way
    assert virsh("snapshot-list", "dev1.devvm-test.test", "--name").strip() == ""
    devvm("snapshot", "restore", "dev1", "before", "--yes")
    assert work(devvm) == ALL_THERE

    # and forward again: the state that the snapshot replaced is in the trash
    devvm("exec", "dev1", "--", "sh", "-c", "echo later >later.txt; sync")
    (replaced,) = trash(devvm)
    back = devvm("recover", "dev1", "--item", replaced["id"], "--yes", "--json").json
    assert back["report"]["passed"], back["report"]
    assert work(devvm) == [" M about/templates/base.html", ""], "as when it was replaced"
    assert len(trash(devvm)) == 1  # the other state now
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
    shutil.rmtree(devvm.state / "vms" / "dev1")
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
