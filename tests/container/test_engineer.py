"""The dev overlay: the converged host becomes an engineer's own."""

import json
import re
import subprocess

import pytest
from conftest import differences

from devvm.errors import OperationError

pytestmark = pytest.mark.container

STAMP = {"release": "r1", "devvm": "0", "converged_at": "2026-01-02T03:04:05+00:00"}
CHECKOUT = "/srv/about/checkout"
TEMPLATE = f"{CHECKOUT}/about/templates/base.html"


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    key = tmp_path_factory.mktemp("jane") / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    return key


@pytest.fixture(scope="module")
def variables(key):
    return {
        "engineer_login": "jane",
        "engineer_authorized_keys": [key.with_suffix(".pub").read_text().strip()],
        "engineer_git_name": "Jane Doe",
        "engineer_git_email": "jane@example.com",
        "devvm_stamp": STAMP,
    }


@pytest.fixture(scope="module")
def personal(converged, variables):
    converged.machine.apply("personalise.yml", **variables)
    return converged.machine


@pytest.fixture(scope="module")
def again(personal, variables):
    """What a second run does, after jane has begun to work."""
    personal.sh(f"echo '# idea' >>{CHECKOUT}/about/views.py", user="jane")
    personal.sh(f"echo mine >{CHECKOUT}/notes.txt; echo alias >~/.bashrc", user="jane")
    return personal.apply("personalise.yml", **variables)


def test_a_name_of_the_system_is_refused_before_anything_is_made(converged, variables):
    with pytest.raises(OperationError) as caught:
        converged.machine.apply("personalise.yml", **(variables | {"engineer_login": "redis"}))
    error = caught.value
    assert error.brief == "role engineer, task 'Check what the account is made from' failed"
    assert "engineer_login must be the name of a person's account" in error.details
    assert converged.machine.sh("ls -d /srv/about/checkout /etc/devvm/stamp.json ||:") == ""


def test_the_engineers_key_opens_an_account_with_sudo_and_git_identity(personal, key):
    command = "id -un; sudo -n id -un; git config user.name; git config user.email"
    target = personal.target
    login = ["ssh", "-F", target.ssh_config, "-i", key, "-l", "jane", target.alias, command]
    done = subprocess.run(login, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["jane", "root", "Jane Doe", "jane@example.com"], done


def test_the_stamp_says_what_the_machine_is(personal):
    assert json.loads(personal.sh("cat /etc/devvm/stamp.json")) == STAMP


def test_a_second_run_changes_nothing(again):
    assert again.changed == 0, again.tasks


def test_uncommitted_work_survives_a_second_run(personal, again):
    status = personal.sh(f"git -C {CHECKOUT} status --short", user="jane")
    assert status.splitlines() == [" M about/views.py", "?? notes.txt"]
    assert personal.sh(f"tail -n 1 {CHECKOUT}/about/views.py; cat ~/.bashrc", user="jane") == (
        "# idea\nalias\n"
    )


def test_the_parity_suite_with_the_dev_overlay_passes(personal):
    report = personal.check("dev")
    assert differences(report) == {}
    assert len(report) > 150
    assert {result.role for result in report} >= {"devtools", "engineer", "site", "worker"}


def test_the_sites_own_tests_pass_for_the_engineer(personal):
    command = "cd /srv/about/current && python3 -m pytest -q"
    output = personal.sh(command, user="jane", timeout=300)
    passed = re.search(r"^(\d+) passed", output, re.MULTILINE)
    assert passed, output
    assert int(passed[1]) >= 80
    assert "skipped" not in output


def test_an_edit_in_the_checkout_is_served_at_once(personal):
    personal.sh(f"sed -i 's|</body>|<!-- edited --></body>|' {TEMPLATE}", user="jane")
    look = "curl --silent --insecure https://localhost/ | grep -q '<!-- edited -->'"
    personal.sh(f'timeout 20 sh -c "until {look}; do sleep 0.2; done"')
