"""`devvm stack ...` and `--stack`: which stack it is, in words and JSON."""

import pytest

from tests.support.reference_stack import REFERENCE
from tests.unit.cli.documented import REPOSITORY, documented_for


@pytest.fixture
def acme(tmp_path):
    folder = tmp_path / "acme"
    for name, text in {
        "stack.yml": "name: acme\ngroups: [web]\n",
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
