"""`stack init`: a small stack, and one from an Ansible repository."""

import pytest

from devvm.adapters.role_declarations import RoleDeclarations
from devvm.domain.errors import ExistsError, HostNotReadyError, UsageError
from devvm.operations.stack import init as stack_init
from devvm.operations.stack.check import check
from devvm.operations.stack.init import init
from devvm.stack.folder import StackFolder
from devvm.system import assets

REPOSITORY = {
    "site.yml": "- import_playbook: web.yml\n- {hosts: 'db:!old', roles: [db, common]}\n",
    "web.yml": "- hosts: [web, all]\n  vars_files: [vars/x.yml]\n  roles: [common, {role: web}]\n",
    "requirements.yml": "- src: geerlingguy.php\n",
    "group_vars/all.yml": "a: 1\n",
    "group_vars/web/vault.yml": "$ANSIBLE_VAULT;1.1;AES256\n3031\n",
    "roles/common/tasks/main.yml": """\
- name: Tools
  apt: {name: [curl, "{{ editor }}"], state: present}
- name: More
  ansible.builtin.apt: name=zsh state=present
- yum: name=emacs
- name: From a list
  package: {name: "{{ item }}"}
  loop: [git, jq=1.6]
- block:
    - name: Chrony
      ansible.builtin.apt: {pkg: "{{ common_time }}"}
    - ansible.builtin.systemd_service: {name: chrony, state: started}
""",
    "roles/common/defaults/main.yml": "common_time: [chrony]\n",
    "roles/web/tasks/main.yml": """\
- name: The repository of nginx
  apt_repository: {repo: deb http://nginx.test/ x}
- name: nginx
  apt: {name: nginx}
- name: The application
  git: {repo: "git@git.test:shop.git", dest: /srv/shop}
- name: Its packages
  pip: {requirements: /srv/shop/requirements.txt}
""",
    "roles/web/vars/main.yml": "web_packages: [nginx]\n",
    "roles/db/tasks/main.yml": "- apt: {name: postgresql-15}\n",
    "roles/unused/tasks/main.yml": "- apt: {name: emacs}\n",
    "roles/web/molecule/default/molecule.yml": "x: 1\n",
}


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "ansible"
    for name, text in REPOSITORY.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def findings(folder):
    stack = StackFolder(folder, overlay=assets.overlay())
    return check(stack, RoleDeclarations.of(stack))


def test_a_new_stack_has_nothing_left_to_do(tmp_path):
    made = init(tmp_path / "9 Acme!")
    assert made.found is None
    assert not [one for one in findings(made.folder) if one.needed]
    assert StackFolder(made.folder).description().name == "stack-9-acme"
    assert [path.name for path in tmp_path.iterdir()] == ["9 Acme!"]


def test_one_from_a_repository_has_its_roles_playbooks_and_values(tmp_path, repository):
    before = {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}
    made = init(tmp_path / "acme", source=repository)
    found = made.found
    assert (found.playbook, found.roles) == ("site.yml", ("common", "web", "db"))
    assert found.packages == {
        "common": ["curl", "zsh", "git", "jq", "chrony"], "web": ["nginx"], "db": ["postgresql-15"],
    }  # fmt: skip
    assert found.units == {"common": ["chrony"]}
    stack = StackFolder(made.folder)
    assert stack.description().groups == ("db", "web")
    assert [one.package for one in stack.description().databases] == ["postgresql-15"]
    declared = RoleDeclarations.of(stack)
    assert {"chrony", "curl", "git", "jq", "nginx", "postgresql-15", "zsh"} == set(
        declared.packages()
    )
    assert declared.state_paths() == ("/var/lib/postgresql",)
    assert (made.folder / "group_vars/web/vault.yml").is_file()
    assert {path.name for path in (made.folder / "playbooks").iterdir()} == {"site.yml", "web.yml"}
    assert stack.playbook("site.yml").read_text() == REPOSITORY["site.yml"]
    assert not (made.folder / "roles/web/molecule").exists()
    assert not (made.folder / "roles/base").exists()
    after = {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}
    assert after == before


def test_what_is_left_for_a_person_is_said(tmp_path, repository):
    todo = "\n".join(init(tmp_path / "acme", source=repository).found.left)
    for part in (
        "common: list what 'Tools' installs in common_packages",
        "web: 'The repository of nginx' adds a package source",
        "web: 'The application' needs the network",
        "web: 'Its packages' needs the network",
        "git@git.test:shop.git is cloned to /srv/shop",
        "requirements.yml: vendor what it lists",
        "group_vars/web/vault.yml is in a vault",
        "web.yml: it names vars/x.yml, which could not be found",
        "common: it installs packages with yum",
    ):
        assert part in todo


