"""`devvm release lock`, and the effect of `--newest` on other commands."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from devvm import wiring
from devvm.cli import release as release_command
from devvm.cli.box import build
from devvm.domain.package_set import Package, PackageSet
from devvm.domain.release import identity
from devvm.operations.guest import unsaved_work
from devvm.operations.release import releases
from devvm.operations.vm import create, lifecycle, rebuild
from devvm.stack.folder import StackFolder
from devvm.system import assets
from tests.support.reference_stack import REFERENCE
from tests.unit.cli.documented import RELEASE, documented_for

NEWEST = "2026.11.24-bbbbbbbbbbbb"


def package(name, version, sha256=64 * "a"):
    return Package(
        name=name, architecture="amd64", version=version, sha256=sha256, size=1, archive="main",
        path=f"pool/main/{name}_{version}_amd64.deb",
    )  # fmt: skip


OLD = PackageSet(packages=(package("acl", "1"), package("nginx", "1.22-1")))
NEW = PackageSet(packages=(package("git", "2"), package("nginx", "1.22-2")))


@pytest.fixture
def mirror(monkeypatch, tmp_path):
    """A mirror, the host's boxes, and a working tree without a lock."""
    asked = SimpleNamespace(has=NEW, of_release={}, path=tmp_path / "packages.lock")

    def resolve(packages, *, detail, log):
        assert packages == ("nginx",)
        return asked.has

    tools = SimpleNamespace(
        archive=SimpleNamespace(resolve=resolve),
        declarations=SimpleNamespace(packages=lambda: ("nginx",)),
        cache=SimpleNamespace(remembered=asked.of_release.get),
    )
    monkeypatch.setattr(wiring, "build_box_services", lambda config: tools)
    monkeypatch.setattr(StackFolder, "package_lock", property(lambda folder: asked.path))
    return asked


def test_the_first_lock(cli, mirror):
    done = cli("release", "lock")
    assert done.code == 0
    assert REFERENCE.packages() == NEW
    assert done.stdout == f"{mirror.path}: 2 packages, none locked before\n"
    assert "Next: add it to a pull request" in done.stderr


def test_what_changes_is_told_package_by_package(cli, mirror):
    mirror.path.write_text(OLD.text())
    checked = cli("release", "lock", "--check")
    assert checked.code == 3
    assert REFERENCE.packages() == OLD
    assert "Nothing was written. Next: devvm release lock" in checked.stderr
    head, *rows, last = cli("release", "lock").stdout.splitlines()
    assert head.split() == ["PACKAGE", "CHANGE", "OLD", "NEW"]
    assert [row.split() for row in rows] == [
        ["acl", "removed", "1", "-"],
        ["git", "added", "-", "2"],
        ["nginx", "newer", "1.22-1", "1.22-2"],
    ]
    assert last.endswith("2 packages, 3 changed")
    assert REFERENCE.packages() == NEW


def test_a_lock_that_says_it_already_stays_to_the_last_byte(cli, mirror):
    text = f"# words of our own\n{NEW.text()}"
    mirror.path.write_text(text)
    assert cli("release", "lock", "--check").code == 0
    assert cli("release", "lock").stdout.endswith("2 packages, none changed\n")
    assert mirror.path.read_text() == text


def test_keys(cli, mirror):
    mirror.path.write_text(OLD.text())
    found = cli("release", "lock", "--json").json
    assert found.keys() == documented_for("release lock") - {
        "name", "kind", "added", "removed", "newer", "older", "replaced", "old", "new",
    }  # fmt: skip
    assert found["changes"][2] == {
        "name": "nginx", "kind": "newer", "old": "1.22-1", "new": "1.22-2",
    }  # fmt: skip
    assert found["hash"] == REFERENCE.look().hash
    assert (found["written"], found["first"]) == (True, False)


def test_a_broken_lock_is_replaced_and_that_is_said(cli, mirror):
    mirror.path.write_text("<<<<<<< HEAD\n")
    done = cli("release", "lock")
    assert "packages.lock:1: unresolved merge conflict" in done.stderr
    assert REFERENCE.packages() == NEW


