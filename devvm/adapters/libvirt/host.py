"""What a host offers: memory, and KVM or emulation."""

from __future__ import annotations

import hashlib
from pathlib import Path
from xml.etree import ElementTree as ET

import libvirt

from devvm.adapters.libvirt.connection import Connection, translated
from devvm.domain.errors import HostNotReadyError
from devvm.domain.vm import Driver

_CPUINFO = Path("/proc/cpuinfo")


def choose_driver(wanted: str, *, offered: bool, in_processor: bool) -> tuple[Driver, str]:
    """The driver to use, and why.

    In a virtual machine without nested virtualization, `/dev/kvm` may open and libvirt may offer
    KVM, but a KVM guest crawls and then stops. So the processor has to have the feature too.

    Args:
        wanted: `auto`, `kvm` or `qemu`.
        offered: Whether libvirt offers KVM.
        in_processor: Whether the processor has hardware virtualization.

    Raises:
        HostNotReadyError: `kvm` is wanted, but can't work.
    """
    if not in_processor:
        missing = "the processor shows no hardware virtualization (neither vmx nor svm)"
    elif not offered:
        missing = "libvirt does not offer KVM (does /dev/kvm exist?)"
    else:
        missing = ""
    if wanted == "qemu":
        return Driver.QEMU, "emulation, as the setting vm.driver says"
    if not missing:
        return Driver.KVM, "KVM: the processor has hardware virtualization, and libvirt offers it"
    if wanted == "kvm":
        raise HostNotReadyError(
            "this host can't run KVM guests",
            details=missing,
            resolution="turn virtualization on in the host's firmware, or set vm.driver to auto",
        )
    return Driver.QEMU, f"emulation, which is slow: {missing}"


class Host:
    """Implements `Host`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def check(self) -> None:
        """Raise `HostNotReadyError` if libvirt doesn't answer."""
        self._connection.get()

    def driver(self, wanted: str) -> tuple[Driver, str]:
        """The driver to use for the setting `auto`, `kvm` or `qemu`, and why."""
        with translated("libvirt's capabilities can't be read"):
            capabilities = ET.fromstring(  # noqa: S314 - libvirt's own answer
                self._connection.get().getCapabilities()
            )
        offered = capabilities.find("guest/arch/domain[@type='kvm']") is not None
        features = {f.get("name") for f in capabilities.iterfind("host/cpu/feature")}
        local = _CPUINFO.read_text().split() if _CPUINFO.exists() else []
        in_processor = bool({"vmx", "svm"} & (features | set(local)))
        return choose_driver(wanted, offered=offered, in_processor=in_processor)

    def emulator(self, driver: Driver) -> str:
        """What a guest's memory can only be restored with: QEMU's version, and KVM's processor."""
        with translated("the version of QEMU can't be read"):
            connection = self._connection.get()
            number = connection.getVersion()
            text = connection.getCapabilities() if driver is Driver.KVM else ""
        version = f"QEMU {number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
        if not text:
            return version
        return f"{version} with KVM on {_processor(text)}"

    def memory_mib(self) -> tuple[int, int]:
        """The host's memory: total, and available to a new VM (caches count as free)."""
        with translated("the host's memory can't be read"):
            connection = self._connection.get()
            try:
                stats = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
                    raise
                total = int(connection.getInfo()[1])  # only the total is known
                return total, total
        free = stats["free"] + stats.get("buffers", 0) + stats.get("cached", 0)
        return stats["total"] // 1024, free // 1024


def _processor(capabilities: str) -> str:
    """The host's processor: its model, and a hash over the features that guests may use."""
    found = ET.fromstring(capabilities).find("host/cpu")  # noqa: S314 - libvirt's own answer
    if found is None:
        return "an unknown processor"
    # Not the frequency of its clock, which is measured anew at each boot of the host.
    features = sorted(feature.get("name", "") for feature in found.iterfind("feature"))
    digest = hashlib.sha256(" ".join(features).encode()).hexdigest()[:8]
    return f"{found.findtext('model', 'an unknown processor')} ({digest})"
