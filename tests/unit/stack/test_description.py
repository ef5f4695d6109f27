"""stack.yml: what it may say, and what is said about a bad one."""

import json
from pathlib import Path

import pytest

from devvm.domain.errors import UsageError
from devvm.stack import description, variables
from devvm.stack.description import Description

REPOSITORY = Path(__file__).parents[3]

WHOLE = """\
format: 1
name: acme
groups: [web, db_servers]
applications:
  - name: shop
    checkout:
      path: /srv/shop/checkout
      origin: git@git.acme.test:shop.git
      branch: release/2.x
      serve: /srv/shop/current
      home: shop
    units: [shop.service, "shop-worker@1.service"]
    migrate: {argv: [php, artisan, migrate], account: shop, chdir: /srv/shop/app, changed: Migrated}
  - name: blog
    checkout: {path: /srv/blog, code: /usr/share/blog}
  - name: cron
databases:
  - {name: PostgreSQL, package: postgresql-15}
  - {name: MariaDB, package: mariadb-server, upgrade: {argv: [mariadb-upgrade]},
     export: {argv: [out]}, import: {argv: [in]}, shell: {argv: [mariadb]}}
box: {network: true}
apt:
  components: [main, contrib]
  repositories:
    - {name: php, uri: "https://php.test/apt/", suite: stable/updates, components: [main, a/b],
       key: roles/php/files/php.asc}
    - {name: flat, uri: "http://[::1]:80", suite: ./, key: roles/a.b/files/x/flat.gpg}
reserved_logins: [shop, _blog]
known_hosts: ["git.acme.test ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ"]
welcome: ["https://{host}/"]
"""


def repository(**changes):
    """A stack.yml with a repository."""
    keys = {
        "name": "a", "uri": "http://a.test", "suite": "b", "components": "[main]",
        "key": "roles/a/files/a.asc",
    }  # fmt: skip
    text = ", ".join(f"{key}: {value}" for key, value in {**keys, **changes}.items())
    return f"apt: {{repositories: [{{{text}}}]}}\n"


def load(tmp_path, text):
    file = tmp_path / "stack.yml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return description.load(file)


def test_everything_in_it_is_read(tmp_path):
    found = load(tmp_path, WHOLE)
    assert found.name == "acme"
    assert [one.name for one in found.applications] == ["shop", "blog", "cron"]
    assert found.applications[0].checkout.branch == "release/2.x"
    assert found.databases[1].upgrade.argv == ("mariadb-upgrade",)
    assert found.apt.components == ("main", "contrib")
    assert [one.uri for one in found.apt.repositories] == [
        "https://php.test/apt",
        "http://[::1]:80",
    ]
    assert found.databases[1].import_.argv == ("in",)
    assert found.databases[1].sanitize is None


@pytest.mark.parametrize("text", ["", "---\n", "# nothing yet\n"])
def test_everything_has_a_default(tmp_path, text):
    assert load(tmp_path, text) == Description()


def test_there_need_not_be_one(tmp_path):
    assert description.load(tmp_path / "stack.yml") == Description()


