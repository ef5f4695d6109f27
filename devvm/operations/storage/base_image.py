"""A box's disk image, in Vagrant and in the pool, where every VM's root is based on it.

A wrong byte in it is wrong in every VM, so its hash is checked before a VM is created.
"""

from __future__ import annotations

from pathlib import Path

from devvm.domain.box import Box
from devvm.domain.errors import OperationError
from devvm.operations.core.progress import Run
from devvm.ports.services import Services


def place(services: Services, box: Box, run: Run) -> Path:
    """Make sure that Vagrant has the box and the pool its image; return the image's volume.

    Anything missing or damaged is replaced, under the VMs that are based on it.

    Raises:
        OperationError: the box's own file is damaged, or there is no room.
    """
    with services.state.wait_lock("upload"):  # many creates, one upload
        services.volumes.ensure()
        if not services.vagrant.box_registered(box):
            _add_to_vagrant(services, box, run)
        name = services.vagrant.volume_name(box)
        expected = services.boxes.image_sha256(box)
        run.detail("checking the box's image")
        present = services.volumes.sha256(name)
        if present != expected:
            _require_good_source(services, box, expected, run)
            _clear_damaged(services, name, present, run)
        image = services.vagrant.image(box)
        damaged = present not in (None, expected) and services.volumes.exists(name)
        return services.volumes.upload(name, image, run.detail, overwrite=damaged)


def damage(services: Services, box: Box) -> str | None:
    """What is wrong with the box's image in the pool, in words; None if it is good or unused."""
    name = services.vagrant.volume_name(box)
    if not services.volumes.users_of(name):
        return None
    present = services.volumes.sha256(name)
    if present is None:
        return f"the volume {name} is gone"
    if present != services.boxes.image_sha256(box):
        return f"the volume {name} differs from the image in the box"
    return None


def _add_to_vagrant(services: Services, box: Box, run: Run) -> None:
    run.detail("checking the box's file")
    damaged = services.boxes.damage(box)
    if damaged:
        raise OperationError(
            f"the box {box.release} is damaged",
            details=damaged,
            resolution="build it again: sudo devvm box build --force",
        )
    run.detail("adding the box to Vagrant")
    services.vagrant.add_box(box, run.detail)


def _require_good_source(services: Services, box: Box, expected: str, run: Run) -> None:
    """Make sure that Vagrant's copy of the image is good."""
    if services.boxes.sha256(services.vagrant.image(box)) != expected:
        run.note(f"Vagrant's copy of the box {box.release} is damaged; adding it again")
        services.vagrant.remove_box(box)
        _add_to_vagrant(services, box, run)


def _clear_damaged(services: Services, name: str, present: str | None, run: Run) -> None:
    if present is None:
        return
    if services.volumes.users_of(name):
        run.note(f"The box's image in the pool ({name}) is damaged; writing it again")
    else:  # left by a killed upload, or damaged
        services.volumes.remove(name)
