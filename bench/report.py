"""The report of a run, as Markdown: docs/performance.md has the latest between two markers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from bench import contenders, goals
from bench.results import Results, Spread

BEGIN, END = "<!-- bench/run: begin -->", "<!-- bench/run: end -->"


class ReportError(Exception):
    """The report can't be put into the document."""


def markdown(results: Results, chart: str) -> str:
    """The report, without a heading of its own.

    Args:
        results: The run.
        chart: The address of the chart.
    """
    parts = [
        _provenance(results),
        f"![Median times, by phase]({chart})",
        _goals(results),
        _times(results),
        _phases(results),
        _sizes(results),
        _not_run(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def put_into(document: Path, text: str) -> None:
    """Replace what is between the markers in a document.

    Raises:
        ReportError: it can't be read, or doesn't have both markers, once and in order.
    """
    try:
        before, rest = document.read_text(encoding="utf-8").split(BEGIN)
        _, after = rest.split(END)
    except (OSError, ValueError):
        raise ReportError(f"{document} does not have the lines {BEGIN} and {END}") from None
    document.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")


def _provenance(results: Results) -> str:
    machine = "; ".join(f"{key}: {value}" for key, value in results.machine.items())
    counts = [len(samples) for samples in results.samples.values()]
    rounds = f" Each time is the median of up to {max(counts)}." if counts else ""
    return (
        f"Measured {results.at}, commit {results.commit}, by `bench/run`. {machine}.{rounds} "
        "Contenders took turns. x: divided by the floor of the same run, which is bare QEMU with a "
        "VM's own disks until its site is healthy."
    )


def _goals(results: Results) -> str:
    words = {True: "yes", False: "**no**", None: "-"}
    rows = [(one.goal, one.measured, words[one.met]) for one in goals.verdicts(results)]
    return _table(("goal", "measured", "met"), rows)


def _times(results: Results) -> str:
    floor = results.median(contenders.FLOOR)
    rows = []
    for key in results.ordered():
        spread = results.spread(key)
        assert spread is not None
        ratio = f"{spread.median / floor:.2g} x" if floor else "-"
        ends = f"{_seconds(spread.low)} - {_seconds(spread.high)}" if spread.count > 1 else "-"
        rows.append(
            (contenders.contender(key).title, _seconds(spread.median), ends, f"{spread.count}",
             ratio)
        )  # fmt: skip
        if key.startswith(contenders.FLOOR):
            ssh = results.median(key, contenders.SSH) or 0
            within = f"{ssh / floor:.2g} x" if floor else "-"
            rows.append(("- of it until SSH answers", _seconds(ssh), "", "", within))
    return _table(("what", "median", "lowest - highest", "runs", "ratio"), rows)


def _phases(results: Results) -> str:
    rows = [
        (contenders.contender(key).title,
         ", ".join(f"{name} {_seconds(took)}" for name, took in results.phases(key).items()))
        for key in results.ordered()
        if results.phases(key) and not key.startswith(contenders.FLOOR)
    ]  # fmt: skip
    return _table(("what", "its phases (median)"), rows)


def _sizes(results: Results) -> str:
    names = ("root_mib", "data_mib", "memory_mib", "ssh_seconds")
    rows = []
    for key in results.ordered():
        facts = [results.fact(key, name) for name in names]
        if any(facts):
            shown = [_mib(fact) for fact in facts[:3]]
            rows.append((contenders.contender(key).title, *shown, _fact(facts[3])))
    titles = ("after", "own root layer", "own data disk", "memory of QEMU", "SSH answered after")
    table = _table(titles, rows)
    return f"{table}\n\nSizes of several VMs are sums." if table else ""


def _not_run(results: Results) -> str:
    reasons: dict[str, list[str]] = {}
    for key, why in results.not_run.items():
        reasons.setdefault(why, []).append(contenders.contender(key).title)
    lines = [f"- {', '.join(titles)}: {why}" for why, titles in reasons.items()]
    for key in results.ordered():
        failed = results.fact(key, "failed_checks")
        if failed and failed.high:
            title = contenders.contender(key).title
            lines.append(
                f"- {title}: up to {failed.high:.0f} checks failed; its VM is not verified"
            )
    return "\n".join(["Not run, or not as it should:", "", *lines]) if lines else ""


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(titles)} |", "|---" * len(titles) + "|", *lines])


def _seconds(value: float) -> str:
    if value >= 600:
        return f"{value / 60:.0f} min"
    if value >= 100:
        return f"{value:.0f} s"
    return f"{value:.1f} s" if value >= 1 else f"{value:.2f} s"


def _mib(spread: Spread | None) -> str:
    return f"{spread.median:.0f} MiB" if spread else "-"


def _fact(spread: Spread | None) -> str:
    return _seconds(spread.median) if spread else "-"
