"""The dev overlay: the converged host becomes an engineer's."""

import json
import re
import shlex
import subprocess

import pytest

from devvm.domain.errors import OperationError, UsageError
from devvm.operations.vm import access, dumps
from tests.container.as_vm import Session, as_vm, wait_for
from tests.container.conftest import differences
from tests.container.reference import engineer, new_key, stamp

pytestmark = pytest.mark.container

CHECKOUT = "/srv/about/checkout"
PEOPLE = "mariadb about --batch --execute 'SELECT login, name, title, bio, photo FROM people'"
TEMPLATE = f"{CHECKOUT}/about/templates/base.html"


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    key = tmp_path_factory.mktemp("jane") / "id_ed25519"
    new_key(key)
    return key


@pytest.fixture(scope="module")
def variables(key):
    return engineer(key.with_suffix(".pub").read_text().strip())


@pytest.fixture(scope="module")
def personal(development, variables):
    development.apply("personalise.yml", **variables)
    return development


@pytest.fixture(scope="module")
def again(personal, variables):
    """The result of a second run, after jane has begun to work."""
    personal.sh(f"echo '# idea' >>{CHECKOUT}/about/views.py", user="jane")
    personal.sh(f"echo mine >{CHECKOUT}/notes.txt; echo alias >~/.bashrc", user="jane")
    return personal.apply("personalise.yml", **variables)


def test_a_name_of_the_system_is_refused_before_anything_is_made(development, variables):
    with pytest.raises(OperationError) as caught:
        development.apply("personalise.yml", **(variables | {"engineer_login": "redis"}))
    error = caught.value
    assert error.brief == "role engineer, task 'Check the variables' failed"
    assert "engineer_login must be the name of a person's account" in error.details
    assert development.sh("ls -d /srv/about/checkout /etc/devvm/stamp.json ||:") == ""


