"""Stand-ins for the guest, and for the tools that only talk to a guest.

The domains of these tests are real and run in QEMU, but contain no operating system, only firmware
that answers the power button (guest.s). Everything on the host is real: libvirt, its volumes,
domains and network.
"""

import re
import shutil
import tarfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import libvirt

from devvm.adapters.openssh import OpenSsh
from devvm.config import Config
from devvm.domain.box import Box
from devvm.domain.check import CheckResult, Outcome
from devvm.domain.disk import DATA, ROOT
from devvm.domain.errors import OperationError
from devvm.domain.run import AnsibleResult, PhaseRecord
from devvm.domain.vm import Target
from devvm.operations.core import progress
from devvm.operations.provision import personalise
from devvm.ports import services
from devvm.ports.services import Detail
from tests.kill import kill_guests
from tests.kill.own_host import FIRMWARE

#: Takes the name of an action; the result is entered around the action.
Step = Callable[[str], AbstractContextManager[None]]

_GIB = 1024**3
_DOMAIN = """
<domain type="qemu">
  <name>{fqdn}</name>
  <uuid>{uuid}</uuid>
  <memory unit="MiB">64</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch="x86_64">hvm</type>{firmware}
    <smbios mode="sysinfo"/>
  </os>
  <features><acpi/></features>
  <sysinfo type="smbios"><oemStrings><entry>{oem}</entry></oemStrings></sysinfo>
  <devices>
    {disks}
    <interface type="network">
      <mac address="{mac}"/><source network="{network}"/><model type="virtio"/><rom enabled="no"/>
    </interface>
    <channel type="unix"><target type="virtio" name="org.qemu.guest_agent.0"/></channel>
  </devices>
</domain>
"""
_DISK = """
<disk type="file" device="disk">
  <driver name="qemu" type="qcow2" discard="unmap"/>
  <source file="{path}"/><target dev="{device}" bus="virtio"/>{serial}
</disk>
"""
_VOLUME = """
<volume>
  <name>{name}</name><capacity unit="bytes">{size}</capacity>
  <target><format type="qcow2"/><permissions><mode>0600</mode></permissions></target>
  {below}
</volume>
"""
_BELOW = '<backingStore><path>{path}</path><format type="qcow2"/></backingStore>'


def domain_xml(
    *, fqdn: str, uuid: str, mac: str, network: str, disks: Mapping[str, Path], oem: str = "",
    answers: bool = True,
) -> str:  # fmt: skip
    """A domain's XML. The first disk is the root; others have their roles as serial numbers.

    Without `answers` it gets QEMU's own firmware, which finds no system on the disks and ignores
    the power button.
    """
    firmware = f'<loader readonly="yes" type="rom">{FIRMWARE}</loader>' if answers else ""
    elements = ""
    for letter, (role, path) in zip("abcdef", disks.items(), strict=False):
        serial = "" if role == ROOT else f"<serial>{role}</serial>"
        elements += _DISK.format(path=path, device=f"vd{letter}", serial=serial)
    return _DOMAIN.format(
        fqdn=fqdn, uuid=uuid, mac=mac, network=network, disks=elements, oem=oem,
        firmware=firmware,
    )  # fmt: skip


