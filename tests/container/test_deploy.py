"""Deploys to a host that serves: what is only looked at, and what fails, changes nothing."""

import re
import shlex
import shutil
from dataclasses import replace

import pytest

from devvm.domain.errors import OperationError
from devvm.stack.folder import StackFolder
from tests.container.conftest import differences
from tests.support.reference_stack import REFERENCE

pytestmark = pytest.mark.container

#: All that a deploy could touch: files with their times, links, processes, the schema.
_LOOK = r"""
find /etc /srv /usr/local /var/lib/about /var/spool/cron -xdev -printf '%p %l %m %u %s %T@\n' | sort
systemctl show -P MainPID about about-worker nginx mariadb redis-server memcached
mariadb -BNe 'SELECT version_num FROM about.alembic_version'
"""
#: What follows the newest migration, and fails half way.
_MIGRATION = '''"""Let people say their pronouns."""

import sqlalchemy as sa
from alembic import op

revision = "{new}"
down_revision = "{old}"


def upgrade():
    op.add_column("people", sa.Column("pronouns", sa.String(32), nullable=True))
    op.execute("nonsense")
'''
_DROP = "mariadb about -e 'ALTER TABLE people DROP COLUMN IF EXISTS pronouns'"


@pytest.fixture
def changed(converged, tmp_path):
    """The host, and a stack for it with other code: its migration fails half way."""
    for part in ("checks", "group_vars", "playbooks", "roles"):
        shutil.copytree(REFERENCE.root / part, tmp_path / part)
    shutil.copy(REFERENCE.root / "stack.yml", tmp_path)
    site = tmp_path / "roles/site/files/about"
    people = (site / "about/people.py").read_text()
    old = re.search(r'REVISION = "(\d+)"', people)[1]
    new = f"{int(old) + 1:04}"
    (site / "about/people.py").write_text(people.replace(f'"{old}"', f'"{new}"'))
    migration = site / f"migrations/versions/{new}_add_pronouns.py"
    migration.write_text(_MIGRATION.format(old=old, new=new))
    return replace(converged.machine, stack=StackFolder(tmp_path, overlay=REFERENCE.overlay))


def test_check_mode_tells_what_a_deploy_would_change_and_changes_nothing(changed, mirrors):
    before = changed.sh(_LOOK)
    said = changed.plan("site.yml", site_list_cache_seconds=30, redis_maxmemory="64mb", **mirrors)
    assert changed.sh(_LOOK) == before
    assert "-list_cache_seconds = 60\n+list_cache_seconds = 30" in said.text
    assert "-maxmemory 128mb\n+maxmemory 64mb" in said.text
    assert said.failed == 0
    assert said.changes == (
        "redis : Configure the queue server",
        "site : Create the directory of this release",
        "site : Configure the application and its service",
        "site : Link to this release",
        "redis : Restart redis",
        "site : Restart the site",
    ), said.text


def test_a_migration_that_fails_leaves_the_old_release_running_as_it_was(
    changed, production, mirrors
):
    before, health = changed.sh(_LOOK), changed.get("/healthz")
    releases = set(changed.sh("ls /srv/about/releases").split())
    try:
        with pytest.raises(OperationError) as caught:
            changed.apply("site.yml", "site", site_list_cache_seconds=30, **mirrors)
        assert "Migrate the database with this release's code" in caught.value.brief
        assert "nonsense" in caught.value.details
        added = set(changed.sh("ls /srv/about/releases").split()) - releases
        assert len(added) == 1
        assert changed.get("/healthz") == health
        changed.sh(f"rm -r /srv/about/releases/{added.pop()}; {_DROP}")
        changed.sh("touch --date='@$when' /srv/about/releases".replace("$when", time_of(before)))
        assert changed.sh(_LOOK) == before
    finally:
        changed.sh(_DROP)
    assert differences(changed.check(production)) == {}


def time_of(look):
    """When the folder of releases was changed."""
    return next(li for li in look.splitlines() if li.startswith("/srv/about/releases ")).split()[-1]


#: As a balancer on this host, for one client: five requests, and one to another server.
_ASK = """
import ssl, urllib.error, urllib.request
context = ssl._create_unverified_context()
header = {"X-Forwarded-For": "203.0.113.7"}
def ask(url):
    try:
        request = urllib.request.Request(url, headers=header)
        return urllib.request.urlopen(request, context=context).status
    except urllib.error.HTTPError as error:
        return error.code
print(*[ask("https://127.0.0.1/people.json") for _ in range(5)], ask("https://127.0.0.1/teapot"))
print(urllib.request.urlopen("http://127.0.0.1:8082/").read().decode())
"""
OTHER_SETTINGS = {
    "nginx_real_ip_from": ["127.0.0.1", "10.0.0.0/8"],
    "nginx_rate_limit": "1r/m",
    "nginx_rate_limit_burst": 2,
    "nginx_settings": {"log_not_found": "off", "variables_hash_max_size": 2048},
    "nginx_locations": ["location = /teapot {\n    return 418;\n}\n"],
    "nginx_servers": ["server {\n    listen 127.0.0.1:8082;\n    return 200 other;\n}\n"],
    "redis_settings": {
        "hz": 20,
        "client-output-buffer-limit": ["normal 0 0 0", "pubsub 1mb 1mb 9"],
    },
}


@pytest.fixture
def other(converged, mirrors):
    """The host, with settings that the roles have no variables for."""
    converged.machine.apply("site.yml", "nginx", "redis", **mirrors, **OTHER_SETTINGS)
    yield converged.machine
    converged.machine.apply("site.yml", "nginx", "redis", **mirrors)


def test_servers_take_other_settings(other):
    statuses, reply = other.sh(shlex.join(["python3", "-c", _ASK])).splitlines()
    assert statuses == "200 200 200 429 429 418"
    assert reply == "other"
    assert "203.0.113.7 " in other.sh("tail -n 2 /var/log/nginx/access.log")
    ask = "redis-cli -s /run/redis/redis-server.sock config get"
    assert other.sh(f"{ask} hz").split() == ["hz", "20"]
    assert "pubsub 1048576 1048576 9" in other.sh(f"{ask} client-output-buffer-limit")


def test_only_the_applications_group_gets_to_redis(converged):
    ping = "redis-cli -s /run/redis/redis-server.sock ping"
    assert converged.machine.sh(ping, user="about") == "PONG\n"
    assert "Permission denied" in converged.machine.sh(f"{ping} 2>&1 ||:", user="www-data")
    assert "6379" not in converged.machine.sh("ss -Hltn")


def test_without_a_password_none_is_kept(converged, production):
    assert converged.machine.sh("ls /etc/about") == "about.toml\n"
    assert differences(converged.machine.check(production)) == {}
