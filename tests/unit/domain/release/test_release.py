"""A release is identified by its content."""

import shutil
from datetime import UTC, datetime

import pytest

from devvm.domain.errors import UsageError
from devvm.domain.release import identity
from devvm.stack.folder import StackFolder


@pytest.fixture
def stack(tmp_path):
    (tmp_path / "roles/nginx/tasks").mkdir(parents=True)
    (tmp_path / "roles/nginx/tasks/main.yml").write_text("- a\n")
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks/site.yml").write_text("- b\n")
    return tmp_path


def look(stack):
    return StackFolder(stack).look()


def content(stack):
    return StackFolder(stack).content()


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
    before = content(stack)
    change(stack)
    assert content(stack) != before


def test_documentation_and_caches_do_not_count(stack):
    before = content(stack)
    (stack / "roles/nginx/README.md").write_text("words")
    (stack / "roles/nginx/__pycache__").mkdir()
    (stack / "roles/nginx/__pycache__/x.pyc").write_text("")
    assert content(stack) == before


@pytest.mark.parametrize("name", ["templates/.gitconfig.j2", "files/about/README.md"])
def test_what_a_role_brings_to_machines_counts(stack, name):
    path = stack / "roles/nginx" / name
    path.parent.mkdir(parents=True)
    path.write_text("before")
    before = content(stack)
    path.write_text("after")
    assert content(stack) != before


def test_where_the_stack_lies_does_not_count(stack, tmp_path_factory):
    before = content(stack)
    copy = tmp_path_factory.mktemp("copy") / "stack"
    shutil.copytree(stack, copy)
    assert content(copy) == before


@pytest.mark.parametrize(
    "name",
    [
        "group_vars/all.yml", "group_vars/web/main.yml", "checks/web.yml", "stack.yml",
        "playbooks/group_vars/all.yml",
        "collections/ansible_collections/acme/web/plugins/modules/deploy.py",
        "collections/ansible_collections/acme/web/roles/site/files/README.md",
    ],
)  # fmt: skip
def test_every_part_of_a_stack_is_in_the_name(stack, name):
    before = content(stack)
    path = stack / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a: 1\n")
    present = content(stack)
    path.write_text("a: 2\n")
    assert len({before, present, content(stack)}) == 3


@pytest.mark.parametrize("name", ["production/manifest.yml", "docs/x.yml", ".git/HEAD", "notes"])
def test_what_is_no_part_of_a_stack_is_not(stack, name):
    before = content(stack)
    (stack / name).parent.mkdir(parents=True, exist_ok=True)
    (stack / name).write_text("a: 1\n")
    assert content(stack) == before


def test_devvms_own_roles_are_in_the_name(stack, tmp_path_factory):
    overlay = tmp_path_factory.mktemp("overlay")
    (overlay / "roles/guest/tasks").mkdir(parents=True)
    (overlay / "roles/guest/tasks/main.yml").write_text("- a\n")
    both = StackFolder(stack, overlay=overlay)
    before = both.content()
    assert before != content(stack)
    (overlay / "roles/guest/tasks/main.yml").write_text("- b\n")
    assert both.content() != before


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
    in_hand = look(stack)
    assert (in_hand.content, in_hand.packages, in_hand.hash) == (
        content(stack),
        None,
        None,
    )


def test_a_lock_makes_the_stack_a_release_and_its_comments_do_not_count(stack):
    (stack / "packages.lock").write_text(LINE)
    first = look(stack)
    assert first.content == content(stack)
    assert first.hash not in (None, first.content)
    (stack / "packages.lock").write_text(f"# resolved on another day\n{LINE}")
    assert look(stack).hash == first.hash


@pytest.mark.parametrize(
    ("old", "new"), [("1.22.1-9 ", "1.22.1-10 "), ("aaaa ", "aaab "), ("amd64 1", "arm64 1")]
)
def test_another_package_is_another_release_of_the_same_stack(stack, old, new):
    (stack / "packages.lock").write_text(LINE)
    first = look(stack)
    (stack / "packages.lock").write_text(LINE.replace(old, new))
    second = look(stack)
    assert first.content == second.content
    assert first.hash != second.hash


def test_where_a_package_comes_from_is_not_part_of_the_release(stack):
    (stack / "packages.lock").write_text(LINE)
    first = look(stack)
    (stack / "packages.lock").write_text(
        LINE.replace("main other pool/main", "security other pool/updates")
    )
    assert look(stack).hash == first.hash


@pytest.mark.parametrize("content", [b"\xff\xfe", b"nonsense\n", b""])
def test_a_lock_that_can_not_be_read_is_named(stack, content):
    (stack / "packages.lock").write_bytes(content)
    with pytest.raises(UsageError, match=r"packages\.lock") as caught:
        look(stack)
    assert "devvm release lock" in caught.value.resolution
