"""The files in a VM's folder, read by the tools they are for."""

import base64
import re
import shutil
import subprocess

import pytest

from devvm.config import ExtraDiskConfig
from devvm.domain.vm import Metadata
from devvm.operations.core.machine import Machine
from devvm.operations.guest import ssh
from devvm.operations.provision import new_vm
from devvm.system import sockets
from tests.support.world import RELEASE, World


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def folder(world):
    services = world.configured(
        extra_disks=(ExtraDiskConfig(name="scratch", size_gib=3),), root_gib=30, cpus=3
    )
    metadata = Metadata(
        name="dev1", engineer="ann", release=RELEASE, created_at="",
    )  # fmt: skip
    new_vm.bring_up(
        Machine(services, "dev1"), box=world.box, vm_config=services.config.vm, metadata=metadata,
        run=world.run("create dev1"),
    )  # fmt: skip
    return world.state.vm("dev1")


def test_the_vagrantfile_is_ruby(folder):
    if not shutil.which("ruby"):
        pytest.skip("needs ruby")
    subprocess.run(["ruby", "-c", folder / "Vagrantfile"], check=True, capture_output=True)


def test_the_vagrantfile_says_what_the_config_does(folder):
    text = (folder / "Vagrantfile").read_text()
    for line in (
        'config.vm.define "dev1.devvm.test"',
        f'machine.vm.box = "devvm/{RELEASE}"',
        "libvirt.cpus = 3",
        "libvirt.memory = 2048",
        "libvirt.machine_virtual_size = 30",
        'libvirt.driver = "qemu"',
        'libvirt.cpu_mode = "custom"',
        'libvirt.cpu_model = "qemu64"',
        'libvirt.management_network_mac = "52:54:00:00:00:01"',
        "libvirt.management_network_keep = true",
        ':serial => "scratch"',
    ):
        assert line in text
    token = re.search(r'"dev1.devvm.test-data.([0-9a-f]{8}).qcow2", :size => "20G"', text)[1]
    assert f':path => "dev1.devvm.test-scratch.{token}.qcow2", :size => "3G"' in text


def test_the_guest_gets_the_key_of_devvms_account_and_nothing_secret(folder):
    text = (folder / "Vagrantfile").read_text()
    encoded = re.search(r"tmpfiles\.extra=([A-Za-z0-9+/=]+)", text).group(1)
    directory, key = base64.b64decode(encoded).decode().splitlines()
    assert directory == "d /var/lib/vagrant/.ssh 0700 vagrant vagrant -"
    fields = key.split(" ")
    assert fields[:5] == [
        "f+~", "/var/lib/vagrant/.ssh/authorized_keys", "0600", "vagrant", "vagrant"
    ]  # fmt: skip
    assert base64.b64decode(fields[6]) == b"ecdsa-sha2-nistp256 AAAA devvm dev1\n"


@pytest.mark.parametrize(("alias", "user"), [("dev1", "ann"), ("dev1-vagrant", "vagrant")])
def test_ssh_reads_its_config_as_meant(folder, alias, user):
    printed = subprocess.run(
        ["ssh", "-G", "-F", folder / "ssh_config", alias],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    options = dict(line.split(" ", 1) for line in printed.splitlines() if " " in line)
    assert options["user"] == user
    assert options["hostname"] == "10.1.2.3"
    assert options["hostkeyalias"] == "dev1.devvm.test"
    assert options["stricthostkeychecking"] in {"true", "yes"}
    assert options["userknownhostsfile"] == str(folder / "known_hosts")
    assert options["identityfile"] == str(folder / "id_ecdsa")
    assert options["passwordauthentication"] == "no"


def test_the_host_key_is_pinned_before_the_first_connection(folder):
    pinned = (folder / "known_hosts").read_text()
    assert re.fullmatch(r"dev1\.devvm\.test ssh-ed25519 HOST-\d+\n", pinned)


def _control_path(config):
    printed = subprocess.run(
        ["ssh", "-G", "-F", config, "dev1"], check=True, capture_output=True, text=True
    ).stdout
    return next((line for line in printed.splitlines() if line.startswith("controlpath ")), "")


def test_connections_are_shared_where_only_the_user_can_enter(folder):
    shared = sockets.prepare()
    assert re.fullmatch(
        rf"controlpath {shared}/[0-9a-f]{{16}}-ann", _control_path(folder / "ssh_config")
    )
    shared.rmdir()
    assert _control_path(folder / "ssh_config") == ""  # a plain connection, instead of an error


def test_a_vm_with_another_host_key_never_gets_the_connection_of_the_last_one(world):
    lease = world.services.network.reserve("dev1")
    world.state.vm("dev1").mkdir()
    paths = set()
    for key in ("KEY1", "KEY2", "KEY2"):
        metadata = Metadata(
            name="dev1",
            engineer="ann",
            release=RELEASE,
            created_at="",
            host_key=f"ssh-ed25519 {key}",
        )
        ssh.write_ssh_files(world.services, metadata, lease)
        paths.add(_control_path(world.state.vm("dev1") / "ssh_config"))
    assert len(paths) == 2
