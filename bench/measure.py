"""A run of the benchmark: rounds in which the contenders take turns, on VMs of its own."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import libvirt

from bench import contenders, machine
from bench.command import CommandError, Runner, UnavailableError, say
from bench.plain import NAME as PLAIN_NAME
from bench.plain import Plain
from bench.results import Results, Sample
from bench.stage import Stage
from devvm.config import Config
from devvm.domain.errors import DevvmError


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


class Bench:
    """A run of the benchmark.

    Args:
        config: devvm's configuration.
        checkout: This checkout.
        results: Where measurements are added.
        runner: Runs the commands.
        options: What to measure.
        save: Called after each measurement.

    Attributes:
        failed: Whether a contender failed that could have been measured.
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
        self.failed = False
        self._stages = [Stage(checkout, "", config, runner)]
        if options.other is not None:
            self._stages.append(Stage(options.other, contenders.OTHER, config, runner))

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
        if with_vms:
            say("the box: building it, if there is none")
            for stage in self._stages:
                stage.ensure_box()
        for number in range(1, self._options.rounds + 1):
            for stage in self._stages:
                self._round(f"round {number} of {self._options.rounds}", stage)
        # Last, since a new box has no VMs, and perhaps no warm box.
        if contenders.BOX_BUILD in only:
            self._measure("once", first, contenders.BOX_BUILD, first.build_box)
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
            self.failed = self.failed or not isinstance(error, UnavailableError)
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
