"""The applications' repositories, with git: a mirror of each in the person's cache.

A mirror belongs to one person, because it was read with that person's credentials, and because git
believes the configuration of a repository: nobody else may write there. Nothing in it is lost if it
is removed. devvm runs no code of a repository on this host: mirrors have no working tree and no
hooks.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

from devvm.domain.errors import OperationError
from devvm.domain.origin import Kind, Origin
from devvm.ports.services import Detail
from devvm.system import process, tempdir, trees

#: Flaws of old commits that do no harm; many a company's repository has some in its history.
_HARMLESS = ("badTimezone", "missingSpaceBeforeDate", "missingSpaceBeforeEmail", "zeroPaddedDate",
             "zeroPaddedFilemode")  # fmt: skip
_SETTINGS = {
    "core.hooksPath": os.devnull,
    "gc.auto": "0",  # in the background it would outlive devvm; `_repack` does its work
    "maintenance.auto": "false",
    "fetch.unpackLimit": "1",  # packs only: a file for each object is slow to read
    "transfer.fsckObjects": "true",
    **{f"fetch.fsck.{flaw}": "ignore" for flaw in _HARMLESS},
    "http.lowSpeedLimit": "1000",  # bytes a second; less for a minute is a dead connection
    "http.lowSpeedTime": "60",
}
_SSH = ("ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=20",
        "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4", "-o", "ForwardAgent=no",
        "-o", "ClearAllForwardings=yes")  # fmt: skip
_GLOBAL_KNOWN_HOSTS = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
_REFS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
_PROGRESS = re.compile(r"(Receiving objects|Resolving deltas): +\d+%.*")
_FULL = re.compile(r"No space left|Disk quota exceeded")
#: Days after which a mirror that nobody used is removed.
_UNUSED_DAYS = 90
_DAY = 24 * 3600


class RepositoryError(OperationError):
    """A repository can't be read."""

    code = "repository"


class _Failure(Enum):
    CHANGED_KEY = "changed-key"
    UNKNOWN_KEY = "unknown-key"
    NO_ACCESS = "no-access"
    UNREACHABLE = "unreachable"
    NO_REPOSITORY = "no-repository"


#: What OpenSSH, curl and git say, most specific first.
_SAID = {
    _Failure.CHANGED_KEY: ("REMOTE HOST IDENTIFICATION HAS CHANGED", "REVOKED HOST KEY"),
    _Failure.UNKNOWN_KEY: ("Host key verification failed",),
    _Failure.NO_ACCESS: (
        "Permission denied", "Authentication failed", "terminal prompts disabled",
        "could not read Username", "could not read Password", "dubious ownership",
        "returned error: 401", "returned error: 403", "Too many authentication failures",
    ),
    _Failure.NO_REPOSITORY: (
        "does not appear to be a git repository", "Repository not found", "' not found",
        "' does not exist", "returned error: 404",
    ),
    _Failure.UNREACHABLE: (
        "Could not resolve", "Temporary failure in name resolution", "Connection refused",
        "Connection reset", "Connection timed out", "Connection closed", "Operation timed out",
        "Operation too slow", "No route to host", "Network is unreachable", "Failed to connect",
        "Couldn't connect", "kex_exchange_identification", "Broken pipe", "returned error: 5",
        "certificate", "SSL",
    ),
}  # fmt: skip


