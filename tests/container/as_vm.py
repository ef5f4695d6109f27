"""A container in the place of a VM, for operations that use a shell in it and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from devvm.adapters.openssh import OpenSsh
from tests.container.reference import Machine
from tests.support.world import World


def as_vm(machine: Machine, folder: Path) -> World:
    """A host in memory with a VM, dev1, whose shell is the container's."""
    world = World(folder)
    world.create()
    text = machine.target.ssh_config.read_text()
    names = f"Host {machine.target.alias} dev1 dev1-vagrant"
    assert f"Host {machine.target.alias}\n" in text
    text = text.replace(f"Host {machine.target.alias}", names)
    (world.machine().folder / "ssh_config").write_text(text)
    world.services = replace(world.services, shell=OpenSsh(), stack=machine.stack)
    return world