def test_of_a_release_that_was_built_here(cli, mirror, services):
    services.boxes = services.releases = SimpleNamespace(find=lambda name: None)
    unknown = cli("release", "lock", "--release", RELEASE)
    assert unknown.code == 2
    assert f"this host doesn't know the exact packages of the release {RELEASE}" in unknown.stderr
    mirror.of_release[identity.hash_of(RELEASE)] = OLD
    assert cli("release", "lock", "--release", RELEASE).code == 0
    assert REFERENCE.packages() == OLD
    mirror.of_release[identity.hash_of(RELEASE)] = PackageSet(packages=(package("acl", "1"),))
    lacking = cli("release", "lock", "--release", RELEASE)
    assert lacking.code == 2
    assert "nginx" in lacking.stderr
    assert REFERENCE.packages() == OLD


def test_a_devvm_that_is_installed_as_a_package_has_no_stack_to_change(
    cli, mirror, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(assets, "is_packaged", lambda: True)
    done = cli("release", "lock")
    assert done.code == 2
    assert "devvm --stack FOLDER release lock" in done.stderr
    assert not mirror.path.exists()
    assert cli("release", "lock", "--check").code == 3


def test_a_folder_that_can_not_be_written_is_said(cli, mirror, tmp_path):
    mirror.path = tmp_path / "gone" / "packages.lock"
    done = cli("release", "lock")
    assert done.code == 4
    assert f"{mirror.path} can't be written" in done.stderr


@pytest.fixture
def asked(monkeypatch, services, box, mirror):
    """A stack whose lock has no box yet; what is built of it, and which boxes are used."""
    mirror.path.write_text(OLD.text())
    seen = SimpleNamespace(built=[], used=[])
    there = []
    services.boxes = SimpleNamespace(
        list=lambda: there,
        find=lambda name: next((b for b in there if identity.same_release(b.release, name)), None),
    )

    def build_box(session, services, *, release=None, newest=False, yes=False):
        seen.built.append((release, newest))
        there.append(replace(box, release=NEWEST, content=content))

    content = REFERENCE.content()
    for module in (build, release_command):
        monkeypatch.setattr(module, "build_box", build_box)
    monkeypatch.setattr(create, "check", lambda *_: None)
    monkeypatch.setattr(lifecycle, "check", lambda *_: None)
    monkeypatch.setattr(unsaved_work, "look", lambda *_: unsaved_work.Risk())
    return seen


def seen_in(monkeypatch, module, name, note):
    def operation(services, *args, **options):
        note(*args, **options)
        raise release_command.typer.Exit(0)

    monkeypatch.setattr(module, name, operation)


def test_create_with_newest_uses_the_box_that_the_mirror_made(cli, asked, monkeypatch):
    seen_in(monkeypatch, create, "create", lambda request, run: asked.used.append(request.release))
    cli("create", "dev1", "--newest")
    assert (asked.built, asked.used) == ([(None, True)], [NEWEST])
    cli("create", "dev1", "--newest")  # there is a box of this content now
    assert len(asked.built) == 1
    cli("create", "dev1")  # but none of the lock
    assert asked.built[1] == (None, False)


def test_rebuild_with_newest_too(cli, asked, monkeypatch):
    seen_in(
        monkeypatch, rebuild, "rebuild", lambda request, run: asked.used.append(request.release)
    )
    cli("rebuild", "dev1", "--newest")
    assert (asked.built, asked.used) == ([(None, True)], [NEWEST])


def test_release_create_with_newest_too(cli, asked, monkeypatch):
    seen_in(monkeypatch, releases, "create", lambda *_, **options: asked.used.append(options))
    cli("release", "create", "--newest")
    assert asked.built == [(None, True)]
    assert asked.used[0]["newest"] is True


@pytest.mark.parametrize("command", [("create", "dev1"), ("rebuild", "dev1"), ("box", "build")])
def test_a_release_and_what_the_mirror_has_can_not_both_be_had(cli, asked, command):
    done = cli(*command, "--release", RELEASE, "--newest")
    assert done.code == 2
    assert "can't be combined" in done.stderr
