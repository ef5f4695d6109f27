"""The code of applications with a repository of their own: in boxes, not in releases."""

import io
import tarfile
from dataclasses import replace

import pytest

from devvm.domain.errors import NotFoundError
from devvm.stack.folder import StackFolder
from tests.support.company import Repository
from tests.unit.operations.box.building import build, leftovers

CODE = "/srv/shop/release"
STACK = """\
applications:
  - {{name: shop, checkout: {{path: /srv/shop/checkout, origin: {at}, code: {code}}}}}
  - {{name: blog, checkout: {{path: /srv/blog/checkout, origin: {at}}}}}
  - {{name: wiki, checkout: {{path: /srv/wiki/checkout, code: /usr/share/wiki}}}}
"""


@pytest.fixture
def company(tmp_path):
    return Repository(tmp_path / "company/shop")


@pytest.fixture
def world(world, company, tmp_path):
    """A host whose stack has an application of each kind."""
    folder = tmp_path / "stack"
    (folder / "playbooks").mkdir(parents=True)
    (folder / "playbooks/site.yml").write_text("[]\n")
    (folder / "stack.yml").write_text(STACK.format(at=company.at, code=CODE))
    world.services = replace(world.services, stack=StackFolder(folder))
    return world


def received(world):
    """The files that were put in the place of the deployed code."""
    with tarfile.open(fileobj=io.BytesIO(world.shell.received[CODE])) as archive:
        return {one.name: archive.extractfile(one).read().decode() for one in archive}


def test_a_box_has_the_newest_code_and_its_record_says_which(world, company):
    made = build(world)
    assert received(world) == {"file": "first"}
    assert made.applications == {"shop": company.git("rev-parse", "main")}
    assert list(world.shell.received) == [CODE]


def test_it_is_there_before_roles_are_applied_and_not_put_there_again(world, company):
    world.ansible.results = []
    apply, seen = world.ansible.apply, []

    def applying(*args, **kwargs):
        seen.append(dict(world.shell.received))
        world.shell.received.clear()
        return apply(*args, **kwargs)

    world.ansible.apply = applying
    build(world)
    assert [list(files) for files in seen] == [[CODE], []]


def test_another_commit_makes_no_other_release(world, company):
    first = build(world)
    company.commit("second")
    assert build(world) == first
    again = build(world, force=True)
    assert again.release == first.release
    assert received(world) == {"file": "second"}
    assert again.applications != first.applications


def test_a_build_that_goes_on_later_knows_which_code_it_has(world, company):
    world.tools.fail_at = "disk"
    with pytest.raises(KeyboardInterrupt):
        build(world)
    world.tools.fail_at = ""
    commit = company.git("rev-parse", "main")
    company.commit("second")
    assert build(world).applications == {"shop": commit}


def test_without_its_branch_there_is_no_box(world, company):
    company.git("branch", "--move", "trunk")
    with pytest.raises(NotFoundError, match="shop has no branch main"):
        build(world)
    assert leftovers(world) == []