def test_the_engineers_key_opens_an_account_with_sudo_and_git_identity(personal, key):
    command = "id -un; sudo -n id -un; git config user.name; git config user.email"
    target = personal.target
    login = ["ssh", "-F", target.ssh_config, "-i", key, "-l", "jane", target.alias, command]
    done = subprocess.run(login, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["jane", "root", "Jane Doe", "jane@example.com"], done


def test_the_stamp_says_what_the_machine_is(personal):
    assert json.loads(personal.sh("cat /etc/devvm/stamp.json")) == stamp()


def test_a_second_run_changes_nothing(again):
    assert again.changed == 0, again.tasks


def test_uncommitted_work_survives_a_second_run(personal, again):
    status = personal.sh(f"git -C {CHECKOUT} status --short", user="jane")
    assert status.splitlines() == [" M about/views.py", "?? notes.txt"]
    assert personal.sh(f"tail -n 1 {CHECKOUT}/about/views.py; cat ~/.bashrc", user="jane") == (
        "# idea\nalias\n"
    )


def test_the_parity_suite_with_the_dev_overlay_passes(personal, production):
    report = personal.check(production, "dev", packages=personal.packages())
    assert differences(report) == {}
    assert len(report) > 2000
    assert {result.role for result in report} >= {"base", "site", "worker"}


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


def test_the_program_says_what_it_would_do_and_does_what_is_left(personal, variables):
    own = {key: value for key, value in variables.items() if key != "devvm_stamp"}
    given = shlex.quote(json.dumps(own))
    run = f"printf %s {given} | /usr/lib/devvm/personalise"
    assert json.loads(personal.sh(run)) == {"changed": []}
    personal.sh("rm ~jane/.gitconfig; ln -sfn /srv/about/app /srv/about/current")
    left = ["Create .gitconfig", "Serve the checkout of about", "Restart about"]
    assert json.loads(personal.sh(f"{run} --check")) == {"changed": left}
    assert (
        personal.sh("readlink /srv/about/current; ls -A ~jane").splitlines()[0] == "/srv/about/app"
    )
    assert json.loads(personal.sh(run)) == {"changed": left}
    assert json.loads(personal.sh(run)) == {"changed": []}
    assert personal.sh("stat -c '%U %a' ~jane/.gitconfig ~jane/.ssh/authorized_keys").split() == [
        "jane", "644", "jane", "600",
    ]  # fmt: skip


def test_a_machine_that_boots_becomes_its_engineers_by_what_is_on_the_data_disk(
    personal, variables
):
    own = {key: value for key, value in variables.items() if key != "devvm_stamp"}
    given = shlex.quote(json.dumps(own | {"engineer_authorized_keys": ["ssh-ed25519 AAAA new"]}))
    personal.sh(f"mkdir -p /data/identity; printf %s {given} >/data/identity/engineer.json")
    before = personal.sh("systemctl show about.service -P ExecMainStartTimestamp")
    done = json.loads(personal.sh("/usr/lib/devvm/personalise --boot"))
    assert done == {"changed": ["Install the authorized keys"]}
    assert personal.sh("cat ~jane/.ssh/authorized_keys") == "ssh-ed25519 AAAA new\n"
    assert personal.sh("systemctl show about.service -P ExecMainStartTimestamp") == before
    personal.sh("rm -r /data")


def test_their_own_files_replace_only_those_that_every_account_gets(personal, variables):
    files = {
        ".bashrc": {"text": "mine\n", "mode": 0o644},
        ".profile": {"text": "mine\n", "mode": 0o600},
        "bin/tool": {"text": "#!/bin/sh\n", "mode": 0o755},
    }
    given = shlex.quote(json.dumps(variables | {"engineer_files": files}))
    run = f"printf %s {given} | /usr/lib/devvm/personalise"
    personal.sh("cp /etc/skel/.profile ~jane/.profile; chown jane: ~jane/.profile")
    changed = json.loads(personal.sh(run))["changed"]
    assert [one for one in changed if one.startswith("Create ")] == [
        "Create .profile", "Create bin/tool",
    ]  # fmt: skip
    assert json.loads(personal.sh(run)) == {"changed": []}
    look = "cd; cat .profile .bashrc; stat -c '%U %a' .profile bin/tool"
    assert personal.sh(look, user="jane") == "mine\nalias\njane 600\njane 755\n"
    personal.sh("rm -r ~jane/bin; cp /etc/skel/.profile ~jane/.profile")
    bad = shlex.quote(json.dumps(variables | {"engineer_files": {"../x": files[".bashrc"]}}))
    said = personal.sh(f"printf %s {bad} | /usr/lib/devvm/personalise 2>&1 ||:")
    assert said == "'../x' is not a file in the home directory\n"


def test_a_shell_that_the_machine_lacks_locks_nobody_out(personal, variables):
    for shell, has in (("/bin/dash", "/bin/dash"), ("/usr/bin/zsh", "/bin/bash")):
        given = shlex.quote(json.dumps(variables | {"engineer_shell": shell}))
        personal.sh(f"printf %s {given} | /usr/lib/devvm/personalise")
        assert personal.sh("getent passwd jane | cut -d: -f7").strip() == has


@pytest.mark.parametrize(
    "harm",
    ["chmod 777 ~jane/.ssh", "chmod 644 ~jane/.ssh/authorized_keys",
     "chown root ~jane/.ssh/authorized_keys", "chown root: ~jane/.ssh",
     "rm ~jane/.ssh/authorized_keys; mkfifo ~jane/.ssh/authorized_keys"],
)  # fmt: skip
def test_keys_that_sshd_would_refuse_are_installed_again(personal, variables, harm):
    given = shlex.quote(json.dumps(variables))
    run = f"printf %s {given} | timeout 20 /usr/lib/devvm/personalise"
    personal.sh(f"{run}; {harm}")
    assert json.loads(personal.sh(run)) == {"changed": ["Install the authorized keys"]}
    assert json.loads(personal.sh(run)) == {"changed": []}
    listed = personal.sh("stat -c '%U %a' ~jane/.ssh ~jane/.ssh/authorized_keys")
    assert listed.splitlines() == ["jane 700", "jane 600"]


def test_the_system_s_accounts_and_bad_names_are_refused(personal, variables):
    for login, why in (("redis", "is an account of the system"), ("a/b", "can't be the name")):
        given = shlex.quote(json.dumps(variables | {"engineer_login": login}))
        said = personal.sh(f"printf %s {given} | /usr/lib/devvm/personalise 2>&1 ||:")
        assert why in said
    assert json.loads(personal.sh("cat /etc/devvm/stamp.json ||:") or "{}") in ({}, stamp())


def test_a_link_in_the_home_directory_leads_nowhere(personal, variables):
    """Root writes nothing there; the engineer does."""
    personal.sh("rm -rf ~jane/.ssh; ln -s /etc/devvm ~jane/.ssh")
    given = shlex.quote(json.dumps(variables))
    said = personal.sh(f"printf %s {given} | /usr/lib/devvm/personalise 2>&1 ||:")
    assert "Install the authorized keys" in said
    assert personal.sh("ls /etc/devvm/authorized_keys 2>/dev/null ||:") == ""
    personal.sh(f"rm ~jane/.ssh; printf %s {given} | /usr/lib/devvm/personalise")


@pytest.fixture
def dev1(personal, tmp_path):
    return as_vm(personal, tmp_path)


def test_a_dump_comes_in_without_personal_data_and_back_again(personal, dev1, tmp_path):
    before, dump = personal.sh(PEOPLE, user="about"), tmp_path / "dump.sql.gz"
    assert "Mira Kestrel" in before
    dumps.export(dev1.services, "dev1", None, dump, dev1.run("db export dev1"))
    personal.sh("mariadb about --execute 'CREATE TABLE leftover (a int)'")
    run = dev1.run("db import dev1")
    done = dumps.import_from(dev1.services, "dev1", None, dump, run)
    after = personal.sh(PEOPLE, user="about")
    assert (len(after.splitlines()), "Mira" in after) == (len(before.splitlines()), False)
    assert "leftover" not in personal.sh("mariadb about --execute 'SHOW TABLES'")
    assert "Mira" not in personal.sh("curl --silent --insecure https://localhost/")
    dumps.import_from(dev1.services, "dev1", None, done.saved, run, sanitize=False)
    assert personal.sh(PEOPLE, user="about") == before
    personal.sh("mariadb about --execute 'DROP TABLE leftover'")


@pytest.mark.parametrize(
    "dump",
    ["DROP TABLE people; CREATE TABLE half (a int); nonsense;", "DROP TABLE people;",
     "DROP DATABASE mysql;", "\\! touch /tmp/owned"],
)  # fmt: skip
def test_a_dump_that_can_not_be_imported_or_sanitized_changes_nothing(personal, dev1, dump):
    before, file = personal.sh(PEOPLE, user="about"), dev1.state.root / "dump.sql"
    file.write_text(f"{dump}\n")
    with pytest.raises(OperationError):
        dumps.import_from(dev1.services, "dev1", None, file, dev1.run("db import dev1"))
    assert personal.sh(PEOPLE, user="about") == before
    assert personal.sh("ls /tmp/owned 2>/dev/null ||:") == ""
    assert personal.sh("systemctl is-active about about-worker").split() == ["active", "active"]


def test_logs_are_followed_until_ctrl_c(personal, dev1, tmp_path):
    wanted = access.Wanted(units=("about",), since="today", lines=3)
    assert "about" in access.logs(dev1.services, "dev1", wanted)
    with pytest.raises(UsageError, match="'noon' is not a time"):
        access.logs(dev1.services, "dev1", access.Wanted(since="noon"))
    everything = access.Wanted(lines=1)
    followed = Session(lambda: access.follow(dev1.services, "dev1", everything), tmp_path / "out")
    followed.wait_for("\n")
    personal.sh("systemd-cat --identifier=tale echo once upon a time")
    printed = followed.wait_for(" tale[").splitlines()
    (line,) = (one for one in printed if " tale[" in one)
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:+]+ \S+ tale\[\d+\]: once upon a time", line)
    assert followed.interrupt() == 130
    wait_for(lambda: personal.sh("pgrep -fx 'journalctl .*--follow' || echo none"), "none\n".__eq__)
