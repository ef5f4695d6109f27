"""Resolves and downloads a box's packages from Debian's archive and other repositories, with apt.

It uses a private apt root, independent of the host's own apt. apt checks the signatures of the
indices, those of each repository with its own key only, and each file against the sha256 that they
list.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, zip_longest
from pathlib import Path
from urllib.parse import quote, unquote

from devvm.domain import openpgp
from devvm.domain.errors import DevvmError, HostNotReadyError, OperationError, UsageError
from devvm.domain.package_set import ARCHIVES, PATH, SUITE, Package, PackageSet
from devvm.ports.services import Detail
from devvm.system import process, tempdir

_HELPER = "/usr/lib/apt/apt-helper"
#: `'URI' FILE SIZE SHA256:HASH`; FILE is NAME_VERSION_ARCHITECTURE.deb.
_URI = re.compile(
    r"'(?P<uri>[^']+)' (?P<name>[^_ ]+)_(?P<version>[^_ ]+)_(?P<architecture>[^_ ]+)\.deb "
    r"(?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})"
)
_REQUIRED = "?and(?priority(required),?not(?essential))"
_UNREACHABLE = re.compile(
    r"(Could not resolve|Could not connect|Connection (refused|timed out|failed)|Unable to connect"
    r"|does not have a Release file|doesn't have the component|Failed to fetch"
    r"|Temporary failure resolving|50\d  )"
)
_NO_CONNECTION = re.compile(
    r"(Could not resolve|Could not connect|Connection (refused|timed out|failed)|Unable to connect"
    r"|Temporary failure resolving|Network is unreachable)"
)
_FORBIDDEN = re.compile(r"  40[137]  ")
_UNTRUSTED = re.compile(
    r"(NO_PUBKEY|is not signed|signatures? (couldn't|were) |not valid|is expired)"
)
#: A URL with a login, which is a secret.
_LOGIN = re.compile(r"(?P<scheme>https?://)(?P<login>[^/@\s]+)@(?P<place>\S+)")
_UNKNOWN_PACKAGE = re.compile(
    r"E: (?:Unable to locate package (\S+)|Package '([^']+)' has no installation candidate)"
)


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A repository besides Debian's archive.

    Attributes:
        name: Its name.
        mirrors: Its URLs, in the order to try them.
        suite: Its suite, or the path of a flat one, which ends in `/`.
        components: Its components; a flat one has none.
        key: The file with the key that must have signed its indices.
    """

    name: str
    mirrors: Sequence[str]
    suite: str
    components: Sequence[str]
    key: Path


