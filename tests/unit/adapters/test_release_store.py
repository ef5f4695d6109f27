"""Recorded releases: written atomically, with their own stack and production."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest

from devvm import wiring
from devvm.adapters.release_store import FolderReleaseStore
from devvm.config import Config
from devvm.domain.errors import HostNotReadyError, NotFoundError, OperationError
from devvm.domain.package_set import PackageSet, parse
from devvm.domain.release.identity import new_release, release_hash
from devvm.domain.release.stack import Release
from devvm.stack.folder import StackFolder
from devvm.system.state import State
from tests.support.reference_stack import REFERENCE


@pytest.fixture
def hand(tmp_path):
    """A stack and its production, as in a checkout."""
    files = {
        "roles/nginx/tasks/main.yml": "---\n",
        "roles/nginx/README.md": "About the role\n",
        "roles/nginx/.hidden": "no\n",
        "roles/nginx/files/__pycache__/x.pyc": "no\n",
        "roles/nginx/files/stale.pyc": "no\n",
        "roles/site/files/about/README.md": "Part of the site\n",
        "roles/site/files/about/.gitignore": "Part of it too\n",
        "roles/site/files/about/.ruff_cache/CACHEDIR.TAG": "no\n",
        "roles/site/templates/.config/x.j2": "Of a home\n",
        "roles/site/files/.git/HEAD": "no\n",
        "roles/guest/files/grow-root": "#!/bin/sh\n",
        "playbooks/site.yml": "---\n- hosts: all\n",
        "production/manifest.yml": "format: 1\n",
        "production/roles.yml": "{}\n",
        "production/waivers.yml": "[]\n",
        "production/overlay/10-dev.yml": "format: 1\n",
        "production/manifest.key": "SECRET\n",
        "production/notes.txt": "for ourselves\n",
    }
    for name, text in files.items():
        path = tmp_path / "hand" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "hand/roles/guest/files/grow-root").chmod(0o755)
    (tmp_path / "hand/production/manifest.yml").chmod(0o600)
    return tmp_path / "hand"


#: The release of the working tree, as an older devvm named it: by its content alone.
IN_HAND = new_release(REFERENCE.content())


@pytest.fixture
def state(tmp_path):
    made = State(tmp_path / "state")
    made.ensure()
    return made


@pytest.fixture
def store(state, hand):
    return FolderReleaseStore(state, stack=StackFolder(hand), production=hand / "production")


@pytest.fixture
def release(hand):
    content = StackFolder(hand).content()
    return Release(
        release=f"2026.11.23-{content}",
        created_at="2026-11-23T10:00:00+00:00",
        created_by="jane",
        note="the first",
        previous="2026.11.01-aaaaaaaaaaaa",
        changes=("MariaDB 10.11.6 → 10.11.11",),
        packages={"nginx": "1.22.1-9"},
    )


def tree(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_release_is_read_as_it_was_written(store, release):
    store.write(release)
    assert store.list() == [release]
    assert store.find(f"2026.12.24-{release.release[-12:]}") == release
    assert store.find("2026.11.23-bbbbbbbbbbbb") is None


def test_the_stack_is_kept_without_what_does_not_count(store, release, hand):
    store.write(release)
    stack = store.stack(release.release)
    assert sorted(stack.files) == [
        "playbooks/site.yml", "roles/guest/files/grow-root", "roles/nginx/tasks/main.yml",
        "roles/site/files/about/.gitignore", "roles/site/files/about/README.md",
        "roles/site/templates/.config/x.j2",
    ]  # fmt: skip
    assert stack.packages == {"nginx": "1.22.1-9"}
    assert stack == store.working_tree_stack(release.packages)
    assert store.folders(release.release)[0].content() == StackFolder(hand).content()


def test_the_stack_stays_when_the_one_in_hand_changes(store, release, hand):
    store.write(release)
    (hand / "roles/nginx/tasks/main.yml").write_text("changed\n")
    store.write(release)
    assert store.stack(release.release).files["roles/nginx/tasks/main.yml"] == b"---\n"


def test_a_small_stack_needs_neither_description_nor_checks_to_be_whole(store, release):
    store.write(replace(release, stack="stack"))
    assert store.folder(release.release) is not None


def test_what_an_older_devvm_recorded_is_not_a_whole_stack(store, release, hand):
    store.write(release)
    assert store.folder(release.release) is None
    assert store.folder("2026.11.23-bbbbbbbbbbbb") is None
    (hand / "stack.yml").write_text("name: acme\n")
    (hand / "checks").mkdir()
    (hand / "checks/web.yml").write_text("role: web\n")
    newer = replace(release, release=new_release(StackFolder(hand).content()))
    store.write(newer)
    assert store.folder(newer.release).description().name == "acme"
    assert tree(store.folder(newer.release).checks) == ["web.yml"]


def test_production_is_kept_without_the_key_and_anything_private(store, release):
    store.write(release)
    production = store.folders(release.release)[1]
    assert tree(production) == ["manifest.yml", "overlay/10-dev.yml", "roles.yml", "waivers.yml"]


def test_the_group_may_read_and_replace_all_of_it_whatever_the_umask(store, release, state):
    before = os.umask(0o077)
    try:
        store.write(release)
    finally:
        os.umask(before)
    for path in [state.releases, *state.releases.rglob("*")]:
        mode = path.stat().st_mode & 0o7777
        assert path.stat().st_gid == state.root.stat().st_gid
        if path.is_dir():
            assert mode & 0o2070 == 0o2070, path
        else:
            assert mode & 0o042 == 0o040, path


def test_files_have_the_modes_of_a_checkout_for_roles_that_copy_them(store, release):
    store.write(release)
    (roles,) = store.folders(release.release)[0].roles
    assert (roles / "guest/files/grow-root").stat().st_mode & 0o777 == 0o755
    assert (roles / "nginx/tasks/main.yml").stat().st_mode & 0o777 == 0o644


def test_the_shipped_site_is_the_same_revision_in_the_copy(state, hand):
    store = FolderReleaseStore(state, stack=REFERENCE, production=hand / "production")
    store.write(Release(release=IN_HAND, created_at="", created_by="jane"))
    (roles,) = store.folders(IN_HAND)[0].roles
    site = "site/files/about"
    revisions = [
        subprocess.run(
            [sys.executable, "-B", root / site / "about/revision.py"],
            check=True, capture_output=True,
        ).stdout
        for root in (REFERENCE.roles[0], roles)
    ]  # fmt: skip
    assert revisions[0] == revisions[1]
    assert (roles / site / ".gitignore").is_file()
    assert (roles / "engineer/files/usr/lib/devvm/personalise").is_file()
    assert not (roles / site / ".ruff_cache").exists()


def test_production_in_hand_takes_over_and_the_one_before_stays_for_its_readers(
    store, release, hand
):
    store.write(release)
    first, first_hash = store.folders(release.release)[1], store.production_sha256(release.release)
    assert first_hash == store.configured_production_sha256()
    (hand / "production/waivers.yml").write_text("[another]\n")
    assert store.production_sha256(release.release) == first_hash
    store.write(release)
    second = store.folders(release.release)[1]
    assert store.production_sha256(release.release) == store.configured_production_sha256()
    assert (second / "waivers.yml").read_text() == "[another]\n"
    assert (first / "waivers.yml").read_text() == "[]\n"
    (hand / "production/waivers.yml").write_text("[a third]\n")
    store.write(release)
    assert not first.exists()
    assert second.exists()


def test_the_key_is_no_difference_of_production(store, hand):
    before = store.configured_production_sha256()
    (hand / "production/manifest.key").write_text("ANOTHER\n")
    assert store.configured_production_sha256() == before
    (hand / "production/overlay/10-dev.yml").rename(hand / "production/overlay/11-dev.yml")
    assert store.configured_production_sha256() != before


def test_a_change_leaves_stack_and_production(store, release, hand):
    store.write(release)
    kept = store.production_sha256(release.release)
    (hand / "production/roles.yml").write_text("{a: b}\n")
    retired = replace(release, retired_at="2026-12-01T00:00:00+00:00")
    store.change(retired)
    assert store.list() == [retired]
    assert store.production_sha256(release.release) == kept


def test_the_newest_comes_first(store, release, hand):
    store.write(release)
    (hand / "playbooks/site.yml").write_text("---\n[]\n")
    content = StackFolder(hand).content()
    newer = replace(
        release, release=f"2026.11.24-{content}", created_at="2026-11-24T00:00:00+00:00"
    )
    store.write(newer)
    assert store.list() == [newer, release]


def test_a_stack_that_changed_meanwhile_is_not_taken_for_the_release(store, release, hand, state):
    (hand / "playbooks/site.yml").write_text("changed\n")
    with pytest.raises(OperationError, match="changed meanwhile"):
        store.write(release)
    assert list(state.releases.iterdir()) == []


def test_what_a_killed_write_left_is_no_release_and_is_replaced(store, release, state):
    left = state.releases / release.release / "stack/roles/old/tasks/main.yml"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    (state.releases / release.release / "production").mkdir()
    assert store.list() == []
    store.write(release)
    assert store.list() == [release]
    assert "roles/old/tasks/main.yml" not in store.stack(release.release).files


_KILLED = """
    import os, signal, sys
    from pathlib import Path
    from devvm.adapters import release_store
    from devvm.domain.release.stack import Release
    from devvm.stack.folder import StackFolder
    from devvm.system.state import State

    left = int(sys.argv[2])

    def count(event, args):
        global left
        if event in ("os.mkdir", "os.rename", "os.chmod", "shutil.rmtree", "os.remove"):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    hand = Path(sys.argv[1])
    store = release_store.FolderReleaseStore(
        State(hand.parent / "state"), stack=StackFolder(hand), production=hand / "production"
    )
    release = Release(
        release=sys.argv[3], created_at="2026-11-23T10:00:00+00:00", created_by="jane"
    )
    sys.addaudithook(count)
    store.write(release)
