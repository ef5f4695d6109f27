"""The permissions of /dev/kvm, tested on a plain file, which has the same ones."""

import pytest

from devvm.adapters.host.kvm_device import KvmDevice


@pytest.fixture
def device(tmp_path):
    path = tmp_path / "kvm"
    path.touch(mode=0o600)
    return path


def test_a_host_without_the_device_needs_nothing(tmp_path):
    assert KvmDevice(tmp_path / "none").missing() == []


def test_a_device_for_root_alone_has_to_be_given_to_the_group(device):
    assert "group kvm" in KvmDevice(device).missing()[0]
