"""The expected state of the host after a command, and how the actual one differs."""

import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree as ET

from devvm.domain.disk import DATA, ROOT
from tests.kill.kill_host import call, sha256


@dataclass(frozen=True)
class Expected:
    """A state of the host.

    Attributes:
        vms: Power state and generation, by VM.
        kept: Purpose and label of every saved state.
        contents: The golden copy that a disk equals, by VM or label of a saved state, and role.
        data_gib: The size of the data disks.
    """

    vms: dict
    kept: tuple = ()
    contents: dict = field(default_factory=dict)
    data_gib: int = 1

    def also_kept(self, purpose, label, like):
        """This state, plus a saved state with the contents of the VM `like`."""
        contents = dict(self.contents)
        for role in (ROOT, DATA):
            if (like, role) in contents:
                contents[label, role] = contents[like, role]
        return replace(self, kept=(*self.kept, (purpose, label)), contents=contents)


def problems(host, expected, goldens, baseline=None):
    """How the host differs from what is expected, in words."""
    found = _names(host, expected)
    if found:
        return found  # the rest would only repeat this
    found += _disks(host, expected, goldens)
    found += _left_over(host)
    found += _volumes(host)
    if baseline is not None:
        found += _frozen(host, baseline)
    return found


def _names(host, expected):
    vms = {vm.name: vm for vm in host.vms()}
    kept = host.kept()
    has = {name: (str(vm.state), vm.metadata.generation) for name, vm in vms.items()}
    found = []
    if has != expected.vms:
        found.append(f"VMs are {has}, expected {expected.vms}")
    found += [f"{vm.name} is not ready" for vm in vms.values() if not vm.metadata.ready]
    states = sorted((str(k.purpose), k.label) for k in kept)
    if states != sorted(expected.kept):
        found.append(f"kept are {states}, expected {sorted(expected.kept)}")
    domains = host.domains()
    if len(domains) != len(vms) + len(kept):
        found.append(f"there are other domains: {sorted(domains)}")
    leases = sorted(ET.fromstring(text).get("name") for text in host.lease_elements())
    if leases != sorted(expected.vms):
        found.append(f"leases are {leases}, expected {sorted(expected.vms)}")
    known = host.libvirt.network.leases()
    found += [
        f"the card of {name} is {vm.mac}, its lease is {known[name].mac}"
        for name, vm in vms.items()
        if name in known and vm.mac != known[name].mac
    ]
    return found


def _disks(host, expected, goldens):
    found = []
    holders = {vm.name: vm.disks for vm in host.vms()}
    holders |= {kept.label: kept.disks for kept in host.kept()}
    for (holder, role), golden in expected.contents.items():
        path = next(disk.path for disk in holders[holder] if disk.role == role)
        difference = goldens.differs(golden, path)
        if difference:
            found.append(f"{role} of {holder} is not {golden}: {difference}")
    for vm in host.vms():
        running = {d.role: d.path for d in vm.disks}
        next_start = {d.role: d.path for d in host.libvirt.disks.of(vm.fqdn)}
        if running != next_start:
            found.append(f"{vm.name} runs on {running}, and is defined with {next_start}")
        size = next(d.size_bytes for d in host.libvirt.disks.of(vm.fqdn) if d.role == DATA)
        if size != expected.data_gib * 1024**3:
            found.append(f"the data disk of {vm.name} has {size} bytes")
    return found


def _left_over(host):
    found = [f"{path} is left" for path in host.journals()]
    folders = sorted(path.name for path in host.state.vms.iterdir())
    names = sorted(vm.name for vm in host.vms())
    if folders != names:
        found.append(f"folders of VMs are {folders}, VMs are {names}")
    own = (".vagrant",)
    found += [
        f"{path} is left"
        for folder in host.state.vms.iterdir()
        for path in folder.iterdir()
        if path.name.startswith(".") and path.name not in own
    ]
    return found + [f"{path} is left" for path in host.vagrant_home.glob("*.part")]


def _volumes(host):
    """Check that every file of the pool belongs to a domain, and every disk of a domain exists."""
    tops = set()
    for domain in host.domains().values():
        for flags in (0, 2):  # as it runs, and as it would start
            tree = ET.fromstring(domain.XMLDesc(flags))
            tops |= {source.get("file") for source in tree.iterfind("devices/disk/source")}
    needed, found = set(), []
    for top in sorted(tops):
        try:
            needed |= set(_chain(top))
        except subprocess.CalledProcessError as error:
            found.append(f"{top} can't be read: {error.stderr.strip()}")
    found += [
        f"the volume {name} is needed by nothing"
        for name, path in sorted(host.files().items())
        if str(path) not in needed and "_vagrant_box_image_" not in name
    ]
    unused = [volume.name for volume in host.libvirt.volumes.unused()]
    return found + ([f"devvm counts as unused: {unused}"] if unused and not found else [])


def _chain(path):
    text = call("qemu-img", "info", "-U", "--backing-chain", path)
    return [line.split(": ", 1)[1] for line in text.splitlines() if line.startswith("image: ")]


def _frozen(host, baseline):
    """Check that what saved states need is unchanged, byte for byte."""
    kept = {
        Path(layer).name
        for state in host.kept()
        for disk in state.disks
        for layer in _chain(disk.path)
    }
    return [
        f"the volume {name} is frozen and has changed"
        for name, digest in baseline.hashes.items()
        if name in kept and sha256(host.pool / name) != digest
    ]
