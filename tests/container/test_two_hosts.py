"""The stack on two hosts, as roles/README.md says: a database, and everything else."""

import json
import re
import subprocess

import pytest

from devvm.adapters.image.nspawn import remove_leftovers
from tests.container import reference
from tests.container.reference import OVERLAY
from tests.support.reference_stack import REFERENCE

pytestmark = pytest.mark.container

NAMES = {"database": "devvm-test-db", "web": "devvm-test-web"}
#: Of a range for documentation; the two see each other and nothing else.
ADDRESSES = {"database": "192.0.2.1", "web": "192.0.2.2"}
PASSWORD = "kept-in-a-vault"
ABOUT = {
    "name": "about", "host": ADDRESSES["web"], "auth": "password", "password": PASSWORD,
    "privileges": ["ALL PRIVILEGES ON about.*"],
}  # fmt: skip
URL = f"mysql+pymysql://about@{ADDRESSES['database']}/about?charset=utf8mb4&ssl_ca=/etc/ssl/db.crt"
VARIABLES = {
    "database": {
        "mariadb_bind_address": ADDRESSES["database"],
        "mariadb_settings": {
            "max_connections": 90,
            "require_secure_transport": "ON",
            "ssl_cert": "/etc/mysql/server.crt",
            "ssl_key": "/etc/mysql/server.key",
        },
        "mariadb_accounts": [ABOUT],
        "metrics_exporters": ["node"],
    },
    "web": {
        "site_database_url": URL,
        "site_database_password": PASSWORD,
        "metrics_exporters": ["nginx", "node"],
    },
}
_CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj /CN=db"
    f" -addext subjectAltName=IP:{ADDRESSES['database']}"
    " -keyout /etc/mysql/server.key -out /etc/mysql/server.crt 2>/dev/null;"
    "chown mysql /etc/mysql/server.key; cat /etc/mysql/server.crt"
)


@pytest.fixture(scope="module")
def hosts(state, log, mirrors):
    """Two hosts, joined by a cable."""
    for name in NAMES.values():
        remove_leftovers(name)
    with (
        reference.unpacked(OVERLAY, log) as first,
        reference.unpacked(OVERLAY, log) as second,
        reference.booted(first, NAMES["database"], log) as database,
        reference.booted(second, NAMES["web"], log) as web,
    ):
        machines = {"database": database, "web": web}
        join(machines)
        certificate = database.sh(_CERTIFICATE)
        web.sh(f"cat >/etc/ssl/db.crt <<END\n{certificate}END")
        groups = {
            group: {"hosts": {machine.target.alias: machine.reached}, "vars": VARIABLES[group]}
            for group, machine in machines.items()
        }
        said = reference.ansible_playbook(
            REFERENCE, "site.yml", {"children": groups, "vars": mirrors}, log=log
        )
        assert len(re.findall(r"unreachable=0 +failed=0", said)) == 2, said
        yield machines


def join(machines):
    """Give each an end of a cable, and an address."""
    ends = {
        group: re.search(r"nsenter -t (\d+)", machine.target.ssh_config.read_text())[1]
        for group, machine in machines.items()
    }
    web, database = (["netns", ends[group], "type", "veth"] for group in ("web", "database"))
    run("ip", "link", "add", "cable0", *web, "peer", "name", "cable0", *database[:2])
    for group, leader in ends.items():
        inside = ("nsenter", "-t", leader, "-n", "ip")
        run(*inside, "address", "add", f"{ADDRESSES[group]}/24", "dev", "cable0")
        run(*inside, "link", "set", "cable0", "up")


def run(*argv):
    subprocess.run(argv, check=True)


def test_the_site_works_with_the_database_of_the_other_host(hosts):
    health = json.loads(hosts["web"].get("/healthz"))
    assert health["status"] == "ok", health
    look = "SELECT DISTINCT user, SUBSTRING_INDEX(host, ':', 1) FROM information_schema.processlist"
    seen = hosts["database"].sh(f"mariadb -BNe \"{look} WHERE user = 'about'\"")
    assert seen.split() == ["about", ADDRESSES["web"]]


def test_the_servers_settings_are_those_that_were_given(hosts):
    assert hosts["database"].sh("mariadb -BNe 'SELECT @@max_connections'") == "90\n"


def test_the_password_is_a_credential(hosts):
    web = hosts["web"]
    assert web.sh("stat -c '%a %U' /etc/about/database_password") == "600 root\n"
    kept = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ /etc/about/about.toml"
    assert PASSWORD not in web.sh(f"{kept} | tr '\\0' '\\n'")
    assert PASSWORD not in web.log.read_text()


def test_a_connection_without_tls_is_refused(hosts):
    ask = (
        "import pymysql\n"
        f"pymysql.connect(host='{ADDRESSES['database']}', user='about', password='{PASSWORD}')"
    )
    said = hosts["web"].sh(f'python3 -c "{ask}" 2>&1 ||:')
    assert "Access denied for user 'about'" in said  # with this password, and TLS, the site gets in


def test_each_host_has_its_part_only(hosts):
    assert hosts["database"].sh("ls -d /etc/about /srv/about 2>/dev/null ||:") == ""
    assert hosts["web"].sh("ls /etc/mysql/mariadb.conf.d/60-site.cnf 2>/dev/null ||:") == ""
