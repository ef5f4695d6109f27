"""Describes the machine, the hypervisor and the commit that were measured."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import libvirt

from devvm.adapters.libvirt import Libvirt
from devvm.config import Config


def describe(config: Config) -> dict[str, str]:
    """The machine, as keys and values for people.

    Raises:
        DevvmError: libvirt doesn't answer, or can't run guests as configured.
    """
    hypervisor = Libvirt(config)
    driver, why = hypervisor.host.driver(config.vm.driver)
    connection = hypervisor.connection.get()
    return {
        "cores": str(os.cpu_count()),
        "processor": _value(Path("/proc/cpuinfo"), "model name"),
        "memory": f"{int(_value(Path('/proc/meminfo'), 'MemTotal').split()[0]) / 1024**2:.0f} GiB",
        "system": platform.freedesktop_os_release()["PRETTY_NAME"],
        "kernel": platform.release().partition("-")[0],
        "driver": f"{driver.value} ({why})",
        "QEMU": _version(connection.getVersion()),
        "libvirt": _version(connection.getLibVersion()),
        "guest": f"{config.vm.cpus} processors, {config.vm.memory_mib} MiB",
    }


def commit(checkout: Path) -> str:
    """The commit of a checkout: `1a2b3c4d5e6f`, with `, changed` if the work tree differs."""
    name = _git(checkout, "rev-parse", "--short=12", "HEAD")
    changed = _git(checkout, "status", "--porcelain", "--untracked-files=no")
    return f"{name or 'unknown'}{', changed' if changed else ''}"


def processor(definition: str) -> str:
    """QEMU's `-cpu` for the processor in a domain's definition, as libvirt passes it on."""
    cpu = ET.fromstring(definition).find("cpu")
    mode = "" if cpu is None else cpu.get("mode", "custom")
    if cpu is None or mode == "maximum":
        return "max"
    if mode.startswith("host-"):
        return "host"
    features = [
        f"{feature.get('name')}={'off' if feature.get('policy') in ('disable', 'forbid') else 'on'}"
        for feature in cpu.iterfind("feature")
    ]
    return ",".join([cpu.findtext("model") or "qemu64", *features])


def machine_type(definition: str) -> str:
    """QEMU's `-machine` for a domain's definition."""
    kind = ET.fromstring(definition).find("os/type")
    return ("" if kind is None else kind.get("machine", "")) or "pc"


def memory_mib(config: Config, fqdn: str) -> float | None:
    """The memory of a running VM's QEMU process (its resident set), MiB; None if not known."""
    connection = libvirt.open(config.uri)
    try:
        return float(connection.lookupByName(fqdn).memoryStats()["rss"] / 1024)
    except (libvirt.libvirtError, KeyError):  # a driver that has no processes, or an older one
        return None
    finally:
        connection.close()


def definition(config: Config, fqdn: str) -> str:
    """A domain's definition, as it will be at its next start."""
    connection = libvirt.open(config.uri)
    try:
        return str(connection.lookupByName(fqdn).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    finally:
        connection.close()


def domains(config: Config) -> list[str]:
    """The names of all domains on the host."""
    connection = libvirt.open(config.uri)
    try:
        return [domain.name() for domain in connection.listAllDomains()]
    finally:
        connection.close()


def _value(file: Path, key: str) -> str:
    """The value of a `key: value` line of the kernel's; `unknown` if there is none."""
    for line in file.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return "unknown"


def _version(number: int) -> str:
    """A version that libvirt encodes as a number: 7002022 is 7.2.22."""
    return f"{number // 1000000}.{number // 1000 % 1000}.{number % 1000}"


def _git(checkout: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
