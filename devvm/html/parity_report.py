"""A parity report as one self-contained HTML page, to send to a colleague.

Names, messages and texts come from an untrusted machine; `devvm.html.page` makes sure that they
stay text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from urllib.parse import quote

from devvm.html import page

#: The labels of a check's result, by the value of the filter.
_KINDS = {
    "matched": "Matched",
    "differs": "Differs",
    "missing": "Missing",
    "extra": "Extra",
    "not-observed": "Not observed",
    "waived": "Waived",
    "ahead": "Ahead",
}
_OF_OUTCOME = {"passed": "matched", "error": "not-observed", "waived": "waived", "ahead": "ahead"}
_FAILURES = ("differs", "missing", "extra", "not-observed")
#: From this many checks on that fail to run for the same reason, they are shown as one entry.
_MANY = 3


@dataclass(frozen=True, kw_only=True)
class _Fact:
    """A fact on both sides. `exact`: show both quoted, because they look the same otherwise."""

    name: str
    sides: Mapping[str, Any]
    exact: bool


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A check as the page shows it."""

    name: str
    area: str
    role: str
    kind: str
    words: str
    message: str
    waiver: str
    package: str
    difference: str | None
    facts: tuple[_Fact, ...]
    lines: tuple[tuple[str, str], ...]

    @property
    def link(self) -> str:
        """The link to it within the page."""
        return f"#check={quote(self.name, safe='/:@')}"


@dataclass(kw_only=True)
class _Area:
    """The checks of an area. `groups`: those not observed, grouped by a reason that many share."""

    name: str
    entries: list[_Entry] = field(default_factory=list)
    groups: dict[str, list[_Entry]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A line of a summary."""

    name: str
    counts: Counter[str]


def render(data: Mapping[str, Any], *, generated_at: datetime, newer: str = "") -> str:
    """The page as self-contained HTML.

    Args:
        data: The output of `devvm verify --json`.
        generated_at: When the check was made; shown in UTC.
        newer: One line on the packages that differ from production.

    Raises:
        KeyError: `data` lacks a key, or a check has an unknown outcome.
    """
    entries = [_entry(check) for check in data["checks"]]
    counts = Counter(entry.kind for entry in entries)
    return page.render(
        "report.html.j2",
        vm=data["vm"],
        release=data["release"],
        verdict=_verdict(counts, passed=data["passed"]),
        passed=data["passed"],
        newer=newer,
        generated_at=generated_at.astimezone(UTC),
        duration=_duration(data["seconds"]),
        kinds=_KINDS,
        columns=[kind for kind in (*_FAILURES, "waived", "ahead", "matched") if counts[kind]],
        counts=counts,
        by_area=_rows(entries, lambda entry: entry.area),
        by_role=_rows(entries, lambda entry: entry.role),
        failures=_areas(entry for entry in entries if entry.kind in _FAILURES),
        others={
            "waived": [entry for entry in entries if entry.kind == "waived"],
            "ahead": sorted((e for e in entries if e.kind == "ahead"), key=_by_package),
        },
        matched=_areas(entry for entry in entries if entry.kind == "matched"),
    )


def _entry(check: Mapping[str, Any]) -> _Entry:
    name = str(page.visible(check["name"]))
    outcome, difference = check["outcome"], check["difference"]
    failed = difference if difference in _FAILURES else "differs"
    kind = failed if outcome == "failed" else _OF_OUTCOME[outcome]
    words = _KINDS[kind]
    if kind == "waived" and difference in _FAILURES:
        words = f"{words}: {difference}"
    return _Entry(
        name=name,
        area=name.partition("/")[0],
        role=str(page.visible(check["role"])),
        kind=kind,
        words=words,
        message=check["message"].strip(),
        waiver=check["waiver"] or "",
        package=check["package"] or "",
        difference=difference,
        facts=_facts(check),
        lines=tuple(_lines(check["diff"] or "")),
    )


def _by_package(entry: _Entry) -> tuple[str, bool, str]:
    """A sort key: each package, followed by what comes with it."""
    return entry.package, entry.area != "package", entry.name


def _facts(check: Mapping[str, Any]) -> tuple[_Fact, ...]:
    expected, found = check["expected"] or {}, check["found"] or {}
    facts = []
    for name in sorted({*expected, *found}):
        if name == "content" and check["diff"]:
            continue  # the unified diff shows it
        sides = {
            side: values[name]
            for side, values in (("expected", expected), ("found", found))
            if name in values
        }
        alike = len(sides) == 2 and _plain(expected[name]) == _plain(found[name])
        facts.append(_Fact(name=name, sides=sides, exact=alike))
    return tuple(facts)


def _plain(value: object) -> object:
    """A value as it looks on the page: the number 1 and the text `1` look the same."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return {key: _plain(one) for key, one in value.items()}
        case list():
            return [_plain(one) for one in value]
        case _:
            return str(value)


def _lines(diff: str) -> Iterable[tuple[str, str]]:
    """The lines of a unified diff, each with its kind."""
    lines = diff.split("\n") if diff else []
    for number, line in enumerate(lines):
        if number < 2 and line.startswith(("--- ", "+++ ")):
            yield "head", line
        else:
            yield {"+": "added", "-": "removed", "@": "hunk"}.get(line[:1], "same"), line


def _areas(entries: Iterable[_Entry]) -> list[_Area]:
    areas = []
    for name, members in groupby(sorted(entries, key=lambda e: e.area), lambda e: e.area):
        area = _Area(name=name, entries=list(members))
        reasons = Counter(e.message for e in area.entries if e.kind == "not-observed")
        for reason in (text for text, count in reasons.items() if count >= _MANY):
            group = [e for e in area.entries if e.kind == "not-observed" and e.message == reason]
            area.groups[reason] = group
        grouped = {e.name for group in area.groups.values() for e in group}
        area.entries = [e for e in area.entries if e.name not in grouped]
        areas.append(area)
    return areas


def _rows(entries: Iterable[_Entry], key: Callable[[_Entry], str]) -> list[_Row]:
    """A row of counts per area or role, those with the most failures first."""
    counts: dict[str, Counter[str]] = {}
    for entry in entries:
        counts.setdefault(key(entry), Counter())[entry.kind] += 1
    rows = [_Row(name=name, counts=one) for name, one in counts.items()]
    return sorted(rows, key=lambda row: (-sum(row.counts[k] for k in _FAILURES), row.name))


def _verdict(counts: Counter[str], *, passed: bool) -> str:
    if passed:
        return "Matches production"
    differences = sum(counts[kind] for kind in ("differs", "missing", "extra"))
    unseen = counts["not-observed"]
    parts = []
    if differences:
        parts.append(f"{differences:,} difference{'s' * (differences > 1)} from production")
    if unseen:
        parts.append(f"{unseen:,} check{'s' * (unseen > 1)} not observed")
    return ", ".join(parts) or "Nothing was checked"


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
