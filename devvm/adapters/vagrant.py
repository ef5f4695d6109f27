"""Vagrant with the libvirt provider, through python-vagrant."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import vagrant

from devvm.domain.box import Box
from devvm.domain.errors import HostNotReadyError, OperationError
from devvm.system import process, tempdir

Detail = Callable[[str], None]

#: The version of every devvm box: the release is in the box's name.
BOX_VERSION = "1.0.0"

#: No update checks and no telemetry; plain text; our provider.
_ENVIRONMENT = {
    "VAGRANT_BOX_UPDATE_CHECK_DISABLE": "1",
    "VAGRANT_CHECKPOINT_DISABLE": "1",
    "VAGRANT_DEFAULT_PROVIDER": "libvirt",
    "VAGRANT_NO_COLOR": "1",
}
_POLL = 0.2
#: Seconds that Vagrant may take to clean up after an interrupt.
_STOP_TIMEOUT = 20.0

#: Vagrant's messages, and the progress text for each. All others only go to the log.
_DETAILS = (
    (re.compile(r"Adding box"), "adding the box to Vagrant"),
    (re.compile(r"Unpacking necessary files|Box download is resuming|Downloading:"), "unpacking"),
    (re.compile(r"Calculating and comparing box checksum"), "checking the box's checksum"),
    (re.compile(r"Uploading base box image"), "copying the box's disk image"),
    (re.compile(r"Creating image"), "cloning the root disk"),
    (re.compile(r"Creating domain with the following settings"), "defining the VM"),
    (re.compile(r"Starting domain"), "powering on"),
    (re.compile(r"Waiting for domain to get an IP address"), "booting: waiting for the network"),
    (re.compile(r"Waiting for machine to boot|Waiting for SSH"), "booting: waiting for SSH"),
    (re.compile(r"Machine booted and ready"), "booted"),
)

#: Vagrant errors with a known solution.
_HINTS = (
    (
        re.compile(r"another process .*is already (performing|reading)", re.DOTALL),
        "another vagrant command is working on the same VM or box: wait for it to finish",
    ),
    (
        re.compile(r"No space left on device"),
        "make room on the disk of the storage pool and of ~/.vagrant.d",
    ),
    (
        re.compile(r"The provider 'libvirt' could not be found|Unknown provider|vagrant-libvirt"),
        "devvm setup",
    ),
)


class VagrantError(OperationError):
    """Vagrant failed."""

    code = "vagrant"


class LibvirtVagrant:
    """Implements `Vagrant` with this user's own Vagrant."""

    def box_registered(self, box: Box) -> bool:
        """Whether this user's Vagrant has the box."""
        return self._find_image(box) is not None

    def add_box(self, box: Box, detail: Detail) -> None:
        """Run `vagrant box add`, which checks the box's sha256.

        Raises:
            VagrantError: the file is damaged, or there is no disk space left.
        """
        with tempdir.folder("vagrant") as folder:
            log = folder / "vagrant.log"
            catalog = folder / "catalog.json"
            catalog.write_text(json.dumps(_catalog(box)), encoding="utf-8")
            # Vagrant reads the box's name from the catalog, whose path is passed as the name.
            try:
                _Cli(folder, log, detail).box_add(str(catalog), None, force=True)  # type: ignore[no-untyped-call]
            except VagrantError as error:
                error.log = None  # deleted with the folder; the details have its last lines
                raise

    def remove_box(self, box: Box) -> None:
        """Run `vagrant box remove`, if the box is registered."""
        if not self.box_registered(box):
            return
        with tempdir.folder("vagrant") as folder:
            cli = _Cli(folder, folder / "vagrant.log", _ignore)
            cli.box_remove(box.vagrant_name, "libvirt")  # type: ignore[no-untyped-call]

    def volume_name(self, box: Box) -> str:
        """The name that vagrant-libvirt gives to the box's image in the pool.

        If the pool has a volume of this name, vagrant-libvirt uses it and uploads nothing.
        """
        return f"{_stored(box.vagrant_name)}_vagrant_box_image_{BOX_VERSION}_box.img"

    def image(self, box: Box) -> Path:
        """The disk image of a registered box, as Vagrant unpacked it.

        Raises:
            OperationError: the box is not registered.
        """
        found = self._find_image(box)
        if found is None:
            raise OperationError(
                f"Vagrant does not have the box {box.vagrant_name}",
                details=f"looked in {_boxes()}",
                resolution=f"vagrant box add {box.path}",
            )
        return found

    def up(self, folder: Path, detail: Detail, log: Path) -> None:
        """Run `vagrant up` in a folder with a Vagrantfile. If it fails, nothing is undone.

        Raises:
            VagrantError: Vagrant failed; the log has all of its output.
        """
        _Cli(folder, log, detail).up()  # type: ignore[no-untyped-call]

    def _find_image(self, box: Box) -> Path | None:
        # `vagrant box list` reads these folders too, but takes a second. A folder is complete:
        # Vagrant moves a box there only after unpacking it.
        version = _boxes() / _stored(box.vagrant_name) / BOX_VERSION
        # Since Vagrant 2.4, there is a folder for the architecture in between.
        return next(
            (p for g in ("libvirt", "*/libvirt") for p in version.glob(f"{g}/box.img")), None
        )


