"""The timer that fills the pool, in a real systemd."""

import shlex
import subprocess

import pytest

from devvm.adapters.host import pool_timer
from devvm.adapters.host.pool_timer import PoolTimer

pytestmark = pytest.mark.container

#: An argument that systemd would read in other ways.
ODD = """a b 100% $HOME "q" 'r' \\n ;"""
SCRIPT = """#!/bin/sh
printf '%s\\n' "$1" "$DEVVM_CONFIG" "$(id -un)" >/run/filled
"""


@pytest.fixture
def timer(machine, root, tmp_path, monkeypatch):
    """The timer of the container, installed through its SSH server."""

    def run(argv, *, stdin=None, check=True, sudo=False):
        inside = [str(one).removeprefix(str(root)) for one in argv]
        assert sudo
        remote = shlex.join(["sudo", "-n", *inside])
        ssh = ["ssh", "-F", machine.target.ssh_config, machine.target.alias, remote]
        subprocess.run(ssh, input=stdin or "", text=True, check=check, capture_output=True)

    monkeypatch.setattr(pool_timer.process, "run", run)
    quoted = shlex.quote(SCRIPT)
    machine.sh(f"printf %s {quoted} >/usr/local/bin/fill; chmod 755 /usr/local/bin/fill")
    yield PoolTimer(
        ["/usr/local/bin/fill", ODD],
        login="root",
        environment={"DEVVM_CONFIG": "/etc/devvm/50% more.toml"},
        units=root / "etc/systemd/system",
        systemd=root / "run",
    )
    machine.sh("rm -f /usr/local/bin/fill /run/filled")


def test_it_runs_what_it_should_and_goes_without_a_trace(timer, machine):
    assert timer.possible()
    assert not timer.installed()
    for _ in range(2):
        timer.install()
        assert timer.installed()
    assert machine.sh("systemctl is-enabled devvm-pool.timer").strip() == "enabled"
    assert machine.sh("systemctl is-active devvm-pool.timer").strip() == "active"
    machine.sh("systemctl start devvm-pool.service")
    filled = machine.sh("cat /run/filled").splitlines()
    assert filled == [ODD, "/etc/devvm/50% more.toml", "root"]
    assert machine.sh("systemd-analyze verify devvm-pool.timer devvm-pool.service 2>&1") == ""
    for _ in range(2):
        timer.remove()
        assert not timer.there()
    left = machine.sh(
        "systemctl list-unit-files 'devvm-pool*' --no-legend ||:; ls /etc/systemd/system"
    )
    assert "devvm-pool" not in left


def test_one_of_another_devvm_is_replaced(timer, root, machine):
    timer.install()
    service = root / "etc/systemd/system/devvm-pool.service"
    service.write_text(service.read_text().replace("/usr/local/bin/fill", "/old/devvm"))
    assert timer.there()
    assert not timer.installed()
    timer.install()
    assert timer.installed()
    timer.remove()
