"""A mirror for the tests' boxes: the packages of a stack, some newer than production's.

The packages are Debian's, from the mirrors in this machine's configuration, cached between runs. A
few get newer versions, each in a different way, as on a day when Debian publishes updates; the next
day, another one does.
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

from devvm import config, wiring
from devvm.adapters.packages.apt import Apt
from devvm.adapters.role_declarations import RoleDeclarations
from devvm.domain import package_set
from devvm.domain.package_set import PackageSet
from tests.support import debs
from tests.support.mirror import Mirror
from tests.support.reference_stack import REFERENCE

#: Look for new packages in Debian only once in this many days. In between, what a run needs and the
#: names of its boxes stay the same.
_DAYS = 7
_DAY = 24 * 3600

#: Packages of production whose files no role manages, and how each was updated.
NEWER = "sensible-utils"
WITH_A_CHANGED_CONFFILE = "logrotate"
CONFFILE = "/etc/logrotate.conf"
WITH_A_NEW_UNIT = "lsof"
UNIT = "lsof-news.service"
WITH_A_NEW_DEPENDENCY = "psmisc"
DEPENDENCY = "psmisc-news"


@dataclass(frozen=True)
class StackMirror:
    """A mirror, and which of its packages are real.

    Attributes:
        mirror: The mirror, to be served.
        real: Debian's packages.
        news: Names and versions of the newer ones, and of their new dependencies.
    """

    mirror: Mirror
    real: PackageSet
    news: dict[str, str]
    _pool: Mapping[str, Path]

    def move(self, package: str) -> None:
        """Publish a newer version of a package the next day; the current one disappears."""
        with tempfile.TemporaryDirectory() as folder:
            self.mirror.move(security=[debs.newer(self._pool[package], Path(folder))])


def ensure(folder: Path, packages: Sequence[str], *, news: bool = True) -> StackMirror:
    """Make a mirror with these packages and their dependencies, and the newer ones.

    Args:
        folder: Where it is kept between runs.
        packages: The packages that the stack's roles declare.
        news: Whether to include newer versions of production's packages.
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
    """Debian's archive, as configured on this machine."""
    return wiring.archive(config.load(), REFERENCE)


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
    """The downloaded files, by package, named as apt names them."""
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
    """The newer packages. Made from the same real ones, they are the same each time."""
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
    """Make a mirror in a folder, and print what is newer in it."""
    made = ensure(Path(sys.argv[1]).resolve(), RoleDeclarations.of(REFERENCE).packages())
    for name, version in sorted(made.news.items()):
        sys.stdout.write(f"{name} {version}\n")


if __name__ == "__main__":
    main()
