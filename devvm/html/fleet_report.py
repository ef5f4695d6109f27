"""The fleet report as one HTML page, to keep open or to send to a colleague."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from devvm.html import page

#: The labels of a VM's parity, by the value of the filter.
_PARITY = {"ok": "Matches production", "differs": "Differs", "none": "Not checked"}
#: The labels of a VM's release status, by the value of the filter; a VM can have several.
_UPDATES = {
    "latest": "Latest release",
    "behind": "Behind",
    "unknown": "Not on record",
    "pinned": "Pinned",
    "next-start": "Updated at next start",
}
#: The parts of a wave, in the order of its bar.
_PARTS = {"done": "done", "failed": "failed", "waiting": "waiting", "left": "left"}


@dataclass(frozen=True, kw_only=True)
class _Tile:
    """A number at the top, and the filter for the VMs that it counts."""

    label: str
    count: int
    kind: str
    key: str
    value: str

    @property
    def link(self) -> str:
        return f"#{self.key}={self.value}"


@dataclass(frozen=True, kw_only=True)
class _Segment:
    """A part of a bar; start and width in percent."""

    kind: str
    label: str
    count: int
    start: float
    width: float


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A VM as the table shows it."""

    name: str
    engineer: str
    state: str
    release: str
    behind: int | None
    parity: str
    failed: int
    ahead: int
    checked: str
    pin: str
    pin_reason: str
    next_start: str
    disk: int | None
    memory_mib: int
    updates: tuple[str, ...]


def render(data: Mapping[str, Any]) -> str:
    """The page as self-contained HTML.

    Args:
        data: The output of `devvm fleet report --json`.

    Raises:
        KeyError: `data` lacks a key.
    """
    at = datetime.fromisoformat(data["at"]).astimezone(UTC)
    rows = [_row(vm) for vm in data["vms"]]
    rows.sort(key=lambda row: _as_counted(row.name))
    most = max((release["vms_total"] for release in data["releases"]), default=0)
    return page.render(
        "fleet.html.j2",
        at=at,
        hosts=data["hosts"],
        verdict=_verdict(rows),
        good=all(row.parity != "differs" and "behind" not in row.updates for row in rows),
        latest=next((r["release"] for r in data["releases"] if r["behind"] == 0), None),
        tiles=_tiles(rows),
        rows=rows,
        states=sorted({row.state for row in rows}),
        of_vms=sorted({row.release for row in rows} - {""}, reverse=True),
        releases=[(release, _release_bar(release, most)) for release in data["releases"]],
        checks=[{**of, "vms": sorted(of["vms"], key=_as_counted)} for of in data["by_check"]],
        rollouts=[_rollout(rollout) for rollout in data["rollouts"]],
        disks=[_disk_bar(host) for host in data["hosts"]],
        memories=[_memory_bar(host) for host in data["hosts"]],
        parity_words=_PARITY,
        updates_words=_UPDATES,
        size=_size,
        gib=_gib,
        when=_when,
        fragment=_fragment,
    )


def _row(vm: Mapping[str, Any]) -> _Row:
    parity, behind = vm["parity"], vm["behind"]
    updates = ["unknown" if behind is None else "behind" if behind else "latest"]
    updates += ["pinned"] * bool(vm["pinned_until"]) + ["next-start"] * bool(vm["update_to"])
    return _Row(
        name=vm["name"],
        engineer=vm["engineer"] or "",
        state=vm["state"] if vm["ready"] or vm["state"] == "missing" else "unfinished",
        release=vm["release"] or "",
        behind=behind,
        parity="none" if parity is None else "ok" if parity["passed"] else "differs",
        failed=parity["failed"] if parity else 0,
        ahead=parity["ahead"] if parity else 0,
        checked=parity["at"] if parity else "",
        pin=vm["pinned_until"] or "",
        pin_reason=vm["pin_reason"] or "",
        next_start=vm["update_to"] or "",
        disk=vm["disk_used_bytes"],
        memory_mib=vm["memory_mib"],
        updates=tuple(updates),
    )


