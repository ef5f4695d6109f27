"""A company's stack that shares nothing with the reference: everything works for it, too."""

import json
import os
import shlex
import socket
import subprocess
import urllib.error
import urllib.request
from dataclasses import replace

import pytest

from devvm.adapters.git import GitOrigins, RepositoryError
from devvm.adapters.image.nspawn import remove_leftovers
from devvm.adapters.openssh import OpenSsh
from devvm.cli.progress import SilentReporter
from devvm.domain import origin
from devvm.domain.errors import OperationError
from devvm.operations.box import code
from devvm.operations.core.progress import Run
from devvm.operations.provision import checkouts
from devvm.operations.vm import access, dumps
from devvm.stack.folder import StackFolder
from devvm.system import assets, process
from tests.container import reference
from tests.container.as_vm import Session, as_vm, wait_for
from tests.container.conftest import differences
from tests.container.reference import GUEST, engineer, new_key
from tests.support import acme
from tests.support.world import World

pytestmark = pytest.mark.container

NAME = "devvm-test-acme"
#: The roles of devvm's that a container can have.
OVERLAY = ("engineer", "vm_pages", "mail_catcher")


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """The stack, with a password in a vault."""
    folder = acme.copy(tmp_path_factory.mktemp("stacks") / "acme")
    return StackFolder(folder, overlay=assets.overlay())


