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

    def look_at(files, **more):
        for name, text in files.items():
            if text is not None:
                path = tmp_path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        stack = StackFolder(tmp_path, overlay=assets.overlay())
        return check(stack, RoleDeclarations(stack.root / "roles"), **more)

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


INSTALL = "- {name: Tools, ansible.builtin.apt: {name: %s}}\n"
VARS = STACK["roles/web/vars/main.yml"]


@pytest.mark.parametrize(
    ("names", "more", "said", "needed"),
    [
        ("[apache2, vim-tiny]", {}, "installs vim-tiny, which no role declares", True),
        ("'vim-tiny=2:9.0*'", {}, "installs vim-tiny, which", True),
        ("'{{ tools }}'", {"roles/web/defaults/main.yml": "tools: [zsh]\n"}, "installs zsh,", True),
        ("'{{ tools }}'", {"group_vars/all.yml": "tools: [zsh]\n"}, "installs zsh,", True),
        ("'{{ tools }}'", {"group_vars/development/x.yml": "tools: zsh\n"}, "installs zsh,", True),
        ("'{{ web_packages + tools }}'", {"group_vars/all.yml": "tools: [zsh]\n"}, "zsh,", True),
        ("'{{ tools }}'", {"group_vars/production.yml": "tools: [zsh]\n"}, "", False),
        ("['{{ tools }}', apache2, postgresql-15]", {}, "whose names devvm can't read", False),
        ("'{{ tools }}'", {"group_vars/all.yml": "tools: [apache2]\n"}, "", False),
        ("'{{ tools | list }}'", {}, "", False),  # apache2 is declared and in no task
        ("zsh, state: absent", {}, "", False),
    ],
)
def test_packages_that_no_role_declares_are_said(found, names, more, said, needed):
    findings = found.at({**STACK, "roles/web/tasks/main.yml": INSTALL % names, **more})
    assert [(one.file, one.needed) for one in findings] == [
        ("roles/web/tasks/main.yml", needed)
    ] * bool(said)
    assert said in "".join(one.text for one in findings)
    assert all(one.next.endswith("in web_packages in roles/web/vars/main.yml") for one in findings)


def test_what_the_lock_has_is_in_a_box(found):
    lock = STACK["packages.lock"] + f"tar amd64 1 {64 * 'c'} 9 main other pool/t.deb\n"
    tasks = INSTALL % "tar"
    assert found.at({**STACK, "roles/web/tasks/main.yml": tasks, "packages.lock": lock}) == []


def test_a_role_that_another_one_brings_is_looked_at_and_files_for_other_systems_are_not(found):
    files = {
        "roles/web/meta/main.yml": "dependencies: [{role: more}, {}, 1]\n",
        "roles/more/tasks/main.yml": "- include_role: {}\n- import_role: name=tools\n",
        "roles/more/meta/main.yml": "dependencies: web\n",
        "roles/tools/vars/main.yml": "tools_packages: []\n",
        "roles/tools/tasks/main.yml": INSTALL % "zsh",
        "roles/tools/tasks/setup-RedHat.yml": "- yum: {name: httpd}\n",
    }
    (finding,) = found.at({**STACK, **files})
    assert finding.file == "roles/tools/tasks/main.yml"


def test_a_collection_that_is_not_in_the_stack_is_said(found):
    tasks = "- {name: Swap, ansible.posix.sysctl: {name: vm.swappiness, value: 1}}\n"
    files = {**STACK, "roles/web/tasks/main.yml": tasks + "- {acme.base.x: {}}\n" + tasks}
    (finding,) = found.at(files)
    assert finding.needed
    assert finding.text.startswith("'Swap' needs the collection ansible.posix")
    assert finding.next == "ansible-galaxy collection install ansible.posix -p collections"


@pytest.mark.parametrize(
    "file", ["group_vars/all/vault.yml", "group_vars/web.yml", "roles/web/defaults/main.yml"]
)
def test_values_in_a_vault_need_a_password(found, file):
    files = {**STACK, file: "a: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3031\n"}
    (finding,) = found.at(files)
    assert (finding.file, finding.needed) == (file, True)
    assert "[ansible] vault_identities = " in finding.next
    assert found.at(files, vault_identities=("dev@/etc/devvm/vault-dev",)) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("templates/site.conf.j2", "ssl_certificate /etc/ssl/certs/ssl-cert-snakeoil.pem;\n"),
        ("defaults/main.yml", "web_key: /etc/ssl/private/ssl-cert-snakeoil.key\n"),
    ],
)
def test_who_uses_debians_certificate_is_asked_for(found, file, text):
    files = {**STACK, f"roles/web/{file}": text}
    (finding,) = found.at(files)
    assert (finding.file, finding.needed) == ("roles/web", False)
    assert "tls: {units: [nginx.service]}" in finding.next
    named = STACK["stack.yml"] + "tls: {units: [apache2.service]}\n"
    assert found.at({**files, "stack.yml": named}) == []


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("{command: {cmd: x, creates: /etc/shop/api-token}}", "/etc/shop/api-token"),
        ("{shell: x creates=/var/lib/shop/secret}", "/var/lib/shop/secret"),
        ("{command: x, args: {creates: '{{ web_secret }}'}}", "/etc/web.key"),
        ("{command: {cmd: x, creates: /var/lib/shop/key}}", ""),  # declared
        ("{command: {cmd: x, creates: /etc/ssl/private/site.key}}", ""),  # of tls
        ("{command: {cmd: x, creates: /etc/apt/keyrings/shop.gpg}}", ""),
        ("{command: {cmd: x, creates: /srv/shop/key}}", ""),
    ],
)
def test_a_key_that_a_role_makes_is_a_secret(found, task, said):
    files = {
        "roles/web/tasks/main.yml": f"- {task}\n",
        "roles/web/defaults/main.yml": "web_secret: /etc/web.key\n",
    }
    findings = found.at({**STACK, **files})
    assert [one.needed for one in findings] == [False] * bool(said)
    assert said in "".join(one.text for one in findings)
    assert all("web_secret_paths" in one.next for one in findings)
