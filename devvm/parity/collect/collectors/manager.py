"""The service manager's settings as they are now, and limits of sessions as configured."""

from __future__ import annotations

import re

from devvm.parity.collect.collectors import common

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from devvm.parity.collect.interface import Found, Items, Run, Wanted

AREAS = ("limit", "manager")

#: Of the limits that services have, those that don't depend on the size of the machine.
_LIMITS = ("DefaultLimitCORE", "DefaultLimitNOFILE")
#: What system.conf or `systemctl` may set, and what doesn't depend on the machine.
_SETTINGS = (
    "ConfirmSpawn",
    "CtrlAltDelBurstAction",
    "DefaultMemoryAccounting",
    "DefaultOOMPolicy",
    "DefaultRestartUSec",
    "DefaultStandardError",
    "DefaultStandardOutput",
    "DefaultStartLimitBurst",
    "DefaultStartLimitIntervalUSec",
    "DefaultTasksAccounting",
    "DefaultTimeoutAbortUSec",
    "DefaultTimeoutStartUSec",
    "DefaultTimeoutStopUSec",
    "DefaultTimerAccuracyUSec",
    "LogLevel",
    "LogTarget",
    "ServiceWatchdogs",
)
#: A variable as `systemctl show` writes it: quoted as for a shell, if it must be.
_VARIABLE = re.compile(r"""(?:\$'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\S)+""")


def collect(wanted: Wanted, run: Run) -> Found:
    """`limit`: as the files say; for services, as systemd has it. `manager`: its settings.

    Each variable that every service gets is an item of `manager` too: `environment/LANG`. As
    evidence, `said_by`: the files that say so.
    """
    names = ",".join((*_LIMITS, *_SETTINGS, "Environment"))
    code, out, err = run(["systemctl", "show", f"--property={names}"])
    values = dict(line.partition("=")[::2] for line in out.splitlines())
    limits, limiting = _limits()
    limits |= {f"systemd {name}": {"value": values[name]} for name in _LIMITS if name in values}
    manager: Items = {name: {"value": values[name]} for name in _SETTINGS if name in values}
    return {
        "limit": limits,
        "manager": manager | _environment(values.get("Environment", "")),
        "errors": {"manager/": err.strip()} if code else {},
        "evidence": {"said_by": {"limit": limiting}},
    }


def _environment(text: str) -> Items:
    """The variables that every service gets, from `systemctl set-environment` or system.conf."""
    found: Items = {}
    for word in _VARIABLE.findall(text):
        name, _, value = word.removeprefix("$").strip("'\"").partition("=")
        shown, secrets = common.redact(f"{name}={value}")
        found[f"environment/{name}"] = (
            {"secret": common.digest(value.encode())}
            if secrets
            else {"value": shown.partition("=")[2]}
        )
    return found


def _limits() -> tuple[Items, dict[str, list[str]]]:
    """What is configured, and by which files."""
    found: Items = {}
    files: dict[str, list[str]] = {}
    for path in ["/etc/security/limits.conf", *common.files_in("/etc/security/limits.d")]:
        for line in common.lines(path):
            words = line.split()
            if len(words) == 4:
                found[" ".join(words[:3])] = {"value": words[3]}
                files.setdefault(" ".join(words[:3]), []).append(path)
    return found, files