def _as_counted(name: str) -> list[tuple[int, str]]:
    """A sort key that counts as people do: dev2 before dev10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(int(part), "") if part[0] in "0123456789" else (-1, part) for part in parts]


def _tiles(rows: Sequence[_Row]) -> list[_Tile]:
    states = Counter(row.state for row in rows)
    parity = Counter(row.parity for row in rows)
    updates = Counter(update for row in rows for update in row.updates)
    return [
        _tile("Running", states["running"], "calm", "state", "running"),
        _tile("Latest release", updates["latest"], "good", "updates", "latest"),
        _tile("Behind", updates["behind"], "odd", "updates", "behind"),
        _tile("Match production", parity["ok"], "good", "parity", "ok"),
        _tile("Differ", parity["differs"], "bad", "parity", "differs"),
        _tile("Not checked", parity["none"], "calm", "parity", "none"),
        _tile("Pinned", updates["pinned"], "extra", "updates", "pinned"),
    ]


def _tile(label: str, count: int, kind: str, key: str, value: str) -> _Tile:
    return _Tile(label=label, count=count, kind=kind, key=key, value=value)


def _release_bar(release: Mapping[str, Any], most: int) -> list[_Segment]:
    match, differ = release["vms_matching"], release["vms_differing"]
    return _bar(
        [
            ("good", "match", match),
            ("bad", "differ", differ),
            ("none", "not checked", release["vms_total"] - match - differ),
        ],
        most,
    )


def _memory_bar(host: Mapping[str, Any]) -> list[_Segment]:
    given, total = host["memory_running_mib"], host["memory_mib"]
    others = max(0, total - host["memory_free_mib"] - given)
    return _bar(
        [
            ("good", "assigned to running VMs", given),
            ("calm", "other use", others),
            ("none", "free", max(0, total - given - others)),
        ],
        max(total, given),
    )


def _disk_bar(host: Mapping[str, Any]) -> list[_Segment]:
    parts = [
        ("good", "VMs", host["pool_vms_bytes"]),
        ("extra", "snapshots and trash", host["pool_kept_bytes"]),
        ("calm", "boxes", host["pool_boxes_bytes"]),
        ("none", "free", host["pool_free_bytes"]),
    ]
    return _bar(parts, sum(count for _, _, count in parts))


def _rollout(rollout: Mapping[str, Any]) -> dict[str, Any]:
    """A rollout with a bar per wave, and the VMs of each wave grouped by their results."""
    waves = []
    for wave in rollout["waves"]:
        kinds = {"done": "good", "failed": "bad", "waiting": "odd", "left": "none"}
        parts = [(kinds[part], word, wave[part]) for part, word in _PARTS.items()]
        waves.append({**wave, "bar": _bar(parts, wave["total"]), "groups": _groups(wave["vms"])})
    return {**rollout, "waves": waves}


def _groups(vms: Iterable[Mapping[str, str]]) -> list[tuple[str, str, list[str]]]:
    """State, reason and names of the VMs that share both; those with a reason first."""
    groups: dict[tuple[str, str], list[str]] = {}
    for vm in vms:
        groups.setdefault((vm["state"], vm["why"]), []).append(vm["name"])
    plain = sorted(groups.items(), key=lambda item: (not item[0][1], item[0]))
    return [(state, why, sorted(names, key=_as_counted)) for (state, why), names in plain]


def _bar(parts: Sequence[tuple[str, str, int]], whole: int) -> list[_Segment]:
    segments, start = [], 0.0
    for kind, label, count in parts:
        width = 100 * count / whole if whole else 0.0
        if count:
            segments.append(
                _Segment(
                    kind=kind, label=label, count=count, start=round(start, 2),
                    width=round(width, 2),
                )
            )  # fmt: skip
        start += width
    return segments


def _verdict(rows: Sequence[_Row]) -> str:
    if not rows:
        return "There are no VMs"
    behind = sum("behind" in row.updates for row in rows)
    differ = sum(row.parity == "differs" for row in rows)
    parts = [f"{behind:,} behind the latest release"] if behind else []
    parts += [f"{differ:,} differ{'s' * (differ == 1)} from production"] if differ else []
    total = f"{len(rows):,} VM{'s' * (len(rows) != 1)}"
    return f"{total}: {', '.join(parts) or 'none behind, none known to differ from production'}"


def _size(count: int) -> str:
    """A size in bytes, for people."""
    gib = count / 1024**3
    return f"{gib:,.1f} GiB" if gib >= 1 else f"{count / 1024**2:.0f} MiB"


def _gib(mib: int) -> str:
    """Memory, for people."""
    return f"{mib / 1024:,.1f}".removesuffix(".0") + " GiB"


def _when(text: str) -> str:
    """An ISO 8601 time to the minute, in UTC; unchanged if it can't be parsed."""
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M}"
    except ValueError:
        return text


def _fragment(value: str) -> str:
    """A value encoded for a link's fragment, as the page's script does."""
    return quote(str(page.visible(value)), safe="/:@,")