class Apt:
    """Implements `PackageArchive`.

    Args:
        mirrors: URLs by the archive's name (`main`, `security`), in the order to try them.
        keyring: The keys that must have signed the indices of Debian's archive.
        components: The components of Debian's archive.
        repositories: Other repositories.
    """

    def __init__(
        self,
        mirrors: Mapping[str, Sequence[str]],
        keyring: Path,
        *,
        components: Sequence[str] = ("main",),
        repositories: Sequence[Repository] = (),
    ) -> None:
        every = {**mirrors, **{one.name: one.mirrors for one in repositories}}
        self._mirrors = {name: [m.rstrip("/") for m in found] for name, found in every.items()}
        self._keyring = keyring
        self._components = " ".join(components)
        self._repositories = repositories

    def mirrors(self, archive: str) -> list[str]:
        """The URLs of an archive or a repository, without logins; none if it is unknown."""
        return [_without_login(mirror) for mirror in self._mirrors.get(archive, ())]

    def source_lines(self) -> list[str]:
        """The lines for `sources.list`, with the first mirror of each of Debian's archives."""
        main, security = (self._mirrors[name][0] for name in ("main", "security"))
        return [
            f"deb {main} {SUITE} {self._components}",
            f"deb {main} {SUITE}-updates {self._components}",
            f"deb {security} {SUITE}-security {self._components}",
        ]

    def resolve(self, packages: Sequence[str], *, detail: Detail, log: Path | None) -> PackageSet:
        """Resolve the packages and their dependencies to what each first mirror has now.

        Raises:
            HostNotReadyError: apt or the keyring is missing.
            UsageError: the key of a repository is missing, or is none.
            OperationError: a mirror or repository can't be used, its indices are not signed with
                its key, or a package doesn't exist; `details` quotes apt.
        """
        keys = self._keys()
        with _root() as root:
            try:
                lines = [
                    line.replace("deb", f"deb {root.signed_by('debian', *keys['debian'])}", 1)
                    for line in self.source_lines()
                ]
                for one in self._repositories:
                    signed = root.signed_by(one.name, *keys[one.name])
                    place = [self._mirrors[one.name][0], one.suite, *one.components]
                    lines.append(" ".join(["deb", signed, *place]))
                root.use(lines)
                root.update(detail, log)
                required = root.required(log)
                found = [self._package(match, required) for match in root.wanted(packages, log)]
            except process.ProcessError as error:
                raise self._explain(error, log) from None
            return PackageSet(packages=tuple(found), notes=root.notes())

    def closure(
        self, repository: Path, packages: Sequence[str], *, log: Path | None
    ) -> dict[tuple[str, str], str]:
        """Resolve the packages and their dependencies from a flat repository on this host.

        Returns:
            Versions by name and architecture.

        Raises:
            OperationError: a dependency is missing in the repository.
        """
        with _root() as root:
            try:
                root.use([f"deb [trusted=yes] copy://{quote(str(repository))} ./"])
                root.update(lambda _: None, log)
                found = list(root.wanted(packages, log))
            except process.ProcessError as error:
                raise OperationError(
                    "the package set lacks a dependency of its own packages",
                    details=_own_lines(error.output) or error.details,
                    resolution="devvm release lock",
                    log=log,
                ) from None
        return {(m["name"], m["architecture"]): unquote(m["version"]) for m in found}

    def fetch(
        self, packages: Sequence[Package], folder: Path, *, detail: Detail, log: Path
    ) -> list[str]:
        """Download packages into a folder, each as `SHA256.deb`.

        The mirrors of a package's archive are tried in order. A package that none of them has is
        skipped. If this process is killed, a file may be incomplete.

        Returns:
            The mirrors that can't be reached.
        """
        dead: list[str] = []
        missing = list(packages)
        rounds = zip_longest(*(self._mirrors[name] for name in sorted(self._mirrors)))
        with _root() as root:
            for mirrors in rounds:
                of = dict(zip(sorted(self._mirrors), mirrors, strict=True))
                wanted = sorted((p for p in missing if of.get(p.archive)), key=lambda p: p.archive)
                for archive, group in groupby(wanted, key=lambda p: p.archive):
                    mirror = str(of[archive])
                    if mirror not in dead and not root.download(
                        mirror, list(group), folder, detail, log
                    ):
                        dead.append(mirror)
                missing = [p for p in missing if not (folder / f"{p.sha256}.deb").exists()]
        return [_without_login(mirror) for mirror in dead]

    def _keys(self) -> dict[str, tuple[bytes, str]]:
        """The keys that sign Debian's archive and each repository, and their files' suffixes."""
        try:
            found = {"debian": (self._keyring.read_bytes(), self._keyring.suffix)}
        except OSError as error:
            raise HostNotReadyError(
                f"the keyring {self._keyring} can't be read",
                details=f"{error.strerror}; the package mirror's indices are checked with it",
                resolution="devvm setup, or set another one: box.keyring (devvm config show)",
            ) from None
        for one in self._repositories:
            try:
                content = one.key.read_bytes()
                problem = openpgp.problem(content)
            except OSError as error:
                content, problem = b"", error.strerror
            if problem is not None:
                raise UsageError(
                    f"the key of the repository {one.name} can't be used",
                    details=f"{one.key}: {problem}",
                    resolution="put the key that its owner publishes into this file, or name "
                    "another one: apt.repositories in stack.yml",
                )
            found[one.name] = (content, openpgp.suffix(content))
        return found

    def _package(self, match: re.Match[str], required: frozenset[str]) -> Package:
        archive, mirror = max(
            (
                (name, mirror)
                for name in self._mirrors
                if match["uri"].startswith(f"{(mirror := self.mirrors(name)[0])}/")
            ),
            key=lambda pair: len(pair[1]),
        )
        # apt's paths in a flat repository begin with `./`.
        path = unquote(match["uri"].removeprefix(f"{mirror}/")).removeprefix("./")
        if not PATH.fullmatch(path):
            raise OperationError(
                f"the repository {archive} has a file with a name that packages.lock can't hold",
                details=path,
                resolution=f"do without {match['name']}, or use a repository that names its files "
                "as Debian's does",
            )
        return Package(
            name=match["name"],
            architecture=match["architecture"],
            version=unquote(match["version"]),
            sha256=match["sha256"],
            size=int(match["size"]),
            archive=archive,
            required=match["name"] in required,
            path=path,
        )

    def _explain(self, error: process.ProcessError, log: Path | None) -> DevvmError:
        lines = _own_lines(error.output)
        unknown = _UNKNOWN_PACKAGE.search(lines)
        if unknown:
            name = unknown[1] or unknown[2]
            asked = " or ".join([f"Debian {SUITE}", *(one.name for one in self._repositories)])
            return OperationError(
                f"{asked} has no package {name}",
                details=lines,
                resolution=f"grep -rn {shlex.quote(name)} roles/*/vars/main.yml",
                log=log,
            )
        blamed = self._blamed(lines)
        answered = not (_NO_CONNECTION.search(lines) or _FORBIDDEN.search(lines))
        if answered and _UNTRUSTED.search(lines):
            if blamed is not None:
                return OperationError(
                    f"the package lists of the repository {blamed.name} can't be trusted",
                    details=f"they must be signed with {blamed.key}\n{lines}",
                    resolution="compare this key with the one that its owner publishes, and check "
                    "that this host's clock is right",
                    log=log,
                )
            return OperationError(
                "the package mirror's indices can't be trusted",
                details=f"mirrors: {self._debian_mirrors}\n{lines}",
                resolution=f"check that {self._keyring} has the mirror's key (box.keyring; "
                "devvm config show) and that this host's clock is right",
                log=log,
            )
        if _UNREACHABLE.search(lines):
            if blamed is not None:
                return OperationError(
                    f"the repository {blamed.name} can't be used",
                    details=lines,
                    resolution="check the network, and its address, suite and components in "
                    "stack.yml; if it has moved, name a mirror: box.repository_mirrors "
                    "(devvm config show)",
                    log=log,
                )
            return OperationError(
                "the package mirror can't be used",
                details=f"mirrors: {self._debian_mirrors}\n{lines}",
                resolution="check the network, or set another mirror ([box] in "
                "/etc/devvm/config.toml; devvm config show), then run the command "
                "again",
                log=log,
            )
        return OperationError(
            "the packages of the box can't be resolved",
            details=lines or error.details,
            resolution="fix what the roles declare (roles/*/vars/main.yml)",
            log=log,
        )

    @property
    def _debian_mirrors(self) -> str:
        return ", ".join(dict.fromkeys(self.mirrors(name)[0] for name in ARCHIVES))

    def _blamed(self, lines: str) -> Repository | None:
        """The repository that apt complains of; None if it complains of Debian's mirrors."""

        def mentioned(name: str) -> bool:
            return re.search(rf"{re.escape(self.mirrors(name)[0])}[ /]", lines) is not None

        if any(map(mentioned, ARCHIVES)):
            return None
        return next((one for one in self._repositories if mentioned(one.name)), None)