def test_what_is_not_copied_is_said(tmp_path, repository):
    for name, text in {
        "hosts.ini": "[web]\nweb1\n[web:vars]\nport=80\n[all:children]\nweb\n",
        "inventories/staging/hosts.yml": "all: {children: {db: {vars: {a: 1}, hosts: {db1: }}}}\n",
        "inventories/staging/group_vars/all.yml": "a: 1\n",
        "host_vars/web1.yml": "a: 1\n",
        "ansible.cfg": "[defaults]\n",
        "filter_plugins/x.py": "",
        "roles/web/templates/x.j2": "",
    }.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(text)
    made = init(tmp_path / "acme", source=repository)
    said = [one for one in made.found.left if "not copied" in one or "its variables" in one]
    assert [one.partition(":")[0] for one in said] == [
        "hosts.ini, inventories, host_vars", "hosts.ini", "inventories/staging/hosts.yml",
        "inventories/staging/group_vars", "ansible.cfg", "filter_plugins",
    ]  # fmt: skip
    assert "its variables of web: move" in said[1]
    assert "its variables of db: move" in said[2]
    assert not (made.folder / "hosts.ini").exists()


def test_a_role_that_is_not_there_is_said(tmp_path, repository):
    (repository / "site.yml").write_text("- {hosts: all, roles: [geerlingguy.php, a.b.c]}\n")
    todo = init(tmp_path / "acme", source=repository).found.left
    assert "the role geerlingguy.php is not in the repository: put it into roles/" in todo
    assert "the role a.b.c is not in the repository: put it into collections/" in todo


def test_several_playbooks_that_could_be_meant(tmp_path, repository):
    (repository / "site.yml").rename(repository / "everything.yml")
    with pytest.raises(UsageError, match="which playbook") as caught:
        init(tmp_path / "acme", source=repository)
    assert "everything.yml, web.yml" in caught.value.details
    assert not (tmp_path / "acme").exists()
    made = init(tmp_path / "acme", source=repository, playbook="everything.yml")
    assert (made.folder / "playbooks/site.yml").read_text() == REPOSITORY["site.yml"]


@pytest.mark.parametrize("name", ["none", "empty"])
def test_a_folder_without_playbooks(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"has no playbooks|there is no folder"):
        init(tmp_path / "acme", source=tmp_path / name)


def test_a_playbook_that_is_not_there(tmp_path, repository):
    with pytest.raises(UsageError, match=r"there is no playbook x\.yml"):
        init(tmp_path / "acme", source=repository, playbook="x.yml")


@pytest.mark.parametrize(
    "make", [lambda p: p.write_text(""), lambda p: (p / "x").mkdir(parents=True)]
)
def test_what_is_there_is_never_overwritten(tmp_path, make):
    make(tmp_path / "acme")
    with pytest.raises(ExistsError, match="is not empty"):
        init(tmp_path / "acme")


def test_an_empty_folder_will_do(tmp_path):
    (tmp_path / "acme").mkdir()
    assert init(tmp_path / "acme").folder.joinpath("stack.yml").is_file()


def test_a_folder_that_can_not_be_written_is_said():
    with pytest.raises(HostNotReadyError, match="can't be written"):
        init(assets.launcher() / "acme")


def test_if_it_fails_nothing_half_made_is_left(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stack_init, "_describe", fail)
    with pytest.raises(HostNotReadyError, match="can't be written"):
        init(tmp_path / "acme")
    assert list(tmp_path.iterdir()) == []


def test_playbooks_and_values_in_folders_of_their_own_are_taken_along(tmp_path, repository):
    (repository / "all.yml").write_text("- import_playbook: plays/www/main.yml\n")
    (repository / "plays/www").mkdir(parents=True)
    www = "- {hosts: www, vars_files: [vars.yml], roles: [web]}\n"
    (repository / "plays/www/main.yml").write_text(www)
    (repository / "plays/www/vars.yml").write_text("a: 1\n")
    made = init(tmp_path / "acme", source=repository, playbook="all.yml")
    assert made.found.roles == ("web",)
    there = made.folder / "playbooks"
    found = {path.relative_to(there).as_posix() for path in there.rglob("*.yml")}
    assert found == {"site.yml", "plays/www/main.yml", "plays/www/vars.yml"}
    assert StackFolder(made.folder).description().groups == ("www",)
