"""Accounts: users, groups, and what sudo lets them do."""

import grp
import json
import pwd

import common

AREAS = ("user", "group", "sudo")

#: Below: the Debian project's own numbers, the same everywhere (base-passwd).
_FIXED = 100


def collect(wanted, run):
    """Users, groups and sudo rules.

    `user`: `uid` where it means something, `home`, `shell`, `groups`, `password` (`locked`, `set`,
    `none`). `group`: `gid`. `sudo`, by whom: `rules`.
    """
    groups = grp.getgrall()
    shadow = _shadow()
    users = {}
    for entry in pwd.getpwall():
        users[entry.pw_name] = {
            **_number("uid", entry.pw_uid),
            "group": _group(entry.pw_gid),
            "groups": sorted(g.gr_name for g in groups if entry.pw_name in g.gr_mem),
            "home": entry.pw_dir,
            "password": shadow.get(entry.pw_name, "locked"),
            "shell": entry.pw_shell,
        }
    return {
        "user": users,
        "group": {entry.gr_name: _number("gid", entry.gr_gid) for entry in groups},
        "sudo": _sudo(run),
    }


def _number(name, number):
    return {name: number} if number < _FIXED or number == 65534 else {name: None}


def _group(number):
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _shadow():
    found = {}
    for line in (common.read("/etc/shadow") or b"").decode("utf-8", "replace").splitlines():
        name, value = [*line.split(":"), ""][:2]
        found[name] = "none" if not value else "locked" if value[0] in "!*" else "set"
    return found


def _sudo(run):
    code, out, err = run(["cvtsudoers", "-f", "json", "/etc/sudoers"])
    if code == 127:
        return {}
    try:
        rules = json.loads(out)
    except ValueError:
        raise RuntimeError(f"sudo's rules do not parse: {err.strip()}") from None
    found = {}
    for entry in rules.get("User_Specs", []):
        hosts = ",".join(map(_word, entry["Host_List"]))
        specs = [f"{hosts} = {_spec(spec)}" for spec in entry["Cmnd_Specs"]]
        for who in map(_word, entry["User_List"]):
            found.setdefault(who, {"rules": []})["rules"] += specs
    defaults = sorted(
        _option(option) for entry in rules.get("Defaults", []) for option in entry["Options"]
    )
    return {"Defaults": {"options": defaults}, **found}


def _spec(spec):
    users = ",".join(map(_word, spec.get("runasusers", [])))
    groups = ",".join(map(_word, spec.get("runasgroups", [])))
    options = " ".join(sorted(_option(option) for option in spec.get("Options", [])))
    commands = ", ".join(map(_word, spec["Commands"]))
    return f"({users}:{groups}) {options}: {commands}"


def _word(entry):
    """`{"usergroup": "sudo"}`: `%sudo`."""
    signs = {"usergroup": "%", "netgroup": "+", "userid": "#", "usergid": "%#"}
    no = "!" if entry.get("negated") else ""
    values = [f"{signs.get(key, '')}{v}" for key, v in entry.items() if key != "negated"]
    return no + " ".join(values)


def _option(option):
    return " ".join(
        (key if value else f"!{key}") if isinstance(value, bool) else f"{key}={value}"
        for key, value in option.items()
        if key != "operation"
    )
