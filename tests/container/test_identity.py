"""A VM's identity on its data disk: installed at boot, and its certificate renewed in time.

Runs the VM's own script with devvm's own CA and SSH. In the container, a folder is the data disk.
"""

import shlex
from datetime import UTC, datetime, timedelta

import pytest

from devvm.adapters.ca import LocalCa
from devvm.adapters.openssh import OpenSsh
from devvm.domain.vm import Metadata
from devvm.operations.provision import certificate
from devvm.system import assets
from tests.support.world import World

pytestmark = pytest.mark.container

NAME = "dev1"
FQDN = f"{NAME}.devvm.test"
SCRIPT = "/usr/lib/devvm/identity"
#: As the role writes it for the reference stack.
TLS = """\
key /etc/ssl/private/site.key
certificate /etc/ssl/certs/site.crt
unit-1 nginx.service
"""
#: Everything that the script changes on a machine.
CHANGED = "/etc/ssl /etc/ssh /usr/local/share/ca-certificates"
#: Restores it.
BEFORE = f"rm -rf {CHANGED}; tar -C / -xf /root/before.tar"


@pytest.fixture
def machine(development):
    """A machine with the VMs' script and a data disk; restored at the end."""
    development.sh(f"tar -cf /root/before.tar {CHANGED}; mkdir -p /usr/lib/devvm /data/identity")
    script = (assets.overlay() / f"roles/guest/files{SCRIPT}").read_text()
    write(development, SCRIPT, script, mode="0755")
    write(development, "/usr/lib/devvm/tls", TLS)
    yield development
    development.sh(f"{BEFORE}; rm -r /data /usr/lib/devvm /root/before.tar; systemctl reload nginx")


@pytest.fixture
def world(machine, tmp_path):
    """devvm and its VM dev1, which is the container."""
    world = World(tmp_path)
    world.create()
    config = machine.target.ssh_config.read_text()
    own = world.state.vm(NAME) / "ssh_config"
    own.write_text(config.replace(f"Host {machine.target.alias}", f"Host {NAME}-vagrant"))
    object.__setattr__(world.services, "shell", OpenSsh())
    object.__setattr__(world.services, "ca", LocalCa(world.state, domain="devvm.test"))
    return world


def write(machine, path, text, *, mode="0600"):
    quoted = shlex.quote(text)
    machine.sh(f"umask 077; printf %s {quoted} >{path}; chmod {mode} {path}")


def clients_say(machine, text):
    """The line that openssl prints for the site with this text, if any.

    Waits for it, because nginx takes a moment to load a new certificate.
    """
    command = f"openssl s_client -connect 127.0.0.1:443 -servername {FQDN} -CApath /etc/ssl/certs"
    look = f"{command} -verify_hostname {FQDN} </dev/null 2>&1"
    return machine.sh(
        f"for _ in $(seq 40); do if {look} | grep -F {shlex.quote(text)}; then break; fi;"
        " sleep 0.25; done"
    )


def on_the_data_disk(machine, world, age):
    """Install an identity as devvm would have made it this many days ago."""
    made = LocalCa(
        world.state, domain="devvm.test", now=lambda: datetime.now(UTC) - timedelta(days=age)
    )
    key, chain = made.issue(FQDN)
    for name, text in {
        "site.key": key,
        "site.crt": chain,
        "ca.crt": made.ensure().read_text(),
    }.items():
        write(machine, f"/data/identity/{name}", text)
    machine.sh(f"{SCRIPT}; systemctl reload nginx")


def test_a_certificate_that_ended_is_renewed_and_the_next_root_gets_it(machine, world):
    on_the_data_disk(machine, world, age=400)
    assert clients_say(machine, "Verification: OK")
    on_the_data_disk(machine, world, age=830)
    assert clients_say(machine, "certificate has expired")

    certificate.keep_valid(world.machine(NAME), world.run("start dev1"), refused=True)
    assert world.reporter.notes == []
    assert clients_say(machine, "Verification: OK")
    until = datetime.fromisoformat(f"{facts(world).certificate_until}T00:00:00+00:00")
    assert timedelta(days=821) < until - datetime.now(UTC) < timedelta(days=825)
    listed = machine.sh("stat -c '%U %a %n' /data/identity/*; ls /data/identity/*.new ||:")
    assert listed.splitlines() == [
        f"root 600 /data/identity/{name}" for name in ("ca.crt", "site.crt", "site.key")
    ]

    machine.sh(f"{BEFORE}; systemctl reload nginx")  # a new root has only what is in the box
    assert clients_say(machine, "self-signed certificate")
    machine.sh(f"{SCRIPT}; systemctl reload nginx")  # its first boot
    assert clients_say(machine, "Verification: OK")


def test_a_machine_without_a_data_disk_renews_its_own(machine):
    machine.sh("rm -rf /data/identity; rm /etc/ssl/certs/site.crt /etc/ssl/private/site.key")
    own = "openssl x509 -noout -enddate -in /etc/ssl/certs/site.crt"
    machine.sh(SCRIPT)
    first = machine.sh(f"cat /etc/ssl/certs/site.crt; {own}")
    machine.sh(SCRIPT)
    assert machine.sh(f"cat /etc/ssl/certs/site.crt; {own}") == first
    machine.sh(
        "cd /etc/ssl; openssl req -x509 -key private/site.key -days 5 -subj /CN=localhost"
        " -out certs/site.crt"
    )
    machine.sh(f"{SCRIPT}; openssl x509 -noout -checkend 2000000 -in /etc/ssl/certs/site.crt")


def facts(world) -> Metadata:
    return world.services.domains.vm(NAME).metadata
