"""Collectors of servers that the reference stack doesn't have; `test_other_stack.py` has them."""

import json

import pytest

from devvm.parity.collect.collectors import apache, node, php, postgresql
from devvm.parity.collect.probes import configs

SAID = {
    "settings": {"max_connections": "50", "primary_conninfo": "host=db password=sesame"},
    "roles": {"shop": {"login": True, "superuser": False, "password": "set"}},
    "databases": {"shop": {"owner": "shop", "encoding": "UTF8"}},
    "rules": ["local all postgres peer"],
}


def answering(**answers):
    """Runs no commands: each answers by its program's name."""
    asked = []

    def run(argv, timeout=60, cwd=None):
        asked.append(argv)
        name = next(word for word in argv if "=" not in word and word != "env")
        answer = answers.get(name.rpartition("/")[2].replace("-", "_"), (127, "", "not found"))
        return answer if isinstance(answer, tuple) else (0, answer, "")

    run.asked = asked
    return run


def test_postgresql_is_asked_as_the_owner_of_each_cluster():
    run = answering(
        pg_lsclusters="15 main 5433 online postgres /var/lib/x /var/log/y\n",
        runuser=json.dumps(SAID),
    )
    found = postgresql.collect({}, run)
    assert found["errors"] == {}
    settings = found["postgresql"]
    assert settings["15/main/max_connections"] == {"value": "50"}
    assert settings["15/main/primary_conninfo"].keys() == {"secret"}
    assert settings["15/main/access rules"] == {"rules": ["local all postgres peer"]}
    assert found["postgresql"]["15/main/role shop"]["password"] == "set"
    assert found["postgresql"]["15/main/database shop"]["owner"] == "shop"
    assert run.asked[1][:3] == ["runuser", "-u", "postgres"]
    assert "5433" in run.asked[1]
    assert "sesame" not in json.dumps(found)


@pytest.mark.parametrize(
    ("status", "answer", "why"),
    [
        ("down", "", "PostgreSQL 15/main is down"),
        ("online", (2, "", "psql: error: refused\n"), "psql: error: refused"),
        ("online", "{", "Expecting"),
    ],
)
def test_a_cluster_that_does_not_answer_is_an_error_of_its_own(status, answer, why):
    lines = f"15 main 5432 {status} postgres /a /b\n"
    found = postgresql.collect({}, answering(pg_lsclusters=lines, runuser=answer))
    assert found["postgresql"] == {}
    ((what, said),) = found["errors"].items()
    assert what == "postgresql/15/main/"
    assert why in said


def test_there_need_not_be_any_of_them(monkeypatch, tmp_path):
    monkeypatch.setattr(php, "PROGRAMS", f"{tmp_path}/php-fpm[0-9]*")
    monkeypatch.setattr(apache, "PROGRAM", f"{tmp_path}/apache2ctl")
    monkeypatch.setattr(node, "FOLDERS", (f"{tmp_path}/none",))
    run = answering()
    for collector in (postgresql, php, apache, node):
        found = collector.collect({}, run)
        assert not any(found.get(area) for area in collector.AREAS)
        assert not found.get("errors")


POOLS = """\
[30-Nov-2026 07:20:00] NOTICE: [global]
[30-Nov-2026 07:20:00] NOTICE: \tpid = /run/php/php8.2-fpm.pid
[30-Nov-2026 07:20:00] NOTICE: [www]
[30-Nov-2026 07:20:00] NOTICE: \tpm.max_children = 2
[30-Nov-2026 07:20:00] NOTICE: \tenv[DB_PASSWORD] = sesame
[30-Nov-2026 07:20:00] NOTICE: configuration file /etc/php/8.2/fpm/php-fpm.conf test is successful
"""


@pytest.fixture
def fpm(monkeypatch, tmp_path):
    (tmp_path / "php-fpm8.2").touch()
    monkeypatch.setattr(php, "PROGRAMS", f"{tmp_path}/php-fpm[0-9]*")
    return tmp_path


