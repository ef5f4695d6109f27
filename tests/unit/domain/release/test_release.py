"""A release is identified by its content."""

import shutil
from datetime import UTC, datetime

import pytest

from devvm.domain.errors import UsageError
from devvm.domain.release import identity
from devvm.operations.core import working_tree
from devvm.system import assets


@pytest.fixture
def stack(tmp_path, monkeypatch):
    (tmp_path / "roles/nginx/tasks").mkdir(parents=True)
    (tmp_path / "roles/nginx/tasks/main.yml").write_text("- a\n")
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks/site.yml").write_text("- b\n")
    monkeypatch.setattr(assets, "roles", lambda: tmp_path / "roles")
    monkeypatch.setattr(assets, "playbooks", lambda: tmp_path / "playbooks")
    return tmp_path


def test_the_name_is_date_and_hash():
    name = identity.new_release("1a2b3c4d5e6f", datetime(2026, 11, 23, tzinfo=UTC))
    assert name == "2026.11.23-1a2b3c4d5e6f"
    assert identity.hash_of(name) == "1a2b3c4d5e6f"
    assert identity.validate_release(name) == name


def test_the_day_is_not_part_of_the_identity():
    monday = identity.new_release("1a2b3c4d5e6f", datetime(2026, 11, 23, tzinfo=UTC))
    friday = identity.new_release("1a2b3c4d5e6f", datetime(2026, 11, 27, tzinfo=UTC))
    assert monday != friday
    assert identity.same_release(monday, friday)


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "roles/nginx/tasks/main.yml").write_text("- c\n"),
        lambda root: (root / "roles/nginx/new.conf").write_text(""),
        lambda root: (root / "playbooks/site.yml").rename(root / "playbooks/stack.yml"),
        lambda root: (root / "playbooks/site.yml").chmod(0o755),
    ],
)
def test_a_changed_stack_is_another_release(stack, change):
    before = working_tree.content()
    change(stack)
    assert working_tree.content() != before


def test_documentation_and_caches_do_not_count(stack):
    before = working_tree.content()
    (stack / "roles/nginx/README.md").write_text("words")
    (stack / "roles/nginx/__pycache__").mkdir()
    (stack / "roles/nginx/__pycache__/x.pyc").write_text("")
    assert working_tree.content() == before


@pytest.mark.parametrize("name", ["templates/.gitconfig.j2", "files/about/README.md"])
def test_what_a_role_brings_to_machines_counts(stack, name):
    path = stack / "roles/nginx" / name
    path.parent.mkdir(parents=True)
    path.write_text("before")
    before = working_tree.content()
    path.write_text("after")
    assert working_tree.content() != before


def test_where_the_stack_lies_does_not_count(stack, tmp_path_factory, monkeypatch):
    before = working_tree.content()
    copy = tmp_path_factory.mktemp("copy") / "stack"
    shutil.copytree(stack, copy)
    monkeypatch.setattr(assets, "roles", lambda: copy / "roles")
    monkeypatch.setattr(assets, "playbooks", lambda: copy / "playbooks")
    assert working_tree.content() == before


@pytest.mark.parametrize("name", ["", "latest", "2026.11.23", "2026.11.23-XYZ", "../x"])
def test_what_is_not_a_release(name):
    with pytest.raises(UsageError):
        identity.validate_release(name)


LINE = (
    "nginx amd64 1.22.1-9 "
    + 64 * "a"
    + " 10 main other pool/main/n/nginx/nginx_1.22.1-9_amd64.deb\n"
)


def test_a_stack_whose_packages_are_not_fixed_is_no_release_yet(stack):
    in_hand = working_tree.look()
    assert (in_hand.content, in_hand.packages, in_hand.hash) == (
        working_tree.content(),
        None,
        None,
    )


def test_a_lock_makes_the_stack_a_release_and_its_comments_do_not_count(stack):
    (stack / "packages.lock").write_text(LINE)
    first = working_tree.look()
    assert first.content == working_tree.content()
    assert first.hash not in (None, first.content)
    (stack / "packages.lock").write_text(f"# resolved on another day\n{LINE}")
    assert working_tree.look().hash == first.hash


@pytest.mark.parametrize(
    ("old", "new"), [("1.22.1-9 ", "1.22.1-10 "), ("aaaa ", "aaab "), ("amd64 1", "arm64 1")]
)
def test_another_package_is_another_release_of_the_same_stack(stack, old, new):
    (stack / "packages.lock").write_text(LINE)
    first = working_tree.look()
    (stack / "packages.lock").write_text(LINE.replace(old, new))
    second = working_tree.look()
    assert first.content == second.content
    assert first.hash != second.hash


def test_where_a_package_comes_from_is_not_part_of_the_release(stack):
    (stack / "packages.lock").write_text(LINE)
    first = working_tree.look()
    (stack / "packages.lock").write_text(
        LINE.replace("main other pool/main", "security other pool/updates")
    )
    assert working_tree.look().hash == first.hash


@pytest.mark.parametrize("content", [b"\xff\xfe", b"nonsense\n", b""])
def test_a_lock_that_can_not_be_read_is_named(stack, content):
    (stack / "packages.lock").write_bytes(content)
    with pytest.raises(UsageError, match=r"packages\.lock") as caught:
        working_tree.look()
    assert "devvm release lock" in caught.value.resolution
