"""The box is a valid Vagrant box: it works without devvm, given a key (docs/plain-vagrant.md)."""

import os
import subprocess

import pytest

from devvm import config, wiring
from tests.vm.conftest import HERE, REPOSITORY

pytestmark = pytest.mark.vm

#: Where a guest of this test is attached: to the tests' own network and pool; all else is default.
_SURROUNDINGS = """
Vagrant.configure("2") do |config|
  config.vm.provider :libvirt do |libvirt|
    libvirt.storage_pool_name = "devvm-test"
    libvirt.management_network_name = "devvm-test"
    libvirt.management_network_address = "192.168.218.0/24"
    libvirt.management_network_keep = true
  end
end
"""


def test_init_and_up(devvm, box, tmp_path, monkeypatch):
    documented = (REPOSITORY / "docs" / "plain-vagrant.md").read_text()
    assert "vagrant init devvm/RELEASE" in documented
    assert "DEVVM_SSH_KEY=$HOME/.ssh/id_vagrant vagrant up" in documented
    assert 'ssh-keygen -t ecdsa -m PEM -N "" -f' in documented
    key = tmp_path / "id_vagrant"
    make_key = ["ssh-keygen", "-q", "-t", "ecdsa", "-m", "PEM", "-N", "", "-f", key]
    subprocess.run(make_key, check=True)
    monkeypatch.setenv("DEVVM_CONFIG", str(HERE / "config.toml"))
    services = wiring.build_services(config.load())
    services.volumes.ensure()
    services.network.ensure()  # plain libvirt can't, behind the routing rules for the tests' range
    folder = tmp_path / "plainvagrant"
    folder.mkdir()
    env = os.environ | {"DEVVM_SSH_KEY": str(key), "VAGRANT_CHECKPOINT_DISABLE": "1"}

    def vagrant(*args):
        done = subprocess.run(
            ["vagrant", *args], cwd=folder, env=env, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    vagrant("init", box["vagrant_name"])
    with (folder / "Vagrantfile").open("a") as file:
        file.write(_SURROUNDINGS)
    try:
        vagrant("up", "--provider=libvirt")
        assert "active" in vagrant("ssh", "-c", "systemctl is-active nginx mariadb redis-server")
        health = vagrant("ssh", "-c", "curl -sk https://localhost/healthz")
        assert '"status": "ok"' in health
        assert "PRIVATE KEY" not in vagrant("ssh", "-c", "cat ~/.ssh/*")
    finally:
        vagrant("destroy", "--force")
