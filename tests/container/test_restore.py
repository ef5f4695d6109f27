"""Backups: what is lost is restored, and without a repository there are none."""

import json

import pytest

pytestmark = pytest.mark.container

_ADD = "INSERT INTO about.people (login, name, title, bio, created_at, updated_at)"
_ADA = f"mariadb -e \"{_ADD} VALUES ('ada', 'Ada', 'Engineer', 'Kept.', NOW(), NOW())\""
_LOGINS = "mariadb -BNe 'SELECT login FROM about.people'"


@pytest.fixture(scope="module")
def host(converged, mirrors):
    """The host, with backups to a directory; afterwards as before."""
    machine = converged.machine
    given = {"backup_repository": "/srv/backups", "backup_password": "open sesame"}
    machine.apply("site.yml", "backup", **mirrors, **given)
    yield machine
    machine.apply("site.yml", "backup", **mirrors)
    machine.sh("rm -rf /srv/backups /var/cache/restic /var/backups/databases/*.sql")
    machine.sh("mariadb -e 'DELETE FROM about.people'; systemctl restart memcached")
    machine.sh("rm -f /var/lib/about/media/photos/mine; systemctl daemon-reload")


def test_without_a_repository_there_are_no_backups(converged):
    assert converged.machine.sh("systemctl is-enabled backup.timer || :") == "disabled\n"


def test_what_was_backed_up_is_restored(host):
    host.sh(f"{_ADA}; install --owner=about /dev/null /var/lib/about/media/photos/mine")
    assert host.sh("systemctl is-enabled backup.timer") == "enabled\n"
    host.sh("systemctl start backup.service")
    host.sh("mariadb -e 'DROP TABLE about.people; CREATE TABLE about.later (a INT)'")
    host.sh("rm /var/lib/about/media/photos/mine")
    host.sh("restore-backup")
    assert host.sh(_LOGINS) == "ada\n"
    assert host.sh("mariadb -BNe 'SHOW TABLES FROM about'").split() == ["alembic_version", "people"]
    assert host.sh("stat -c %U /var/lib/about/media/photos/mine") == "about\n"
    assert [person["login"] for person in json.loads(host.get("/people.json"))["people"]] == ["ada"]


def test_only_root_can_read_the_password_and_it_is_not_in_the_log(host):
    assert host.sh("stat -c '%a %U' /etc/backup/environment") == "600 root\n"
    assert "open sesame" in host.sh("cat /etc/backup/environment")
    assert "open sesame" not in host.log.read_text()


def test_a_dump_that_fails_makes_no_backup(host):
    host.sh("systemctl start backup.service")
    count = "restore-backup --list | tail -1"
    before = host.sh(count)
    try:
        host.sh("systemctl stop mariadb")
        assert "failed" in host.sh("systemctl start backup.service || systemctl is-failed backup")
    finally:
        host.sh("systemctl start mariadb; systemctl reset-failed backup.service")
    assert host.sh(count) == before
    assert host.sh("ls /var/backups/databases/*.sql || true") == ""