@pytest.mark.parametrize(
    ("text", "brief", "details"),
    [
        ("nmae: acme\n", "nmae: unknown key", "did you mean name?"),
        ("xyz: 1\n", "xyz: unknown key", "the keys here are: format, name, groups"),
        ("applications: [{name: a, chekout: {}}]\n", "applications.0.chekout", "mean checkout?"),
        ("applications: [{name: a, checkout: {path: /a, cod: /b}}]\n", "checkout.cod", "code?"),
        ("applications: [{}]\n", "applications.0.name: missing", "required"),
        ("applications: [{name: a}, {name: a}]\n", "bad value", "two applications have the name a"),
        ("applications: [{name: A B}]\n", "applications.0.name: bad value", "A B"),
        ("applications: [{name: a, checkout: {path: /a}}]\n", "applications.0.checkout", "origin"),
        ("applications: [{name: a, checkout: {path: a, code: /b}}]\n", "checkout.path", "absolute"),
        ("applications: [{name: a, checkout: {path: /a/../b, code: /b}}]\n", ".path", "absolute"),
        ("applications: [{name: a, checkout: {path: '/a b', code: /b}}]\n", ".path", "absolute"),
        ("applications: [{name: a, checkout: {path: /a, origin: --x}}]\n", "checkout", "--x"),
        ("applications: [{name: a, checkout: {path: /a, origin: 'ext::sh'}}]\n", "out", "git@HOST"),
        ("applications: [{name: a, checkout: {path: /a, origin: 'http://a/b'}}]\n", "out", "https"),
        ("known_hosts: [git.acme.test]\n", "known_hosts.0", "such as: git.acme.test ssh-ed25519"),
        ("applications: [{name: a, checkout: {path: /a, code: /b, branch: -f}}]\n", "out", "-f"),
        ("applications: [{name: a, checkout: {path: /a, code: /b, home: ../x}}]\n", "home", "x"),
        ("applications: [{name: a, units: [a.txt]}]\n", "applications.0.units.0", "a.txt"),
        ("applications: [{name: a, units: ['--now.service ']}]\n", "units.0", "--now"),
        ("databases: [{name: M, package: mm, upgrade: {argv: mariadb-upgrade}}]\n", "argv", "list"),
        ("databases: [{name: M, package: mm, upgrade: {argv: []}}]\n", "argv", "at least 1"),
        ("databases: [{name: M, package: 'a b'}]\n", "databases.0.package", "a b"),
        ("box: {network: maybe}\n", "box.network: bad value", "maybe"),
        ("apt: {components: [contrib]}\n", "apt: bad value", "no Debian without"),
        ("apt: {components: [main, extra]}\n", "apt.components.1", "extra"),
        (repository(name="security"), "repositories.0: bad value", "archive of Debian's"),
        (repository(name="A"), "repositories.0.name", "A"),
        (repository(uri="ftp://a/b"), "repositories.0.uri", "https://HOST/PATH"),
        (repository(uri="http://a/ b"), "repositories.0.uri", "https://HOST/PATH"),
        (repository(uri="http://me:secret@a/b"), ".uri", "set box.repository_mirrors"),
        (repository(suite="../x"), "repositories.0.suite", "../x"),
        (repository(suite="x y"), "repositories.0.suite", "x y"),
        (repository(suite="./"), "repositories.0", "a flat repository, which has no components"),
        (repository(components="[]"), "repositories.0", "name the components of a"),
        (repository(components="['a b']"), "repositories.0.components.0", "a b"),
        (repository(key="/etc/key.asc"), "repositories.0.key", "the path of a file below roles"),
        (repository(key="roles/../key.asc"), "repositories.0.key", "a file below roles"),
        (repository(key="production/key.asc"), "repositories.0.key", "a file below roles"),
        (
            repository().replace("[{", "[{name: a, uri: 'http://a', suite: ./, key: roles/a}, {"),
            "apt: bad value",
            "two repositories have the name a",
        ),
        ("databases: [{name: M, package: mm, exprot: {}}]\n", "0.exprot", "mean export?"),
        (
            "databases: [{name: M, package: mm, import: {argv: [m], agv: 1}}]\n",
            "import.agv",
            "mean argv?",
        ),
        ("databases: [{name: M, package: mm, import: {argv: [m]}}]\n", "databases.0", "`export`"),
        ("databases: [{name: M, package: mm, sanitize: {argv: [m]}}]\n", "bases.0", "`import`"),
        ("databases: [{name: M, package: mm}, {name: m, package: m2}]\n", "bad", "the name m"),
        ("features: [mial]\n", "features.0: bad value", "did you mean mail?"),
        ("features: [x]\n", "features.0: bad value", "there are: mail, pages"),
        ("format: 2\n", "format: bad value", "2"),
        ("groups: [a-b]\n", "groups.0", "a-b"),
        ("reserved_logins: [Root]\n", "reserved_logins.0", "Root"),
        ("name: 7\n", "name: bad value", "7"),
        ("- name\n", "it must be a mapping", "name: acme"),
        ("name: [\n", "it is not YAML", "line 2"),
        (b"\xff\xfe", "it can't be read", "utf-8"),
    ],
)
def test_a_bad_one_is_said_in_one_line_with_its_key(tmp_path, text, brief, details):
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text)
    error = caught.value
    assert error.brief.startswith(f"{tmp_path / 'stack.yml'}: ")
    assert brief in error.brief
    assert details in error.details
    assert "\n" not in error.brief + error.details
    assert error.resolution == f"fix {tmp_path / 'stack.yml'}"


def test_a_folder_in_its_place_is_said(tmp_path):
    (tmp_path / "stack.yml").mkdir()
    with pytest.raises(UsageError, match="can't be read"):
        description.load(tmp_path / "stack.yml")


@pytest.mark.parametrize(
    ("features", "on", "off"),
    [
        ("[]", (), {"mail_catcher", "vm_pages"}),
        ("[pages]", ("vm_pages",), {"mail_catcher"}),
        ("[pages, mail]", ("vm_pages", "mail_catcher"), set()),
        ("[mail]", ("vm_pages", "mail_catcher"), set()),
    ],
)
def test_features_are_roles_of_devvms(tmp_path, features, on, off):
    found = load(tmp_path, f"features: {features}\n")
    assert (found.feature_roles, found.roles_off) == (on, off)
    assert variables.of(found)["devvm_features"] == list(on)


def test_devvms_roles_get_what_it_says(tmp_path):
    found = variables.of(load(tmp_path, WHOLE))
    shop, blog = found["engineer_checkouts"]
    assert (shop["name"], shop["units"]) == ("shop", ["shop.service", "shop-worker@1.service"])
    assert (blog["code"], blog["origin"], blog["branch"]) == ("/usr/share/blog", None, "main")
    assert [one["name"] for one in found["engineer_data_upgrades"]] == [
        "Upgrade the files of MariaDB", "Migrate the data of shop",
    ]  # fmt: skip
    assert found["engineer_data_upgrades"][0]["account"] == "root"
    assert found["engineer_known_hosts"] == ["git.acme.test ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ"]
    assert found["vm_pages_stack"]["databases"] == ["MariaDB"]
    assert found["engineer_reserved_logins"] == ["shop", "_blog"]
    assert json.loads(json.dumps(found)) == found


def test_the_published_schema_is_that_of_the_code():
    published = json.loads((REPOSITORY / "docs/stack.schema.json").read_text())
    assert published == description.schema()


def test_the_document_names_every_key():
    text = (REPOSITORY / "docs/stacks.md").read_text()

    def keys(schema):
        for name, one in schema.get("properties", {}).items():
            yield name
            yield from keys(one)
        for one in schema.get("$defs", {}).values():
            yield from keys(one)

    assert [key for key in keys(description.schema()) if f"`{key}`" not in text] == []
