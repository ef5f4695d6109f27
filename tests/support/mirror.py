"""A Debian mirror for the tests: signed with a temporary key, served from this machine.

It has the layout that devvm's configuration names: `debian` with the suites bookworm and
bookworm-updates, `debian-security` with bookworm-security. As on an ordinary mirror, a suite has
one version of each package, and superseded versions are gone.

    mirror = Mirror(tmp_path / "mirror")
    mirror.publish(bookworm=debs)
    with mirror.served() as served:
        ...                                 # served.url, served.security_url, mirror.keyring
        mirror.move(security=[newer_deb])   # another day: readers see all of it or nothing

As a program it serves packages until it is interrupted: `python -m tests.support.mirror --help`.
"""

from __future__ import annotations

import argparse
import gzip
import http.server
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

CODENAME = "bookworm"
#: The suites, and the archive that each is in.
_ARCHIVES = {
    CODENAME: "debian",
    f"{CODENAME}-updates": "debian",
    f"{CODENAME}-security": "debian-security",
}
_SIGNER = "devvm's tests <nobody@localhost>"
#: Close a connection after this many idle seconds.
_SECONDS = 60


class Mirror:
    """The files of a mirror, and the key that signs them.

    Args:
        folder: Where they are. If it already is a mirror, its state and key are kept.
        valid_for: How long signed files are valid (`Valid-Until`).
        required: Packages to give the priority `required`, as only an archive can. If empty, each
            package has the priority in its own control file.
    """

    def __init__(
        self,
        folder: Path,
        *,
        valid_for: timedelta = timedelta(days=7),
        required: Collection[str] = (),
    ) -> None:
        self._folder = folder
        self._valid_for = valid_for
        self._required = required
        self._current = folder / "current"
        self._secret = folder / "secret-key.asc"
        #: The public key, in a format for `signed-by`.
        self.keyring = folder / "keyring.gpg"
        folder.mkdir(parents=True, exist_ok=True)
        if not self.keyring.exists():
            self._make_key()

    def publish(
        self,
        *,
        bookworm: Iterable[Path] = (),
        updates: Iterable[Path] = (),
        security: Iterable[Path] = (),
    ) -> None:
        """Have exactly these packages."""
        self._write(_by_suite(bookworm, updates, security))

    def move(
        self,
        *,
        bookworm: Iterable[Path] = (),
        updates: Iterable[Path] = (),
        security: Iterable[Path] = (),
        gone: Iterable[str] = (),
    ) -> None:
        """Add packages; versions that they supersede in their suite disappear.

        Args:
            bookworm: The packages of a point release.
            updates: Updates before the next point release.
            security: Security updates.
            gone: Names of packages to remove from all suites.
        """
        more = _by_suite(bookworm, updates, security)
        gone = frozenset(gone)
        self._write(
            {
                suite: [p for p in self._pool(suite) if _name(p) not in gone] + more[suite]
                for suite in _ARCHIVES
            }
        )

    def publish_flat(self, packages: Iterable[Path]) -> None:
        """Have a flat repository as well, until the next change: `Served.flat_url`, suite `./`."""
        flat = self._current / "flat"
        flat.mkdir()
        for package in packages:
            _link(package, flat / package.name)
        command = ["apt-ftparchive", "packages", "."]
        index = subprocess.run(command, cwd=flat, check=True, stdout=subprocess.PIPE).stdout
        (flat / "Packages").write_bytes(index)
        command = ["apt-ftparchive", "release", "."]
        release = subprocess.run(command, cwd=flat, check=True, stdout=subprocess.PIPE).stdout
        (flat / "InRelease").write_bytes(self._gpg("--clearsign", text=release))

    def packages(self, suite: str = CODENAME) -> set[str]:
        """The packages of a suite, as `NAME=VERSION`."""
        found = set()
        index = self._current / _ARCHIVES[suite] / "dists" / suite / _binaries() / "Packages"
        for stanza in index.read_text().split("\n\n"):
            values = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line)
            if values:
                found.add(f"{values['Package']}={values['Version']}")
        return found

    @contextmanager
    def served(self, address: str = "127.0.0.1", port: int = 0) -> Iterator[Served]:
        """Serve the mirror until the block ends.

        Args:
            address: An address of this machine: loopback, or the gateway of a VM network.
            port: The port; 0 for a free one.
        """
        served = Served(folder=self._current)
        handler = partial(_Handler, served)
        with _Server((address, port), handler) as server:
            host, number = server.server_address[:2]
            served.base = f"http://{host!s}:{number}"
            # A short poll interval, so that tests don't wait half a second for the server to stop.
            thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
            thread.start()
            try:
                yield served
            finally:
                server.shutdown()
                thread.join()

    def _pool(self, suite: str) -> list[Path]:
        pool = self._current / _ARCHIVES[suite] / "pool" / suite
        return sorted(pool.glob("*.deb")) if pool.is_dir() else []

    def _write(self, packages: dict[str, list[Path]]) -> None:
        """Write the next state beside the current one, then switch to it at once."""
        state = Path(tempfile.mkdtemp(prefix="state-", dir=self._folder))
        state.chmod(0o755)
        try:
            for suite, archive in _ARCHIVES.items():
                self._write_suite(state / archive, suite, packages[suite])
        except BaseException:
            shutil.rmtree(state)
            raise
        before = self._current.resolve() if self._current.exists() else None
        following = self._folder / "following"
        with suppress(FileNotFoundError):
            following.unlink()
        following.symlink_to(state.name)
        following.replace(self._current)
        if before is not None:
            shutil.rmtree(before)

    def _write_suite(self, archive: Path, suite: str, packages: Iterable[Path]) -> None:
        pool = archive / "pool" / suite
        pool.mkdir(parents=True)
        for package in packages:
            _link(package, pool / _file_name(package))
        _remove_superseded(pool)
        binaries = archive / "dists" / suite / _binaries()
        binaries.mkdir(parents=True)
        database = self._folder / "packages.db"
        command = ["apt-ftparchive", *_SUMS, "--db", str(database), "packages", f"pool/{suite}"]
        if self._required:
            command.append(str(self._priorities(pool)))
        index = subprocess.run(command, cwd=archive, check=True, stdout=subprocess.PIPE).stdout
        (binaries / "Packages").write_bytes(index)
        (binaries / "Packages.gz").write_bytes(gzip.compress(index, compresslevel=1, mtime=0))
        self._write_release(archive, suite)

    def _priorities(self, pool: Path) -> Path:
        """The override file: the archive's priorities, which override the packages' own."""
        file = self._folder / "priorities"
        lines = [
            f"{name} {'required' if name in self._required else 'optional'} misc\n"
            for name in sorted(map(_name, pool.glob("*.deb")))
        ]
        file.write_text("".join(lines))
        return file

    def _write_release(self, archive: Path, suite: str) -> None:
        dists = archive / "dists" / suite
        security = suite.endswith("-security")
        head = {
            "Origin": "Debian",
            "Label": "Debian-Security" if security else "Debian",
            "Suite": f"oldstable{suite.removeprefix(CODENAME)}",
            "Codename": suite,
            "Architectures": architecture(),
            "Components": "main",
            "ValidTime": str(int(self._valid_for.total_seconds())),
        }
        options = [f"-oAPT::FTPArchive::Release::{key}={value}" for key, value in head.items()]
        command = ["apt-ftparchive", *_SUMS, *options, "release", "."]
        release = subprocess.run(command, cwd=dists, check=True, stdout=subprocess.PIPE).stdout
        signed = self._gpg("--clearsign", text=release)
        (dists / "Release").write_bytes(release)
        (dists / "InRelease").write_bytes(signed)
        # HTTP dates have a resolution of a second, so what is published within the same second must
        # get another date.
        before = self._current / archive.name / "dists" / suite / "InRelease"
        if before.exists():
            newer = max(time.time(), before.stat().st_mtime + 1)
            os.utime(dists / "InRelease", (newer, newer))

    def _make_key(self) -> None:
        with _gpg_home() as home:
            generate = ["--quick-generate-key", _SIGNER, "ed25519", "sign", "never"]
            _run_gpg(home, "--passphrase", "", *generate)
            secret = _run_gpg(home, "--armor", "--export-secret-keys")
            public = _run_gpg(home, "--export")
        self._secret.touch(mode=0o600)
        self._secret.write_bytes(secret)
        self.keyring.write_bytes(public)  # last, so that it implies the secret key

    def _gpg(self, *command: str, text: bytes) -> bytes:
        with _gpg_home() as home:
            _run_gpg(home, "--import", str(self._secret))
            return _run_gpg(home, *command, text=text)


