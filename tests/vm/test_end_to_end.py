"""The main job, on a real VM: a new hire's first day, in order."""

import subprocess
import time
from xml.etree import ElementTree as ET

import pytest

from tests.support import stack_mirror
from tests.vm.baseline import virsh
from tests.vm.conftest import ALL_THERE, healthy, look, work
from tests.vm.site_client import Site, png

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module")
def site(vm, devvm):
    return Site(vm["url"], devvm.state / "ca" / "ca.crt")


def _wait(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(2)
    pytest.fail(f"not so after {seconds} s")


def test_create_reports_a_checked_vm(vm):
    assert vm["vm"]["name"] == "dev1"
    assert vm["vm"]["state"] == "running"
    assert vm["vm"]["ready"]
    assert vm["report"]["passed"]
    assert vm["ssh_command"] == "devvm ssh dev1"
    assert vm["report"]["checks_total"] > 2500


def test_what_newer_packages_brought_is_told_with_them(vm, devvm, news):
    """A new unit is ahead; a changed configuration file, as packaged on both sides, passes."""
    checks = {check["name"]: check for check in vm["report"]["checks"]}
    unit = checks[f"unit/{stack_mirror.UNIT}"]
    package = stack_mirror.WITH_A_NEW_UNIT
    assert (unit["outcome"], unit["package"]) == ("ahead", f"{package} {news[package]}")
    assert {checks[f"package/{name}"]["outcome"] for name in news} == {"ahead"}
    assert checks[f"file{stack_mirror.CONFFILE}"]["outcome"] == "passed"
    conffile = devvm("exec", "dev1", "--", "tail", "-n1", stack_mirror.CONFFILE).stdout
    assert conffile == f"# Since {news[stack_mirror.WITH_A_CHANGED_CONFFILE]}.\n"


def test_create_takes_the_sizes_that_were_asked_for(vm, devvm):
    assert (vm["vm"]["cpus"], vm["vm"]["memory_mib"]) == (2, 1536)
    disks = devvm("show", "dev1", "--json").json["disks"]
    sizes = {disk["role"]: disk["size_bytes"] // 1024**3 for disk in disks}
    assert sizes == {"root": 20, "devvm-data": 3}
    df = ["df", "--output=size", "-BM", "/", "/data"]
    shown = devvm("exec", "dev1", "--", *df).stdout.replace("M", "").split()[1:]
    assert [round(int(size) / 1024) for size in shown[-2:]] == [20, 3]


def test_the_site_is_open_under_its_dns_name_with_a_certificate_of_devvms_ca(site):
    assert site.url == "https://dev1.devvm-test.test"
    health = site.json("/healthz")
    assert health["status"] == "ok"
    assert {name for name, check in health["checks"].items() if check["status"] == "ok"} >= {
        "database", "schema", "cache", "queue", "worker", "media"
    }  # fmt: skip


def test_a_person_with_a_photo_gets_a_thumbnail_from_the_worker(site):
    photo = png(640, 480)
    site.add(photo, login="jane", name="Jane New", title="New hire", bio="Deploys on day one.")
    assert "jane" in site.people()
    thumbnail = _wait(lambda: site.people()["jane"]["thumbnail"])
    content = site.get(thumbnail)
    assert content[:4] in (b"\x89PNG", b"RIFF") or content[:2] == b"\xff\xd8"
    assert len(content) < len(photo)


def test_search_finds_the_person(site):
    assert set(site.people("day+one")) == {"jane"}


def test_verify_passes_and_writes_junit(vm, devvm, tmp_path):
    report = devvm("verify", "dev1", "--junit", str(tmp_path / "junit.xml"), "--json").json
    assert report["passed"]
    assert "unit/nginx.service" in (tmp_path / "junit.xml").read_text()


def test_the_engineers_own_key_opens_the_account(vm, devvm):
    known_hosts = devvm.state / "vms" / "dev1" / "known_hosts"
    ssh = [
        "ssh", "-F", "none", "-i", vm["key"], "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
        "-o", f"UserKnownHostsFile={known_hosts}", "-o", "StrictHostKeyChecking=yes",
        "-o", f"HostKeyAlias={vm['vm']['fqdn']}", f"jane@{vm['vm']['fqdn']}",
    ]  # fmt: skip
    done = subprocess.run([*ssh, "id -un"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "jane\n"), done.stderr


def test_an_edit_in_the_checkout_is_seen_at_once(vm, devvm, site):
    template = "about/about/templates/base.html"
    devvm("exec", "dev1", "--", "sed", "-i", "s|</body>|<!-- edited --></body>|", template)
    _wait(lambda: b"<!-- edited -->" in site.get("/"), seconds=60)
    status = devvm("exec", "dev1", "--", "git", "-C", "about", "status", "--short").stdout
    assert status.strip() == f"M {template.removeprefix('about/')}"


def test_exec_passes_arguments_and_exit_code_on(vm, devvm):
    assert devvm("exec", "dev1", "--", "printf", "%s", "a  b;$(id)").stdout == "a  b;$(id)"
    assert devvm("exec", "dev1", "--", "sh", "-c", "exit 42", code=None).code == 42


def test_logs_are_those_of_one_unit_and_so_many_lines(vm, devvm):
    lines = devvm("logs", "dev1", "--unit", "nginx", "--lines", "2").stdout.splitlines()
    assert len(lines) == 2
    assert all("nginx" in line or "systemd" in line for line in lines), lines


def test_a_dump_comes_in_without_personal_data(vm, devvm, site, tmp_path):
    before, dump = site.people(), tmp_path / "dump.sql.gz"
    devvm("db", "export", "dev1", str(dump))
    done = devvm("db", "import", "dev1", str(dump), "--yes", "--json").json
    assert done["sanitized"]
    assert len(site.people()) == len(before)
    assert not set(site.people()) & set(before)
    devvm("db", "import", "dev1", done["saved"], "--no-sanitize", "--yes")
    assert site.people() == before


def test_people_who_know_vagrant_get_in_with_vagrant(vm, devvm):
    folder = devvm.state / "vms" / "dev1"
    ssh = ["vagrant", "ssh", "--command", "id -un"]
    done = subprocess.run(ssh, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "vagrant"), done.stderr


def test_no_host_holds_the_vms_private_host_key(vm, devvm):
    for path in (devvm.state / "vms" / "dev1").rglob("*"):
        if path.is_file() and b"PRIVATE KEY" in path.read_bytes():
            assert path.name == "id_ecdsa"
            assert path.stat().st_mode & 0o077 == 0


def test_a_taken_name_is_refused_and_nothing_changes(vm, devvm):
    refused = devvm("create", "dev1", "--json", code=2)
    assert refused.json["error"]["code"] == "exists"
    assert "dev1" in refused.json["error"]["resolution"]
    assert devvm("exec", "dev1", "--", "true").code == 0


def test_a_box_with_vms_on_it_is_not_removed(vm, devvm, box):
    refused = devvm("box", "remove", box["release"], "--yes", "--json", code=None)
    assert refused.code != 0
    assert "dev1" in str(refused.json["error"])


def _answers(site):
    try:
        return site.json("/healthz")["status"] == "ok"
    except OSError:
        return False


def test_stopped_deleted_mended_and_started(dev1, devvm):
    """One boot for all of it: what the VM has afterwards was on its disks and in its definition."""
    site = Site(dev1["url"], devvm.state / "ca" / "ca.crt")
    site.add(login="ann", name="Ann", title="Engineer", bio="Was here before.")
    devvm("stop", "dev1")
    assert devvm("show", "dev1", "--json").json["vm"]["state"] == "shut off"
    assert "devvm start dev1" in devvm("verify", "dev1", code=None).stderr
    defined = _definition("dev1.devvm-test.test")

    virsh("undefine", "dev1.devvm-test.test")
    assert devvm("start", "dev1", code=1).stderr.count("devvm doctor --fix") == 1
    assert "disks of an earlier dev1" in devvm("create", "dev1", code=2).stderr
    devvm("doctor", "--fix")
    assert _definition("dev1.devvm-test.test") == defined

    devvm("start", "dev1", "--json")  # bin/test compares how long it took
    assert devvm("show", "dev1", "--json").json["vm"]["state"] == "running"
    assert work(devvm) == ALL_THERE
    _wait(lambda: _answers(site))
    assert "ann" in site.people()
    healthy(devvm)


def _definition(domain):
    """What libvirt would start, in a normalised form."""
    xml = ET.canonicalize(virsh("dumpxml", "--inactive", domain), strip_text=True)
    return xml.replace("><", ">\n<").splitlines()


def test_destroy_moves_to_the_trash(dev1, devvm):
    virsh("destroy", "dev1.devvm-test.test")  # test_killed shuts one down
    devvm("destroy", "dev1", "--yes")
    left = look(devvm)
    assert not any("dev1" in str(left[part]) for part in ("leases", "vms"))
    (kept,) = (d for d in left["domains"] if d.startswith("dev1."))
    assert kept.startswith("dev1.devvm-test.test@")
    gone = devvm("show", "dev1", code=2).stderr
    assert "there is no VM dev1" in gone
    assert "devvm recover dev1" in gone


def test_destroy_with_purge_leaves_nothing(dev1, devvm):
    virsh("destroy", "dev1.devvm-test.test")
    devvm("destroy", "dev1", "--purge", "dev1")
    assert not any("dev1" in str(part) for part in look(devvm).values())
