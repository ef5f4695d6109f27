"""Boots a root file system in a systemd-nspawn container, with SSH access.

The container has a real systemd, and no network except its own loopback, unless its stack asks for
more. SSH connects through `nsenter` and `socat`, so it needs no address; the host key is known
before the container starts.
"""

from __future__ import annotations

import base64
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from devvm.adapters.image import uplink
from devvm.domain.errors import OperationError
from devvm.domain.vm import Target
from devvm.ports.services import Detail
from devvm.system import process, tempdir

_START_SECONDS = 120.0
_STOP_SECONDS = 180.0
#: Variable with the container's name, which identifies its first process even after nspawn died.
_MARK = "DEVVM_CONTAINER"

#: Like nspawn's `--boot`, but the container dies when nspawn is killed.
_INIT = ("setpriv", "--pdeathsig", "KILL", "--", "/lib/systemd/systemd")
#: The signal that tells systemd to power off (systemd(1), "Signals").
_POWER_OFF = "SIGRTMIN+3"
#: The build has its own lock; nspawn's would leave files beside the tree and in /run.
_ENVIRONMENT = {"SYSTEMD_NSPAWN_LOCK": "0"}
#: nspawn has a folder here for each container.
_PROPAGATED = Path("/run/systemd/nspawn/propagate")

_SSH_CONFIG = """\
Host {name}
    User vagrant
    HostKeyAlias {name}
    ProxyCommand nsenter -t {leader} -n socat - TCP:127.0.0.1:22
    IdentityFile {keys}/id_ed25519
    IdentitiesOnly yes
    UserKnownHostsFile {keys}/known_hosts
    StrictHostKeyChecking yes
    BatchMode yes
    ControlMaster auto
    ControlPath {keys}/%C
    ControlPersist 30
"""


