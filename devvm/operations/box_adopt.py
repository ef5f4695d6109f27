"""Takes a box up again whose record is lost, with the state folder, while VMs are based on it.

Building it anew would give another image of the same name, under VMs that need the old one.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from devvm import __version__
from devvm.model import Box
from devvm.operations.box_check import check
from devvm.operations.box_ports import BuildServices
from devvm.operations.ports import Services
from devvm.operations.progress import Run
from devvm.release import content_hash, new_release, same_content

_RELEASE = re.compile(r"\d{4}\.\d{2}\.\d{2}-[0-9a-f]{12}")


def adopt(services: Services, tools: BuildServices, run: Run) -> Box | None:
    """Register the box of the present stack again, from the image that Vagrant and VMs have.

    Which packages are in it is not known any more.

    Returns:
        The box; None where there is no image of it, or it is damaged or does not pass its checks.

    Raises:
        DevvmError: the VM for checking it could not be made.
    """
    lost = _lost(services)
    if lost is None:
        return None
    run.note(f"The record of the box {lost.release} is lost; its image is there, and is used")
    folder = services.state.build / content_hash()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with run.phase("pack", "Packing the box again"):
        candidate = tools.writer.pack(
            services.vagrant.image(lost), lost.release, folder / "devvm.box"
        )
    report = check(services, candidate, run)
    if not report.passed:
        return None
    facts = {
        "built_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "content": content_hash(),
        "debian": "",
        "devvm": __version__,
        "packages": {},
        "verification": {"checks": len(report.checks), "seconds": report.seconds},
    }
    return tools.writer.register(candidate, facts)


def _lost(services: Services) -> Box | None:
    """A box of the present stack that is with Vagrant and in the pool, the same in both."""
    for volume in services.hypervisor.volumes():
        match = _RELEASE.search(volume.name)
        if match is None or not same_content(match[0], new_release()):
            continue
        box = Box(
            release=match[0], path=Path(), sha256="", built_at="", size_bytes=0, verified=False,
            debian="",
        )  # fmt: skip
        if services.vagrant.volume_name(box) != volume.name:
            continue
        if not services.hypervisor.users_of_volume(volume.name):
            continue
        if not services.vagrant.box_registered(box):
            continue
        image = services.boxes.sha256(services.vagrant.image(box))
        if image == services.hypervisor.volume_sha256(volume.name):
            return box
    return None
