"""The Debian packages that devvm needs: finds missing ones and installs them with APT."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from devvm.domain.errors import DevvmError, HostNotReadyError, OperationError
from devvm.system import process

_COMPLAINT = re.compile(r"^(E:|Err:|W: Failed)")
_UNREACHABLE = re.compile(
    r"(Could not (resolve|connect)|Failed to fetch|Connection (refused|timed out|failed)"
    r"|Temporary failure resolving|Unable to connect)"
)
_ACTIVITY = re.compile(
    r"^(Get:\d+ \S+ \S+ \S+ (?P<get>\S+)|(?P<verb>Unpacking|Setting up) (?P<name>\S+))"
)


class DebianPackages:
    """The system packages of a devvm host.

    Args:
        names: The packages, from `devvm/data/host-packages.txt`.
    """

    key = "packages"
    title = "Installing system packages"
    optional = False
    needed_only_to_create = True

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)

    def absent(self) -> list[str]:
        """The packages that are not installed.

        Raises:
            HostNotReadyError: this is not a Debian host.
        """
        try:
            listed = process.run(
                ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *self._names],
                check=False,
            )
        except HostNotReadyError:
            raise HostNotReadyError(
                "this is not a Debian host",
                details="dpkg-query is missing; devvm only sets up Debian and its derivatives",
                resolution="use a Debian 12 machine",
            ) from None
        installed = {
            name
            for name, _, status in (line.partition(" ") for line in listed.stdout.splitlines())
            if status == "installed"
        }
        return [name for name in self._names if name not in installed]

    def missing(self) -> list[str]:
        """List what `apply` would do."""
        absent = self.absent()
        if not absent:
            return []
        noun = "package" if len(absent) == 1 else "packages"
        return [f"install {len(absent)} Debian {noun}: {' '.join(absent)}"]

    def apply(self, detail: Callable[[str], None], log: Path) -> None:
        """Install the missing packages.

        Raises:
            HostNotReadyError: the package mirror can't be reached.
            OperationError: APT failed for another reason; `details` quotes it.
        """
        complaints: list[str] = []

        def follow(line: str) -> None:
            if _COMPLAINT.match(line) and line not in complaints:
                complaints.append(line)
            elif match := _ACTIVITY.match(line):
                detail(
                    f"{match['verb'].lower()} {match['name'].partition(':')[0]}"
                    if match["verb"] else f"downloading {match['get']}"
                )  # fmt: skip

        detail("reading the package lists")
        # If a mirror is down, `update` complains and goes on. That only matters if the installation
        # fails too, and then these complaints are the cause.
        process.stream([*_apt("update")], follow, check=False, log=log, sudo=True)
        install = [*_apt("install", "--yes", "--no-install-recommends"), *self.absent()]
        if process.stream(install, follow, check=False, log=log, sudo=True):
            raise _failed(complaints, log)


def _apt(verb: str, *options: str) -> list[str]:
    settings = ("DPkg::Lock::Timeout=300", "APT::Color=0", "Dpkg::Options::=--force-confold")
    return [
        "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet",
        *(part for setting in settings for part in ("-o", setting)), verb, *options,
    ]  # fmt: skip


def _failed(complaints: Sequence[str], log: Path) -> DevvmError:
    unreachable = [line for line in complaints if _UNREACHABLE.search(line)]
    if unreachable:
        return HostNotReadyError(
            "the Debian package mirror can't be reached",
            details="\n".join(unreachable[:3]),
            resolution="check the network and /etc/apt/sources.list.d, then: devvm setup",
            log=log,
        )
    return OperationError(
        "the system packages could not be installed",
        details="\n".join(complaints[:6]) or "apt-get did not say why",
        resolution="sudo apt-get --fix-broken install, then: devvm setup",
        log=log,
    )


def read_list(path: Path) -> list[str]:
    """Read a package list: one name per line, `#` starts a comment."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [name for line in lines if (name := line.partition("#")[0].strip())]