class _Running(Protocol):
    """A systemd-nspawn process."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def send_signal(self, sig: int, /) -> None: ...


class Nspawn:
    """Implements `Containers` with systemd-nspawn.

    Args:
        ca_file: CA certificates that a container with network trusts, besides its own.
    """

    def __init__(self, ca_file: Path | None = None) -> None:
        self._ca_file = ca_file

    @contextmanager
    def booted(
        self, root: Path, *, name: str, detail: Detail, log: Path, network: bool = False
    ) -> Iterator[Target]:
        """Boot a container with SSH login as `vagrant`.

        At the end it is shut down cleanly, so that databases close their files. If this process or
        systemd-nspawn is killed, the container ends at once. A leftover container is ended first.

        Args:
            root: The root file system; changed by whatever runs in it.
            name: The machine's name; unique among this host's containers.
            detail: Called with the current step.
            log: File to append the container's console output to.
            network: Whether it reaches what the host reaches, through the host's proxies.

        Raises:
            OperationError: the container doesn't boot, can't be connected to the network, or
                doesn't shut down cleanly.
            HostNotReadyError: it can't use the host's proxy, or the CA certificates.
        """
        remove_leftovers(name)
        try:
            with self._started(root, name, detail, log, network=network) as target:
                yield target
        finally:
            remove_leftovers(name)

    @contextmanager
    def _started(
        self, root: Path, name: str, detail: Detail, log: Path, *, network: bool
    ) -> Iterator[Target]:
        with tempdir.folder("container") as keys, ExitStack() as ends:  # only root may look inside
            credential = _make_keys(keys, root, name)
            options: list[str] = []
            if network:
                prepared = uplink.prepare(keys, root, ca_file=self._ca_file)
                options = prepared.options
                with credential.open("a") as lines:
                    lines.write(prepared.tmpfiles)
            nspawn = ends.enter_context(
                process.background(
                    _argv(root, name, credential, options),
                    env=_ENVIRONMENT,
                    log=log,
                    stop_timeout=_STOP_SECONDS,
                    death_signal=signal.SIGKILL,
                )
            )
            detail("waiting for the container")
            deadline = time.monotonic() + _START_SECONDS
            leader = _leader(nspawn, deadline, log)
            process.run(["nsenter", "-t", str(leader), "-n", "ip", "link", "set", "lo", "up"])
            if network:
                ends.enter_context(uplink.connected(leader, log))
            config = keys / "ssh_config"
            config.write_text(_SSH_CONFIG.format(name=name, leader=leader, keys=keys))
            python = uplink.PYTHON if network else "/usr/bin/python3"
            target = Target(ssh_config=config, alias=name, python=python)
            _wait_for_login(nspawn, target, deadline, log)
            yield target
            detail("shutting the container down")
            _shut_down(nspawn, log)


def remove_leftovers(name: str) -> None:
    """End a container that was left behind: kill nspawn and the container's first process.

    The container's other processes die with the first one. That one dies with nspawn, except in a
    container of an older devvm, and while nspawn is just starting it.
    """
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if _is_nspawn(folder, name) or _is_first_inside(folder, name):
                os.kill(int(folder.name), signal.SIGKILL)
                _wait_until_gone(folder)
    with suppress(FileNotFoundError):  # nspawn only removes it if it ends normally
        (_PROPAGATED / name).rmdir()


def _is_nspawn(folder: Path, name: str) -> bool:
    argv = (folder / "cmdline").read_bytes().split(b"\0")
    return b"systemd-nspawn" in argv[0] and f"--machine={name}".encode() in argv


def _is_first_inside(folder: Path, name: str) -> bool:
    if f"{_MARK}={name}".encode() not in (folder / "environ").read_bytes().split(b"\0"):
        return False
    return _is_first(folder)


def _wait_until_gone(folder: Path) -> None:
    deadline = time.monotonic() + 10
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.1)


def _argv(root: Path, name: str, credential: Path, options: Sequence[str]) -> list[str]:
    return [
        "systemd-nspawn", "--quiet", f"--directory={root}", f"--machine={name}",
        f"--setenv={_MARK}={name}",
        "--register=no", *_scope(), "--private-network",
        "--resolv-conf=off", "--timezone=off", "--link-journal=no",
        f"--load-credential=tmpfiles.extra:{credential}", *options,
        f"--kill-signal={_POWER_OFF}", "--", *_INIT,
    ]  # fmt: skip


def _scope() -> list[str]:
    """Options for the container's scope: on a host without systemd, it can't have one."""
    return [] if Path("/run/systemd/system").is_dir() else ["--keep-unit"]


def _make_keys(folder: Path, root: Path, name: str) -> Path:
    """Create throwaway keys, and return a tmpfiles credential that authorizes the login key."""
    host_key = root / "etc/ssh/ssh_host_ed25519_key"
    if not host_key.exists():
        process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", host_key])
    kind, public = host_key.with_suffix(".pub").read_text().split()[:2]
    (folder / "known_hosts").write_text(f"{name} {kind} {public}\n")

    login_key = folder / "id_ed25519"
    process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", login_key])
    public = base64.b64encode(login_key.with_suffix(".pub").read_bytes()).decode()
    credential = folder / "tmpfiles.extra"
    credential.write_text(
        "d /var/lib/vagrant/.ssh 0700 vagrant vagrant\n"
        f"f+~ /var/lib/vagrant/.ssh/authorized_keys 0600 vagrant vagrant - {public}\n"
    )
    return credential


def _leader(nspawn: _Running, deadline: float, log: Path) -> int:
    """Wait for the container's systemd, nspawn's child with PID 1 inside; returns its PID."""
    while time.monotonic() < deadline and nspawn.poll() is None:
        with suppress(OSError):
            children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children").read_text().split()
            for child in children:
                if _is_first(Path("/proc") / child):
                    return int(child)
        time.sleep(0.1)
    raise _did_not_boot(nspawn, log)


def _is_first(folder: Path) -> bool:
    """Whether a process has PID 1 in a PID namespace below ours."""
    status = (folder / "status").read_text().splitlines()
    numbers = next(line for line in status if line.startswith("NSpid:")).split()[1:]
    return len(numbers) > 1 and numbers[-1] == "1"


def _wait_for_login(nspawn: _Running, target: Target, deadline: float, log: Path) -> None:
    # Wait for the boot to finish: Ansible would report a service that is starting as changed.
    argv = ["ssh", "-F", str(target.ssh_config), target.alias, "systemctl is-system-running --wait"]
    while time.monotonic() < deadline and nspawn.poll() is None:
        result = process.run(argv, check=False, timeout=_START_SECONDS)
        if result.returncode != 255:  # 255 is ssh's own failure; for "degraded" it is 1
            return
        time.sleep(0.5)
    raise _did_not_boot(nspawn, log)


def _shut_down(nspawn: _Running, log: Path) -> None:
    nspawn.send_signal(signal.SIGTERM)  # asks the container's systemd to power off
    deadline = time.monotonic() + _STOP_SECONDS
    while (code := nspawn.poll()) is None and time.monotonic() < deadline:
        time.sleep(0.2)
    if code != 0:
        raise OperationError(
            "the build container did not shut down cleanly",
            details="it did not end in time"
            if code is None
            else f"systemd-nspawn ended with {code}",
            resolution="sudo devvm box build --force",
            log=log,
        )


def _did_not_boot(nspawn: _Running, log: Path) -> OperationError:
    code = nspawn.poll()
    return OperationError(
        "the build container did not boot",
        details="no login was possible in time"
        if code is None
        else f"systemd-nspawn ended with {code}",
        resolution="read the container's console in the log; then: sudo devvm box build",
        log=log,
    )
