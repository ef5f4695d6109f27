"""How a VM gets to another release: what can be converged, and what needs a new root."""

import pytest

from devvm.domain.release import applied_roles
from devvm.domain.release.stack import Stack, difference
from devvm.domain.release.strategy import Kind, choose

SITE = """\
- hosts: all
  roles:
    - { role: base, tags: base }
    - { role: web, tags: [web, http] }
    - plain
"""


def stack(**texts):
    """A stack of a few roles; keywords are paths with `__` for `/` and a suffix `.yml`."""
    files = {
        "playbooks/site.yml": SITE,
        "playbooks/box.yml": "- import_playbook: site.yml\n",
        "playbooks/update.yml": "- import_playbook: site.yml\n",
        "roles/base/tasks/main.yml": "- debug:\n",
        "roles/web/tasks/main.yml": "- debug:\n",
        "roles/web/templates/x.j2": "x\n",
        "roles/plain/tasks/main.yml": "- debug:\n",
        "roles/helper/tasks/main.yml": "- debug:\n",
        "roles/devtools/tasks/main.yml": "- debug:\n",
        "group_vars/all.yml": "a: 1\n",
        "collections/ansible_collections/acme/web/plugins/modules/x.py": "1\n",
        "checks/web.yml": "role: web\n",
        "stack.yml": "name: acme\n",
    }
    files |= {f"{path.replace('__', '/')}.yml": text for path, text in texts.items()}
    return Stack(files={path: text.encode() for path, text in files.items() if text is not None})


def chosen(**changes):
    new = stack(**changes)
    return choose(difference(stack(), new), applied_roles.of(new.playbooks))


def test_a_role_with_a_tag_of_its_own_is_applied_alone():
    strategy = chosen(roles__web__tasks__main="- ping:\n")
    assert (strategy.kind, strategy.roles, strategy.every_role) == (Kind.CONVERGE, ("web",), False)


@pytest.mark.parametrize("role", ["plain", "helper"])
def test_a_role_that_no_tag_selects_is_applied_with_all_others(role):
    strategy = chosen(**{f"roles__{role}__tasks__main": "- ping:\n"})
    assert (strategy.kind, strategy.every_role) == (Kind.CONVERGE, True)


def test_devtools_is_applied_by_the_playbook_of_updates():
    strategy = chosen(roles__devtools__tasks__main="- ping:\n")
    assert (strategy.roles, strategy.every_role) == (("devtools",), False)


@pytest.mark.parametrize(
    "path",
    ["group_vars__all", "playbooks__group_vars__all", "group_vars__web__main", "host_vars__a"],
)
def test_other_values_apply_every_role(path):
    strategy = chosen(**{path: "a: 2\n"})
    assert (strategy.kind, strategy.every_role) == (Kind.CONVERGE, True)
    assert path.replace("__", "/") in strategy.reason


@pytest.mark.parametrize(
    "path",
    [
        "playbooks__site", "playbooks__box", "playbooks__web", "playbooks__templates__x", "stack",
        "collections__ansible_collections__acme__web__roles__x__tasks__main", "something__else",
    ],
)  # fmt: skip
def test_what_may_leave_something_behind_needs_a_new_root(path):
    strategy = chosen(**{path: "- hosts: all\n"})
    assert strategy.kind is Kind.REBUILD
    assert path.replace("__", "/").removeprefix("playbooks/") in strategy.reason


@pytest.mark.parametrize("path", ["checks__web", "playbooks__update", "playbooks__personalise"])
def test_what_changes_nothing_on_the_machine_needs_neither(path):
    strategy = chosen(**{path: "role: other\n"})
    assert (strategy.kind, strategy.roles, strategy.every_role) == (Kind.CONVERGE, (), False)
    assert strategy.reason == "nothing on the machine changes, which needs no new root"


def test_of_two_changes_the_greater_counts():
    both = chosen(roles__web__tasks__main="- ping:\n", group_vars__all="a: 2\n")
    assert (both.roles, both.every_role) == (("web",), True)
    assert both.reason == "1 role and group_vars/all.yml change, which needs no new root"
    assert chosen(roles__web__tasks__main="- ping:\n", stack="name: b\n").kind is Kind.REBUILD


# Which roles a playbook applies


def applied(site, **others):
    books = {"site.yml": site, **{f"{name}.yml": text for name, text in others.items()}}
    return applied_roles.of({name: text.encode() for name, text in books.items()})


def test_roles_are_found_in_every_form_that_ansible_takes():
    site = """\
- import_playbook: sub/web.yml
- hosts: db
  tags: [store]
  pre_tasks:
    - ansible.builtin.import_role: {name: early}
      tags: early
  roles:
    - string
    - { name: named, tags: named }
    - role: listed
      tags: "a, listed"
  tasks:
    - block:
        - include_role: {name: included}
          tags: included
      rescue:
        - import_role: {name: deep, tasks_from: x}
    - include_role: {name: "{{ which }}"}
- hosts: all
  tasks: [{ debug: {} }]
"""
    books = {"site.yml": site.encode(), "sub/web.yml": b"- import_playbook: ../more.yml\n"}
    books["more.yml"] = b"- {hosts: all, roles: [{role: web, tags: web}]}\n"
    assert applied_roles.of(books) == {
        "web": True, "string": False, "named": True, "listed": True, "early": True,
        "included": False, "deep": False, "{{ which }}": False,
    }  # fmt: skip


def test_a_role_applied_twice_needs_its_tag_both_times():
    site = "- hosts: all\n  roles: [{role: a, tags: a}, {role: a}, {role: b, tags: b}]\n"
    assert applied(site) == {"a": False, "b": True}


def test_a_tag_that_other_roles_have_too_selects_none_alone():
    site = "- hosts: all\n  roles: [{role: a, tags: [a, b]}, {role: b, tags: b}]\n"
    assert applied(site) == {"a": True, "b": False}


@pytest.mark.parametrize(
    "site",
    [
        "", "- import_playbook: site.yml\n", "- import_playbook: gone.yml\n", "roles: [a]\n",
        "- [a]\n", "- hosts: all\n  roles: {a: b}\n", "- hosts: all\n  roles: 3\n", "{",
        "- hosts: x\n  tags: 3\n",
    ],
)  # fmt: skip
def test_what_is_no_list_of_roles_applies_none(site):
    assert applied(site) == {}