@dataclass
class Served:
    """A mirror as clients see it.

    Attributes:
        folder: The folder that is served.
        base: Its URL.
        requests: The requested paths, in order.
        login: The value of the header `Authorization` that it demands; empty: it demands none.
    """

    folder: Path
    base: str = ""
    login: str = ""
    requests: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The value for `box.mirror` in the configuration."""
        return f"{self.base}/debian"

    @property
    def security_url(self) -> str:
        """The value for `box.security_mirror`."""
        return f"{self.base}/debian-security"

    @property
    def flat_url(self) -> str:
        """The address of the flat repository."""
        return f"{self.base}/flat"


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 16


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files and folder listings, as ordinary mirrors do; logs nothing."""

    protocol_version = "HTTP/1.1"  # apt reuses the connection for the next file
    timeout = _SECONDS

    def __init__(self, served: Served, *args: object) -> None:
        self._served = served
        super().__init__(*args, directory=str(served.folder))  # type: ignore[arg-type]

    def do_GET(self) -> None:  # a name from http.server
        self._served.requests.append(self.path)
        if self._served.login and self.headers["Authorization"] != self._served.login:
            self.send_error(401)
            return
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def architecture() -> str:
    """This machine's architecture, by dpkg's name."""
    command = ["dpkg", "--print-architecture"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


#: Only one hash per file, the one that devvm reads; the others take time.
_SUMS = [f"-oAPT::FTPArchive::{name}=false" for name in ("MD5", "SHA1", "SHA512")]


def _by_suite(
    bookworm: Iterable[Path], updates: Iterable[Path], security: Iterable[Path]
) -> dict[str, list[Path]]:
    return dict(zip(_ARCHIVES, (list(bookworm), list(updates), list(security)), strict=True))


def _binaries() -> str:
    return f"main/binary-{architecture()}"


def _file_name(package: Path) -> str:
    """The file's name as in Debian's pool: without the epoch, which apt writes as `%3a`."""
    name, version, rest = urllib.parse.unquote(package.name).split("_", 2)
    return f"{name}_{version.rpartition(':')[2]}_{rest}"


def _name(package: Path) -> str:
    return package.name.partition("_")[0]


def _link(source: Path, target: Path) -> None:
    with suppress(FileExistsError):  # the same version again
        try:
            os.link(source.resolve(), target)
        except OSError as error:
            if isinstance(error, FileExistsError):
                raise
            shutil.copy2(source, target)  # on another file system


def _remove_superseded(pool: Path) -> None:
    newest: dict[str, Path] = {}
    for package in sorted(pool.glob("*.deb")):
        before = newest.get(_name(package))
        if before is None:
            newest[_name(package)] = package
        elif _is_newer(package, before):
            before.unlink()
            newest[_name(package)] = package
        else:
            package.unlink()


def _is_newer(package: Path, other: Path) -> bool:
    versions = [
        subprocess.run(
            ["dpkg-deb", "--field", str(path), "Version"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for path in (package, other)
    ]
    command = ["dpkg", "--compare-versions", versions[0], "gt", versions[1]]
    return subprocess.run(command, check=False).returncode == 0


@contextmanager
def _gpg_home() -> Iterator[Path]:
    """A temporary home for gpg. Its path is short because the agent's socket is in it."""
    with tempfile.TemporaryDirectory(prefix="gpg-", dir="/tmp") as home:
        try:
            yield Path(home)
        finally:
            kill = ["gpgconf", "--homedir", home, "--kill", "all"]
            subprocess.run(kill, check=False, capture_output=True)


def _run_gpg(home: Path, *arguments: str, text: bytes | None = None) -> bytes:
    command = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--no-tty", *arguments]
    done = subprocess.run(command, input=text or b"", capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def main() -> None:
    """Serve packages, and print how to configure devvm for them."""
    parser = argparse.ArgumentParser(description="Serve Debian packages as a signed mirror.")
    parser.add_argument("folder", type=Path, help="where the mirror's files and key go")
    parser.add_argument("packages", type=Path, nargs="*", help=".deb files of bookworm")
    parser.add_argument("--security", type=Path, nargs="*", default=[], help="security updates")
    parser.add_argument("--address", default="127.0.0.1", help="of this machine")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    options = parser.parse_args()
    mirror = Mirror(options.folder.resolve())
    mirror.publish(bookworm=options.packages, security=options.security)
    with mirror.served(options.address, options.port) as served:
        sys.stdout.write(
            f"[box]\nmirror = {served.url!r}\nsecurity_mirror = {served.security_url!r}\n"
            f"keyring = {str(mirror.keyring)!r}\n"
        )
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
