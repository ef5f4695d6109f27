"""Register a box again whose record is lost, with the state folder, while VMs are based on it.

Building it again would give another image of the same name, under VMs that need the old one.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from devvm import __version__
from devvm.domain import package_set
from devvm.domain.box import Box
from devvm.domain.errors import UsageError
from devvm.domain.package_set import PackageSet
from devvm.domain.release import identity
from devvm.operations.box.check import check
from devvm.operations.core.progress import Run
from devvm.ports.box import BuildServices
from devvm.ports.services import Services
from devvm.stack.folder import WorkingTree

_RELEASE = re.compile(r"\d{4}\.\d{2}\.\d{2}-[0-9a-f]{12}")


def adopt(services: Services, tools: BuildServices, run: Run) -> Box | None:
    """Register a box of the working tree again, from the image that Vagrant and VMs have.

    If there is a `packages.lock`, only the box with these packages counts. A box's packages are
    listed in the file that was packed with it; in a box of an older devvm, there is none, and they
    are unknown.

    Returns:
        The box; None if there is no image of it, or it is damaged or fails its checks.

    Raises:
        DevvmError: the VM for checking it could not be created.
    """
    stack = services.stack.look()
    lost = _lost(services, stack)
    if lost is None:
        return None
    box, packages = lost
    run.note(f"The record of the box {box.release} is lost; using its image, which is still there")
    folder = services.state.build / stack.content
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with run.phase("pack", "Packing the box again"):
        candidate = tools.writer.pack(
            services.vagrant.image(box), box.release, folder / "devvm.box", packages
        )
    versions = packages.versions if packages else {}
    report = check(services, replace(candidate, packages=versions), run)
    if not report.passed:
        return None
    if packages is not None:
        tools.cache.remember(identity.hash_of(box.release), packages)
    facts = {
        "built_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "content": stack.content,
        "debian": "",
        "devvm": __version__,
        "packages": versions,
        "package_set": packages.text().splitlines() if packages else [],
        "stack": services.stack.description().name,
        "verification": {"checks": len(report.checks), "seconds": report.seconds},
    }
    return tools.writer.register(candidate, facts)


def _lost(services: Services, stack: WorkingTree) -> tuple[Box, PackageSet | None] | None:
    """A box of the working tree that is the same in Vagrant and in the pool, and its packages."""
    for volume in services.volumes.all():
        match = _RELEASE.search(volume.name)
        if match is None:
            continue
        box = Box(
            release=match[0], path=Path(), sha256="", built_at="", size_bytes=0, verified=False,
            debian="",
        )  # fmt: skip
        if services.vagrant.volume_name(box) != volume.name:
            continue
        if not services.vagrant.box_registered(box):
            continue
        packages = _packages(services, box)
        name = identity.release_hash(stack.content, packages) if packages else stack.content
        if identity.hash_of(box.release) != name or name != (stack.hash or name):
            continue
        if not services.volumes.users_of(volume.name):
            continue
        image = services.boxes.sha256(services.vagrant.image(box))
        if image == services.volumes.sha256(volume.name):
            return box, packages
    return None


def _packages(services: Services, box: Box) -> PackageSet | None:
    """The packages listed in Vagrant's copy of a box; None if it has no list."""
    path = services.vagrant.image(box).with_name(package_set.FILE)
    try:
        return package_set.parse(path.read_bytes().decode(), str(path))
    except (OSError, UnicodeDecodeError, UsageError):
        return None
