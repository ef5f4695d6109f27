"""Measure devvm on this machine, and write a report.

Makes VMs named bench-1, bench-2 ..., and deletes them at the end, also after Ctrl-C.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from bench import chart, compare, contenders, machine, measure, report, results
from bench.command import CommandError, Runner, say
from bench.results import Results
from devvm import config as configuration
from devvm.domain.errors import DevvmError, ExitCode

CHECKOUT = Path(__file__).resolve().parent.parent
_DOCUMENT, _CHART = CHECKOUT / "docs" / "performance.md", CHECKOUT / "docs" / "performance.svg"
KEPT = CHECKOUT / "bench" / "results.json"
#: Take minutes to an hour, so only on request.
_LONG = (contenders.BOX_BUILD, contenders.PLAIN)

_EXAMPLES = """\
examples:
  bench/run                            three rounds, about ten minutes each when emulated
  bench/run --only version,list
  bench/run --rounds 5 --box --plain --keep
  bench/run --only create-cold,verify --other ../devvm-before
  bench/run --check bench/results.json bench-report/results.json
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what was typed; return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        if options.check:
            return check(*options.check)
        if options.report:
            _write(results.read(options.report), options.output, keep=options.keep)
            return ExitCode.DONE
        return _measure(parser, options)
    except DevvmError as error:
        say(f"Error: {error.brief}\n  {error.details or ''}\nNext: {error.resolution or ''}")
        return error.exit_code
    except (CommandError, results.ResultsError, report.ReportError) as error:
        say(f"Error: {error}")
        return ExitCode.FAILED


def check(old: Path, new: Path) -> int:
    """Print a warning for each ratio that grew; never a failure, since times are never certain.

    Raises:
        ResultsError: `new` can't be read, or `old` is there and can't be.
    """
    if not old.exists():
        print(f"No ratios are kept in {old.name} yet: bench/run --keep")
        return ExitCode.DONE
    yardstick, growths = compare.compare(results.read(old), results.read(new))
    if yardstick is None:
        print("Nothing to compare: the two runs have no common yardstick")
        return ExitCode.DONE
    for growth in growths:
        print(f"Warning: slower than before: {growth.line(yardstick.title)}")
    if not growths:
        print(f"No ratio to {yardstick.title} grew by more than {compare.ALLOWED:.0%}")
    return ExitCode.DONE


def _measure(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    wanted = _wanted(parser, options)
    if options.keep and options.only:
        parser.error("--keep is for whole runs: leave --only out")
    settings = configuration.load()
    if before := measure.leftovers(settings, wanted):
        say("Error: there are VMs with names that the benchmark uses")
        for domain, command in before:
            say(f"  {domain}\nNext: {command}")
        return ExitCode.USAGE
    options.output.mkdir(parents=True, exist_ok=True)
    log = options.output / "commands.log"
    log.write_text("")
    found = Results(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=machine.commit(CHECKOUT),
        machine=machine.describe(settings),
        not_run={key: "not asked for" for key in contenders.MEASURED if key not in wanted.only},
    )
    if wanted.other is not None:
        found.machine["other checkout"] = machine.commit(wanted.other)
    if not found.machine["driver"].startswith("kvm"):
        found.not_run["KVM"] = "this machine cannot run KVM guests; every guest was emulated"
    file = options.output / "results.json"
    bench = measure.Bench(
        settings, CHECKOUT, found, Runner(log), wanted, save=lambda: found.write(file)
    )
    found.write(file)
    left = False
    try:
        with _interrupts():
            try:
                bench.run()
            finally:
                say("deleting what was made")
                for line in bench.clean():
                    say(f"Error: {line}\nNext: bin/devvm list")
                    left = True
    except KeyboardInterrupt:
        say(f"Interrupted\nNext: a report of what was measured: bench/run --report {file}")
        return ExitCode.INTERRUPTED
    _write(found, options.output, keep=options.keep)
    return ExitCode.FAILED if bench.failed or left else ExitCode.DONE


def _wanted(parser: argparse.ArgumentParser, options: argparse.Namespace) -> measure.Options:
    only = options.only or [
        name
        for name in contenders.MEASURED
        if name not in _LONG or (options.box if name == contenders.BOX_BUILD else options.plain)
    ]
    if unknown := [name for name in only if name not in contenders.MEASURED]:
        parser.error(f"{unknown[0]} is not one of: {', '.join(contenders.MEASURED)}")
    if options.rounds < 1 or any(count < 1 for count in options.at_once):
        parser.error("--rounds and --at-once take numbers from 1 on")
    if options.other is not None and not (options.other / "bin" / "devvm").is_file():
        parser.error(f"{options.other} is not a checkout of devvm")
    other = None if options.other is None else options.other.resolve()
    return measure.Options(only=only, rounds=options.rounds, at_once=options.at_once, other=other)


def _write(found: Results, output: Path, *, keep: bool) -> None:
    """Write the report; with `keep`, into the repository as well."""
    output.mkdir(parents=True, exist_ok=True)
    drawn = chart.svg(found)
    found.write(output / "results.json")
    (output / "chart.svg").write_text(drawn, encoding="utf-8")
    text = report.markdown(found, "chart.svg")
    (output / "report.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    say(f"The report is in {output}")
    if keep:
        report.put_into(_DOCUMENT, report.markdown(found, _CHART.name))
        _CHART.write_text(drawn, encoding="utf-8")
        found.write(KEPT)
        say("and in docs/performance.md, docs/performance.svg and bench/results.json")


@contextmanager
def _interrupts() -> Iterator[None]:
    """Take SIGTERM and SIGHUP for Ctrl-C; while the first is answered, ignore more of them."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for name in caught:
            signal.signal(name, lambda _number, _frame: say("still deleting what was made"))
        raise KeyboardInterrupt

    caught = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {name: signal.signal(name, interrupt) for name in caught}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench/run", description=__doc__, epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="how often each contender runs (3)"
    )
    parser.add_argument(
        "--only", type=_words, metavar="NAME,...",
        help=f"measure only these: {', '.join(contenders.MEASURED)}",
    )  # fmt: skip
    parser.add_argument("--box", action="store_true", help="also build the box anew, once: minutes")
    parser.add_argument(
        "--plain", action="store_true",
        help="also the same roles by plain Vagrant and Ansible, once: half an hour when emulated; "
        "needs root and a package mirror",
    )  # fmt: skip
    parser.add_argument(
        "--at-once", type=_numbers, default=[1, 2, 4], metavar="N,...",
        help="how many VMs to create at once (1,2,4)",
    )  # fmt: skip
    parser.add_argument(
        "--other", type=Path, metavar="CHECKOUT", help="measure this one too, in turns"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("bench-report"), metavar="FOLDER",
        help="folder for report.md, chart.svg, results.json and commands.log (bench-report)",
    )  # fmt: skip
    parser.add_argument(
        "--keep", action="store_true",
        help="also put the report into docs/performance.md, the results into bench/results.json",
    )  # fmt: skip
    parser.add_argument(
        "--report", type=Path, metavar="RESULTS", help="only write the report of a run again"
    )
    parser.add_argument(
        "--check", type=Path, nargs=2, metavar=("OLD", "NEW"),
        help="only warn about ratios that grew by more than 25 %% since OLD",
    )  # fmt: skip
    return parser


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str) -> list[int]:
    return [int(word) for word in _words(text)]


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        sys.exit(main())