@contextmanager
def _root() -> Iterator[_Root]:
    """A private apt root without sources, removed at the end."""
    with tempdir.folder("apt") as folder:
        folder.chmod(0o711)  # for the user that apt downloads as
        for name in (
            "etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/sources.list.d",
            "var/lib/apt/lists/partial", "var/lib/dpkg", "var/cache/apt/archives/partial",
        ):  # fmt: skip
            (folder / name).mkdir(parents=True)
        (folder / "var/lib/dpkg/status").touch()
        architecture = process.run(["dpkg", "--print-architecture"]).stdout.strip()
        options = {
            "Dir": str(folder),
            "Dir::State::status": str(folder / "var/lib/dpkg/status"),
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Install-Recommends": "false",
            "Acquire::Languages": "none",
            "Acquire::ForceHash": "SHA256",
            "Acquire::Retries": "3",
            # apt 2.6 waits for ever if it delays a retry while it has more to get from that host.
            "Acquire::Retries::Delay": "false",
            "Acquire::http::Timeout": "30",
            "Acquire::https::Timeout": "30",
            "pkgCacheGen::ForceEssential": ",",  # otherwise apt counts itself as essential
        }
        conf = folder / "apt.conf"
        conf.write_text("".join(f'{k} "{v}";\n' for k, v in options.items()), encoding="utf-8")
        yield _Root(folder, conf, architecture)


