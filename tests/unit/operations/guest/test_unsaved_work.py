"""Work that a rebuild would move to the trash: listed, or reported as unknown."""

import pytest

from devvm.domain.errors import OperationError
from devvm.operations.core import journal
from devvm.operations.guest import unsaved_work
from devvm.operations.vm import lifecycle
from tests.support.world import World

PRINTED = (
    "repo\t/home/ann/app\t2\t1\t0\tno\n"
    "repo\t/home/ann/clean\t0\t0\t0\tno\n"
    "repo\t/srv/with space\t0\t0\t3\tyes\n"
    "file\t/etc/nginx/conf.d/mine.conf\n"
    "file\t/opt/a file\n"
)


@pytest.fixture
def dev1(tmp_path):
    world = World(tmp_path)
    world.create()
    return world


def test_what_the_guest_prints_is_read():
    found = unsaved_work.parse(PRINTED)
    app, stash = found.checkouts  # the clean one is not at risk
    assert (app.path, app.changes, app.commits, app.stashes) == ("/home/ann/app", 2, 1, 0)
    assert not app.on_data_disk
    assert (stash.path, stash.stashes, stash.on_data_disk) == ("/srv/with space", 3, True)
    assert found.files == ("/etc/nginx/conf.d/mine.conf", "/opt/a file")
    assert found.unknown is None
    assert found.lost == (app,)
    assert found.any


NOISE = (  # found on a VM, beside what a person had changed
    "/var/lib/dpkg/lock", "/var/lib/dpkg/status-old", "/var/lib/dpkg/triggers/Lock",
    "/var/lib/dpkg/info/htop.list", "/var/lib/apt/extended_states", "/var/lib/logrotate/status",
    "/etc/ld.so.cache", "/etc/passwd-", "/etc/.pwd.lock", "/var/lib/sudo/lectured/1000",
)  # fmt: skip
MISSED = (
    "/etc/passwd", "/etc/apt/sources.list.d/mine.list", "/etc/logrotate.d/mine", "/etc/motd",
    "/opt/var/lib/dpkg/lock", "/root/notes", "/usr/local/bin/tool", "/var/lib/mine/state",
    "/var/spool/cron/crontabs/ann", "/etc/ld.so.conf.d/mine.conf",
)  # fmt: skip


def test_what_programs_keep_for_themselves_is_told_apart_and_after_the_rest():
    mixed = [path for pair in zip(NOISE, MISSED, strict=True) for path in pair]
    found = unsaved_work.parse("".join(f"file\t{path}\n" for path in mixed))
    assert found.changed == MISSED
    assert found.kept_by_programs == NOISE
    assert found.files == (*MISSED, *NOISE)
    assert found.any


def test_what_programs_keep_for_themselves_is_no_reason_to_ask():
    found = unsaved_work.parse("".join(f"file\t{path}\n" for path in NOISE))
    assert found.files == NOISE
    assert not found.any


def test_much_that_programs_keep_does_not_hide_what_a_person_changed():
    info = "".join(f"file\t/var/lib/dpkg/info/p{n}.list\n" for n in range(1000))
    found = unsaved_work.parse(f"{info}file\t/etc/motd\n")
    assert found.files[0] == "/etc/motd"
    assert len(found.files) == unsaved_work.FILES_TOLD


def test_work_on_the_data_disk_alone_is_no_reason_to_ask():
    found = unsaved_work.parse("repo\t/home/ann/app\t2\t1\t0\tyes\n")
    assert len(found.checkouts) == 1
    assert found.lost == ()
    assert not found.any


def test_nothing_is_nothing():
    assert unsaved_work.parse("") == unsaved_work.Risk()
    assert not unsaved_work.parse("\n\nsomething else\nrepo\tshort\n").any


def test_a_vm_without_a_stamp_is_not_known():
    found = unsaved_work.parse("nostamp\n")
    assert "no stamp" in found.unknown
    assert found.any


def test_it_is_looked_for_in_a_vm_that_runs(dev1):
    dev1.shell.answer = PRINTED
    assert unsaved_work.look(dev1.machine()) == unsaved_work.parse(PRINTED)
    alias, argv = dev1.shell.asked[-1]
    assert alias == "dev1-vagrant"
    assert argv == ["sudo", "sh", "-s", str(unsaved_work.FILES_READ)]


def test_where_it_can_not_be_looked_for_it_is_not_known(dev1):
    dev1.host.fail_at, dev1.host.failure = "shell", OperationError("no route")
    assert unsaved_work.look(dev1.machine()).unknown == "no route"
    dev1.host.fail_at = ""
    dev1.shell.run = lambda *_, **__: (1, "", "warning\nsudo: a password is required\n")
    assert unsaved_work.look(dev1.machine()).unknown == "sudo: a password is required"
    dev1.shell.run = lambda *_, **__: (255, "", "")
    assert unsaved_work.look(dev1.machine()).unknown == "devvm can't log in to it"
    (dev1.state.vm("dev1") / "ssh_config").unlink()
    assert "lost" in unsaved_work.look(dev1.machine()).unknown
    lifecycle.stop(dev1.services, "dev1", dev1.run("stop dev1"))
    assert "shut off" in unsaved_work.look(dev1.machine()).unknown
    assert "missing" in unsaved_work.look(dev1.machine("dev2")).unknown


def test_while_something_has_not_ended_it_is_not_known(dev1):
    dev1.state.open_journal("dev1", journal.REBUILD, {"token": "0a"})
    assert "rebuild has not finished" in unsaved_work.look(dev1.machine()).unknown


def test_it_changes_nothing(dev1):
    before = dev1.picture()
    unsaved_work.look(dev1.machine())
    assert dev1.picture() == before
    assert dev1.host.calls == ["shell"]
