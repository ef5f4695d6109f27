"""Running VMs, saved with their memory and restored in seconds: the starting point of tests.

`take` saves the tests' own part of the host: domains (running ones with their memory), volumes,
leases on the network, and devvm's state except boxes and logs. `restore` brings it back whatever a
test did: the same domains, UUIDs, MACs, keys and disks. A guest's memory and disks belong together,
so both are restored together. Only the clock differs: it is set to now.

Not saved: boxes and their records (a test that registers one removes it), logs, locks, and running
commands and rollouts: end those first.
"""

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

POOL = "devvm-test"
NETWORK = "devvm-test"
DOMAIN = ".devvm-test.test"
#: The parts of the state folder about VMs, releases and rollouts.
_STATE = ("ca", "vms", "releases", "rollouts")


def virsh(*args: str | Path) -> str:
    done = _try_virsh(*args)
    assert done.returncode == 0, (args, done.stderr)
    return done.stdout


def _try_virsh(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["virsh", "--connect", "qemu:///system", "--quiet", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def domains(*options: str) -> list[str]:
    """The tests' domains, including saved states; there may be others on this host."""
    return sorted(d for d in virsh("list", "--name", *options).split() if DOMAIN in d)


def pools() -> list[str]:
    return virsh("pool-list", "--all", "--name").split()


def leases() -> list[str]:
    """The VMs' leases on the network, as XML."""
    if NETWORK not in virsh("net-list", "--all", "--name").split():
        return []
    network = ET.fromstring(virsh("net-dumpxml", NETWORK))
    return sorted(
        ET.tostring(host, encoding="unicode").strip() for host in network.iterfind("ip/dhcp/host")
    )


def wait_for_agent(name: str, seconds: float = 150) -> None:
    """Wait for a guest's agent to answer; that can take a minute after a restore."""
    ping = ("qemu-agent-command", "--timeout", "5", name, '{"execute": "guest-ping"}')
    deadline = time.monotonic() + seconds
    while (done := _try_virsh(*ping)).returncode:
        assert time.monotonic() < deadline, done.stderr
        time.sleep(0.5)


@dataclass(frozen=True)
class _Volume:
    """A volume's file, and how to see that it was written to."""

    copy: Path
    seen: tuple[int, int, int]


def _seen(path: Path) -> tuple[int, int, int]:
    facts = path.stat()
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


class Baseline:
    """The saved state.

    Args:
        state: devvm's state folder.
        folder: An empty folder for memory and disks; about 1.5 GB per VM.
    """

    def __init__(self, state: Path, folder: Path) -> None:
        self._state = state
        self._folder = folder
        self._pool = Path(ET.fromstring(virsh("pool-dumpxml", POOL)).findtext("target/path", ""))
        self._definitions: dict[str, Path] = {}
        self._volumes: dict[str, _Volume] = {}
        self._leases: list[str] = []

    def take(self) -> None:
        """Save everything. Running VMs continue afterwards."""
        self._disconnect()
        for name in domains("--all"):
            self._definitions[name] = self._folder / f"{name}.xml"
            self._definitions[name].write_text(virsh("dumpxml", "--inactive", name))
        for name in domains():
            virsh("save", name, self._memory(name))
        self._leases = leases()
        for path in self._pool.iterdir():
            self._volumes[path.name] = self._keep(path)
        for part in _STATE:
            _copy(self._state / part, self._folder / part)
        self._wake()

    def restore(self) -> None:
        """Restore everything; running VMs respond in a few seconds."""
        self._disconnect()
        for name in domains():
            virsh("destroy", name)
        for name in domains("--all"):
            virsh("undefine", name, "--managed-save", "--snapshots-metadata")
        for path in self._pool.iterdir():
            if path.name not in self._volumes:
                path.unlink()
        for name, volume in self._volumes.items():
            path = self._pool / name
            if not path.exists() or _seen(path) != volume.seen:
                path.unlink(missing_ok=True)
                self._volumes[name] = self._put(path, volume.copy)
        virsh("pool-refresh", POOL)
        for part in _STATE:
            shutil.rmtree(self._state / part)
            _copy(self._folder / part, self._state / part)
        self._put_leases()
        for definition in self._definitions.values():
            virsh("define", definition)
        self._wake()

    def forget(self) -> None:
        """Delete what was saved."""
        shutil.rmtree(self._folder)

    def _wake(self) -> None:
        """Resume the VMs that were running, from the moment at which they were saved."""
        for name in self._definitions:
            if self._memory(name).exists():
                virsh("restore", self._memory(name))
                self._set_clock(name)

    def _set_clock(self, name: str) -> None:
        """Set a guest's clock to now; certificates and sessions depend on it.

        Not with the agent: `virsh domtime` runs hwclock, which writes a file that production does
        not have, and the agent may not answer for a minute after a restore.
        """
        vm = name.split(".", 1)[0]
        ssh = ["ssh", "-F", self._state / "vms" / vm / "ssh_config", "-o", "BatchMode=yes", vm]
        subprocess.run([*ssh, "true"], check=True, timeout=120)  # connecting takes seconds
        now = f"@{time.time():.2f}"
        subprocess.run(
            [*ssh, "sudo", "date", "--set", now], check=True, timeout=60, stdout=subprocess.DEVNULL
        )

    def _memory(self, name: str) -> Path:
        return self._folder / f"{name}.memory"

    def _keep(self, path: Path) -> _Volume:
        copy = self._folder / "volumes" / path.name
        copy.parent.mkdir(exist_ok=True)
        _copy(path, copy)
        return _Volume(copy, _seen(path))

    def _put(self, path: Path, copy: Path) -> _Volume:
        _copy(copy, path)
        return _Volume(copy, _seen(path))

    def _put_leases(self) -> None:
        for present, command in ((set(leases()) - set(self._leases), "delete"),
                                 (set(self._leases) - set(leases()), "add")):  # fmt: skip
            for host in present:
                virsh("net-update", NETWORK, command, "ip-dhcp-host", host, "--live", "--config")

    def _disconnect(self) -> None:
        """Close connections that were kept open: the restored guest doesn't know them."""
        for config in (self._state / "vms").glob("*/ssh_config"):
            for alias in (config.parent.name, f"{config.parent.name}-vagrant"):
                command = ["ssh", "-F", config, "-O", "exit", alias]
                subprocess.run(command, capture_output=True, check=False, timeout=20)


def _copy(source: Path, destination: Path) -> None:
    """Copy a file or folder, with owners, times and holes."""
    command = ["cp", "--archive", "--reflink=auto", "--no-target-directory"]
    subprocess.run([*command, os.fspath(source), os.fspath(destination)], check=True)
