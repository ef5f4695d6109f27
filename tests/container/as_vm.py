"""A container in the place of a VM, for operations that use a shell in it and nothing else."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from devvm.adapters.openssh import OpenSsh
from tests.container.reference import Machine
from tests.support.world import World

_Seen = TypeVar("_Seen")


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


class Session:
    """A command in a process of its own, until Ctrl-C.

    Args:
        act: Does it, and returns the exit code.
        output: A new file for what it prints.
    """

    def __init__(self, act: Callable[[], int], output: Path) -> None:
        self.output = output
        self._process = multiprocessing.get_context("fork").Process(target=self._run, args=(act,))
        self._process.start()

    def _run(self, act: Callable[[], int]) -> None:
        os.setsid()  # Ctrl-C goes to the whole group
        os.dup2(os.open(self.output, os.O_WRONLY | os.O_CREAT), 1)
        os._exit(act())

    def wait_for(self, text: str) -> str:
        """What it has printed, as soon as that has a text in it."""
        return wait_for(lambda: self.output.read_text(), lambda printed: text in printed)

    def interrupt(self) -> int:
        """Press Ctrl-C, and return the exit code."""
        assert self._process.pid
        os.killpg(self._process.pid, signal.SIGINT)
        self._process.join(30)
        assert self._process.exitcode is not None
        return self._process.exitcode


def wait_for(look: Callable[[], _Seen], good: Callable[[_Seen], object] = bool) -> _Seen:
    """What is to be seen, as soon as it is good."""
    deadline = time.monotonic() + 30
    while True:
        with suppress(OSError):
            if good(seen := look()):
                return seen
        assert time.monotonic() < deadline
        time.sleep(0.1)
