"""Root file systems as directories: unpacks and anonymises them, and looks for secrets."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from devvm.domain.errors import OperationError
from devvm.system import process, trees

#: What `anonymise` removes. Patterns, relative to the root.
_REMOVED = (
    # identities and keys: each machine creates or gets its own at first boot
    "etc/ssh/ssh_host_*_key", "etc/ssh/ssh_host_*_key.pub",
    "etc/ssl/private/*", "etc/ssl/certs/ssl-cert-snakeoil.pem",
    "var/lib/dbus/machine-id", "var/lib/systemd/random-seed", "var/lib/systemd/credential.secret",
    "root/.ssh", "var/lib/vagrant/.ssh", "home/*/.ssh",
    # traces of the build
    "root/.ansible", "root/.*_history", "root/.cache", "root/.lesshst",
    "var/lib/vagrant/.ansible", "var/lib/vagrant/.*_history", "var/lib/vagrant/.cache",
    "etc/hostname", "etc/*-", "var/backups/*", "var/log/journal/*",
    "var/log/**/*.gz", "var/log/**/*.[0-9]", "var/log/**/*.xz",
    "var/lib/dhcp/*", "var/lib/systemd/network/*", "var/lib/chrony/*",
    "var/lib/systemd/timers/*", "var/lib/systemd/timesync/*", "var/lib/systemd/coredump/*",
    "var/cache/apt/archives/*.deb", "var/cache/apt/*.bin", "var/cache/debconf/*-old",
    "var/cache/ldconfig/aux-cache", "var/lib/apt/lists/*", "var/lib/dpkg/*-old",
    # files that services leave when they stop
    "var/lib/redis/*", "var/lib/mysql/*.pid", "var/lib/mysql/ib_buffer_pool",
    "var/lib/mysql/*.err", "var/lib/logrotate/status",
    "tmp/*", "tmp/.[!.]*", "var/tmp/*", "var/tmp/.[!.]*", "run/*",
)  # fmt: skip

#: Folders to search for secrets. /usr, except /usr/local, only has Debian's files, which are
#: public.
_SEARCHED = ("boot", "data", "etc", "home", "opt", "root", "srv", "usr/local", "var")
_PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----")
_LARGEST_KEY = 1024 * 1024


class RootTrees:
    """Implements `RootTrees`."""

    def unpack(self, tarball: Path, destination: Path, *, log: Path) -> None:
        """Unpack a tarball with owners, links and extended attributes, replacing `destination`."""
        self.remove(destination)
        destination.mkdir()
        # Otherwise folders that tar creates would inherit the state folder's setgid bit.
        destination.chmod(0o755)
        process.run(
            [
                "tar", "--extract", "--file", tarball, "--directory", destination,
                "--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls",
            ],
            log=log,
        )  # fmt: skip

    def remove(self, root: Path) -> None:
        """Delete a tree, if it exists."""
        trees.remove(root)

    def anonymise(self, root: Path, secrets: Sequence[str]) -> None:
        """Remove credentials and everything else that must differ between machines.

        Args:
            root: The tree.
            secrets: Paths of the stack's secrets, on the machine; `*` stands for a part of a name.

        Safe to repeat. The machine-id is emptied, not removed: each machine gets its own at first
        boot, but systemd doesn't reset which units are enabled (machine-id(5), "First Boot
        Semantics").
        """
        top = root.resolve()
        for pattern in (*_REMOVED, *(path.lstrip("/") for path in secrets)):
            for path in sorted(root.glob(pattern)):
                # Followed from here, an absolute link in the box leads to the host's files.
                if path.parent.resolve().is_relative_to(top):
                    _remove(path)
        for path in _files(root / "var/log"):
            os.truncate(path, 0)  # not deleted: services expect their log files' owner and mode
        for path in root.glob("var/mail/*"):
            os.truncate(path, 0)
        (root / "etc/machine-id").write_text("")
        (root / "etc/machine-id").chmod(0o444)

    def secrets(self, root: Path, paths: Sequence[str]) -> list[str]:
        """Describe each secret in the tree in a sentence with the file's path.

        Secrets are private and authorized keys, accounts with a password or an empty one, and what
        is at `paths`, which are like those of `anonymise`.
        """
        found = [f"{_inside(root, path)} holds a private key" for path in _private_keys(root)]
        found += [
            f"{_inside(root, path)} lets somebody log in"
            for path in _searched(root)
            if path.name.startswith("authorized_keys")
        ]
        found += [
            f"{_inside(root, path)} is a secret of its machine, as a role declares"
            for pattern in paths
            for path in sorted(root.glob(pattern.lstrip("/")))
        ]
        for line in (root / "etc/shadow").read_text(encoding="utf-8").splitlines():
            name, _, rest = line.partition(":")
            password = rest.partition(":")[0]
            if not password:
                found.append(f"/etc/shadow: the account {name} needs no password")
            elif not password.startswith(("*", "!")) or len(password.lstrip("!*")) > 0:
                found.append(f"/etc/shadow: the account {name} has a password")
        return found

    def packages(self, root: Path) -> dict[tuple[str, str], str]:
        """The installed packages: `{(name, architecture): version}`.

        Raises:
            OperationError: the tree has no package database.
        """
        status = root / "var/lib/dpkg/status"
        try:
            text = status.read_text(encoding="utf-8")
        except OSError as error:
            raise OperationError(
                "the box has no list of its packages",
                details=str(error),
                resolution="sudo devvm box build --force",
            ) from None
        found: dict[tuple[str, str], str] = {}
        for paragraph in text.split("\n\n"):
            fields = dict(
                line.split(": ", 1)
                for line in paragraph.splitlines()
                if line.startswith(("Package: ", "Architecture: ", "Version: ", "Status: "))
            )
            if fields.get("Status", "").endswith(" installed"):
                found[fields["Package"], fields["Architecture"]] = fields["Version"]
        return dict(sorted(found.items()))

    def debian(self, root: Path) -> str:
        """Debian's point release, such as `12.11`."""
        return (root / "etc/debian_version").read_text(encoding="utf-8").strip()

    def free_bytes(self, folder: Path) -> int:
        """Free space on a folder's file system."""
        return shutil.disk_usage(folder).free


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        trees.remove(path)
    else:
        path.unlink(missing_ok=True)


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):  # doesn't follow links, which may lead to the host
        for name in sorted(names):
            path = Path(parent) / name
            if path.is_file() and not path.is_symlink():
                yield path


def _searched(root: Path) -> Iterator[Path]:
    for name in _SEARCHED:
        yield from _files(root / name)


def _private_keys(root: Path) -> Iterator[Path]:
    for path in _searched(root):
        if path.stat().st_size <= _LARGEST_KEY and _PRIVATE_KEY.search(path.read_bytes()):
            yield path


def _inside(root: Path, path: Path) -> str:
    return f"/{path.relative_to(root)}"