class GitOrigins:
    """Implements `Origins`.

    Args:
        folder: For the mirrors; made if it doesn't exist, for this user only.
        key_file: A private key to log in with, instead of the person's.
    """

    def __init__(self, folder: Path, *, key_file: Path | None = None) -> None:
        self._folder = folder
        self._key_file = key_file

    def fetch(self, origin: Origin, *, known_hosts: Sequence[str], detail: Detail) -> str:
        """Bring the mirror of a repository up to date, or make it.

        A mirror that is damaged is made anew. A killed call leaves the old mirror, or none.

        Args:
            origin: The repository.
            known_hosts: Lines for servers whose SSH host keys are accepted, besides those that the
                person knows.
            detail: Called with git's progress.

        Returns:
            Why the mirror could not be updated, if the server can't be reached now; otherwise "".

        Raises:
            RepositoryError: the repository can't be read.
            HostNotReadyError: git is not installed.
        """
        with self._locked(origin) as mirror, tempdir.folder("git") as private:
            env = self._environment(private, known_hosts)
            if mirror.is_dir():
                _remove_locks(mirror)
                try:
                    _fetch(mirror, origin, env, detail)
                    _git("repack", "--geometric=2", "-d", "--quiet", at=mirror)
                except process.ProcessError as error:
                    failure = _failure(error)
                    if failure is _Failure.UNREACHABLE:
                        return _reason(error)
                    if failure is not None:
                        raise self._error(origin, error) from None
                    # Otherwise the mirror is to blame: another one is made.
                else:
                    return ""
            self._make(mirror, origin, env, detail)
        return ""

    def branches(self, origin: Origin) -> list[str]:
        """The branches in the mirror; none if there is no mirror.

        Raises:
            RepositoryError: the mirror is damaged, and was removed.
        """
        with self._locked(origin) as mirror:
            if not mirror.is_dir():
                return []
            try:
                out = _git("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads", at=mirror)
            except process.ProcessError as error:
                raise _damaged(origin, mirror, error) from None
        return out.splitlines()

    @contextmanager
    def archive(self, origin: Origin, branch: str) -> Iterator[tuple[str, Path]]:
        """The newest commit of a branch in the mirror, and its files as a tar archive.

        Files are readable by everybody, as in a checkout with umask 022; the archive is removed at
        the end.

        Raises:
            RepositoryError: the mirror is damaged, and was removed; or there is no space.
        """
        with self._written(origin, ".tar") as (mirror, file):
            try:
                commit = _git("rev-parse", "--verify", f"refs/heads/{branch}", at=mirror).strip()
                _git("-c", "tar.umask=0022", "archive", "--format=tar", f"--output={file}", commit,
                     at=mirror)  # fmt: skip
            except process.ProcessError as error:
                raise _damaged(origin, mirror, error) from None
            yield commit, file

    @contextmanager
    def bundle(self, origin: Origin) -> Iterator[Path]:
        """A file with the mirror's branches and tags, for `git clone`; removed at the end.

        Raises:
            RepositoryError: the mirror is damaged, and was removed; or there is no space.
        """
        with self._written(origin, ".bundle") as (mirror, file):
            try:
                _git("bundle", "create", "--quiet", str(file), "--branches", "--tags",
                     at=mirror)  # fmt: skip
            except process.ProcessError as error:
                raise _damaged(origin, mirror, error) from None
            yield file

    @contextmanager
    def _written(self, origin: Origin, suffix: str) -> Iterator[tuple[Path, Path]]:
        """Hold the lock of a mirror, and remove a file beside it at the end."""
        with self._locked(origin) as mirror:
            file = mirror.with_suffix(suffix)
            try:
                yield mirror, file
            finally:
                file.unlink(missing_ok=True)

    def _make(self, mirror: Path, origin: Origin, env: dict[str, str], detail: Detail) -> None:
        """Clone a repository beside the mirror's place, and move it there when it is complete."""
        new, old = mirror.with_suffix(".new"), mirror.with_suffix(".old")
        try:
            process.run(["git", "init", "--quiet", "--bare", "--template=", new])
            _fetch(new, origin, env, detail)
            with suppress(FileNotFoundError):
                mirror.rename(old)
            new.rename(mirror)
        except process.ProcessError as error:
            raise self._error(origin, error) from None
        finally:
            for left in (new, old):
                trees.remove(left)

    @contextmanager
    def _locked(self, origin: Origin) -> Iterator[Path]:
        """Hold the lock of a mirror; remove what killed processes left, and unused mirrors.

        Yields:
            The path of the mirror, which may not exist.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = hashlib.sha256(origin.text.encode()).hexdigest()[:16]
        with _lock(self._folder / f"{name}.lock"):
            for suffix in (".new", ".old", ".bundle", ".tar"):
                _remove(self._folder / f"{name}{suffix}")
            mirror = self._folder / f"{name}.git"
            with suppress(FileNotFoundError):
                os.utime(mirror)
            self._remove_unused()
            yield mirror

    def _remove_unused(self) -> None:
        for mirror in self._folder.glob("*.git"):
            with suppress(OSError):
                if time.time() - mirror.stat().st_mtime > _UNUSED_DAYS * _DAY:
                    with _lock(mirror.with_suffix(".lock"), wait=False):
                        trees.remove(mirror)

    def _environment(self, private: Path, known_hosts: Sequence[str]) -> dict[str, str]:
        pins = private / "known_hosts"
        pins.write_text("".join(f"{line}\n" for line in known_hosts), encoding="utf-8")
        files = " ".join(f'"{path}"' for path in (pins, *_GLOBAL_KNOWN_HOSTS))
        ssh = [*_SSH, "-o", f"GlobalKnownHostsFile={files}"]
        if self._key_file is not None:
            ssh += ["-o", "IdentitiesOnly=yes", "-i", str(self._key_file)]
        return {
            "GIT_ALLOW_PROTOCOL": "ssh:https:file",  # not ext, which runs any command
            "GIT_SSH_COMMAND": shlex.join(ssh),
            "GIT_SSH_VARIANT": "ssh",
            "GIT_TERMINAL_PROMPT": "0",
        }

    def _error(self, origin: Origin, error: process.ProcessError) -> RepositoryError:
        host = origin.host
        match _failure(error):
            case _Failure.CHANGED_KEY:
                return RepositoryError(
                    f"{host} has another SSH host key than the one that is known",
                    details="it has a new one, or somebody else answers in its place",
                    resolution="ask who runs it; then correct known_hosts in stack.yml, or: "
                    f"ssh-keygen -R '{origin.known_as}'",
                )
            case _Failure.UNKNOWN_KEY:
                return RepositoryError(
                    f"the SSH host key of {host} is not known",
                    details="neither known_hosts in stack.yml nor ~/.ssh/known_hosts has it",
                    resolution="add it to known_hosts in stack.yml; for yourself: compare it and "
                    f"answer yes to: ssh{f' -p {origin.port}' if origin.port else ''} {host}",
                )
            case _Failure.NO_ACCESS:
                return RepositoryError(
                    f"you have no access to {origin.text}",
                    details=_reason(error),
                    resolution=self._way_in(origin),
                )
            case _Failure.UNREACHABLE:
                return RepositoryError(
                    f"{origin.text} can't be reached, and this host has no mirror of it",
                    details=_reason(error),
                    resolution=f"check the network, then: git ls-remote {origin.text}",
                )
            case _Failure.NO_REPOSITORY:
                return RepositoryError(
                    f"{origin.text} is not a git repository, or one that you may not see",
                    details=_reason(error),
                    resolution="correct `origin` in stack.yml, or ask for access",
                )
        return RepositoryError(
            f"{origin.text} can't be cloned",
            details=_reason(error),
            resolution=f"git ls-remote {origin.text}",
        )

    def _way_in(self, origin: Origin) -> str:
        if origin.kind is Kind.PATH:
            return f"ls -ld {origin.text}"
        if origin.kind is Kind.HTTPS:
            return f"log in with git's credential helper: git ls-remote {origin.text}"
        if self._key_file is not None:
            return f"check the key {self._key_file} (setting git.key_file)"
        if "SUDO_USER" in os.environ:
            return "run devvm without sudo: it then uses your own keys"
        return "load your key, then try again: ssh-add"


def _fetch(mirror: Path, origin: Origin, env: dict[str, str], detail: Detail) -> None:
    def progress(line: str) -> None:
        if match := _PROGRESS.fullmatch(line.strip()):
            detail(match[0])

    options = ("--progress", "--prune", "--force", "--no-tags", "--no-write-fetch-head",
               "--no-recurse-submodules")  # fmt: skip
    argv = _argv(mirror, "fetch", *options, "--", origin.text, *_REFS)
    process.stream(argv, progress, env=env)


def _git(*arguments: str, at: Path) -> str:
    return process.run(_argv(at, *arguments)).stdout


def _argv(mirror: Path, *arguments: str) -> list[str]:
    settings = [part for item in _SETTINGS.items() for part in ("-c", "=".join(item))]
    return ["git", *settings, f"--git-dir={mirror}", *arguments]


def _remove(path: Path) -> None:
    if path.is_dir():
        trees.remove(path)
    path.unlink(missing_ok=True)


def _remove_locks(mirror: Path) -> None:
    """Remove what a killed git left; the caller holds devvm's own lock, so no other git runs."""
    for left in (*mirror.glob("*.lock"), *mirror.glob("refs/**/*.lock")):
        left.unlink(missing_ok=True)
    for left in mirror.glob("objects/pack/tmp_*"):
        left.unlink(missing_ok=True)


