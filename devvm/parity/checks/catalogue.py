"""Turns manifest, expectations and waivers into checks.

The names of checks are part of the interface: waivers, reports and people refer to them.
`unit/nginx.service`, `socket/tcp/443`, `setting/mariadb/max_connections` are items of the manifest;
`config/nginx/parses` and `site/healthz/database` are expectations.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from devvm.parity.checks.expectations import ExpectationError, Expectations, Item, Program
from devvm.parity.collect import interface
from devvm.parity.production.manifest import Layers, check_name
from devvm.parity.production.roles import Roles
from devvm.parity.production.waivers import Waiver

#: The check whose command prints the revision of the code on disk.
REVISION = "site/revision"
HEALTHZ = "/healthz"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One expectation.

    Args:
        name: Stable and unique: `socket/tcp/443`.
        role: The role responsible for it.
        kind: What is compared; `test_KIND` compares it.
        subject: Where to look in the observation.
        expected: What to find there.
        conditions: Which machines it applies to.
    """

    name: str
    role: str
    kind: str
    subject: tuple[str, ...] = ()
    expected: Any = None
    conditions: tuple[Item, ...] = ()

    def not_for(self, facts: dict[str, bool]) -> str | None:
        """Why the check doesn't apply to a machine with these conditions; None if it does."""
        for item in self.conditions:
            for name in item.only_if:
                if not facts[name]:
                    return f"only if: {name}"
            for name in item.unless:
                if facts[name]:
                    return f"unless: {name}"
        return None


def expand(every: Sequence[Expectations]) -> list[Check]:
    """All checks, sorted by name.

    Raises:
        ExpectationError: two expectations have the same name.
    """
    checks: dict[str, Check] = {}
    for one in every:
        for check in _of(one):
            if check.name in checks:
                both = f"{checks[check.name].role} and {one.role}"
                raise ExpectationError(f"{check.name} is expected twice: by {both}")
            checks[check.name] = replace(check, role=one.role, conditions=(one, *check.conditions))
    return sorted(checks.values(), key=lambda check: check.name)


def of_manifest(layers: Layers, roles: Roles) -> list[Check]:
    """A check for each item, and one for each area: that it has no other items."""
    items = [
        Check(
            name=check_name(area, item),
            role=roles.of(area, item), kind="item", subject=(area, item), expected=layers,
        )
        for area, item in layers.names()
    ]  # fmt: skip
    extra = [
        Check(
            name=f"extra/{area}", role=roles.default, kind="extra", subject=(area,),
            expected=(layers, roles),
        )
        for area in layers.areas()
    ]  # fmt: skip
    return items + extra


def of_waivers(waivers: Sequence[Waiver], names: Iterable[str]) -> list[Check]:
    """A check for each waiver: that it hasn't expired, and that what it waives exists."""
    known = list(names)
    counted: dict[str, int] = {}
    found = []
    for waiver in waivers:
        counted[waiver.check] = counted.get(waiver.check, 0) + 1
        number = counted[waiver.check]
        found.append(
            Check(
                name=f"waiver/{waiver.check}" + (f"#{number}" if number > 1 else ""),
                role="waivers",
                kind="waiver",
                expected=(waiver, any(waiver.matches(name) for name in known)),
            )
        )
    return found


def wanted(
    every: Sequence[Expectations],
    moved: Sequence[str] = (),
    areas: Collection[str] | None = None,
) -> interface.Wanted:
    """What collectors must look at.

    Args:
        every: The expectations.
        moved: Packages whose version in the machine's release differs from production's.
        areas: The areas that a manifest has; None to look at all of them, for a capture.
    """
    commands: dict[str, interface.Program] = {}
    for one in every:
        if one.site.revision:
            commands[REVISION] = interface.Program(argv=one.site.revision, cwd="/", timeout=60)
        for name, command in one.commands.items():
            commands[name] = _program(command)
    healthz = any(one.site.healthz or one.site.revision for one in every)
    return {
        "areas": None if areas is None else sorted({*areas, *_areas(every)}),
        "configs": sorted({name for one in every for name in one.configs}),
        "http": {name: probe.url for one in every for name, probe in one.http.items()},
        "healthz": HEALTHZ if healthz else None,
        "metrics": {
            name: {"url": exporter.url, "samples": list(exporter.samples)}
            for one in every
            for name, exporter in one.metrics.items()
        },
        "tls": {name: tls.port for one in every for name, tls in one.tls.items()},
        "commands": commands,
        "paths": sorted({path for one in every for path in one.paths}),
        "tls_ports": sorted({tls.port for one in every for tls in one.tls.values()}),
        "application": {
            name: _program(program) for one in every for name, program in one.application.items()
        },
        "moved": list(moved),
    }


def _areas(every: Sequence[Expectations]) -> Iterator[str]:
    """The areas that expectations are compared with."""
    if any(one.no_failed_units for one in every):
        yield "unit"
    if any(one.state_paths for one in every):
        yield "mount"


def _program(program: Program) -> interface.Program:
    return interface.Program(argv=program.argv, cwd=program.cwd, timeout=program.timeout)


def _of(one: Expectations) -> Iterator[Check]:
    yield from _system(one)
    yield from _configuration(one)
    yield from _web(one)
    yield from _state(one)


def _check(name: str, kind: str, *conditions: Item, **more: object) -> Check:
    return Check(name=name, kind=kind, role="", conditions=conditions, **more)  # type: ignore[arg-type]


def _system(one: Expectations) -> Iterator[Check]:
    if one.booted:
        yield _check("boot/finished", "booted")
    if one.no_failed_units:
        yield _check("service/none-failed", "none_failed")


def _configuration(one: Expectations) -> Iterator[Check]:
    for name in one.configs:
        yield _check(f"config/{name}/parses", "config", subject=(name,))


def _web(one: Expectations) -> Iterator[Check]:
    for name, probe in one.http.items():
        yield _check(
            f"http/{name}/status", "http_status", probe, subject=(name,), expected=probe.status
        )
        for header, value in probe.headers.items():
            yield _check(
                f"http/{name}/header/{header}",
                "http_header",
                probe,
                subject=(name, header),
                expected=value,
            )
        if probe.contains is not None:
            yield _check(
                f"http/{name}/body", "http_body", probe, subject=(name,), expected=probe.contains
            )
    for name, tls in one.tls.items():
        base = f"tls/{name}"
        yield _check(f"{base}/version", "tls_version", tls, subject=(name,), expected=tls.version)
        if tls.trusted is not None:
            yield _check(f"{base}/trusted", "tls_trusted", tls, tls.trusted, subject=(name,))
            yield _check(
                f"{base}/days-left",
                "tls_days_left",
                tls,
                tls.trusted,
                subject=(name,),
                expected=tls.days_left,
            )
    for dependency in one.site.healthz:
        yield _check(f"site/healthz/{dependency}", "healthz", subject=(dependency,))
    if one.site.revision:
        yield _check(REVISION, "revision")
    for name, exporter in one.metrics.items():
        for sample, number in exporter.samples.items():
            yield _check(
                f"metrics/{name}/{sample}",
                "metric",
                exporter,
                subject=(name, sample),
                expected=number,
            )
    for name, command in one.commands.items():
        yield _check(name, "command", command, subject=(name,), expected=dict(command.prints))


def _state(one: Expectations) -> Iterator[Check]:
    for path in one.state_paths:
        yield _check(f"state{path}/on-data-disk", "state_path", subject=(path,))
