"""The playbook of production, on a host that has Debian's packages and nothing of devvm."""

import pytest
from conftest import differences

pytestmark = pytest.mark.container


def test_the_roles_configure_a_plain_debian_host(converged):
    assert converged.first.ok > 80
    assert {task["role"] for task in converged.first.tasks} >= {
        "base", "mariadb", "memcached", "redis", "nginx", "site", "worker", "metrics"
    }  # fmt: skip


def test_a_second_run_changes_nothing(converged, mirrors):
    again = converged.machine.apply("site.yml", **mirrors)
    assert again.changed == 0, again.tasks
    assert again.ok > 60


def test_the_parity_suite_passes(converged):
    report = converged.machine.check()
    assert differences(report) == {}
    assert len(report) >= 160
    assert {result.role for result in report} == {
        "base", "mariadb", "memcached", "redis", "nginx", "site", "worker", "metrics"
    }  # fmt: skip


def test_nothing_of_the_dev_overlay_is_there(converged):
    found = converged.machine.sh("ls -d /etc/devvm /data /usr/lib/devvm /srv/about/checkout ||:")
    assert found == ""
