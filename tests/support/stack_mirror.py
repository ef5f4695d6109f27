"""A mirror for the tests' boxes: the packages of a stack, and some newer than production's.

The packages are Debian's, from the mirrors in this machine's configuration, cached between runs. A
few of them get newer versions, each in a different way, as on a day on which Debian publishes
updates; the next day, another one does.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from devvm import config
from devvm.adapters.packages.apt import Apt
from devvm.adapters.role_declarations import RoleDeclarations
from devvm.domain import package_set
from devvm.domain.package_set import PackageSet
from devvm.system import assets
from tests.support import debs
from tests.support.mirror import Mirror

#: For so many days nobody asks Debian what is new: what a run needs, and what its box is named, are
#: then those of the run before.
_DAYS = 7
_DAY = 24 * 3600

#: Packages of production's, whose files no role manages, and how each has become newer.
NEWER = "sensible-utils"
WITH_A_CHANGED_CONFFILE = "logrotate"
CONFFILE = "/etc/logrotate.conf"
WITH_A_NEW_UNIT = "lsof"
UNIT = "lsof-news.service"
WITH_A_NEW_DEPENDENCY = "psmisc"
DEPENDENCY = "psmisc-news"


@dataclass(frozen=True)
class StackMirror:
    """A mirror, and what of it is Debian's and what is ours.

    Attributes:
        mirror: It; to be served.
        real: Debian's packages.
        news: Those that are newer, and what they newly depend on: names and versions.
    """

    mirror: Mirror
    real: PackageSet
    news: dict[str, str]
    _pool: Mapping[str, Path]

    def move(self, package: str) -> None:
        """On the next day there is a newer version of a package, and the one before is gone."""
        with tempfile.TemporaryDirectory() as folder:
            self.mirror.move(security=[debs.newer(self._pool[package], Path(folder))])


def ensure(folder: Path, packages: Sequence[str], *, news: bool = True) -> StackMirror:
    """Have a mirror with these packages, with what they need, and with the news.

    Args:
        folder: Where it is kept from run to run.
        packages: What the stack's roles declare.
        news: Whether there are any, of the packages that production has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    real = _resolved(folder, packages)
    pool = _downloaded(folder, real)
    newer = _news(pool, folder / "news") if news else []
    mirror = Mirror(folder / "mirror", required={p.name for p in real if p.required})
    mirror.publish(bookworm=pool.values(), security=newer)
    return StackMirror(
        mirror=mirror,
        real=real,
        news={debs.field(path, "Package"): debs.field(path, "Version") for path in newer},
        _pool=pool,
    )


def _archive() -> Apt:
    """Debian, as this machine is configured to have it."""
    box = config.load().box
    return Apt({"main": box.mirror, "security": box.security_mirror}, box.keyring)


def _resolved(folder: Path, packages: Sequence[str]) -> PackageSet:
    name = sha256(json.dumps(sorted(packages)).encode()).hexdigest()[:16]
    file = folder / f"{name}.lock"
    if file.exists() and time.time() - file.stat().st_mtime < _DAYS * _DAY:
        return package_set.parse(file.read_text(), str(file))
    found = _archive().resolve(packages, detail=_quiet, log=folder / "log")
    unfinished = file.with_suffix(".new")
    unfinished.write_text(found.text())
    unfinished.replace(file)
    return found


def _downloaded(folder: Path, packages: PackageSet) -> dict[str, Path]:
    """The files by their packages, each named as apt names what it downloads."""
    cache, pool = folder / "debs", folder / "pool"
    cache.mkdir(exist_ok=True)
    missing = [p for p in packages if not (cache / f"{p.sha256}.deb").exists()]
    if missing:
        incoming = folder / "incoming"
        incoming.mkdir(exist_ok=True)
        _archive().fetch(missing, incoming, detail=_quiet, log=folder / "log")
        for package in missing:
            file = incoming / f"{package.sha256}.deb"
            assert sha256(file.read_bytes()).hexdigest() == package.sha256, package.name
            file.replace(cache / file.name)
    shutil.rmtree(pool, ignore_errors=True)
    pool.mkdir()
    found = {}
    for package in packages:
        version = package.version.replace(":", "%3a")
        found[package.name] = pool / f"{package.name}_{version}_{package.architecture}.deb"
        found[package.name].hardlink_to(cache / f"{package.sha256}.deb")
    return found


def _news(pool: dict[str, Path], folder: Path) -> list[Path]:
    """The newer packages: the same files as ever, where the real ones are."""
    return [
        debs.newer(pool[NEWER], folder),
        debs.newer(pool[WITH_A_CHANGED_CONFFILE], folder, conffile=CONFFILE),
        debs.newer(pool[WITH_A_NEW_UNIT], folder, unit=UNIT),
        debs.newer(pool[WITH_A_NEW_DEPENDENCY], folder, depends=DEPENDENCY),
        debs.make(folder, DEPENDENCY, files={f"/usr/share/{DEPENDENCY}/news": "news\n"}),
    ]


def _quiet(_text: str) -> None:
    pass


def main() -> None:
    """Make one in a folder, and say what is new in it."""
    made = ensure(Path(sys.argv[1]).resolve(), RoleDeclarations(assets.roles()).packages())
    for name, version in sorted(made.news.items()):
        sys.stdout.write(f"{name} {version}\n")


if __name__ == "__main__":
    main()
