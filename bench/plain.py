"""Plain Vagrant: a box without the stack, and `vagrant up` with Ansible that applies its roles.

The box is like those that people download: a minimal Debian with an SSH server, Python and sudo. It
is built here, because there may be nowhere to download one from.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import tarfile
from pathlib import Path

from bench.command import CommandError, Runner, UnavailableError, say
from bench.results import Sample
from devvm import wiring
from devvm.adapters.image.disk_image import DiskImages
from devvm.adapters.image.root_tree import RootTrees
from devvm.adapters.libvirt import Libvirt
from devvm.config import Config
from devvm.domain.errors import DevvmError
from devvm.domain.package_set import SUITE
from devvm.system import assets, process

#: The domain's name, and the host's.
NAME = "bench-plain"
_BOX = "bench/plain"
_DISK_GIB = 20

_PACKAGES = (
    "ca-certificates", "dbus", "grub-pc-bin", "grub2-common", "initramfs-tools", "iproute2",
    "linux-image-cloud-amd64", "openssh-server", "python3", "python3-apt", "sudo",
    "systemd-resolved", "systemd-sysv", "udev", "zstd",
)  # fmt: skip
_HOOKS = (
    "chroot \"$1\" useradd --create-home --shell /bin/bash --password '*' vagrant",
    'echo "vagrant ALL=(ALL:ALL) NOPASSWD: ALL" >"$1/etc/sudoers.d/vagrant"',
    'chmod 0440 "$1/etc/sudoers.d/vagrant"',
    'chroot "$1" install -d -m 0700 -o vagrant -g vagrant /home/vagrant/.ssh',
    "upload {key} /home/vagrant/.ssh/authorized_keys",
    'chroot "$1" chown vagrant:vagrant /home/vagrant/.ssh/authorized_keys',
    "upload {network} /etc/systemd/network/80-dhcp.network",
    'chroot "$1" systemctl enable systemd-networkd.service systemd-resolved.service',
    'mkdir -p "$1/etc/default/grub.d"',
    "upload {grub} /etc/default/grub.d/serial.cfg",
)
#: Without a graphics card, GRUB needs another terminal; so do people who look at the console.
_GRUB = """\
GRUB_TIMEOUT=0
GRUB_TERMINAL="console serial"
GRUB_CMDLINE_LINUX="console=ttyS0"
"""

_VAGRANTFILE = """\
Vagrant.configure("2") do |config|
  config.vm.define {name}
  config.vm.box = {box}
  config.vm.box_check_update = false
  config.vm.boot_timeout = {boot_timeout}
  config.vm.synced_folder ".", "/vagrant", disabled: true
  config.ssh.private_key_path = {key}
  config.ssh.insert_key = false
  config.vm.provider :libvirt do |libvirt|
    libvirt.uri = {uri}
    libvirt.driver = {driver}
    libvirt.cpu_mode = {cpu_mode}
    libvirt.cpus = {cpus}
    libvirt.memory = {memory}
    libvirt.default_prefix = ""
    libvirt.graphics_type = "none"
    libvirt.random :model => "random"
    libvirt.storage_pool_name = {pool}
    libvirt.management_network_name = {network}
    libvirt.management_network_address = {address}
    libvirt.management_network_keep = true
  end
  config.vm.provision "ansible" do |ansible|
    ansible.compatibility_mode = "2.0"
    ansible.playbook = {playbook}
    ansible.raw_arguments = ["--extra-vars", {variables}]
  end
