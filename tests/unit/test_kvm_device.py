"""The rights of /dev/kvm; tried on a plain file, which has the same ones."""

import grp
import os
import stat

import pytest

from devvm.adapters.kvm_device import KvmDevice


@pytest.fixture
def device(tmp_path):
    path = tmp_path / "kvm"
    path.touch(mode=0o600)
    return path


def test_a_host_without_the_device_needs_nothing(tmp_path):
    assert KvmDevice(tmp_path / "none").missing() == []


def test_it_is_given_to_the_group_once(device, tmp_path):
    step = KvmDevice(device)
    assert "group kvm" in step.missing()[0]
    step.apply(lambda _text: None, tmp_path / "log")
    status = device.stat()
    assert stat.S_IMODE(status.st_mode) == 0o660
    assert grp.getgrgid(status.st_gid).gr_name == "kvm"
    assert step.missing() == []


def test_wider_rights_are_left_as_they_are(device):
    os.chown(device, -1, grp.getgrnam("kvm").gr_gid)
    device.chmod(0o666)
    assert KvmDevice(device).missing() == []
