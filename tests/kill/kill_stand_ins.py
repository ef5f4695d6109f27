"""What stands in for the guest, and for the tools that only speak to a guest.

The domains of these tests are real and run in QEMU, but there is no operating system in them, only
firmware that answers the power button (guest.s). Everything that happens on the host is real:
libvirt, its volumes, domains and network.
"""

import re
import shutil
import tarfile
from pathlib import Path
from xml.etree import ElementTree as ET

import libvirt

from devvm.adapters.openssh import OpenSsh
from devvm.errors import OperationError
from devvm.model import DATA, ROOT, AnsibleResult, CheckResult, Outcome
from tests.kill import kill_guests
from tests.kill.own_host import CONSOLES, FIRMWARE

_GIB = 1024**3
_DOMAIN = """
<domain type="qemu">
  <name>{fqdn}</name>
  <uuid>{uuid}</uuid>
  <memory unit="MiB">64</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch="x86_64">hvm</type><loader readonly="yes" type="rom">{firmware}</loader>
    <smbios mode="sysinfo"/>
  </os>
  <features><acpi/></features>
  <sysinfo type="smbios"><oemStrings><entry>{oem}</entry></oemStrings></sysinfo>
  <devices>
    {disks}
    <interface type="network">
      <mac address="{mac}"/><source network="{network}"/><model type="virtio"/><rom enabled="no"/>
    </interface>
    <serial type="file"><source path="{console}"/></serial>
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


class Vagrant:
    """Does with libvirt what vagrant-libvirt 0.11 does, in its order.

    Args:
        config: The host.
        home: Where Vagrant keeps its boxes.
        step: Told of each thing that is done, before and after: Vagrant can be killed there too.
    """

    def __init__(self, config, home, step):
        self._config = config
        self._home = home
        self._step = step

    def box_registered(self, box):
        return self._image(box).is_file()

    def add_box(self, box, detail):
        unfinished = self._home / f"{box.release}.part"
        shutil.rmtree(unfinished, ignore_errors=True)
        with tarfile.open(box.path) as archive:
            unfinished.mkdir()
            (unfinished / "box.img").write_bytes(archive.extractfile("box.img").read())
        shutil.rmtree(self._image(box).parent, ignore_errors=True)  # --force
        unfinished.rename(self._image(box).parent)

    def remove_box(self, box):
        shutil.rmtree(self._image(box).parent, ignore_errors=True)

    def volume_name(self, box):
        return f"devvm-VAGRANTSLASH-{box.release}_vagrant_box_image_1.0.0_box.img"

    def image(self, box):
        return self._image(box)

    def up(self, folder, detail, log):
        text = (folder / "Vagrantfile").read_text()
        fqdn, uuid, mac, pool, box, oem = (
            re.search(pattern, text)[1]
            for pattern in (
                r"vm\.define ['\"](.*?)['\"]",
                r"libvirt\.uuid = ['\"](.*?)['\"]",
                r"management_network_mac = ['\"](.*?)['\"]",
                r"storage_pool_name = ['\"](.*?)['\"]",
                r"vm\.box = ['\"]devvm/(.*?)['\"]",
                r"['\"](io\.systemd\.credential.*?)['\"]",
            )
        )
        root_gib = int(re.search(r"machine_virtual_size = (\d+)", text)[1])
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
            disks = _DISK.format(path=root.path(), device="vda", serial="")
            for letter, (name, gib, serial) in zip("bcdef", extra, strict=False):
                try:
                    volume = storage.storageVolLookupByName(name)
                except libvirt.libvirtError:
                    volume = _volume(storage, name, int(gib), "")
                disks += _DISK.format(
                    path=volume.path(),
                    device=f"vd{letter}",
                    serial=f"<serial>{serial}</serial>",
                )
            with self._step("vagrant.define"):
                domain = connection.defineXML(
                    _DOMAIN.format(
                        fqdn=fqdn, uuid=uuid, oem=oem, disks=disks, mac=mac,
                        network=self._config.network.name,
                        firmware=FIRMWARE, console=CONSOLES / fqdn,
                    )
                )  # fmt: skip
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

    def _image(self, box):
        return self._home / box.release / "box.img"


class Guest:
    """The guest that a way in leads to."""

    def __init__(self, config):
        self._config = config
        self._connection = None

    def of(self, target):
        """The guest's domain.

        Raises:
            OperationError: the way in is lost, or the domain is.
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
    """SSH into guests that do whatever they are told, once they are up.

    A person's work is what is written at one place of the data disk: that is taken along.
    """

    def __init__(self, config):
        self._guest = Guest(config)

    def wait(self, target, *, timeout, detail):
        kill_guests.await_up(self._guest.of(target))

    def run(self, target, argv, *, check=True, timeout=300, stdin=None):
        kill_guests.await_up(self._guest.of(target))
        return 0, "", ""

    def transfer(self, target, argv, *, source=None, destination=None, timeout=3600):
        domain = self._guest.of(target)
        kill_guests.await_up(domain)
        if destination is not None:
            tree = ET.fromstring(domain.XMLDesc())
            source = tree.find(f"devices/disk[serial='{DATA}']/source")
            kill_guests.read(Path(source.get("file")), kill_guests.WORK, destination)
        else:
            kill_guests.write(domain, DATA, kill_guests.WORK, source.read_bytes()[0])

    def interactive(self, target, argv):
        raise NotImplementedError

    def disconnect(self, target):
        pass

    def new_key(self, path, comment):
        return OpenSsh().new_key(path, comment)


#: What a playbook writes in a guest: on which disk, where, and what.
WRITES = {
    "personalise.yml": ((ROOT, 810, 103),),
    "update.yml": ((ROOT, 800, 101), (DATA, 800, 102)),
}


class Provisioner:
    """Ansible, that writes on the disks which the VM runs on."""

    def __init__(self, config):
        self._guest = Guest(config)

    def apply(self, playbook, target, *, variables, detail, log, tags=()):
        domain = self._guest.of(target)
        for role, place, pattern in WRITES[playbook]:
            kill_guests.write(domain, role, place, pattern)
        return AnsibleResult(ok=1, changed=1)


class Verifier:
    """Checks that all pass or all fail, in a guest that is up."""

    def __init__(self, config, *, passes):
        self._guest = Guest(config)
        self._outcome = Outcome.PASSED if passes else Outcome.FAILED

    def check(self, target, *, detail, log, packages=None, junit=None):
        kill_guests.await_up(self._guest.of(target))
        return (CheckResult(name="unit/nginx.service", role="nginx", outcome=self._outcome),)


class Stacks:
    """The tools of every release.

    Args:
        config: The host.
        counted: Wraps a tool, so that its calls are steps.
        bad: The release on which no VM passes its checks.
    """

    def __init__(self, config, counted, bad):
        self._config, self._counted, self._bad = config, counted, bad

    def provisioner(self, release):
        return self._counted(Provisioner(self._config), "provisioner")

    def verifier(self, release):
        verifier = Verifier(self._config, passes=release != self._bad)
        return self._counted(verifier, "verifier")


class Reporter:
    """Prints what a person would be told."""

    def phase_started(self, name, title):
        pass

    def detail(self, text):
        print("detail:", text)  # noqa: T201

    def phase_finished(self, record):
        pass

    def note(self, text):
        print("note:", text)  # noqa: T201 - the parent reads it


def _volume(storage, name, gib, below):
    return storage.createXML(_VOLUME.format(name=name, size=gib * _GIB, below=below))