end
"""

#: What the guest runs to ask its own site; the box has no curl.
_HEALTH = (
    "import ssl, urllib.request as u; print(u.urlopen('https://localhost/healthz', "
    "context=ssl._create_unverified_context()).read().decode())"
)


class Plain:
    """One VM by plain Vagrant.

    Args:
        config: The size, network and pool of VMs, and the mirrors.
        runner: Runs Vagrant.
        folder: An empty folder for the box, the Vagrantfile and Vagrant's own files; 4 GiB.
    """

    def __init__(self, config: Config, runner: Runner, folder: Path) -> None:
        self._config = config
        self._runner = runner
        self._folder = folder
        self._key = folder / "id_vagrant"
        self._hypervisor = Libvirt(config)

    def prepare(self) -> None:
        """Build the box and add it to Vagrant, which no user does either.

        Raises:
            UnavailableError: this isn't root.
            CommandError: a tool failed.
        """
        if os.geteuid() != 0:
            raise UnavailableError("building its box needs root: run it with sudo")
        self._runner.run(
            ["ssh-keygen", "-q", "-t", "ecdsa", "-m", "PEM", "-N", "", "-f", str(self._key)]
        )
        try:
            self._hypervisor.volumes.ensure()
            self._hypervisor.network.ensure()
            box = self._build()
        except DevvmError as error:
            details = " ".join((error.details or "").split())
            raise CommandError(f"{error.brief} ({details})" if details else error.brief) from None
        (self._folder / "Vagrantfile").write_text(self.vagrantfile(), encoding="utf-8")
        (self._folder / "variables.json").write_text(
            json.dumps(self._config.box.role_variables), encoding="utf-8"
        )
        self._vagrant("box", "add", "--name", _BOX, "--provider", "libvirt", str(box))

    def measure(self) -> Sample:
        """Bring it up and apply the roles; its site is healthy then.

        Raises:
            CommandError: Vagrant failed, or the site isn't healthy.
        """
        boot = self._vagrant("up", "--provider=libvirt", "--no-provision")
        roles = self._vagrant("provision")
        said = self._vagrant_says("ssh", "-c", f"python3 -c {shlex.quote(_HEALTH)}")
        if '"status": "ok"' not in said:
            raise CommandError("its site is not healthy after the roles were applied")
        phases = {"boot": round(boot, 2), "roles": round(roles, 2)}
        return Sample(seconds=round(boot + roles, 3), phases=phases)

    def remove(self) -> None:
        """Delete the VM, the box, and the box's image in the pool.

        Raises:
            CommandError: one of them is still there.
        """
        if (self._folder / "Vagrantfile").exists():
            self._vagrant("destroy", "--force")
        try:
            for volume in self._hypervisor.volumes.all():
                if volume.name.startswith(("bench-VAGRANTSLASH-plain_", f"{NAME}.")):
                    self._hypervisor.volumes.remove(volume.name)
        except DevvmError as error:
            raise CommandError(error.brief) from None

    def vagrantfile(self) -> str:
        """The Vagrantfile."""
        config, driver = self._config, self._hypervisor.host.driver(self._config.vm.driver)[0]
        values = {
            "name": NAME,
            "box": _BOX,
            "boot_timeout": config.vm.boot_timeout_seconds,
            "key": str(self._key),
            "uri": config.uri,
            "driver": driver.value,
            "cpu_mode": "host-passthrough" if driver.value == "kvm" else "maximum",
            "cpus": config.vm.cpus,
            "memory": config.vm.memory_mib,
            "pool": config.pool,
            "network": config.network.name,
            "address": config.network.address,
            "playbook": str(assets.reference_stack() / "playbooks" / "site.yml"),
            "variables": f"@{self._folder / 'variables.json'}",
        }
        return _VAGRANTFILE.format(**{key: json.dumps(value) for key, value in values.items()})

    def _build(self) -> Path:
        say("  building a box without the stack")
        log, tarball, tree = self._runner.log, self._folder / "root.tar", self._folder / "root"
        network = self._folder / "dhcp.network"
        network.write_text("[Match]\nType=ether\n\n[Network]\nDHCP=ipv4\n", encoding="utf-8")
        network.chmod(0o644)
        grub = self._folder / "grub.cfg"
        grub.write_text(_GRUB, encoding="utf-8")
        hooks = [hook.format(key=f"{self._key}.pub", network=network, grub=grub) for hook in _HOOKS]
        process.stream(
            [
                "mmdebstrap", "--mode=root", "--variant=minbase",
                f"--keyring={self._config.box.keyring}", f"--include={','.join(_PACKAGES)}",
                *(f"--customize-hook={hook}" for hook in hooks),
                SUITE, tarball, *wiring.build_box_services(self._config).archive.source_lines(),
            ],
            lambda _line: None, env={"TMPDIR": str(self._folder)}, log=log, isolated=True,
        )  # fmt: skip
        RootTrees().unpack(tarball, tree, log=log)
        tarball.unlink()
        (tree / "etc/hostname").write_text(f"{NAME}\n")
        (tree / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {NAME}\n")
        resolver = tree / "etc/resolv.conf"
        resolver.unlink(missing_ok=True)
        resolver.symlink_to("../run/systemd/resolve/resolv.conf")
        images, disk, image = DiskImages(), self._folder / "disk.raw", self._folder / "box.img"
        driver = self._hypervisor.host.driver("auto")[0]
        images.assemble(tree, disk, size_gib=_DISK_GIB, log=log)
        images.install_bootloader(
            disk, tree, image, driver=driver, detail=lambda _text: None, log=log
        )
        disk.unlink()
        RootTrees().remove(tree)
        return self._pack(image)

    def _pack(self, image: Path) -> Path:
        metadata = {"provider": "libvirt", "format": "qcow2", "virtual_size": _DISK_GIB}
        described = self._folder / "metadata.json"
        described.write_text(json.dumps(metadata), encoding="utf-8")
        box = self._folder / "plain.box"
        with tarfile.open(box, "w") as archive:
            archive.add(described, "metadata.json")
            archive.add(image, "box.img")
        image.unlink()
        return box

    def _vagrant(self, *arguments: str) -> float:
        """Run Vagrant with its output in the log; return the seconds that it took."""
        return self._run(arguments)[1]

    def _vagrant_says(self, *arguments: str) -> str:
        return self._run(arguments)[0]

    def _run(self, arguments: tuple[str, ...]) -> tuple[str, float]:
        ended = self._runner.run(
            ["vagrant", *arguments],
            cwd=self._folder,
            env={
                # ansible-playbook of this environment, and this stack's roles
                "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
                "ANSIBLE_ROLES_PATH": str(assets.reference_stack() / "roles"),
                "ANSIBLE_HOME": str(self._folder / "ansible"),
                "ANSIBLE_PIPELINING": "true",
                "VAGRANT_HOME": str(self._folder / "vagrant.d"),
                "VAGRANT_CHECKPOINT_DISABLE": "1",
                "VAGRANT_BOX_UPDATE_CHECK_DISABLE": "1",
                "VAGRANT_NO_COLOR": "1",
            },
        )
        return ended.stdout, ended.seconds
