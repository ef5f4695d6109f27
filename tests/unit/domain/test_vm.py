"""What is known of a VM."""

from dataclasses import replace

import pytest

from devvm.domain.errors import OperationError
from devvm.domain.vm import Driver, Metadata, Vm, VmState


def test_what_is_left_of_a_vm_says_that_its_domain_is_gone():
    left = Vm(
        name="dev1", fqdn="dev1.test", uuid="", state=VmState.MISSING, driver=Driver.QEMU,
        memory_mib=0, cpus=0, metadata=None, lease=None,
    )  # fmt: skip
    with pytest.raises(OperationError, match="the libvirt domain of dev1 is gone") as caught:
        _ = left.known
    assert caught.value.resolution == "devvm doctor --fix"
    facts = Metadata(name="dev1", engineer="ann", release="r", created_at="")
    assert replace(left, metadata=facts).known is facts