def test_php_fpm_tells_its_pools_and_its_settings(fpm):
    ini = json.dumps({"memory_limit": "128M", "max_execution_time": "0", "opcache.preload": None})
    run = answering(**{"php_fpm8.2": (0, "", POOLS), "php8.2": ini})
    settings = php.collect({}, run)["php-fpm"]
    assert settings["8.2/global/pid"] == {"value": "/run/php/php8.2-fpm.pid"}
    assert settings["8.2/www/pm.max_children"] == {"value": "2"}
    assert settings["8.2/www/env[DB_PASSWORD]"].keys() == {"secret"}
    assert settings["8.2/ini/memory_limit"] == {"value": "128M"}
    assert settings["8.2/ini/opcache.preload"] == {"value": ""}
    assert "8.2/ini/max_execution_time" not in settings  # the command line's own


def test_php_fpm_without_the_command_line_has_pools_only(fpm):
    settings = php.collect({}, answering(**{"php_fpm8.2": (0, "", POOLS)}))["php-fpm"]
    assert "8.2/www/pm.max_children" in settings
    assert not any("/ini/" in name for name in settings)


def test_a_configuration_that_php_fpm_refuses_is_an_error(fpm):
    found = php.collect({}, answering(**{"php_fpm8.2": (78, "", "ERROR: unknown entry 'x'\n")}))
    assert found["errors"] == {"php-fpm/8.2/": "PHP-FPM 8.2: ERROR: unknown entry 'x'"}


APACHE = """\
VirtualHost configuration:
*:443                  localhost (/etc/apache2/sites-enabled/000-default.conf:5)
*:80                   localhost (/etc/apache2/sites-enabled/000-default.conf:2)
ServerRoot: "/etc/apache2"
Main DocumentRoot: "/var/www/html"
User: name="www-data" id=33
Loaded Modules:
 core_module (static)
 proxy_fcgi_module (shared)
"""


def test_apache_tells_hosts_modules_and_settings(monkeypatch, tmp_path):
    (tmp_path / "apache2ctl").touch()
    monkeypatch.setattr(apache, "PROGRAM", f"{tmp_path}/apache2ctl")
    found = apache.collect({}, answering(apache2ctl=APACHE))["apache"]
    assert found["modules"] == {"modules": ["core", "proxy_fcgi"]}
    assert found["virtual hosts"]["content"].startswith("*:443 ")
    assert found["Main DocumentRoot"] == {"value": "/var/www/html"}
    assert found["User"] == {"value": 'name="www-data" id=33'}
    refused = apache.collect({}, answering(apache2ctl=(1, "", "AH00526: Syntax error\n")))
    assert refused["errors"] == {"apache/": "apache2ctl: AH00526: Syntax error"}


def test_packages_of_node_are_found_with_version(monkeypatch, tmp_path):
    for name, version in (("npm", "9.2.0"), ("@acme/tool", "1.0.1")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "package.json").write_text(json.dumps({"version": version}))
    monkeypatch.setattr(node, "FOLDERS", (str(tmp_path),))
    assert node.collect({}, answering())["node"] == {
        f"npm in {tmp_path}": {"version": "9.2.0"},
        f"@acme/tool in {tmp_path}": {"version": "1.0.1"},
    }


def test_the_newest_of_several_programs_checks_its_configuration(monkeypatch, tmp_path):
    for version in ("7.4", "8.2"):
        (tmp_path / f"php-fpm{version}").touch()
    monkeypatch.setitem(configs.VALIDATORS, "php-fpm", [f"{tmp_path}/php-fpm[0-9]*", "-t"])
    run = answering(**{"php_fpm8.2": ""})
    assert configs.probe({"configs": ["php-fpm"]}, run) == {"php-fpm": None}
    assert run.asked == [[f"{tmp_path}/php-fpm8.2", "-t"]]
    monkeypatch.setitem(configs.VALIDATORS, "php-fpm", [f"{tmp_path}/none[0-9]*", "-t"])
    assert "there is no" in configs.probe({"configs": ["php-fpm"]}, run)["php-fpm"]