"""


def _write_killed_at(hand, name, step):
    argv = [sys.executable, "-c", textwrap.dedent(_KILLED), str(hand), str(step), name]
    return subprocess.run(argv, check=False).returncode


@pytest.mark.parametrize("step", [1, 4, 9, 15, 22, 28, 33, 34, 35, 36, 37])
def test_killed_at_any_step_it_is_on_record_whole_or_not_at_all(store, release, hand, step):
    code = _write_killed_at(hand, release.release, step)
    assert code in (0, -signal.SIGKILL)
    if store.list():
        assert store.stack(release.release) == store.working_tree_stack({})
        assert tree(store.folders(release.release)[1])
    store.write(release)
    assert store.stack(release.release).files == store.working_tree_stack({}).files
    assert store.production_sha256(release.release) == store.configured_production_sha256()


@pytest.mark.parametrize("step", [1, 3, 6, 9, 12, 14])
def test_killed_at_any_step_of_a_takeover_production_is_the_old_or_the_new(
    store, release, hand, step
):
    store.write(release)
    old = store.production_sha256(release.release)
    (hand / "production/waivers.yml").write_text("[another]\n")
    _write_killed_at(hand, release.release, step)
    assert store.production_sha256(release.release) in {old, store.configured_production_sha256()}
    assert len(tree(store.folders(release.release)[1])) == 4
    store.write(release)
    assert (store.folders(release.release)[1] / "waivers.yml").read_text() == "[another]\n"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '"release"', '{"format": 2}', '{"format": 1}']
)
def test_a_damaged_record_is_named(store, release, state, text):
    store.write(release)
    record = state.releases / release.release / "release.json"
    record.write_text(text)
    with pytest.raises(OperationError) as caught:
        store.list()
    assert str(record) in caught.value.brief
    assert "release create" in caught.value.resolution


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("release", 5), ("note", None), ("changes", 7), ("changes", [1]), ("packages", []),
        ("packages", {"nginx": 1}), ("retired_at", 0), ("production_sha256", []),
    ],
)  # fmt: skip
def test_a_record_of_another_form_is_named(store, release, state, key, value):
    store.write(release)
    record = state.releases / release.release / "release.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {key: value}))
    with pytest.raises(OperationError, match=r"release\.json can't be read"):
        store.list()


def test_a_record_is_not_read_as_text_that_it_is_not(store, release, state):
    store.write(release)
    (state.releases / release.release / "release.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OperationError):
        store.list()


def test_a_lost_stack_is_said(store, release, state):
    store.write(release)
    (state.releases / release.release / "stack").rename(state.root / "elsewhere")
    with pytest.raises(OperationError, match="stack can't be read"):
        store.stack(release.release)


def test_what_is_not_on_record_is_said(store, release):
    for ask in (store.folders, store.stack, store.production_sha256):
        with pytest.raises(NotFoundError, match="not on record"):
            ask(release.release)
    with pytest.raises(NotFoundError):
        store.change(release)


def test_a_folder_that_can_not_be_written_is_said(store, release, state):
    state.releases.rmdir()
    state.releases.write_text("a file")
    with pytest.raises(HostNotReadyError, match="can't be put on record"):
        store.write(release)


def test_the_record_says_its_format(store, release, state):
    store.write(release)
    content = json.loads((state.releases / release.release / "release.json").read_text())
    assert content["format"] == 1
    assert content["production_sha256"] == store.configured_production_sha256()


def test_a_release_is_served_with_its_own_folders(tmp_path):
    services = wiring.build_services(Config.model_validate({"state_dir": str(tmp_path / "state")}))
    for tool in (services.stacks.provisioner, services.stacks.verifier):
        with pytest.raises(NotFoundError, match="not on record"):
            tool(IN_HAND)  # the working tree's stack is only served once it is recorded
    services.releases.write(Release(release=IN_HAND, created_at="", created_by="jane"))
    folder = tmp_path / "state/releases" / IN_HAND
    provisioner = services.stacks.provisioner(IN_HAND)
    assert provisioner._stack.root == folder / "stack"
    assert services.releases.folder(IN_HAND).checks == folder / "stack/checks"
    assert services.releases.folder(IN_HAND).description().name == "about"
    verifier = services.stacks.verifier(IN_HAND)
    assert verifier._production.parent == folder / "production"


PACKAGES = parse(f"nginx amd64 1.22.1-9 {64 * 'a'} 9 main other pool/nginx.deb\n", "x")


@pytest.fixture
def exact(hand, release):
    """A release whose name also covers its packages."""
    content = StackFolder(hand).content()
    return replace(release, release=new_release(release_hash(content, PACKAGES)))


def test_a_release_keeps_its_packages_exactly(store, exact, hand, state):
    store.write(exact, PACKAGES)
    assert store.list() == [exact]
    assert store.package_set(exact.release) == PACKAGES
    (hand / "playbooks/site.yml").write_text("changed\n")
    store.write(exact)  # only production is updated
    assert store.package_set(exact.release) == PACKAGES
    (state.releases / exact.release / "packages.lock").write_text("nonsense\n")
    with pytest.raises(OperationError, match=r"packages\.lock can't be read"):
        store.package_set(exact.release)


def test_of_an_older_devvm_s_release_the_packages_are_not_known(store, release):
    store.write(release)
    assert store.package_set(release.release) is None


def test_a_release_is_not_put_on_record_with_other_packages(store, exact, state):
    other = PackageSet(packages=(replace(PACKAGES.packages[0], version="2"),))
    for packages in (None, other):
        with pytest.raises(OperationError, match="changed meanwhile"):
            store.write(exact, packages)
    assert list(state.releases.iterdir()) == []
