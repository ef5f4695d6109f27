"""A company's stack that shares nothing with the reference: everything works for it, too."""

import json
import shlex
from dataclasses import replace

import pytest

from devvm.adapters.image.nspawn import remove_leftovers
from devvm.stack.folder import StackFolder
from devvm.system import assets
from tests.container import reference
from tests.container.conftest import differences
from tests.container.reference import GUEST, engineer, new_key
from tests.support import acme

pytestmark = pytest.mark.container

NAME = "devvm-test-acme"


_GET = """import ssl, sys, urllib.request
unverified = ssl._create_unverified_context()
print(urllib.request.urlopen(sys.argv[1], context=unverified).read().decode(), end="")
"""


def get(machine, path):
    """What the machine's web server answers."""
    return machine.sh(shlex.join(["python3", "-c", _GET, f"https://localhost{path}"]))


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """The stack, with a password in a vault."""
    folder = acme.copy(tmp_path_factory.mktemp("stacks") / "acme")
    return StackFolder(folder, overlay=assets.overlay())


@pytest.fixture(scope="module")
def host(state, log, stack):
    """A container with the stack as on a host of production."""
    remove_leftovers(NAME)
    with (
        reference.unpacked(GUEST, log, stack) as root,
        reference.booted(root, NAME, log) as booted,
    ):
        machine = replace(
            booted, stack=stack, groups=("production", "web"),
            vault=(acme.identity(stack.root),),
        )  # fmt: skip
        machine.apply("site.yml")
        yield machine


def test_production_has_the_values_of_production(host):
    assert host.sh("cat /etc/motd") == "Acme production\n"
    assert json.loads(get(host, "/shop/")) == {"name": "The shop", "orders": 0}
    assert get(host, "/wiki/") == "The wiki"


def test_its_roles_are_idempotent(host):
    again = host.apply("site.yml")
    assert again.changed == 0, again.tasks


def test_no_password_is_in_the_log(host):
    assert acme.SECRET in host.sh("cat /etc/shop.ini")
    assert acme.SECRET not in host.log.read_text()


@pytest.fixture(scope="module")
def production(host):
    """Production, captured from the container."""
    folder = host.stack.production
    folder.mkdir()
    host.capture(folder / "manifest.yml")
    return folder


def test_what_was_captured_passes(host, production):
    assert differences(host.check(production, packages=host.packages())) == {}


@pytest.fixture(scope="module")
def personal(host, production, tmp_path_factory):
    """The same container as jane's, and the layer of what that adds."""
    host.apply("box.yml", "engineer")
    key = new_key(tmp_path_factory.mktemp("jane") / "key")
    host.apply("personalise.yml", **engineer(key))
    (production / "overlay").mkdir()
    host.capture(production / "overlay/20-engineer.yml", production / "manifest.yml")
    return host


def test_the_engineer_has_a_checkout_of_each_application_which_is_served(personal):
    assert personal.sh("git -C ~/shop log --format=%s", user="jane") == "shop as it was deployed\n"
    assert personal.sh("readlink /srv/shop/current /srv/wiki/current").split() == [
        "/srv/shop/checkout", "/srv/wiki/checkout",
    ]  # fmt: skip
    personal.sh("echo '<?php echo \"edited\";' >/srv/wiki/checkout/index.php", user="jane")
    assert get(personal, "/wiki/") == "edited"
    personal.sh("git -C /srv/wiki/checkout checkout --quiet .", user="jane")


def test_migrations_run_with_the_accounts_of_the_stack(personal, tmp_path):
    personal.sh("cd /tmp; runuser -u postgres -- psql --quiet shop --command 'DROP TABLE orders'")
    key = new_key(tmp_path / "key")
    personal.apply("personalise.yml", **engineer(key))
    assert json.loads(get(personal, "/shop/"))["orders"] == 0


def test_a_drift_is_found_by_the_stacks_own_checks_and_manifest(personal, production):
    assert differences(personal.check(production, "dev", packages=personal.packages())) == {}
    psql = "cd /tmp; runuser -u postgres -- psql --quiet --command"
    personal.sh(f"{psql} 'ALTER ROLE shop SUPERUSER'")
    personal.sh(f"{psql} 'ALTER SYSTEM SET log_connections = on'")
    personal.sh(f"{psql} 'SELECT pg_reload_conf()'")
    personal.sh("sed -i s/max_children.*/max_children=9/ /etc/php/8.2/fpm/pool.d/www.conf")
    personal.sh("sed -i 's/^name = .*/name = \"Another\"/' /etc/shop.ini")
    personal.sh("rm /etc/apache2/mods-enabled/status.load /etc/apache2/mods-enabled/status.conf")
    found = differences(personal.check(production, "dev", packages=personal.packages()))
    assert set(found) >= {
        "apache/modules", "file/etc/apache2/mods-enabled/status.load",
        "file/etc/php/8.2/fpm/pool.d/www.conf", "php-fpm/8.2/www/pm.max_children",
        "postgresql/15/main/log_connections", "postgresql/15/main/role shop",
        "shop/name",
    }  # fmt: skip
    personal.sh(f"{psql} 'ALTER ROLE shop NOSUPERUSER'")
    personal.sh(f"{psql} 'ALTER SYSTEM RESET log_connections'")
    personal.sh(f"{psql} 'SELECT pg_reload_conf()'")
    personal.sh("a2enmod --quiet status")


def test_a_server_that_is_down_is_an_error_of_its_settings(personal, production):
    personal.sh("systemctl stop postgresql@15-main")
    found = differences(personal.check(production, "dev", packages=personal.packages()))
    assert {"unit/postgresql@15-main.service", "http/shop/status"} <= set(found)
    assert found["postgresql/15/main/max_connections"] == (
        "error: not observed: PostgreSQL 15/main is down"
    )


def test_what_has_drifted_is_repaired_by_its_roles(personal, production):
    personal.apply("site.yml")
    assert differences(personal.check(production, "dev", packages=personal.packages())) == {}