class _Cli(vagrant.Vagrant):
    """python-vagrant's commands, run by devvm's own process runner.

    This avoids python-vagrant's traps: its parsed commands ignore a non-zero exit code, their
    stderr goes to /dev/null, and the child would get Ctrl-C together with devvm and live on.

    Args:
        root: The folder with the Vagrantfile.
        log: The file to append raw output to.
        detail: Called with what Vagrant is doing.
    """

    def __init__(self, root: Path, log: Path, detail: Detail) -> None:
        super().__init__(str(root))  # type: ignore[no-untyped-call]  # it has no types
        self._log = log
        self._detail = detail

    def _call_vagrant_command(self, args: Sequence[str | None]) -> None:
        argv = [_program(), *(a for a in args if a is not None)]
        if "up" in argv:
            # devvm itself undoes a failed create, or keeps it, whichever step failed.
            argv.append("--no-destroy-on-error")
        self._log.touch()
        with self._log.open(encoding="utf-8", errors="replace") as output:
            output.seek(0, os.SEEK_END)
            said = self._follow(argv, output)
        if said.returncode:
            raise _failed(said, self._log)

    def _follow(self, argv: Sequence[str], output: IO[str]) -> process.Completed:
        """Run Vagrant, wait for it to end, and report what it is doing meanwhile."""
        lines: list[str] = []
        with process.background(
            argv,
            env={**_ENVIRONMENT, "VAGRANT_CWD": self.root},
            log=self._log,
            stop_signal=signal.SIGINT,  # Vagrant stops what it is doing and releases its locks
            stop_timeout=_STOP_TIMEOUT,
            death_signal=signal.SIGKILL,  # the next command undoes what it started
        ) as child:
            ended = False
            while not ended:
                ended = child.poll() is not None
                for line in output:
                    lines.append(line)
                    tell(line, self._detail)
                if not ended:
                    time.sleep(_POLL)
        return process.Completed(
            argv=tuple(argv), returncode=child.returncode or 0, stdout="".join(lines), stderr=""
        )


def tell(line: str, detail: Detail) -> None:
    """Report what a line of Vagrant's output means, if it is a known one."""
    for pattern, text in _DETAILS:
        if pattern.search(line):
            detail(text)


def hint(output: str) -> str | None:
    """The known solution for a failure with this output, or None."""
    return next((text for pattern, text in _HINTS if pattern.search(output)), None)


def _failed(said: process.Completed, log: Path) -> VagrantError:
    # The lines with " -- " list the VM's settings, which don't matter here.
    lines = [line for line in said.stdout.splitlines()[1:] if line.strip() and " -- " not in line]
    return VagrantError(
        f"vagrant {said.argv[1]} failed (exit code {said.returncode})",
        details="\n".join(lines[-12:]) or "it printed nothing",
        resolution=hint(said.stdout),
        log=log,
    )


def _program() -> str:
    found = shutil.which("vagrant", path=process.environment()["PATH"])
    if found is None:
        raise HostNotReadyError("Vagrant is not installed", resolution="devvm setup")
    return found


def _catalog(box: Box) -> dict[str, object]:
    provider = {
        "name": "libvirt",
        "url": box.path.as_uri(),
        "checksum_type": "sha256",
        "checksum": box.sha256,
    }
    return {
        "name": box.vagrant_name,
        "versions": [{"version": BOX_VERSION, "providers": [provider]}],
    }


def _stored(name: str) -> str:
    return name.replace("/", "-VAGRANTSLASH-")


def _boxes() -> Path:
    home = process.environment().get("VAGRANT_HOME")
    return (Path(home) if home else Path.home() / ".vagrant.d") / "boxes"


def _ignore(_text: str) -> None:
    """Don't report anything."""
