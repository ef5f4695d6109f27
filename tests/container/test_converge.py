"""The production playbook on a host that has Debian's packages and nothing of devvm's."""

import shlex

import pytest

from devvm.parity.production import manifest
from tests.container.conftest import differences
from tests.container.reference import OVERLAY, declared
from tests.support.reference_stack import REFERENCE

pytestmark = pytest.mark.container


def test_the_roles_configure_a_plain_debian_host(converged):
    assert converged.first.ok > 80
    assert {task["role"] for task in converged.first.tasks} >= {
        "base", "mariadb", "memcached", "redis", "nginx", "site", "worker", "metrics",
        "backup",
    }  # fmt: skip


def test_a_second_run_changes_nothing(converged, mirrors):
    again = converged.machine.apply("site.yml", **mirrors)
    assert again.changed == 0, again.tasks
    assert again.ok > 60


def test_the_shipped_manifest_is_current(converged, production):
    """The shipped manifest describes this host.

    Except for what comes with packages that Debian's mirrors have updated since, as far as dpkg
    proves it. Updates therefore neither fail this test nor require a new manifest.
    """
    machine = converged.machine
    report = machine.check(REFERENCE.production, packages=machine.packages())
    assert differences(report) == {}, "bin/test reference captures it anew"
    assert len(report) >= 2000
    shipped, found = (
        manifest.load(folder / "manifest.yml") for folder in (REFERENCE.production, production)
    )
    assert found.varies == shipped.varies
    then, now = shipped.areas["package"], found.areas["package"]
    assert {*declared(OVERLAY)} <= then.keys()
    if all(now[name]["version"] == then[name]["version"] for name in then.keys() & now.keys()):
        assert then.keys() == now.keys()  # no package moved, so only roles can have changed this


def test_the_parity_suite_passes(converged, production):
    report = converged.machine.check(production)
    assert differences(report) == {}
    assert len(report) >= 2000
    assert {result.role for result in report} == {
        "base", "mariadb", "memcached", "redis", "nginx", "site", "worker", "metrics",
        "backup",
    }  # fmt: skip


def test_nothing_of_the_dev_overlay_is_there(converged):
    found = converged.machine.sh("ls -d /etc/devvm /data /usr/lib/devvm /srv/about/checkout ||:")
    assert found == ""


#: Prints the answers to a visitor who guesses, forges headers, and signs in at last.
VISITOR = """
import base64, http.client, ssl

tls = ssl._create_unverified_context()
forged = {"X-Remote-User": "mallory", "X_Remote_User": "mallory"}

def ask(path, account="", cookie=""):
    connection = http.client.HTTPSConnection("localhost", context=tls)
    basic = {"Authorization": "Basic " + base64.b64encode(account.encode()).decode()}
    headers = forged | (basic if account else {}) | ({"Cookie": cookie} if cookie else {})
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    print(answer.status, answer.getheader("Location"))
    return answer, answer.read().decode()

ask("/login?next=/add")
ask("/login?next=/add", "ada:guess")
ask("/add", "ada:secret")
answer, _ = ask("/login?next=/add", "ada:secret")
_, page = ask("/add", cookie=answer.getheader("Set-Cookie").partition(";")[0])
print("<span>ada</span>" in page, "mallory" in page)
"""


def test_only_who_gave_nginx_a_password_may_edit(converged):
    """Neither a header of the client's counts, nor a password where nginx doesn't ask for one."""
    sh = converged.machine.sh
    file = "/etc/nginx/site.htpasswd"
    assert sh(f"stat -c '%U:%G %a' {file}") == "root:www-data 640\n"
    sh(f"cp --preserve=all {file} /root/kept; echo ada:$(openssl passwd -6 secret) >>{file}")
    try:
        answers = sh(f"python3 -c {shlex.quote(VISITOR)}")
    finally:
        sh(f"mv /root/kept {file}")
    assert answers.splitlines() == [
        "401 None", "401 None", "303 /login?next=%2Fadd", "303 /add", "200 None", "True False"
    ]  # fmt: skip
