"""`devvm stack ...` and `--stack`: which stack it is, in words and JSON."""

import pytest

from tests.support.reference_stack import REFERENCE
from tests.unit.cli.documented import REPOSITORY, documented_for

KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmAEE\n-----END PGP PUBLIC KEY BLOCK-----\n"


@pytest.fixture
def acme(tmp_path):
    folder = tmp_path / "acme"
    for name, text in {
        "stack.yml": "name: acme\ngroups: [web]\napt: {repositories: [{name: php, suite: ./, "
        "uri: 'https://php.test', key: roles/apache/files/php.asc}]}\n",
        "roles/apache/files/php.asc": KEY,
        "playbooks/site.yml": "- {hosts: all, roles: [apache]}\n",
        "roles/apache/vars/main.yml": "apache_packages: [apache2]\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_the_reference_stack_is_shown_where_no_other_is_named(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = cli("stack", "show", "--json").json
    assert set(found) == documented_for("stack show")
    assert found["folder"] == str(REPOSITORY)
    assert found["content"] == REFERENCE.content()
    assert found["roles"][:2] == ["base", "mariadb"]
    assert found["secret_paths"] == ["/var/lib/about/secret_key"]
    assert "Databases      MariaDB (mariadb-server)" in cli("stack", "show").stdout


def test_a_stack_is_taken_by_option_by_setting_or_where_one_stands(
    cli, acme, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert cli("--stack", str(acme), "stack", "show", "--json").json["folder"] == str(acme)
    assert cli("--stack", "acme", "stack", "show", "--json").json["folder"] == str(acme)
    monkeypatch.chdir(acme / "roles")
    assert cli("stack", "show", "--json").json["folder"] == str(acme)
    assert cli("config", "show", "--json").code == 0
    monkeypatch.chdir(tmp_path)
    settings = tmp_path / "config.toml"
    settings.write_text(f'stack_dir = "{acme}"\n')
    monkeypatch.setenv("DEVVM_CONFIG", str(settings))
    shown = cli("stack", "show")
    assert "The stack acme" in shown.stdout
    assert "Groups         development, web" in shown.stdout
    assert "Packages       Debian (main), php (https://php.test)\n" in shown.stdout
    monkeypatch.chdir(REPOSITORY)
    assert cli("stack", "show", "--json").json["folder"] == str(REPOSITORY)


def test_a_stack_that_is_none_is_said(cli, tmp_path):
    done = cli("--stack", str(tmp_path / "none"), "stack", "show")
    assert done.code == 2
    assert "is not the folder of a stack\n  it doesn't exist\n" in done.stderr
    done = cli("--stack", str(tmp_path / "none"), "stack", "show", "--json")
    assert (done.code, done.json["error"]["code"]) == (2, "usage")


def test_what_is_missing_is_listed_and_the_needed_first(cli, acme):
    (acme / "roles/apache/tasks").mkdir()
    (acme / "playbooks/site.yml").write_text("- {hosts: all, roles: [apache, php]}\n")
    done = cli("--stack", str(acme), "stack", "check")
    assert done.code == 3
    assert done.stdout.startswith("playbooks/site.yml: there is no role php\n  Next: add roles/php")
    assert "production/manifest.yml: there is none" in done.stdout
    assert done.stdout.endswith("1 thing to do before a box can be built\n")
    (acme / "playbooks/site.yml").write_text("- {hosts: all, roles: [apache]}\n")
    found = cli("--stack", str(acme), "stack", "check", "--json")
    assert (found.code, set(found.json)) == (0, {"folder", "findings"})
    assert all(not one["needed"] for one in found.json["findings"])
    assert {"folder", "findings", *found.json["findings"][0]} == documented_for("stack check")


def test_a_new_stack_is_made_and_shown(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = cli("stack", "init", "acme")
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout == (
        f"Made {tmp_path / 'acme'}. Next: devvm --stack {tmp_path / 'acme'} stack check\n"
    )
    checked = cli("--stack", "acme", "stack", "check")
    assert checked.code == 0
    assert checked.stdout.endswith("Nothing has to be done first. Next: devvm box build\n")
    again = cli("stack", "init", "acme")
    assert again.code == 2
    assert "is not empty" in again.stderr


def test_one_from_a_repository_says_what_is_left(cli, acme, tmp_path):
    (acme / "roles/apache/tasks").mkdir()
    tasks = "- {name: Apache, apt: {name: [apache2, '{{ more }}']}}\n- {get_url: {url: x}}\n"
    (acme / "roles/apache/tasks/main.yml").write_text(tasks)
    argv = ("stack", "init", str(tmp_path / "new"), "--from", str(acme))
    said = cli(*argv).stdout
    assert "playbooks/site.yml: 1 role, which install 1 package\n  apache: apache2\n" in said
    assert "Left for you:\n  apache: list what 'Apache' installs in apache_packages\n" in said
    found = cli(*argv[:2], str(tmp_path / "other"), *argv[3:], "--json").json
    assert set(found) == documented_for("stack init")
    assert found["packages"] == {"apache": ["apache2"]}
