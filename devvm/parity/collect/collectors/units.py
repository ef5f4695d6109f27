"""systemd units: what runs, what starts at boot, and which files say so."""

from __future__ import annotations

import os

from devvm.parity.collect.collectors import common

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from collections.abc import Mapping

    from devvm.parity.collect.interface import Found, Items, Packaged, Run, Wanted
    from devvm.parity.production.manifest import Facts

AREAS = ("unit",)

_KINDS = (".service", ".socket", ".timer", ".path")
_PROPERTIES = (
    "Id,Type,LoadState,ActiveState,SubState,UnitFileState,FragmentPath,DropInPaths,TriggeredBy,"
    "NeedDaemonReload"
)
#: Units of login sessions.
_SESSIONS = ("user@", "user-runtime-dir@")
_FOLDERS = ("/etc/systemd/system", "/run/systemd/system")


def collect(wanted: Wanted, run: Run) -> Found:
    """By unit: `enabled`, `state`, `file`, `drop-ins` by path, and `reload` if one is due.

    Units that are neither active nor enabled nor masked are left out. For a file, the value names
    the package that installed it if it is unchanged, else it is a hash.
    """
    kinds = [f"*{kind}" for kind in _KINDS]
    code, out, err = run(["systemctl", "show", *kinds, f"--property={_PROPERTIES}", "--no-pager"])
    if code:
        raise RuntimeError(err.strip())
    known = common.packaged(run)
    found: Items = {}
    for block in out.strip().split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines())
        unit = values.get("Id", "")
        if unit.endswith(_KINDS) and not unit.startswith(_SESSIONS) and _matters(values):
            found[unit] = _facts(values, known)
    for unit, enabled in _links().items():
        if unit not in found:
            state = "inactive (dead)" if unit.endswith(".service") else "inactive"
            found[unit] = {"enabled": enabled, "state": state, **_file(unit, known)}
    return {"unit": found}


def _matters(values: Mapping[str, str]) -> bool:
    if values["LoadState"] == "not-found":
        return values["ActiveState"] == "failed"
    started_by_bus = values.get("Type") == "dbus" and values["UnitFileState"] == "static"
    if started_by_bus and values["ActiveState"] != "failed":
        return False
    decided = values["UnitFileState"].startswith(("enabled", "masked"))
    passing = _by_the_hour(values) or values.get("Type") == "oneshot"
    if passing and not decided and values["ActiveState"] != "failed":
        return False  # runs briefly for another unit, or only at the first boot
    return decided or values["ActiveState"] not in ("inactive", "deactivating")


def _by_the_hour(values: Mapping[str, str]) -> bool:
    return any(by.endswith((".timer", ".path")) for by in values["TriggeredBy"].split())


def _facts(values: Mapping[str, str], known: Packaged) -> Facts:
    state = values["ActiveState"]
    if values["Id"].endswith(".service"):  # a socket's or timer's substate may change at any moment
        state += f" ({values['SubState']})"
    facts: Facts = {"enabled": values["UnitFileState"] or "none", "state": state}
    if values["FragmentPath"] and values["LoadState"] != "masked":
        facts["file"] = _identity(values["FragmentPath"], known)
    drop_ins = {path: _identity(path, known) for path in values["DropInPaths"].split()}
    if drop_ins:
        facts["drop-ins"] = dict(sorted(drop_ins.items()))
    if values["NeedDaemonReload"] == "yes":
        facts["reload"] = "due"
    return facts


def _file(unit: str, known: Packaged) -> Facts:
    """The file of a unit that is not loaded; for an instance, its template's."""
    name, at, rest = unit.partition("@")
    for candidate in (unit, f"{name}{at}.{rest.rpartition('.')[2]}"):
        for folder in (*_FOLDERS, "/lib/systemd/system"):
            if os.path.isfile(f"{folder}/{candidate}"):  # a mask is not a regular file
                return {"file": _identity(f"{folder}/{candidate}", known)}
    return {}


def _identity(path: str, known: Packaged) -> str:
    if path.startswith("/run/systemd/transient/"):
        return "transient"
    if path.startswith("/run/systemd/generator"):
        return "generated"
    content = common.read(path)
    if content is None:
        return "missing"
    package = common.origin_of(path, content, known)
    if package:
        return f"as packaged: {package}"
    return common.digest(common.redact(content.decode("utf-8", "replace"))[0].encode())


def _links() -> dict[str, str]:
    """Units that links enable or mask, whether they are loaded or not."""
    found: dict[str, str] = {}
    for folder in _FOLDERS:
        runtime = "-runtime" if folder.startswith("/run") else ""
        for name in _listed(folder):
            path = f"{folder}/{name}"
            if name.endswith(_KINDS) and os.path.realpath(path) == "/dev/null":
                found[name] = f"masked{runtime}"
            elif name.endswith((".wants", ".requires")):
                for unit in _listed(path):
                    if unit.endswith(_KINDS):
                        found.setdefault(unit, f"enabled{runtime}")
    return found


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