class Vagrant:
    """Does with libvirt what vagrant-libvirt 0.11 does, in the same order.

    Args:
        config: The host.
        home: Where Vagrant keeps its boxes.
        step: Entered around each action, so that Vagrant can be killed there too.
    """

    def __init__(self, config: Config, home: Path, step: Step) -> None:
        self._config = config
        self._home = home
        self._step = step

    def box_registered(self, box: Box) -> bool:
        return self._image(box).is_file()

    def add_box(self, box: Box, detail: Detail) -> None:
        unfinished = self._home / f"{box.release}.part"
        shutil.rmtree(unfinished, ignore_errors=True)
        with tarfile.open(box.path) as archive:
            unfinished.mkdir()
            image = archive.extractfile("box.img")
            assert image is not None
            (unfinished / "box.img").write_bytes(image.read())
        shutil.rmtree(self._image(box).parent, ignore_errors=True)  # with --force
        unfinished.rename(self._image(box).parent)

    def remove_box(self, box: Box) -> None:
        shutil.rmtree(self._image(box).parent, ignore_errors=True)

    def volume_name(self, box: Box) -> str:
        return f"devvm-VAGRANTSLASH-{box.release}_vagrant_box_image_1.0.0_box.img"

    def image(self, box: Box) -> Path:
        return self._image(box)

    def up(self, folder: Path, detail: Detail, log: Path) -> None:
        text = (folder / "Vagrantfile").read_text()
        fqdn, uuid, mac, pool, box, oem = (
            _found(pattern, text)
            for pattern in (
                r"vm\.define ['\"](.*?)['\"]",
                r"libvirt\.uuid = ['\"](.*?)['\"]",
                r"management_network_mac = ['\"](.*?)['\"]",
                r"storage_pool_name = ['\"](.*?)['\"]",
                r"vm\.box = ['\"]devvm/(.*?)['\"]",
                r"['\"](io\.systemd\.credential.*?)['\"]",
            )
        )
        root_gib = int(_found(r"machine_virtual_size = (\d+)", text))
        extra = re.findall(
            r"storage :file, :path => ['\"](.*?)['\"], :size => ['\"](\d+)G['\"],"
            r"\s+:serial => ['\"](.*?)['\"]",
            text,
        )
        try:
            connection = libvirt.open(self._config.uri)
            storage = connection.storagePoolLookupByName(pool)
            image = storage.storageVolLookupByName(
                f"devvm-VAGRANTSLASH-{box}_vagrant_box_image_1.0.0_box.img"
            )
            below = _BELOW.format(path=image.path())
            with self._step("vagrant.make_root"):
                root = _volume(storage, f"{fqdn}.img", root_gib, below)
            disks = {ROOT: Path(root.path())}
            for name, gib, serial in extra:
                try:
                    volume = storage.storageVolLookupByName(name)
                except libvirt.libvirtError:
                    volume = _volume(storage, name, int(gib), "")
                disks[serial] = Path(volume.path())
            xml = domain_xml(
                fqdn=fqdn, uuid=uuid, mac=mac, network=self._config.network.name, disks=disks,
                oem=oem,
            )  # fmt: skip
            with self._step("vagrant.define"):
                domain = connection.defineXML(xml)
            with self._step("vagrant.note_uuid"):
                place = folder / ".vagrant/machines" / fqdn / "libvirt"
                place.mkdir(parents=True, exist_ok=True)
                (place / "id").write_text(uuid)
            with self._step("vagrant.start"):
                domain.create()
        except libvirt.libvirtError as error:
            raise OperationError(
                "vagrant up failed", details=str(error), resolution="look at the log", log=log
            ) from None

    def _image(self, box: Box) -> Path:
        return self._home / box.release / "box.img"


class Guest:
    """Finds the guest that an SSH target leads to."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._connection: libvirt.virConnect | None = None

    def of(self, target: Target) -> libvirt.virDomain:
        """The guest's domain.

        Raises:
            OperationError: the target's files or the domain are gone.
        """
        if not Path(target.ssh_config).is_file():
            raise OperationError(f"{target.alias} is not known", details=f"no {target.ssh_config}")
        name = target.alias.removesuffix("-vagrant")
        try:
            if self._connection is None:
                self._connection = libvirt.open(self._config.uri)
            return self._connection.lookupByName(f"{name}.{self._config.network.domain}")
        except libvirt.libvirtError as error:
            self._connection = None
            raise OperationError(f"{name} can't be reached", details=str(error)) from None


class Shell:
    """SSH to guests that do whatever they are told, once they are up.

    A person's work is what is written at one place on the data disk; backups contain only that.
    """

    def __init__(self, config: Config) -> None:
        self._guest = Guest(config)

    def wait(self, target: Target, *, timeout: float, detail: Detail) -> None:
        kill_guests.await_up(self._guest.of(target), lambda: detail("waiting for SSH"))

    def run(
        self, target: Target, argv: Sequence[str], *, check: bool = True, timeout: float = 300,
        stdin: str | None = None,
    ) -> tuple[int, str, str]:  # fmt: skip
        domain = self._guest.of(target)
        kill_guests.await_up(domain)
        if argv[-1] == personalise.PROGRAM:
            write(domain, personalise.PLAYBOOK)
        return 0, "", ""

    def transfer(
        self, target: Target, argv: Sequence[str], *, source: Path | int | None = None,
        destination: Path | int | None = None, through: Sequence[str] = (), timeout: float = 3600,
    ) -> None:  # fmt: skip
        domain = self._guest.of(target)
        kill_guests.await_up(domain)
        if isinstance(destination, Path):
            tree = ET.fromstring(domain.XMLDesc())
            disk = tree.find(f"devices/disk[serial='{DATA}']/source")
            assert disk is not None
            kill_guests.read(Path(disk.get("file", "")), kill_guests.WORK, destination)
        elif isinstance(source, Path):
            kill_guests.write(domain, DATA, kill_guests.WORK, source.read_bytes()[0])

    def interactive(
        self, target: Target, argv: Sequence[str], *, forward_agent: bool = False
    ) -> int:
        raise NotImplementedError

    def forward(self, target: Target, port: int, socket: str) -> int:
        raise NotImplementedError

    def opening(self, target: Target) -> AbstractContextManager[None]:
        return nullcontext()

    def disconnect(self, target: Target) -> None:
        pass

    def new_key(self, path: Path, comment: str) -> str:
        return OpenSsh().new_key(path, comment)


#: What a playbook writes in a guest: to which disk, where, and what.
WRITES = {
    personalise.PLAYBOOK: ((ROOT, 810, 103),),
    "update.yml": ((ROOT, 800, 101), (DATA, 800, 102)),
}


def write(domain: libvirt.virDomain, playbook: str) -> None:
    """Write what a playbook, or the guest's program that replaces it, writes."""
    for role, place, pattern in WRITES[playbook]:
        kill_guests.write(domain, role, place, pattern)


