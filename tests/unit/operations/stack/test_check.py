"""`stack check`: each thing that is missing or wrong is found, with what to do."""

import pytest

from devvm.adapters.role_declarations import RoleDeclarations
from devvm.operations.stack.check import check
from devvm.stack.folder import StackFolder
from devvm.system import assets

KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmAEE\n-----END PGP PUBLIC KEY BLOCK-----\n"
STACK = {
    "stack.yml": "name: acme\napt: {repositories: [{name: vendor, uri: 'http://vendor.test',"
    " suite: ./, key: roles/web/files/vendor.asc}]}\napplications:\n"
    "  - {name: shop, checkout: {path: /srv/shop/checkout, code: /usr/share/shop}}\n"
    "databases: [{name: PostgreSQL, package: postgresql-15}]\n",
    "playbooks/site.yml": "- hosts: all\n  roles: [web, acme.base.users]\n",
    "roles/web/vars/main.yml": "web_packages: [apache2, postgresql-15]\n"
    "web_state_paths: [{path: /srv/shop}]\nweb_secret_paths: [{path: /var/lib/shop/key}]\n",
    "roles/web/tasks/main.yml": "- ansible.builtin.apt: {name: '{{ web_packages }}'}\n",
    "roles/web/files/vendor.asc": KEY,
    "collections/ansible_collections/acme/base/roles/users/tasks/main.yml": "[]\n",
    "checks/web.yml": "role: web\nbooted: true\n",
    "production/manifest.yml": "format: 1\ncaptured: 2026-11-30\nhosts: [web1]\nareas: {}\n",
    "packages.lock": f"apache2 amd64 2 {64 * 'a'} 9 main other pool/a.deb\n"
    f"postgresql-15 amd64 15 {64 * 'b'} 9 main other pool/p.deb\n",
}


@pytest.fixture
def found(tmp_path):
    def look(**changes):
        files = {**STACK, **{name.replace("__", "/"): text for name, text in changes.items()}}
        return look_at(files)

    def look_at(files):
        for name, text in files.items():
            if text is not None:
                path = tmp_path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        stack = StackFolder(tmp_path, overlay=assets.overlay())
        return check(stack, RoleDeclarations(stack.root / "roles"))

    look.at = look_at
    return look


def test_a_whole_stack_needs_nothing(found):
    assert found() == []


@pytest.mark.parametrize(
    ("origin", "pinned", "said"),
    [
        ("git@git.acme.test:shop.git", "", "no host key of git.acme.test"),
        ("git@git.acme.test:shop.git", "*.acme.test", ""),
        ("ssh://git.acme.test:2222/shop", "git.acme.test", "no host key of [git.acme.test]:2222"),
        ("ssh://git.acme.test:2222/shop", "[git.acme.test]:2222", ""),
        ("https://git.acme.test/shop.git", "", ""),
        ("/srv/git/shop.git", "", ""),
    ],
)
def test_a_server_whose_host_key_nobody_knows_is_said(found, origin, pinned, said):
    text = STACK["stack.yml"].replace("code: /usr/share/shop", f"origin: {origin!r}")
    if pinned:
        text += f"known_hosts: ['{pinned} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ']\n"
    findings = found.at({**STACK, "stack.yml": text})
    assert [one.needed for one in findings] == ([False] if said else [])
    assert said in "".join(one.text for one in findings)


@pytest.mark.parametrize(
    ("path", "text", "file", "said"),
    [
        ("stack.yml", "nmae: x\n", "stack.yml", "unknown key: did you mean name?"),
        ("stack.yml", None, "stack.yml", "there is none"),
        ("playbooks/site.yml", "- {\n", "playbooks/site.yml", "it is not YAML"),
        ("playbooks/site.yml", "[]\n", "playbooks/site.yml", "it applies no role"),
        ("playbooks/site.yml", "- {hosts: all, roles: [wbe]}\n", "playbooks/site.yml", "role wbe"),
        ("playbooks/site.yml", "- {hosts: all, roles: [a.b.c]}\n", "playbooks/site.yml", "a.b.c"),
        ("roles/web/vars/main.yml", "web_packages: x\n", "roles/", "is not a list"),
        ("roles/web/vars/main.yml", "web_secret_paths: [{path: x}]\n", "roles/", "absolute"),
        ("roles/db/tasks/main.yml", "- apt: {}\n", "roles/db/vars/main.yml", "declares none"),
        (
            "roles/web/vars/main.yml", "web_packages: [apache2, postgresql-15]\n", "stack.yml",
            "the checkout /srv/shop/checkout is in no state path",
        ),
        (
            "roles/web/vars/main.yml",
            "web_packages: [apache2]\nweb_state_paths: [{path: /srv/shop}]\n", "stack.yml",
            "no role declares postgresql-15",
        ),
        (
            "roles/web/tasks/main.yml", "- {name: Get it, get_url: {url: x}}\n", "roles/web",
            "'Get it' needs the network",
        ),
        ("roles/web/files/vendor.asc", None, "roles/web/files/vendor.asc", "there is no such file"),
        ("roles/web/files/vendor.asc", "x", "roles/web/files/vendor.asc", "not an OpenPGP key"),
        ("checks/web.yml", "role: web\nhtpp: {}\n", "checks/", "htpp"),
        ("checks/web.yml", None, "checks/", "nothing is expected to work"),
        ("production/manifest.yml", None, "production/manifest.yml", "there is none"),
        ("production/manifest.yml", "[]\n", "production/", "manifest.yml"),
        ("packages.lock", None, "packages.lock", "there is none"),
        ("packages.lock", "nonsense\n", "packages.lock", "packages.lock"),
        (
            "packages.lock", f"apache2 amd64 2 {64 * 'a'} 9 main other pool/a.deb\n",
            "packages.lock", "it lacks packages that the roles declare: postgresql-15",
        ),
        (
            "packages.lock", STACK["packages.lock"].replace("9 main", "9 others"),
            "packages.lock", "it has packages of others, which is none of apt.repositories",
        ),
    ],
)  # fmt: skip
def test_what_is_missing_or_wrong_is_found_with_what_to_do(found, path, text, file, said):
    (finding,) = found.at({**STACK, path: text})
    assert finding.file == file
    assert said in finding.text
    assert finding.next
    assert "\n" not in finding.text + finding.next
    advice = {"there is none", "nothing is expected to work", "'Get it' needs the network"}
    assert finding.needed is (said not in advice)


def test_a_source_of_packages_is_fine_if_the_stack_names_repositories(found):
    tasks = "- {name: Source, apt_repository: {repo: deb http://vendor.test x}}\n"
    assert found.at({**STACK, "roles/web/tasks/main.yml": tasks}) == []


def test_a_task_that_needs_the_network_is_fine_if_the_stack_allows_it(found):
    tasks = "- {name: Get it, get_url: {url: x}}\n"
    description = STACK["stack.yml"] + "box: {network: true}\n"
    assert found.at({**STACK, "roles/web/tasks/main.yml": tasks, "stack.yml": description}) == []