@pytest.fixture(scope="module")
def services(stack, tmp_path_factory):
    """What brings code to the container: real SSH and git, in a host in memory."""
    folder = tmp_path_factory.mktemp("host")
    return replace(
        World(folder).services,
        stack=stack, shell=OpenSsh(), origins=GitOrigins(folder / "mirrors"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def host(state, log, stack, services):
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
        deployed = code.deploy(services, machine.target, Run("box build", SilentReporter()))
        assert [*deployed] == ["wiki"]
        machine.apply("site.yml")
        yield machine


def test_production_has_the_values_of_production(host):
    assert host.sh("cat /etc/motd") == "Acme production\n"
    assert json.loads(host.get("/shop/")) == {"name": "The shop", "orders": 0}
    assert host.get("/wiki/") == "The wiki"


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


def is_open(port):
    with socket.create_connection(("127.0.0.1", port)):
        return True


@pytest.fixture(scope="module")
def company(host, tmp_path_factory):
    """The company's server for the wiki's repository: the container's own sshd.

    This host and the container reach it by the same address, with a key that is in an agent only.
    The stack names it from now on.
    """
    folder = tmp_path_factory.mktemp("company")
    keys = host.target.ssh_config.parent
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    host.sh(
        "git init --quiet --initial-branch=main /tmp/wiki; cd /tmp/wiki;"
        " cp /usr/share/acme-wiki/* .; git add .;"
        " git -c user.name=a -c user.email=a@h commit --quiet --message first",
        user="vagrant",
    )
    host_key = " ".join((keys / "known_hosts").read_text().split()[1:3])
    acme.name_origin(host.stack.root, f"ssh://vagrant@localhost:{port}/tmp/wiki")
    with (host.stack.root / "stack.yml").open("a") as described:
        described.write(f"known_hosts: ['[localhost]:{port} {host_key}']\n")
    agent = folder / "agent"
    forward = f"127.0.0.1:{port}:127.0.0.1:22"
    with (
        process.background(["ssh-agent", "-D", "-a", agent]),
        process.background(
            ["ssh", "-F", host.target.ssh_config, "-S", "none", "-N", "-L", forward,
             host.target.alias]
        ),
        pytest.MonkeyPatch.context() as patch,
    ):  # fmt: skip
        wait_for(agent.exists)
        patch.setenv("SSH_AUTH_SOCK", str(agent))
        subprocess.run(["ssh-add", "-q", keys / "id_ed25519"], check=True)
        wait_for(lambda: is_open(port))
        yield port


@pytest.fixture(scope="module")
def personal(host, production, company, services, tmp_path_factory):
    """The same container as jane's, and the layer of what that adds."""
    folder = tmp_path_factory.mktemp("jane")
    run = Run("create dev1", SilentReporter())
    checkouts.fetch(services, "r1", run)
    host.apply("box.yml", *OVERLAY)
    key = new_key(folder / "key")
    given = checkouts.provide(services, host.target, "r1", run, new=True)
    host.apply("personalise.yml", **engineer(key), engineer_checkouts=given)
    (production / "overlay").mkdir()
    host.capture(
        production / "overlay/20-engineer.yml", production / "manifest.yml", only_if=("engineer",)
    )
    return replace(host, jane=folder / "key")


def test_the_engineer_has_a_checkout_of_each_application_which_is_served(personal):
    assert personal.sh("git -C ~/shop log --format=%s", user="jane") == "shop as it was deployed\n"
    assert personal.sh("readlink /srv/shop/current /srv/wiki/current").split() == [
        "/srv/shop/checkout", "/srv/wiki/checkout",
    ]  # fmt: skip
    personal.sh("echo '<?php echo \"edited\";' >/srv/wiki/checkout/index.php", user="jane")
    assert personal.get("/wiki/") == "edited"
    personal.sh("git -C /srv/wiki/checkout checkout --quiet .", user="jane")


def test_the_repository_of_the_company_is_cloned_and_can_be_fetched_from(personal, company):
    """With the agent of whoever is logged in; the server's host key is known."""
    wiki = "/srv/wiki/checkout"
    assert personal.sh(f"git -C {wiki} log --format=%s", user="jane") == "first\n"
    remote = personal.sh(f"git -C {wiki} remote get-url origin", user="jane").strip()
    assert remote == f"ssh://vagrant@localhost:{company}/tmp/wiki"
    assert personal.sh("ls -A /var/cache/devvm") == ""
    personal.sh(
        "cd /tmp/wiki; git -c user.name=a -c user.email=a@h commit --quiet --allow-empty -m second",
        user="vagrant",
    )
    config = personal.target.ssh_config.with_name("jane_config")
    config.write_text(
        f"Host {personal.target.alias}\n    User jane\n    IdentityFile {personal.jane}\n"
        f"{personal.target.ssh_config.read_text()}"
    )
    jane = replace(personal.target, ssh_config=config)
    server = ["systemd-run", "--quiet", "--unit=company", "/usr/sbin/sshd", "-D"]
    personal.sh(shlex.join([*server, "-p", str(company), "-o", "PidFile=none"]))
    fetch = ["git", "-C", wiki, "-c", "core.sshCommand=ssh -o BatchMode=yes", "pull", "--quiet"]
    try:
        assert OpenSsh().interactive(jane, fetch) != 0
        assert OpenSsh().interactive(jane, fetch, forward_agent=True) == 0
    finally:
        personal.sh("systemctl stop company")
    assert personal.sh(f"git -C {wiki} log -1 --format=%s", user="jane") == "second\n"


def test_the_server_must_be_known_and_know_the_person(personal, company, tmp_path, monkeypatch):
    origins = GitOrigins(tmp_path / "mirrors")
    wiki = origin.parse(f"ssh://vagrant@localhost:{company}/tmp/wiki")
    pinned = personal.stack.description().known_hosts
    for known_hosts, why in (
        ((), "the SSH host key of localhost is not known"),
        ([f"{line[:-8]}AAAAAAAA" for line in pinned], "another SSH host key"),
        (pinned, "you have no access"),
    ):
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        with pytest.raises(RepositoryError, match=why):
            origins.fetch(wiki, known_hosts=known_hosts, detail=reference.quiet)


def test_newly_deployed_code_can_be_pulled(personal):
    """As after an update of the stack; the code of the shop has no other repository."""
    path = "/srv/shop/release/new.php"
    personal.sh(f"echo new >{path}")
    given = shlex.quote(json.dumps(engineer(personal.jane.with_suffix(".pub").read_text().strip())))
    run = f"printf %s {given} | sed 's/^{{/{{\"devvm_older_data\": true, /'"
    done = json.loads(personal.sh(f"{run} | /usr/lib/devvm/personalise"))
    assert done["changed"] == ["Publish the code of shop"]
    assert personal.sh("git -C ~/shop pull --quiet; cat ~/shop/new.php", user="jane") == "new\n"
    personal.sh(f"rm {path}; rm ~jane/shop/new.php")


def test_migrations_run_with_the_accounts_of_the_stack(personal, tmp_path):
    personal.sh("cd /tmp; runuser -u postgres -- psql --quiet shop --command 'DROP TABLE orders'")
    key = new_key(tmp_path / "key")
    personal.apply("personalise.yml", **engineer(key))
    assert json.loads(personal.get("/shop/"))["orders"] == 0


def test_a_dump_comes_in_without_personal_data_or_not_at_all(personal, tmp_path):
    psql = "psql --no-psqlrc --tuples-only --no-align shop --command"
    customers = f'{psql} "SELECT customer FROM orders"'
    personal.sh(f"{psql} \"INSERT INTO orders (customer) VALUES ('Ann Lee')\"", user="shop")
    dev1, dump = as_vm(personal, tmp_path), tmp_path / "dump.sql.gz"
    dumps.export(dev1.services, "dev1", None, dump, dev1.run("db export dev1"))
    personal.sh(f"{psql} 'CREATE TABLE leftover (a int)'", user="shop")
    run = dev1.run("db import dev1")
    done = dumps.import_from(dev1.services, "dev1", None, dump, run)
    assert personal.sh(customers, user="shop") == "Customer 1\n"
    assert personal.sh(f"{psql} \"SELECT to_regclass('leftover')\"", user="shop") == "\n"
    assert json.loads(personal.get("/shop/"))["orders"] == 1
    for text in ("DROP TABLE orders; nonsense;", "DROP TABLE orders;"):
        (tmp_path / "bad.sql").write_text(text)
        with pytest.raises(OperationError):
            dumps.import_from(dev1.services, "dev1", None, tmp_path / "bad.sql", run)
        assert personal.sh(customers, user="shop") == "Customer 1\n"
    dumps.import_from(dev1.services, "dev1", None, done.saved, run, sanitize=False)
    assert personal.sh(customers, user="shop") == "Ann Lee\n"
    personal.sh(f"{psql} 'DROP TABLE leftover; TRUNCATE orders'", user="shop")


BY_SENDMAIL = r"""
printf 'To: ann@acme.test\nBcc: eve@acme.test\nSubject: by sendmail\n\nHi\n' | sendmail -t -i
"""
BY_PHP = """php -r 'mail("ann@acme.test", "by PHP", "Hi") or exit(1);'"""
BY_SMTP = r"""python3 -c 'import smtplib
smtplib.SMTP("127.0.0.1").sendmail("shop@a.test", ["ann@a.test"], b"Subject: by SMTP\n\nHi")'
"""


def test_every_mail_is_caught_and_shown_to_whoever_has_the_key(personal, tmp_path):
    # Otherwise sudo, which can't find the container's name, sends mails as well.
    personal.sh("echo 127.0.1.1 $(hostname) >>/etc/hosts")
    for command in (BY_SENDMAIL, BY_SENDMAIL, BY_PHP, BY_SMTP):  # three are kept
        personal.sh(command, user="shop")
    dev1 = as_vm(personal, tmp_path)

    def tell(address):
        os.write(1, f"{address}\n".encode())

    shown = Session(lambda: access.pages(dev1.services, "dev1", 18024, tell), tmp_path / "out")
    address = shown.wait_for("\n").strip()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    page = wait_for(lambda: browser.open(address, timeout=10).read().decode())
    assert "acme, release r1" in page
    assert "<td>php8.2-fpm.service</td><td>active</td>" in page
    assert "Mails: 3" in page
    listed = browser.open("http://127.0.0.1:18024/mail", timeout=10).read().decode()
    assert [listed.count(f">by {how}</a>") for how in ("sendmail", "PHP", "SMTP")] == [1, 1, 1]
    assert listed.count("eve@acme.test") == 1  # a recipient, and in no header of the mail
    assert "Bcc" not in personal.sh("cat /var/lib/devvm-mail/new/*")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen("http://127.0.0.1:18024/mail", timeout=10)
    assert shown.interrupt() == 130
    personal.sh("systemctl stop devvm-pages.service; sed -i '$d' /etc/hosts")


def test_nobody_else_reads_mails_or_the_key_and_nothing_listens_elsewhere(personal):
    personal.sh("systemctl start devvm-pages.service")
    for path in ("/var/lib/devvm-mail/new/*", "/run/devvm-pages/key"):
        assert "denied" in personal.sh(f"cat {path} 2>&1 ||:", user="shop")
    personal.sh("systemctl stop devvm-pages.service")
    rows = [row.split() for row in personal.sh("cat /proc/net/tcp /proc/net/tcp6").splitlines()]
    listening = {row[1] for row in rows if row[3] == "0A"}
    for port in (25, 1025):
        assert [one for one in listening if one.endswith(f":{port:04X}")] == [
            f"0100007F:{port:04X}"
        ]


def test_devvms_own_roles_are_idempotent(personal):
    again = personal.apply("box.yml", *OVERLAY)
    assert again.changed == 0, again.tasks


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
