"""What set-up changes as root, tested on a plain file with the permissions of a device."""

import grp
import stat

import pytest

from devvm.adapters.host.kvm_device import KvmDevice

pytestmark = pytest.mark.container


def test_it_is_given_to_the_group_once(tmp_path):
    device = tmp_path / "kvm"
    device.touch(mode=0o600)
    step = KvmDevice(device)
    assert "group kvm" in step.missing()[0]
    step.apply(lambda _text: None, tmp_path / "log")
    status = device.stat()
    assert stat.S_IMODE(status.st_mode) == 0o660
    assert grp.getgrgid(status.st_gid).gr_name == "kvm"
    assert step.missing() == []
