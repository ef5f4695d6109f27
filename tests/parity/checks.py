"""From expectations to checks: each single statement about a machine, under a stable name.

A check's name is interface: waivers, reports and people refer to it. `service/nginx/running`,
`socket/tcp/443/bind`, `setting/mariadb/max_connections`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from parity.schema import ExpectationError, Expectations, Item

#: The key under which the command that names the code on disk is run.
REVISION = "site/revision"
HEALTHZ = "/healthz"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One expectation.

    Args:
        name: Stable and unique: `socket/tcp/443/bind`.
        role: The role that answers for it.
        kind: What is compared, and so which test function does it: `test_KIND`.
        subject: Where in the observation to look.
        expected: What to find there.
        conditions: Of what machines it is expected.
    """

    name: str
    role: str
    kind: str
    subject: tuple[str, ...] = ()
    expected: Any = None
    conditions: tuple[Item, ...] = ()

    def not_for(self, facts: dict[str, bool]) -> str | None:
        """Why it does not concern a machine of which these conditions hold, or None."""
        for item in self.conditions:
            for name in item.only_if:
                if not facts[name]:
                    return f"only if: {name}"
            for name in item.unless:
                if facts[name]:
                    return f"unless: {name}"
        return None


def expand(every: Sequence[Expectations]) -> list[Check]:
    """All checks, by name.

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
    # What may listen is known only when all files are read.
    named = [check for check in checks.values() if check.kind == "socket_bind"]
    return [
        replace(check, expected=named) if check.kind == "socket_unexpected" else check
        for check in sorted(checks.values(), key=lambda check: check.name)
    ]


def wanted(every: Sequence[Expectations]) -> dict[str, Any]:
    """What the collectors must look at, beyond what they can list by themselves."""
    commands: dict[str, Any] = {}
    for one in every:
        if one.site.revision:
            argv = one.site.revision
            commands[REVISION] = {"argv": argv, "cwd": "/", "timeout": 60}
        for name, command in one.commands.items():
            commands[name] = command.model_dump(include={"argv", "cwd", "timeout"})
    healthz = any(one.site.healthz or one.site.revision for one in every)
    return {
        "units": sorted({_unit(name) for one in every for name in one.services}),
        "configs": sorted({name for one in every for name in one.configs}),
        "settings": sorted({server for one in every for server in one.settings}),
        "sysctls": sorted({key for one in every for key in one.sysctls}),
        "http": {name: probe.url for one in every for name, probe in one.http.items()},
        "healthz": HEALTHZ if healthz else None,
        "metrics": {
            name: {"url": exporter.url, "samples": list(exporter.samples)}
            for one in every
            for name, exporter in one.metrics.items()
        },
        "tls": {name: tls.port for one in every for name, tls in one.tls.items()},
        "commands": commands,
        "files": sorted({path for one in every for path in one.files}),
    }


def _of(one: Expectations) -> Iterator[Check]:
    yield from _system(one)
    yield from _services(one)
    yield from _network(one)
    yield from _configuration(one)
    yield from _web(one)
    yield from _files(one)


def _check(name: str, kind: str, *conditions: Item, **more: Any) -> Check:
    return Check(name=name, kind=kind, role="", conditions=conditions, **more)


def _system(one: Expectations) -> Iterator[Check]:
    if one.booted:
        yield _check("boot/finished", "booted")
    if one.no_failed_units:
        yield _check("service/none-failed", "none_failed")
    for package in one.packages:
        yield _check(f"package/{package}/installed", "package", subject=(package,))


def _services(one: Expectations) -> Iterator[Check]:
    for name, service in one.services.items():
        unit = _unit(name)
        base = f"service/{name}"
        if service.state is not None:
            yield _check(
                f"{base}/{service.state}",
                "service_state",
                service,
                subject=(unit,),
                expected=service.state,
            )
        if service.enabled is not None:
            word = "enabled" if service.enabled else "disabled"
            yield _check(
                f"{base}/{word}", "service_enabled", service, subject=(unit,), expected=word
            )


def _unit(name: str) -> str:
    return name if "." in name else f"{name}.service"


def _network(one: Expectations) -> Iterator[Check]:
    if one.no_other_sockets:
        yield _check("socket/unexpected", "socket_unexpected")
    for key, socket in one.sockets.items():
        subject = tuple(key.split("/"))
        yield _check(
            f"socket/{key}/bind",
            "socket_bind",
            socket,
            subject=subject,
            expected={"bind": sorted(socket.bind), "optional": socket.optional},
        )
        yield _check(
            f"socket/{key}/process",
            "socket_process",
            socket,
            subject=subject,
            expected={"process": socket.process, "optional": socket.optional},
        )


def _configuration(one: Expectations) -> Iterator[Check]:
    for name in one.configs:
        yield _check(f"config/{name}/parses", "config", subject=(name,))
    for server, values in one.settings.items():
        for name, value in values.items():
            yield _check(
                f"setting/{server}/{name}", "setting", subject=(server, name), expected=str(value)
            )
    for key, value in one.sysctls.items():
        yield _check(f"sysctl/{key}", "sysctl", subject=(key,), expected=str(value))


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


def _files(one: Expectations) -> Iterator[Check]:
    for path, file in one.files.items():
        base = f"file{path}"
        yield _check(f"{base}/exists", "file_exists", file, subject=(path,))
        for aspect in ("mode", "owner", "link"):
            value = getattr(file, aspect)
            if value is not None:
                yield _check(
                    f"{base}/{aspect}", "file_aspect", file, subject=(path, aspect), expected=value
                )
    for path in one.state_paths:
        yield _check(f"state{path}/on-data-disk", "state_path", subject=(path,))
