"""The floor: how fast QEMU itself boots a VM's disks, without libvirt and without devvm.

The disks are layers on those of a VM that is shut off, which stays as it is. The guest's network
ends in QEMU; two ports of the loopback interface lead to its SSH server and its site.
"""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import answers, contenders
from bench.command import CommandError, UnavailableError
from bench.results import Sample
from devvm.system import process

#: What libvirt's own QEMU runs as on Debian.
_ACCOUNT = "libvirt-qemu"
_TIMEOUT = 900.0
_POLL = 0.1


@dataclass(frozen=True, kw_only=True)
class Guest:
    """The VM whose disks are booted.

    Attributes:
        fqdn: Its name, for which its certificate is.
        disks: Its disks in their order, the root first: the serial and the file of each.
        driver: `kvm` or `qemu`.
        cpus: Virtual processors.
        memory_mib: Memory.
        processor: QEMU's `-cpu`.
        machine: QEMU's `-machine`.
        ca: The certificate of the CA that signed the site's.
    """

    fqdn: str
    disks: Sequence[tuple[str, Path]]
    driver: str
    cpus: int
    memory_mib: int
    processor: str
    machine: str
    ca: Path


def measure(guest: Guest, log: Path) -> Sample:
    """Boot it; the phases are until SSH answers, and from then until the site is healthy.

    Raises:
        UnavailableError: this user can't read the disks.
        CommandError: QEMU ended, or the site was not healthy in time.
        DevvmError: QEMU is not installed, or there is no room for the layers.
    """
    unreadable = [path for _, path in guest.disks if not os.access(path, os.R_OK)]
    if unreadable:
        raise UnavailableError(f"only root can read {unreadable[0].name}: run it with sudo")
    with tempfile.TemporaryDirectory(prefix="bench-floor-", dir="/var/tmp") as folder:
        layers = [
            (serial, _layer(path, Path(folder) / f"{number}.qcow2"))
            for number, (serial, path) in enumerate(guest.disks)
        ]
        ssh_port, site_port = _free_ports()
        begun = time.monotonic()
        command = argv(guest, layers, ssh_port, site_port)
        # Its disks are thrown away, so it may be killed; and it is, if this process dies.
        kill = signal.SIGKILL
        with process.background(command, log=log, stop_signal=kill, death_signal=kill) as qemu:
            ssh = _wait(qemu, begun, lambda: answers.ssh("127.0.0.1", ssh_port, 2))
            site = _wait(
                qemu,
                begun,
                lambda: answers.site("127.0.0.1", site_port, guest.fqdn, guest.ca, 5),
            )
    phases = {contenders.SSH: round(ssh, 2), contenders.SITE: round(site - ssh, 2)}
    return Sample(seconds=round(site, 3), phases=phases)


def argv(
    guest: Guest, layers: Sequence[tuple[str, Path]], ssh_port: int, site_port: int
) -> list[str]:
    """QEMU's command line."""
    accelerator = "kvm" if guest.driver == "kvm" else "tcg"
    forwards = f"hostfwd=tcp:127.0.0.1:{ssh_port}-:22,hostfwd=tcp:127.0.0.1:{site_port}-:443"
    found = [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
        "-machine", f"{guest.machine},usb=off", "-accel", accelerator, "-cpu", guest.processor,
        "-smp", str(guest.cpus), "-m", str(guest.memory_mib), "-serial", "null",
        # Nothing of the guest's leaves QEMU, except for answers to who connects to it.
        "-netdev", f"user,id=net,restrict=on,hostname={guest.fqdn.partition('.')[0]},{forwards}",
        "-device", "virtio-net-pci,netdev=net,addr=0x3",
        "-object", "rng-random,id=random,filename=/dev/urandom",
        "-device", "virtio-rng-pci,rng=random,addr=0x4",
    ]  # fmt: skip
    for number, (serial, path) in enumerate(layers):
        # Without an order to boot in, the firmware may take the data disk first, and stop there.
        boot = f",bootindex={number + 1}"
        found += [
            "-drive", f"if=none,id=disk{number},file={path},format=qcow2,discard=unmap",
            "-device",
            f"virtio-blk-pci,drive=disk{number},serial={serial},addr={5 + number:#x}{boot}",
        ]  # fmt: skip
    return found + _as_account()


def _as_account() -> list[str]:
    """Give root's rights up once the disks are open, if there is the account for it."""
    try:
        pwd.getpwnam(_ACCOUNT)
    except KeyError:
        return []
    return ["-runas", _ACCOUNT] if os.geteuid() == 0 else []


def _layer(below: Path, path: Path) -> Path:
    create = ["qemu-img", "create", "-q", "-f", "qcow2"]
    process.run([*create, "-b", below, "-F", "qcow2", path])
    return path


def _wait(qemu: subprocess.Popen[str], begun: float, there: Callable[[], bool]) -> float:
    """Seconds from `begun` until `there`."""
    while True:
        if there():
            return time.monotonic() - begun
        if qemu.poll() is not None:
            raise CommandError(f"QEMU ended with code {qemu.returncode}; see the log")
        if time.monotonic() - begun > _TIMEOUT:
            raise CommandError(f"the site was not healthy after {_TIMEOUT:.0f} s")
        time.sleep(_POLL)


def _free_ports() -> tuple[int, int]:
    """Two ports of the loopback interface that nobody listens on."""
    with socket.socket() as first, socket.socket() as second:
        for one in (first, second):
            one.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]
