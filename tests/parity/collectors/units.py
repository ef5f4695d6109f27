"""systemd's units: what is loaded and in which state, and which unit files are enabled."""

import json


def collect(wanted, run):
    """`{unit: {"load": …, "active": …, "sub": …, "file": …}}` of every unit that systemd knows."""
    units = {}
    for entry in _list(run, "list-units", "--all"):
        units[entry["unit"]] = {key: entry[key] for key in ("load", "active", "sub")}
    for entry in _list(run, "list-unit-files"):
        units.setdefault(entry["unit_file"], {})["file"] = entry["state"]
    return units


def _list(run, *arguments):
    code, out, err = run(["systemctl", "--output=json", "--no-pager", *arguments])
    if code:
        raise RuntimeError(err.strip())
    return json.loads(out)
