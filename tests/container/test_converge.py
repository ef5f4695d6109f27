"""The playbook of production, on a host that has Debian's packages and nothing of devvm."""

import pytest

from devvm import assets
from devvm.parity import capture, manifest
from tests.container.conftest import differences

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


def test_the_shipped_manifest_is_current(production):
    """Captured here and now, it is what the repository has.

    But for what the roles don't decide: the versions that Debian's mirrors have today, and what a
    container has of its host's kernel.
    """
    shipped = manifest.load(assets.production() / "manifest.yml")
    found = manifest.load(production / "manifest.yml")
    differing = capture.over(shipped, found).areas
    decided = {
        f"{area}/{item}": facts
        for area, items in differing.items()
        for item, facts in items.items()
        if area != "package" or facts is None or item not in shipped.areas["package"]
        if area != "sysctl" or "configured" in (facts or shipped.areas[area].get(item) or ())
    }
    assert decided == {}, "bin/test reference captures it anew"
    assert found.varies == shipped.varies


def test_the_parity_suite_passes(converged, production):
    report = converged.machine.check(production)
    assert differences(report) == {}
    assert len(report) >= 2000
    assert {result.role for result in report} == {
        "base", "mariadb", "memcached", "redis", "nginx", "site", "worker", "metrics"
    }  # fmt: skip


def test_nothing_of_the_dev_overlay_is_there(converged):
    found = converged.machine.sh("ls -d /etc/devvm /data /usr/lib/devvm /srv/about/checkout ||:")
    assert found == ""