@dataclass(frozen=True)
class _Root:
    """A private apt root, without the host's sources, settings and packages."""

    folder: Path
    conf: Path
    architecture: str

    @property
    def _env(self) -> dict[str, str]:
        return {"APT_CONFIG": str(self.conf), "TMPDIR": str(self.folder)}

    def use(self, lines: Sequence[str]) -> None:
        """Write its `sources.list`; a login in a URL goes into apt's own file for them."""
        sources = self.folder / "etc/apt/sources.list"
        content = "".join(f"{self._log_in(line)}\n" for line in lines)
        sources.write_text(content, encoding="utf-8")

    def signed_by(self, name: str, key: bytes, suffix: str) -> str:
        """The option of a source that is signed with this key."""
        # A copy, because apt's sandbox user may not be able to read the original.
        file = self.folder / f"{name}{suffix}"
        file.write_bytes(key)
        file.chmod(0o644)
        return f"[signed-by={file}]"

    def _log_in(self, text: str) -> str:
        """Let apt know the login in a URL, and return the text without it."""
        match = _LOGIN.search(text)
        if match is None:
            return text
        login, _, password = match["login"].partition(":")
        file = self.folder / "etc/apt/auth.conf"
        file.touch(mode=0o600)
        with file.open("a", encoding="utf-8") as auth:
            machine = match["scheme"] + match["place"]
            auth.write(f"machine {machine} login {unquote(login)} password {unquote(password)}\n")
        return _without_login(text)

    def update(self, detail: Detail, log: Path | None) -> None:
        detail("reading the mirror's package lists")
        argv = ["apt-get", "update", "--error-on=any"]
        done = process.run(argv, env=self._env, log=log)
        if "doesn't have the component" in done.stderr:  # to apt, no error
            raise process.ProcessError(argv, done.returncode, done.stderr, log)

    def wanted(self, packages: Sequence[str], log: Path | None) -> Iterator[re.Match[str]]:
        """What mmdebstrap would install for its variant `minbase` and `packages`."""
        argv = [
            "apt-get", "install", "--print-uris", "--yes", "--quiet=2",
            self._those("?essential"), self._those(_REQUIRED), *packages,
        ]  # fmt: skip
        for line in process.run(argv, env=self._env, log=log).stdout.splitlines():
            match = _URI.fullmatch(line.strip())
            if match is None:
                raise OperationError(f"apt printed an unknown line: {line}", log=log)
            yield match

    def required(self, log: Path | None) -> frozenset[str]:
        """Names of the packages that are `required`, but not essential."""
        argv = ["apt", "list", self._those(_REQUIRED)]
        lines = process.run(argv, env=self._env, log=log).stdout.splitlines()
        return frozenset(line.partition("/")[0] for line in lines if "/" in line)

    def _those(self, which: str) -> str:
        """An apt pattern for our suite and architecture, like mmdebstrap's."""
        suite = f"?or(?archive(^{SUITE}$),?codename(^{SUITE}$))"
        return f"?narrow({suite},?architecture({self.architecture}),{which})"

    def notes(self) -> tuple[str, ...]:
        """When the indices were read, and the date and hash of each."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        found = []
        for pattern in ("*InRelease", "*_Release"):
            for path in (self.folder / "var/lib/apt/lists").glob(pattern):
                content = path.read_bytes()
                fields = dict(
                    line.split(": ", 1)
                    for line in content.decode(errors="replace").splitlines()
                    if line.startswith(("Codename: ", "Date: ", "Label: "))
                )
                sha256 = hashlib.sha256(content).hexdigest()
                suite = fields.get("Codename") or fields.get("Label", "-")  # of a flat repository
                date = fields.get("Date", "-")
                found.append(f"{suite} of {date}, sha256 {sha256}")
        return (f"resolved {now} from", *sorted(found))

    def download(
        self, mirror: str, packages: Sequence[Package], folder: Path, detail: Detail, log: Path
    ) -> bool:
        """Download what a mirror has; False if it can't be reached.

        The first file is requested alone, so that a mirror that is down costs only one timeout.
        """
        place = self._log_in(mirror)
        for some in (packages[:1], packages[1:]):
            lines: list[str] = []
            argv = [_HELPER, "download-file"]
            if os.geteuid() == 0:  # only root can enter the destination folder
                argv += ["--option", "APT::Sandbox::User=root"]
            for package in some:
                file = folder / f"{package.sha256}.deb"
                argv += [f"{place}/{quote(package.path)}", str(file), f"SHA256:{package.sha256}"]

            def told(line: str, lines: list[str] = lines) -> None:
                lines.append(line)
                if line.startswith("Get:"):
                    detail(f"downloading {line.split()[1].rpartition('/')[2]}")

            if some:
                process.stream(argv, told, check=False, env=self._env, log=log)
            if any(_NO_CONNECTION.search(line) for line in lines) and not any(
                (folder / f"{package.sha256}.deb").exists() for package in some
            ):
                return False
        return True


def _without_login(text: str) -> str:
    """A URL, or a line with one, without the login in it."""
    return _LOGIN.sub(r"\g<scheme>\g<place>", text)


def _own_lines(output: str) -> str:
    """The error messages in apt's output."""
    said = [
        line.strip()
        for line in output.splitlines()
        if line.startswith(("E: ", "Err:", "W: Failed")) or _UNREACHABLE.search(line)
        or _UNTRUSTED.search(line) or " : Depends: " in line
    ]  # fmt: skip
    return "\n".join(dict.fromkeys(said[:6]))