class Provisioner:
    """Ansible that writes to the VM's disks."""

    def __init__(self, config: Config) -> None:
        self._guest = Guest(config)

    def apply(
        self, playbook: str, target: Target, *, variables: Mapping[str, Any], detail: Detail,
        log: Path, tags: Sequence[str] = (),
    ) -> AnsibleResult:  # fmt: skip
        write(self._guest.of(target), playbook)
        return AnsibleResult(ok=1, changed=1)


class Verifier:
    """Checks that all pass or all fail, in a guest that is up."""

    def __init__(self, config: Config, *, passes: bool) -> None:
        self._guest = Guest(config)
        self._outcome = Outcome.PASSED if passes else Outcome.FAILED

    def check(
        self, target: Target, *, checks: Path, detail: Detail, log: Path,
        packages: Mapping[str, str] | None = None, junit: Path | None = None,
    ) -> tuple[CheckResult, ...]:  # fmt: skip
        kill_guests.await_up(self._guest.of(target))
        return (CheckResult(name="unit/nginx.service", role="nginx", outcome=self._outcome),)


class Stacks:
    """The tools of every release.

    Args:
        config: The host.
        counted: Wraps a tool, so that its calls are steps.
        bad: The release on which every VM fails its checks.
    """

    def __init__(self, config: Config, counted: Callable[[Any, str], Any], bad: str | None) -> None:
        self._config, self._counted, self._bad = config, counted, bad

    def provisioner(self, release: str) -> services.Provisioner:
        counted: services.Provisioner = self._counted(Provisioner(self._config), "provisioner")
        return counted

    def verifier(self, release: str) -> services.Verifier:
        verifier = Verifier(self._config, passes=release != self._bad)
        counted: services.Verifier = self._counted(verifier, "verifier")
        return counted


class Reporter:
    """Prints what the user would be told."""

    def phase_started(self, name: str, title: str) -> None:
        pass

    def detail(self, text: str) -> None:
        print("detail:", text)  # noqa: T201

    def phase_finished(self, record: PhaseRecord) -> None:
        pass

    def note(self, text: str) -> None:
        print("note:", text)  # noqa: T201 - the parent reads it


def _volume(
    storage: libvirt.virStoragePool, name: str, gib: int, below: str
) -> libvirt.virStorageVol:
    return storage.createXML(_VOLUME.format(name=name, size=gib * _GIB, below=below))


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found is not None, pattern
    return found[1]


def _held_against_the_ports(config: Config, step: Step) -> None:
    """For mypy: each stand-in implements a whole port."""
    _vagrant: services.Vagrant = Vagrant(config, Path(), step)
    _shell: services.Shell = Shell(config)
    _provisioner: services.Provisioner = Provisioner(config)
    _verifier: services.Verifier = Verifier(config, passes=True)
    _stacks: services.Stacks = Stacks(config, lambda port, _name: port, None)
    _reporter: progress.Reporter = Reporter()
