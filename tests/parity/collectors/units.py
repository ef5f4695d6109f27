"""systemd's units: state and start at boot of those that are wanted, and every failed one."""

import json


def collect(wanted, run):
    """`{"wanted": {unit: {"load": …, "active": …, "sub": …, "file": …}}, "failed": [unit, …]}`.

    Only what is wanted is asked for: `systemctl list-unit-files`, which has it all, works a
    hundred times as hard and takes an emulated processor ten seconds.
    """
    return {"wanted": _states(wanted["units"], run), "failed": _failed(run)}


def _states(units, run):
    if not units:
        return {}
    keys = {
        "load": "LoadState",
        "active": "ActiveState",
        "sub": "SubState",
        "file": "UnitFileState",
    }
    properties = ",".join(keys.values())
    out = _systemctl(run, "show", f"--property={properties}", "--", *units)
    found = {}
    for unit, block in zip(units, out.strip("\n").split("\n\n"), strict=True):
        values = dict(line.split("=", 1) for line in block.splitlines())
        found[unit] = {key: values.get(name, "") for key, name in keys.items()}
    return found


def _failed(run):
    return [entry["unit"] for entry in json.loads(_systemctl(run, "list-units", "--failed"))]


def _systemctl(run, *arguments):
    code, out, err = run(["systemctl", "--output=json", "--no-pager", *arguments])
    if code:
        raise RuntimeError(err.strip())
    return out
