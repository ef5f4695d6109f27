"""Builds Debian root file systems with mmdebstrap, at the speed of the host."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from devvm.domain.errors import HostNotReadyError, OperationError
from devvm.domain.package_set import SUITE
from devvm.ports.services import Detail
from devvm.system import process, trees

#: The account that devvm, Vagrant and Ansible log in with, so Ansible can't be what creates it.
_ACCOUNT_HOOKS = (
    (
        'chroot "$1" useradd --system --create-home --home-dir /var/lib/vagrant '
        "--shell /bin/bash --password '*' vagrant"
    ),
    'echo "vagrant ALL=(ALL:ALL) NOPASSWD: ALL" >"$1/etc/sudoers.d/vagrant"',
    'chmod 0440 "$1/etc/sudoers.d/vagrant"',
    'chroot "$1" visudo -qcf /etc/sudoers.d/vagrant',
)


class Mmdebstrap:
    """Implements `RootFilesystems` with mmdebstrap."""

    def check(self) -> None:
        """Raise an error unless root file systems can be built here.

        Raises:
            HostNotReadyError: this isn't root, or a program is missing.
        """
        if os.geteuid() != 0:
            raise HostNotReadyError(
                "building a box needs root",
                details="it creates a root file system whose files belong to many accounts",
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
            "slirp4netns",
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
        repository: Path,
        sources: Sequence[str],
        destination: Path,
        detail: Detail,
        log: Path,
    ) -> None:
        """Write a tarball of a root file system with these packages, all or nothing.

        No services are started, and recommended packages aren't installed (roles name what they
        need). The account `vagrant` has sudo, and no key.

        Args:
            packages: The packages to install; apt marks their dependencies as automatic.
            repository: The flat repository that has all of them.
            sources: The lines for the root's own `sources.list`.
            destination: The tarball.
            detail: Called with the progress.
            log: File to append mmdebstrap's output to.

        Raises:
            OperationError: mmdebstrap failed; `details` quotes apt.
        """
        scratch = destination.parent / "mmdebstrap"
        trees.remove(scratch)  # left by a killed run
        scratch.mkdir()
        unfinished = scratch / "rootfs.tar"
        own_sources = scratch / "sources.list"
        own_sources.write_text("".join(f"{line}\n" for line in sources), encoding="utf-8")
        own_sources.chmod(0o644)
        progress = _Progress(detail)
        argv = [
            "mmdebstrap", "--mode=root", "--variant=minbase", "--verbose",
            # These stay in the box, as 99mmdebstrap, so its own apt has the same timeouts.
            '--aptopt=Acquire::Retries "3"',
            '--aptopt=Acquire::http::Timeout "30"',
            f"--include={','.join(packages)}",
            *(f"--customize-hook={hook}" for hook in _ACCOUNT_HOOKS),
            f"--customize-hook=upload {shlex.quote(str(own_sources))} /etc/apt/sources.list",
            SUITE, str(unfinished), f"deb [trusted=yes] copy://{quote(str(repository))} ./",
        ]  # fmt: skip
        try:
            # Isolated, because it mounts /proc, /sys and more in its scratch folder.
            process.stream(
                argv, progress.line, env={"TMPDIR": str(scratch)}, log=log, isolated=True
            )
        except process.ProcessError as error:
            lines = "\n".join(dict.fromkeys(progress.errors[:6]))
            raise OperationError(
                "the packages of the box can't be installed",
                details=lines or error.details,
                resolution="read the log; then: sudo devvm box build",
                log=log,
            ) from None
        else:
            unfinished.replace(destination)
        finally:
            trees.remove(scratch)


class _Progress:
    """Turns the output of apt and dpkg into progress messages, and collects errors."""

    def __init__(self, detail: Detail) -> None:
        self._detail = detail
        self._unpacked = 0
        self._set_up = 0
        self.errors: list[str] = []

    def line(self, text: str) -> None:
        if text.startswith(("E: ", "Err:", "dpkg: error")):
            self.errors.append(text.strip())
        elif text.startswith("Unpacking "):
            self._unpacked += 1
            self._detail(f"unpacking {text.split()[1]} ({self._unpacked})")
        elif text.startswith("Setting up "):
            self._set_up += 1
            total = max(self._unpacked, self._set_up)
            self._detail(f"setting up {text.split()[2]} ({self._set_up} of {total})")
        elif text.startswith("I: running --"):
            self._detail("creating the account")
        elif text.startswith("I: ") and "/" not in text:  # its steps, not paths of scratch folders
            self._detail(text[3:])
