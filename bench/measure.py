"""A run of the benchmark: rounds in which the contenders take turns, on VMs of its own."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import libvirt

from bench import contenders, floor, machine
from bench.answers import SshWatch
from bench.command import CommandError, Ended, Runner, say
from bench.plain import NAME as PLAIN_NAME
from bench.plain import Plain
from bench.results import Results, Sample, sample_of
from devvm.adapters.image.box_store import FolderBoxStore
from devvm.config import Config
from devvm.domain.errors import DevvmError
from devvm.system.state import State

#: The VM that most contenders use.
_FIRST = "bench-1"
#: How often a command that takes less than a second is run in each round.
_QUICK_RUNS = 3
#: With 3 a command did its work, and checks failed.
_CHECKED = (0, 3)
_MIB = 1024**2


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure.

    Attributes:
        only: Of `contenders.MEASURED`.
        rounds: How often.
        at_once: How many VMs to create at once.
        other: Another checkout, whose devvm is measured too; None: only this one's.
    """

    only: Sequence[str]
    rounds: int
    at_once: Sequence[int]
    other: Path | None


def names(options: Options) -> list[str]:
    """The names of the VMs that a run makes."""
    count = max([2, *options.at_once])
    return [f"bench-{number}" for number in range(1, count + 1)]


def leftovers(config: Config, options: Options) -> list[tuple[str, str]]:
    """Domains with names that a run would use, and the command that deletes each.

    Raises:
        DevvmError: libvirt doesn't answer.
    """
    found: dict[str, str] = {}
    for domain in machine.domains(config):
        name, suffix, saved = domain.partition(f".{config.network.domain}")
        if domain == PLAIN_NAME:
            found[domain] = f"virsh destroy {domain}; virsh undefine --remove-all-storage {domain}"
        elif suffix and name in names(options):
            what = f"trash empty {name}" if saved else f"destroy {name}"
            found[domain] = f"bin/devvm {what} --purge {name}"
    return sorted(found.items())


class Stage:
    """The VMs of one checkout's devvm, brought to the state that a contender needs.

    Args:
        checkout: The checkout.
        suffix: Appended to the names of its contenders.
        config: devvm's configuration.
        runner: Runs its commands.
        options: What is measured.
    """

    def __init__(
        self, checkout: Path, suffix: str, config: Config, runner: Runner, options: Options
    ) -> None:
        self.suffix = suffix
        self._program = str(checkout / "bin" / "devvm")
        self._config = config
        self._runner = runner
        self._options = options
        self._can_be_cold = False
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
        }

    def prepare(self) -> None:
        """Let devvm make its own environment, and look at what it can do.

        Raises:
            CommandError: it doesn't run.
        """
        self._devvm("version")
        self._can_be_cold = "--cold" in self._devvm("create", "--help").stdout

    def ensure_box(self) -> None:
        """Build the box, if there is none.

        Raises:
            CommandError: that failed.
        """
        self._devvm("box", "build", "--yes", "--quiet")

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
            raise CommandError("this devvm always boots a new VM")
        key, sample = self._create("bench-2")[0]
        if key != contenders.CREATE_WARM:
            raise CommandError("the VM was booted: there is no warm box that fits (devvm box warm)")
        return [(key, sample)]

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
        key = contenders.started_as(command, ended.json.get("started"))
        return [(key, replace(sample, facts={**sample.facts, **(facts or {})}))]


class Bench:
    """A run of the benchmark.

    Args:
        config: devvm's configuration.
        checkout: This checkout.
        results: Where measurements are added.
        runner: Runs the commands.
        options: What to measure.
        save: Called after each measurement.
    """

    def __init__(
        self, config: Config, checkout: Path, results: Results, runner: Runner, options: Options,
        save: Callable[[], None],
    ) -> None:  # fmt: skip
        self._config = config
        self._results = results
        self._runner = runner
        self._options = options
        self._save = save
        self._stages = [Stage(checkout, "", config, runner, options)]
        if options.other is not None:
            self._stages.append(Stage(options.other, contenders.OTHER, config, runner, options))

    def run(self) -> None:
        """Measure; a contender that fails is noted, and the others go on.

        Raises:
            CommandError: there is nothing to measure with.
        """
        only, first = self._options.only, self._stages[0]
        say("preparing")
        with_vms = not set(only) <= {contenders.VERSION, contenders.LIST, contenders.PLAIN}
        for stage in self._stages:
            stage.prepare()
        if contenders.BOX_BUILD in only:
            self._measure("once", first, contenders.BOX_BUILD, first.build_box)
        if with_vms:
            say("the box: building it, if there is none")
            for stage in self._stages:
                stage.ensure_box()
        for number in range(1, self._options.rounds + 1):
            for stage in self._stages:
                self._round(f"round {number} of {self._options.rounds}", stage)
        if contenders.PLAIN in only:
            self._measure("once", first, contenders.PLAIN, self._plain)

    def clean(self) -> list[str]:
        """Delete what this run made; return what could not be deleted, one line each."""
        left = []
        for stage in self._stages:
            try:
                stage.clear()
            except CommandError as error:
                left.append(str(error))
        return left

    def _round(self, when: str, stage: Stage) -> None:
        for name, measure in stage.contenders.items():
            if name in self._options.only:
                self._measure(when, stage, name, measure)
        if contenders.AT_ONCE in self._options.only:
            for count in self._options.at_once:
                name = f"{contenders.AT_ONCE}-{count}"
                self._measure(when, stage, name, partial(stage.several, count))
        stage.clear()

    def _measure(
        self, when: str, stage: Stage, name: str, measure: Callable[[], list[tuple[str, Sample]]]
    ) -> None:
        say(f"{when}: {name}{stage.suffix}")
        try:
            found = measure()
        except (CommandError, DevvmError, libvirt.libvirtError, OSError) as error:
            say(f"  not measured: {error}")
            self._results.not_run[f"{name}{stage.suffix}"] = f"{when}: {_anonymous(str(error))}"
            stage.clear()
        else:
            for key, sample in found:
                self._results.add(f"{key}{stage.suffix}", sample)
                phases = ", ".join(f"{phase} {took:.1f}" for phase, took in sample.phases.items())
                say(f"  {key}: {sample.seconds:.2f} s{f' ({phases})' if phases else ''}")
        self._save()

    def _plain(self) -> list[tuple[str, Sample]]:
        with tempfile.TemporaryDirectory(prefix="bench-plain-", dir="/var/tmp") as folder:
            plain = Plain(self._config, self._runner, Path(folder))
            try:
                plain.prepare()
                return [(contenders.PLAIN, plain.measure())]
            finally:
                plain.remove()


def _anonymous(text: str) -> str:
    """A message without this machine's paths and addresses, as the report may be published."""
    return re.sub(r"(?<![\w./:])/[\w./@+-]+/", "", re.sub(r"\w+://\S+", "URL", text))
