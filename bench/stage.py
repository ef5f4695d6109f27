"""The VMs of one checkout's devvm, and what is measured with them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import contenders, floor, machine
from bench.answers import SshWatch
from bench.command import CommandError, Ended, Runner, UnavailableError, say
from bench.results import Sample, sample_of
from devvm.adapters.image.box_store import FolderBoxStore
from devvm.config import Config
from devvm.system.state import State

#: The VM that most contenders use.
_FIRST = "bench-1"
#: How often a command that takes less than a second is run in each round.
_QUICK_RUNS = 3
#: With 3 a command did its work, and checks failed.
_CHECKED = (0, 3)
#: With 5 another command does it.
_LOCKED = 5
_MIB = 1024**2


class Stage:
    """The VMs of one checkout's devvm, brought to the state that a contender needs.

    Args:
        checkout: The checkout.
        suffix: Appended to the names of its contenders.
        config: devvm's configuration.
        runner: Runs its commands.
    """

    def __init__(self, checkout: Path, suffix: str, config: Config, runner: Runner) -> None:
        self.suffix = suffix
        self._program = str(checkout / "bin" / "devvm")
        self._config = config
        self._runner = runner
        self._can_be_cold = self._has_pool = False
        self._vms: dict[str, dict[str, Any]] = {}  # created, and not deleted yet: their JSON
        self._running = False  # the first one
        self.contenders: dict[str, Callable[[], list[tuple[str, Sample]]]] = {
            contenders.VERSION: lambda: self._quick("version"),
            contenders.LIST: lambda: self._quick("list"),
            contenders.CREATE_COLD: self._create_cold,
            contenders.VERIFY: self._verify,
            contenders.STOP: self._stop,
            contenders.FLOOR: self._floor,
            contenders.START: self._start,
            "rebuild": self._rebuild,
            contenders.CREATE_WARM: self._create_warm,
            contenders.CREATE_SPARE: self._create_spare,
        }

    def prepare(self) -> None:
        """Let devvm make its own environment, and look at what it can do.

        Raises:
            CommandError: it doesn't run.
        """
        self._devvm("version")
        self._can_be_cold = "--cold" in self._devvm("create", "--help").stdout
        self._has_pool = "--pool" in self._devvm("list", "--help").stdout

    def ensure_box(self) -> None:
        """Build the box, if there is none.

        Raises:
            CommandError: that failed, or this host has a pool of spare VMs, which would be taken.
        """
        self._devvm("box", "build", "--yes", "--quiet")
        if self._has_pool and self._devvm("list", "--pool", "--json").json["pool"]["wanted"]:
            raise CommandError("this host has a pool of spare VMs; first: devvm pool set 0")

    def build_box(self) -> list[tuple[str, Sample]]:
        """Build the box again, from its first stage on."""
        ended = self._devvm("box", "build", "--force", "--yes", "--quiet", "--json")
        store = FolderBoxStore(State(self._config.state_dir))
        box = store.find(str(ended.json["release"]))
        details = store.details(box) if box is not None else {}
        phases = dict(details.get("stages", {}))
        if verification := details.get("verification"):
            phases["verify"] = verification["seconds"]
        return [(contenders.BOX_BUILD, Sample(seconds=round(ended.seconds, 3), phases=phases))]

    def several(self, count: int) -> list[tuple[str, Sample]]:
        """Create some VMs at once; timed until the last is ready."""
        self.clear()
        vms = [f"bench-{number}" for number in range(1, count + 1)]
        self._vms |= {vm: {} for vm in vms}
        ended = self._runner.run_together([self._create_argv(vm) for vm in vms], good=_CHECKED)
        for vm, one in zip(vms, ended, strict=True):
            self._vms[vm] = one.json
        last = max(ended, key=lambda one: one.seconds)
        sample = sample_of(last.json, last.seconds)
        facts = [self._facts(vm) for vm in vms]
        summed = {name: round(sum(one[name] for one in facts), 1) for name in facts[0]}
        key = f"{contenders.AT_ONCE}-{count}"
        return [(key, replace(sample, facts={**sample.facts, **summed}))]

    def clear(self) -> None:
        """Delete the VMs, and what their rebuilds left in the trash.

        Raises:
            CommandError: one could not be deleted; the others were.
        """
        failed = None
        for vm in list(self._vms):
            try:  # with 2 there is nothing of it
                purge = ("--purge", vm, "--quiet", "--json")
                self._devvm("destroy", vm, "--yes", *purge, good=(0, 2))
                self._devvm("trash", "empty", vm, *purge, good=(0, 2))
                del self._vms[vm]
            except CommandError as error:
                failed = error
        self._running = False
        if failed is not None:
            raise failed

    def _quick(self, command: str) -> list[tuple[str, Sample]]:
        found = [self._devvm(command).seconds for _ in range(_QUICK_RUNS)]
        return [(command, Sample(seconds=round(seconds, 3))) for seconds in found]

    def _create_cold(self) -> list[tuple[str, Sample]]:
        return self._create(_FIRST, "--cold") if self._can_be_cold else self._create(_FIRST)

    def _create_warm(self) -> list[tuple[str, Sample]]:
        if not self._can_be_cold:
            raise UnavailableError("this devvm always boots a new VM")
        key, sample = self._create("bench-2")[0]
        if key != contenders.CREATE_WARM:
            raise UnavailableError(
                "the VM was booted: there is no warm box that fits (devvm box warm)"
            )
        return [(key, sample)]

    def _create_spare(self) -> list[tuple[str, Sample]]:
        if not self._has_pool:
            raise UnavailableError("this devvm has no pool of spare VMs")
        self.clear()
        try:
            self._set_pool("1")
            key, sample = self._create("bench-3")[0]
        finally:
            self._set_pool("0")
        if key != contenders.CREATE_SPARE:
            raise UnavailableError("the spare VM was not taken")
        return [(key, sample)]

    def _set_pool(self, count: str) -> None:
        """Have that many spare VMs, and nobody who fills the pool in the background."""
        self._devvm("pool", "set", count, "--quiet", "--json")
        while self._devvm("pool", "fill", "--quiet", "--json", good=(0, _LOCKED)).code:
            time.sleep(1)

    def _create(self, vm: str, *more: str) -> list[tuple[str, Sample]]:
        self.clear()
        self._vms[vm] = {}
        watch = SshWatch(self._config, vm)
        try:
            (ended,) = self._runner.run_together(
                [self._create_argv(vm, *more)], good=_CHECKED, meanwhile=watch.look
            )
        finally:
            watch.close()
        self._vms[vm] = ended.json
        self._running = vm == _FIRST
        facts = self._facts(vm)
        if watch.seconds is not None:
            facts["ssh_seconds"] = round(watch.seconds, 2)
        return self._filed("create", ended, facts)

    def _verify(self) -> list[tuple[str, Sample]]:
        self._need(running=True)
        ended = self._devvm("verify", _FIRST, "--quiet", "--json", good=_CHECKED)
        seconds = round(ended.seconds, 3)
        facts = sample_of({"report": ended.json}).facts
        return [(contenders.VERIFY, Sample(seconds=seconds, facts=facts))]

    def _stop(self) -> list[tuple[str, Sample]]:
        self._need(running=True)
        ended = self._devvm("stop", _FIRST, "--quiet", "--json")
        self._running = False
        return self._filed("stop", ended)

    def _start(self) -> list[tuple[str, Sample]]:
        self._need(running=False)
        ended = self._devvm("start", _FIRST, "--quiet", "--json")
        self._running = True
        return self._filed("start", ended)

    def _rebuild(self) -> list[tuple[str, Sample]]:
        self._need(running=True)
        ended = self._devvm("rebuild", _FIRST, "--yes", "--quiet", "--json", good=_CHECKED)
        return self._filed("rebuild", ended)

    def _floor(self) -> list[tuple[str, Sample]]:
        self._need(running=False)
        vm = self._vms[_FIRST]["vm"]
        definition = machine.definition(self._config, vm["fqdn"])
        disks = self._devvm("show", _FIRST, "--json").json["disks"]
        guest = floor.Guest(
            fqdn=vm["fqdn"],
            disks=[
                (disk["role"], Path(disk["path"]))
                for disk in sorted(disks, key=lambda disk: bool(disk["role"] != "root"))
            ],
            driver=vm["driver"],
            cpus=vm["cpus"],
            memory_mib=vm["memory_mib"],
            processor=machine.processor(definition),
            machine=machine.machine_type(definition),
            ca=Path(self._vms[_FIRST]["ca_certificate"]),
        )
        return [(contenders.FLOOR, floor.measure(guest, self._runner.log))]

    def _need(self, *, running: bool) -> None:
        """Have the first VM there, running or shut off."""
        if not self._vms.get(_FIRST):
            say(f"  creating {_FIRST}, which is not measured")
            self._create(_FIRST)
        if running and not self._running:
            self._devvm("start", _FIRST, "--quiet", "--json")
        elif self._running and not running:
            self._devvm("stop", _FIRST, "--quiet", "--json")
        self._running = running

    def _facts(self, vm: str) -> dict[str, float]:
        """The layers of a running VM's own, and the memory of its QEMU process."""
        used = {
            disk["role"]: disk["used_bytes"] / _MIB
            for disk in self._devvm("show", vm, "--json").json["disks"]
        }
        facts = {
            "root_mib": round(used.get("root", 0.0), 1),
            "data_mib": round(used.get("devvm-data", 0.0), 1),
        }
        memory = machine.memory_mib(self._config, self._vms[vm]["vm"]["fqdn"])
        return facts if memory is None else {**facts, "memory_mib": round(memory, 1)}

    def _create_argv(self, vm: str, *more: str) -> list[str]:
        return [self._program, "create", vm, "--yes", "--quiet", "--json", *more]

    def _devvm(self, *arguments: str, good: Sequence[int] = (0,)) -> Ended:
        return self._runner.run([self._program, *arguments], good=good)

    def _filed(
        self, command: str, ended: Ended, facts: dict[str, float] | None = None
    ) -> list[tuple[str, Sample]]:
        sample = sample_of(ended.json, ended.seconds)
        key = contenders.started_as(command, sample.phases)
        return [(key, replace(sample, facts={**sample.facts, **(facts or {})}))]
