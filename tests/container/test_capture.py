"""`devvm production capture`: hosts that differ, hang, drop the connection or refuse the login."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from devvm.parity.production import manifest
from tests.container.reference import Machine, new_key
from tests.support.reference_stack import REFERENCE

pytestmark = pytest.mark.container

#: Accounts that make the host misbehave: login, and what its key may run.
ACCOUNTS = {
    "nosudo": "",
    "hangs": 'command="sleep 300" ',
    # Send half of the answer, then kill this connection's sshd process.
    "drops": 'command="sh -c \'eval \\"$SSH_ORIGINAL_COMMAND\\" | head -c 20000; kill -9 $PPID\'" ',
}


class Command:
    """The command, with one SSH configuration for all hosts."""

    def __init__(self, folder, machines: dict[str, Machine]) -> None:
        self.folder = folder
        self.config = folder / "ssh_config"
        self.output = folder / "manifest.yml"
        texts = [machine.target.ssh_config.read_text() for machine in machines.values()]
        self.config.write_text("\n".join(texts))

    def __call__(self, *arguments: str, timeout: float = 200) -> subprocess.CompletedProcess[str]:
        argv = [
            sys.executable, "-m", "devvm", "production", "capture", f"--ssh-config={self.config}",
            f"--output={self.output}", "--quiet", *arguments,
        ]  # fmt: skip
        return subprocess.run(
            argv, capture_output=True, text=True, timeout=timeout, check=False,
            stdin=subprocess.DEVNULL, env=os.environ,
        )  # fmt: skip

    def manifest(self) -> manifest.Manifest:
        return manifest.load(self.output)


@pytest.fixture
def capture(tmp_path, converged, development):
    return Command(tmp_path, {"a": converged.machine, "b": development})


@pytest.fixture
def doors(converged, capture, tmp_path):
    """Create accounts on the host that make it misbehave; remove them at the end."""
    machine = converged.machine
    text = machine.target.ssh_config.read_text()
    for login, forced in ACCOUNTS.items():
        public = new_key(tmp_path / login)
        machine.sh(
            f"useradd --system --create-home --home-dir /var/tmp/{login} --shell /bin/sh {login};"
            f"install -d -m 0700 -o {login} /var/tmp/{login}/.ssh"
        )
        line = f"{forced}{public}".replace("'", "'\\''")
        machine.sh(f"echo '{line}' >/var/tmp/{login}/.ssh/authorized_keys")
        if login == "drops":
            machine.sh("echo 'drops ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/drops")
        host = f"Host {login}\n    User {login}\n    IdentityFile {tmp_path / login}\n"
        body = text.partition("\n")[2]  # ssh uses the first value
        host += f"    HostKeyAlias {machine.target.alias}\n{body}"
        capture.config.write_text(f"{host}\n{capture.config.read_text()}")
    yield
    for login in ACCOUNTS:
        machine.sh(f"pkill -9 -u {login} ||:; sleep 0.2; userdel --remove {login} 2>/dev/null")
    machine.sh("rm -f /etc/sudoers.d/drops")


def test_two_hosts_that_differ(capture, converged, development):
    conf, kept = "/etc/nginx/nginx.conf", "/root/kept"
    development.sh(f"cp --preserve=all {conf} {kept}; sed -i '$a # of this host' {conf}")
    development.sh("sysctl -qw net.core.somaxconn=99")
    try:
        done = capture(
            f"--host={converged.machine.target.alias}",
            f"--host={development.target.alias}",
            "--json",
        )
    finally:
        development.sh(f"mv {kept} {conf}; sysctl -qw net.core.somaxconn=4096")
    assert done.returncode == 0, done.stderr
    found = capture.manifest()
    assert found.varies["file"]["/etc/nginx/nginx.conf"] == ["content", "sha256"]
    assert found.varies["sysctl"]["net.core.somaxconn"] == ["value"]
    assert found.varies["package"]["htop"] == ["present"]
    assert "htop" not in found.areas["package"]
    assert found.areas["file"]["/etc/nginx/nginx.conf"]["mode"] == "0644"
    assert "content" in found.areas["file"]["/etc/memcached.conf"]
    said = json.loads(done.stdout)
    assert "sysctl/net.core.somaxconn: value" in said["new_varies"]
    assert said["hosts"] == sorted([converged.machine.target.alias, development.target.alias])
    again = capture(f"--host={converged.machine.target.alias}", "--json")
    assert json.loads(again.stdout)["new_varies"] == []
    assert capture.manifest().varies == found.varies


def test_no_secret_is_in_it(capture, converged):
    machine = converged.machine
    secrets = [
        machine.sh("base64 -w0 /var/lib/about/secret_key").strip(),
        machine.sh("sed -n 2p /etc/ssl/private/site.key").strip(),
        machine.sh("sed -n 2p /etc/ssh/ssh_host_ed25519_key").strip(),
    ]
    machine.sh("echo 'password = hunter2' >/etc/hunt.conf")
    try:
        key = capture.folder / "key"
        done = capture(f"--host={machine.target.alias}", f"--key={key}")
    finally:
        machine.sh("rm /etc/hunt.conf")
    assert done.returncode == 0, done.stderr
    text = capture.output.read_text()
    for secret in (*secrets, "hunter2", key.read_text().strip()):
        assert secret
        assert secret not in text
    assert key.stat().st_mode & 0o777 == 0o600
    facts = capture.manifest().areas["file"]
    assert facts["/etc/hunt.conf"]["content"] == "password = {secret}\n"
    assert len(facts["/etc/ssl/private/site.key"]["secret"]) == 32


def test_it_changes_nothing_on_the_host(capture, converged):
    marker = "/run/devvm-test-marker"
    look = (
        f"find / -xdev -newer {marker} -not -path '/proc/*' -not -path '/var/log/*'"
        " -not -path '/run/*' -not -path '/tmp/*' -not -path '/var/lib/mysql/*'"
        " -not -path '/var/lib/redis/*' -not -path '/var/lib/systemd/*' -type f"
    )
    converged.machine.sh(f"touch {marker}; sleep 0.1")
    done = capture(f"--host={converged.machine.target.alias}")
    assert done.returncode == 0, done.stderr
    assert converged.machine.sh(f"{look}; rm {marker}") == ""


@pytest.mark.parametrize(
    ("host", "options", "said"),
    [
        ("nosudo", (), "password is required"),
        ("hangs", ("--timeout=5",), "no answer within 5 s"),
        ("drops", (), ""),
        ("nowhere", (), "Could not resolve hostname"),
    ],
)
def test_a_host_that_can_not_be_seen_leaves_no_manifest(
    capture, doors, converged, host, options, said
):
    done = capture(f"--host={converged.machine.target.alias}", f"--host={host}", *options)
    assert done.returncode == 1, done.stdout
    stack, first, second, *_ = done.stderr.splitlines()
    assert stack == f"With the checks of the stack in {REFERENCE.root}"
    assert first == "Error: 1 of 2 hosts could not be inspected, and no manifest was written"
    assert second.strip().startswith(f"{host}: ")
    assert said in second
    assert "Next: ssh" in done.stderr
    assert "Traceback" not in done.stderr
    assert not capture.output.exists()


def test_a_server_that_does_not_answer_leaves_the_old_manifest(capture, converged):
    capture.output.write_text("format: 1\nvaries:\n  system: {time: [zone]}\n")
    converged.machine.sh("systemctl stop memcached")
    try:
        done = capture(f"--host={converged.machine.target.alias}")
    finally:
        converged.machine.sh("systemctl start memcached")
    assert done.returncode == 1
    assert "memcached does not answer" in done.stderr
    assert capture.output.read_text().startswith("format: 1\nvaries:")


def test_hosts_of_an_ansible_inventory(capture, converged, tmp_path):
    alias = converged.machine.target.alias
    (tmp_path / "inventory.yml").write_text(
        f"all: {{children: {{web: {{hosts: {{{alias}: }}}}}}}}\n"
    )
    done = capture(f"--inventory={tmp_path}/inventory.yml", "--host=web")
    assert done.returncode == 0, done.stderr
    assert capture.manifest().hosts == (alias,)
    unknown = capture(f"--inventory={tmp_path}/inventory.yml", "--host=db")
    assert unknown.returncode == 2
    assert "no host or group db" in unknown.stderr
