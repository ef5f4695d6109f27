"""Find work that a rebuild would take away, as it is not on the data disk.

Uses only a shell in the VM, as its Python may be broken.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from devvm.domain.errors import DevvmError
from devvm.domain.vm import VmState
from devvm.operations.core.machine import Machine
from devvm.operations.guest import ssh
from devvm.system import assets

#: How many files are shown; a person doesn't read more.
FILES_TOLD = 200
#: How many files are read to find these: a package upgrade touches thousands.
FILES_READ = 10_000
#: Files that programs maintain; a new root has its own, and nobody misses these.
_KEPT_BY_PROGRAMS = (
    "/boot/initrd.img-*", "/etc/.pwd.lock", "/etc/adjtime", "/etc/ld.so.cache", "/etc/group-",
    "/etc/gshadow-", "/etc/passwd-", "/etc/shadow-", "/etc/subgid-", "/etc/subuid-",
    "/usr/share/info/dir", "/usr/share/info/dir.old", "/usr/share/mime/*", "/var/lib/apt/*",
    "/var/lib/dbus/*", "/var/lib/dpkg/*", "/var/lib/initramfs-tools/*", "/var/lib/logrotate/*",
    "/var/lib/man-db/*", "/var/lib/nginx/*", "/var/lib/pam/*", "/var/lib/polkit-1/*",
    "/var/lib/prometheus/node-exporter/*", "/var/lib/python/*", "/var/lib/sudo/*", "/var/lib/ucf/*",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """A git checkout with work that exists nowhere else."""

    path: str
    changes: int  # files that are not committed
    commits: int  # that no remote has
    stashes: int
    on_data_disk: bool


@dataclass(frozen=True, kw_only=True)
class Risk:
    """The work that was found.

    Attributes:
        checkouts: Checkouts with such work.
        files: Changed files on the root; those that somebody may miss are first.
        unknown: Why the VM could not be examined; None if it was.
    """

    checkouts: tuple[Checkout, ...] = ()
    files: tuple[str, ...] = ()
    unknown: str | None = None

    @property
    def changed(self) -> tuple[str, ...]:
        """The changed files that somebody may miss."""
        return tuple(path for path in self.files if not _is_kept_by_programs(path))

    @property
    def kept_by_programs(self) -> tuple[str, ...]:
        """The changed files that dpkg, logrotate and other programs maintain."""
        return tuple(path for path in self.files if _is_kept_by_programs(path))

    @property
    def lost(self) -> tuple[Checkout, ...]:
        """The checkouts that would go with the old root."""
        return tuple(c for c in self.checkouts if not c.on_data_disk)

    @property
    def any(self) -> bool:
        """Whether a person should be asked first."""
        return bool(self.lost or self.changed or self.unknown)


def look(machine: Machine) -> Risk:
    """Look for work that a rebuild would take away. Changes nothing, and never raises."""
    begun = machine.journal()
    if begun is not None:
        return Risk(
            unknown=f"an earlier {begun['operation']} has not finished, and has to "
            "be finished or undone first"
        )
    vm = machine.vm()
    if vm is None or vm.state is not VmState.RUNNING:
        return Risk(unknown=f"it is not running (it is {vm.state if vm else 'missing'})")
    try:
        target = ssh.target(machine, login="vagrant")
        script = assets.look_for_work().read_text(encoding="utf-8")
        code, out, err = machine.services.shell.run(
            target, ["sudo", "sh", "-s", str(FILES_READ)], check=False, timeout=180, stdin=script
        )
    except DevvmError as error:
        return Risk(unknown=str(error))
    if code:
        return Risk(unknown=(err.strip().splitlines() or ["devvm can't log in to it"])[-1])
    return parse(out)


def parse(text: str) -> Risk:
    """Parse what the script in the guest printed."""
    checkouts, files, unknown = [], [], None
    for line in text.splitlines():
        kind, *fields = line.split("\t")
        if kind == "repo" and len(fields) == 5:
            path, changes, commits, stashes, kept = fields
            counts = int(changes), int(commits), int(stashes)
            if any(counts):
                checkouts.append(
                    Checkout(
                        path=path, changes=counts[0], commits=counts[1], stashes=counts[2],
                        on_data_disk=kept == "yes",
                    )
                )  # fmt: skip
        elif kind == "file" and fields:
            files.append(fields[0])
        elif kind == "nostamp":
            unknown = "it has no stamp, so devvm can't tell which files were changed since"
    files.sort(key=_is_kept_by_programs)
    return Risk(checkouts=tuple(checkouts), files=tuple(files[:FILES_TOLD]), unknown=unknown)


def _is_kept_by_programs(path: str) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in _KEPT_BY_PROGRAMS)
