"""Makes a Debian root file system with mmdebstrap, at the speed of the host."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from devvm import process, trees
from devvm.errors import DevvmError, HostNotReadyError, OperationError
from devvm.operations.ports import Detail

SUITE = "bookworm"

#: The account that devvm and Vagrant log in with: Ansible needs it before it can make anything.
_ACCOUNT_HOOKS = (
    (
        'chroot "$1" useradd --system --create-home --home-dir /var/lib/vagrant '
        "--shell /bin/bash --password '*' vagrant"
    ),
    'echo "vagrant ALL=(ALL:ALL) NOPASSWD: ALL" >"$1/etc/sudoers.d/vagrant"',
    'chmod 0440 "$1/etc/sudoers.d/vagrant"',
    'chroot "$1" visudo -qcf /etc/sudoers.d/vagrant',
)

_UNREACHABLE = re.compile(
    r"(Could not resolve|Could not connect|Connection (refused|timed out|failed)|Unable to connect"
    r"|does not have a Release file|Failed to fetch|Temporary failure resolving|50\d  )"
)
_UNKNOWN_PACKAGE = re.compile(
    r"E: (?:Unable to locate package (\S+)|Package '([^']+)' has no installation candidate)"
)


class Mmdebstrap:
    """The tool that installs all packages before Ansible runs."""

    def check(self) -> None:
        """Raise unless root file systems can be made here.

        Raises:
            HostNotReadyError: not root, or mmdebstrap is missing.
        """
        if os.geteuid() != 0:
            raise HostNotReadyError(
                "building a box needs root",
                details="it makes a root file system whose files belong to many accounts",
                resolution="sudo devvm box build",
            )
        for program in (
            "mmdebstrap",
            "unshare",
            "systemd-nspawn",
            "sfdisk",
            "mke2fs",
            "socat",
            "nsenter",
        ):
            if shutil.which(program, path=process.environment()["PATH"]) is None:
                raise HostNotReadyError(
                    f"{program} is not installed",
                    details="building a box needs it",
                    resolution="devvm setup",
                )

    def build(
        self,
        packages: Sequence[str],
        *,
        mirror: str,
        security_mirror: str,
        destination: Path,
        detail: Detail,
        log: Path,
    ) -> None:
        """Write the tarball of a root file system with these packages; whole or not at all.

        No service starts while packages are installed, recommended packages stay out (roles name
        what they need), and the account `vagrant` is there with sudo and without a key.

        Raises:
            OperationError: the mirror can't be used, a package does not exist, or mmdebstrap
                failed; `details` has apt's own lines.
        """
        scratch = destination.parent / "mmdebstrap"
        trees.remove(scratch)  # of a run that was killed
        scratch.mkdir()
        unfinished = scratch / "rootfs.tar"
        progress = _Progress(detail)
        argv = [
            "mmdebstrap", "--mode=root", "--variant=minbase", "--verbose",
            '--aptopt=Acquire::Retries "3"',
            '--aptopt=Acquire::http::Timeout "30"',
            f"--include={','.join(packages)}",
            *(f"--customize-hook={hook}" for hook in _ACCOUNT_HOOKS),
            SUITE, str(unfinished),
            f"deb {mirror} {SUITE} main",
            f"deb {mirror} {SUITE}-updates main",
            f"deb {security_mirror} {SUITE}-security main",
        ]  # fmt: skip
        try:
            # It mounts /proc, /sys and more in its scratch folder.
            process.stream(
                argv, progress.line, env={"TMPDIR": str(scratch)}, log=log, isolated=True
            )
        except process.ProcessError as error:
            raise _explain(error, progress.errors, (mirror, security_mirror), log) from None
        else:
            unfinished.replace(destination)
        finally:
            trees.remove(scratch)


class _Progress:
    """Turns what apt and dpkg print into a line for a person, and keeps apt's errors."""

    def __init__(self, detail: Detail) -> None:
        self._detail = detail
        self._unpacked = 0
        self._set_up = 0
        self.errors: list[str] = []

    def line(self, text: str) -> None:
        if text.startswith(("E: ", "Err:", "W: Failed")) or _UNREACHABLE.search(text):
            self.errors.append(text.strip())
        elif text.startswith("Get:"):
            self._detail(f"downloading {' '.join(text.split()[2:5])}")
        elif text.startswith("Unpacking "):
            self._unpacked += 1
            self._detail(f"unpacking {text.split()[1]} ({self._unpacked})")
        elif text.startswith("Setting up "):
            self._set_up += 1
            total = max(self._unpacked, self._set_up)
            self._detail(f"setting up {text.split()[2]} ({self._set_up} of {total})")
        elif text.startswith("I: running --"):
            self._detail("making the account")
        elif text.startswith("I: ") and "/" not in text:  # steps, not its scratch folders
            self._detail(text[3:])


def _explain(
    error: process.ProcessError, errors: Sequence[str], mirrors: Sequence[str], log: Path
) -> DevvmError:
    lines = "\n".join(dict.fromkeys(errors[:6]))
    unknown = _UNKNOWN_PACKAGE.search(lines)
    if unknown:
        name = unknown[1] or unknown[2]
        return OperationError(
            f"Debian {SUITE} has no package {name}",
            details=lines,
            resolution=f"grep -rn {shlex.quote(name)} roles/*/vars/main.yml",
            log=log,
        )
    if any(_UNREACHABLE.search(line) for line in errors):
        return OperationError(
            "the package mirror can't be used",
            details=f"mirrors: {', '.join(mirrors)}\n{lines}",
            resolution="check the network, or set another mirror ([box] in /etc/devvm/config.toml; "
            "devvm config show), then: sudo devvm box build",
            log=log,
        )
    return OperationError(
        "the packages of the box can't be installed",
        details=lines or error.details,
        resolution="read the log; then: sudo devvm box build",
        log=log,
    )
