"""Engineers' checkouts: what the host fetches, what a VM gets, and what happens if neither can."""

import json
from dataclasses import replace

import pytest

from devvm.domain.errors import NotFoundError, OperationError
from devvm.domain.vm import HomeFile
from devvm.operations.vm import create, rebuild
from devvm.stack.folder import StackFolder
from tests.support.company import Repository, git
from tests.support.world import ANN, World

PATH = "/srv/shop/checkout"


@pytest.fixture
def company(tmp_path):
    return Repository(tmp_path / "company/shop")


@pytest.fixture
def world(tmp_path, company):
    """A host whose stack has an application with a repository, and one without."""
    made = World(tmp_path)
    folder = tmp_path / "stack"
    (folder / "playbooks").mkdir(parents=True)
    (folder / "playbooks/site.yml").write_text("[]\n")
    (folder / "stack.yml").write_text(
        "applications:\n"
        f"  - {{name: shop, checkout: {{path: {PATH}, origin: {company.at}}}}}\n"
        "  - {name: wiki, checkout: {path: /srv/wiki/checkout, code: /usr/share/wiki}}\n"
    )
    made.services = replace(made.services, stack=StackFolder(folder))
    made.boxes.boxes[0] = replace(made.box, content=StackFolder(folder).content())
    made.shell.personalises = True
    return made


def with_branch(world, branch):
    engineer = world.config.engineer.model_copy(update={"branches": {"shop": branch, "wiki": "x"}})
    config = world.config.model_copy(update={"engineer": engineer})
    world.services = replace(world.services, config=config)


def make(world):
    request = create.CreateRequest(name="dev1", engineer=ANN)
    return create.create(world.services, request, world.run("create dev1"))


def again(world):
    run = world.run("rebuild dev1")
    return rebuild.rebuild(world.services, rebuild.RebuildRequest(name="dev1", engineer=ANN), run)


def told(world):
    """The branches of the checkouts that the last VM was told to have."""
    given = world.shell.personalised[-1]["engineer_checkouts"]
    return {checkout["name"]: checkout["branch"] for checkout in given}


def test_a_new_vm_gets_what_the_company_has_now(world, company, tmp_path):
    make(world)
    assert told(world) == {"shop": "main", "wiki": "main"}
    assert world.reporter.phases.index("fetch") < world.reporter.phases.index("disks")
    file = tmp_path / "received"
    file.write_bytes(world.shell.received["shop"])
    git("clone", "--quiet", str(file), str(tmp_path / "clone"))
    assert git("log", "--format=%s", "origin/main", at=tmp_path / "clone") == "first"
    assert world.reporter.notes == ["The VM runs with emulation, as always here"]


def test_the_person_chooses_the_branch(world, company):
    company.git("branch", "my-feature")
    with_branch(world, "my-feature")
    make(world)
    assert told(world) == {"shop": "my-feature", "wiki": "main"}  # that has no repository
    world.shell.answer = f"{PATH}\n"
    again(world)
    assert told(world) == {"shop": "main", "wiki": "main"}  # whoever rebuilds it


def test_a_branch_that_is_not_there_is_said_before_anything_is_made(world, company):
    company.git("branch", "my-feature")
    with_branch(world, "my-featrue")
    with pytest.raises(NotFoundError, match="shop has no branch my-featrue") as caught:
        make(world)
    assert "my-feature" in caught.value.details
    assert caught.value.resolution == f"git ls-remote --heads {company.at}"
    assert world.remnants("dev1") == []


def test_a_repository_that_cant_be_had_is_said_before_anything_is_made(world, company):
    company.at.rename(company.at.with_name("moved"))
    with pytest.raises(OperationError, match="is not a git repository"):
        make(world)
    assert world.remnants("dev1") == []
    assert world.host.volumes == {}


def test_a_rebuild_leaves_what_is_there_alone(world):
    make(world)
    world.shell.received.clear()
    world.again()
    again(world)
    assert world.shell.received == {}
    assert "fetch" not in world.reporter.phases
    assert told(world) == {"shop": "main", "wiki": "main"}


def test_a_rebuild_brings_what_is_missing(world, company):
    make(world)
    world.shell.received.clear()
    world.shell.answer = f"{PATH}\n"
    company.commit("second")
    again(world)
    assert "shop" in world.shell.received


def test_a_rebuild_succeeds_without_the_repository_and_says_so(world, company):
    """Whoever rolls out may have no access to it; the VM runs the deployed code."""
    make(world)
    world.again()
    world.shell.answer = f"{PATH}\n"
    company.at.rename(company.at.with_name("moved"))
    again(world)
    assert told(world) == {"wiki": "main"}
    (note,) = [one for one in world.reporter.notes if "checkout" in one]
    assert note.startswith(
        f"There is no checkout of shop yet: {company.at} is not a git repository"
    )


def test_a_vm_that_cant_take_it_is_undone(world):
    world.host.fail_at, world.host.failure = "transfer", OperationError("no space left")
    with pytest.raises(OperationError):
        make(world)
    assert world.remnants("dev1") == []


def test_the_person_s_shell_and_files_come_with_the_data_disk_and_stay(world):
    files = {".bashrc": HomeFile(text="alias", mode=0o644)}
    ann = replace(ANN, shell="/bin/dash", files=files)
    request = create.CreateRequest(name="dev1", engineer=ann)
    create.create(world.services, request, world.run("create dev1"))
    at_boot = json.loads(world.data_disks.identity["engineer.json"])
    for given in (at_boot, world.shell.personalised[-1]):
        assert given["engineer_shell"] == "/bin/dash"
        assert given["engineer_files"] == {".bashrc": {"text": "alias", "mode": 0o644}}
    again(world)
    assert world.shell.personalised[-1]["engineer_shell"] == "/bin/dash"
    assert world.shell.personalised[-1]["engineer_files"] == {}
    run = world.run("rebuild dev1")
    other = replace(ANN, shell="/bin/bash")
    rebuild.rebuild(world.services, rebuild.RebuildRequest(name="dev1", engineer=other), run)
    assert world.shell.personalised[-1]["engineer_shell"] == "/bin/bash"
    stranger = replace(ANN, login="bob", shell="/bin/sh")
    rebuild.rebuild(world.services, rebuild.RebuildRequest(name="dev1", engineer=stranger), run)
    assert world.shell.personalised[-1]["engineer_shell"] == "/bin/bash"