@contextmanager
def _lock(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock, which the kernel releases if its holder dies.

    Raises:
        BlockingIOError: somebody else holds it (without `wait`).
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def _failure(error: process.ProcessError) -> _Failure | None:
    return next((kind for kind, said in _SAID.items() if _says(error.output, said)), None)


def _says(text: str, said: Sequence[str]) -> bool:
    return any(part in text for part in said)


def _reason(error: process.ProcessError) -> str:
    """What git or ssh said, in one line that a terminal can show; servers write some of it."""
    printable = ("".join(c for c in line if c.isprintable()) for line in error.output.splitlines())
    lines = [line.strip() for line in printable if line.strip()]
    known = [line for line in lines if any(_says(line, said) for said in _SAID.values())]
    errors = [line for line in lines if line.startswith(("fatal: ", "error: "))]
    return (known or errors or lines or ["git said nothing"])[0][:300]


def _damaged(origin: Origin, mirror: Path, error: process.ProcessError) -> RepositoryError:
    """The error for a mirror that can't be read; it is removed, unless only space is lacking."""
    reason, resolution = _reason(error), "type the same command again: the mirror is made anew"
    if _FULL.search(error.output):
        resolution = f"make room in {mirror.parent}, then type the same command again"
    else:
        trees.remove(mirror)
    return RepositoryError(
        f"the mirror of {origin.text} can't be read", details=reason, resolution=resolution
    )
