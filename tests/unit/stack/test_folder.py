"""The folder of a stack: how it is found, and who may have written it."""

import os
import tomllib
from pathlib import Path

import pytest

from devvm import wiring
from devvm.config import Config
from devvm.domain.errors import UsageError
from devvm.stack import folder
from devvm.stack.folder import StackFolder


@pytest.fixture
def stack(tmp_path):
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks/site.yml").write_text("- hosts: all\n")
    (tmp_path / "stack.yml").write_text("name: acme\n")
    (tmp_path / "roles/web/tasks").mkdir(parents=True)
    return tmp_path


def test_it_is_found_from_any_folder_in_it(stack):
    assert folder.around(stack) == stack
    assert folder.around(stack / "roles/web/tasks") == stack
    assert folder.around(stack.parent) is None
    (stack / "roles/stack.yml").write_text("services: {}\n")  # of another program
    assert folder.around(stack / "roles/web") == stack


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "it doesn't exist"),
        (lambda path: path.write_text(""), "it is not a folder"),
        (lambda path: path.mkdir(), "it has no playbooks/site.yml"),
    ],
)
def test_a_folder_that_is_no_stack_is_refused(tmp_path, make, reason):
    make(tmp_path / "x")
    with pytest.raises(UsageError, match="is not the folder of a stack") as caught:
        wiring.stack(Config.model_validate({"stack_dir": str(tmp_path / "x")}))
    assert reason in caught.value.details


@pytest.mark.parametrize("name", ["roles/guest", "playbooks/box.yml"])
def test_a_stack_with_a_name_of_devvms_own_is_refused(stack, name):
    settings = Config.model_validate({"stack_dir": str(stack)})
    assert wiring.stack(settings).root == stack
    (stack / name).mkdir()
    with pytest.raises(UsageError, match="has the name of one of devvm's own") as caught:
        wiring.stack(settings)
    assert caught.value.resolution == f"rename {stack / name}"


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to others")
@pytest.mark.parametrize("name", ["stack.yml", "."])
def test_somebody_elses_is_used_only_if_it_is_named(stack, name, monkeypatch):
    monkeypatch.delenv("SUDO_UID", raising=False)
    folder.refuse_strangers(stack)
    os.chown(stack / name, 12345, -1)
    with pytest.raises(UsageError, match="belongs to somebody else") as caught:
        folder.refuse_strangers(stack)
    assert caught.value.resolution.startswith(f"devvm --stack {stack}")
    monkeypatch.setenv("SUDO_UID", "12345")  # the one who typed sudo
    folder.refuse_strangers(stack)


def test_a_playbook_is_the_stacks_or_devvms(stack, tmp_path_factory):
    overlay = tmp_path_factory.mktemp("overlay")
    (overlay / "playbooks").mkdir()
    (overlay / "playbooks/box.yml").write_text("")
    both = StackFolder(stack, overlay=overlay)
    assert both.playbook("site.yml") == stack / "playbooks/site.yml"
    assert both.playbook("box.yml") == overlay / "playbooks/box.yml"
    assert both.playbooks().keys() == {"site.yml", "box.yml"}


def test_a_wheel_has_every_part_of_the_reference_stack():
    root = Path(__file__).parents[3]
    tool = tomllib.loads((root / "pyproject.toml").read_text())["tool"]
    packed = tool["hatch"]["build"]["targets"]["wheel"]["force-include"]
    parts = [part for part in (*folder.PARTS, "production", "stack.yml") if (root / part).exists()]
    assert "group_vars" in parts
    assert {part: packed.get(part) for part in parts} == {p: f"devvm/_assets/{p}" for p in parts}
