"""The driver, and the host's memory."""

import pytest

from devvm.adapters.libvirt.host import Host, choose_driver
from devvm.domain.errors import HostNotReadyError
from devvm.domain.vm import Driver
from tests.support.libvirt_node import connect


@pytest.mark.parametrize(
    ("wanted", "offered", "in_processor", "driver"),
    [
        ("auto", True, True, Driver.KVM),
        ("auto", True, False, Driver.QEMU),  # a virtual machine: /dev/kvm opens but is useless
        ("auto", False, True, Driver.QEMU),
        ("kvm", True, True, Driver.KVM),
        ("qemu", True, True, Driver.QEMU),
    ],
)
def test_driver(wanted, offered, in_processor, driver):
    chosen, reason = choose_driver(wanted, offered=offered, in_processor=in_processor)
    assert chosen is driver
    assert reason


@pytest.mark.parametrize("offered", [True, False])
def test_kvm_that_can_not_work_is_refused_with_the_cause(offered):
    with pytest.raises(HostNotReadyError) as caught:
        choose_driver("kvm", offered=offered, in_processor=not offered)
    assert ("vmx" if offered else "/dev/kvm") in caught.value.details


def test_memory_of_a_host_that_tells_only_its_size(tmp_path):
    total, free = Host(connect(tmp_path)).memory_mib()
    assert total == free > 0


CAPABILITIES = """<capabilities><host><cpu>
  <arch>x86_64</arch><model>{model}</model>
  <counter name='tsc' frequency='{frequency}'/>
  <feature name='{feature}'/><feature name='avx2'/>
</cpu></host></capabilities>"""


class Connection:
    """What a host with KVM answers; the tests' machine has none."""

    def __init__(self, **facts):
        facts = {"model": "Skylake", "frequency": 1, "feature": "avx", **facts}
        self.getCapabilities = lambda: CAPABILITIES.format(**facts)
        self.getVersion = lambda: 7_002_022
        self.get = lambda: self


def test_a_memory_fits_one_version_of_qemu_and_with_kvm_one_processor():
    assert Host(Connection()).emulator(Driver.QEMU) == "QEMU 7.2.22"
    one = Host(Connection()).emulator(Driver.KVM)
    assert one.startswith("QEMU 7.2.22 with KVM on Skylake (")
    assert Host(Connection(frequency=2)).emulator(Driver.KVM) == one, "the host was restarted"
    others = [Connection(model="EPYC"), Connection(feature="svm")]
    assert one not in [Host(other).emulator(Driver.KVM) for other in others]
