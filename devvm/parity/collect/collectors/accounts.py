"""Accounts: users, groups, and what sudo allows them."""

from __future__ import annotations

import grp
import json
import os
import pwd

from devvm.parity.collect.collectors import common

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from devvm.parity.collect.interface import Errors, Found, Items, Run, Wanted
    from devvm.parity.production.manifest import Facts

AREAS = ("user", "group", "sudo")

#: IDs below this are assigned by Debian and the same everywhere (base-passwd).
_FIXED = 100
#: Has a file for each user whose services start at boot, without a login.
_LINGER = "/var/lib/systemd/linger"
#: People's accounts have IDs from here up to nobody's, exclusive (Debian Policy, 9.2.2).
_PEOPLE, _NOBODY = 1000, 65534


def collect(wanted: Wanted, run: Run) -> Found:
    """Users, groups and sudo rules.

    `user`: `uid` if it is the same everywhere, `group`, `groups`, `home`, `shell`, `password`
    (`locked`, `set`, `none`), `ssh-keys`, `expires`, `linger`. `group`: `gid`. `sudo`, by user or
    group: `rules`.
    """
    groups = grp.getgrall()
    shadow = _shadow()
    users: Items = {}
    for entry in pwd.getpwall():
        users[entry.pw_name] = {
            **_number("uid", entry.pw_uid),
            "group": _group(entry.pw_gid),
            "groups": sorted(g.gr_name for g in groups if entry.pw_name in g.gr_mem),
            "home": entry.pw_dir,
            **shadow.get(entry.pw_name, {"password": "locked"}),
            "shell": entry.pw_shell,
            **_keys(entry),
            **({"linger": True} if os.path.exists(f"{_LINGER}/{entry.pw_name}") else {}),
        }
    sudo: Items = {}
    errors: Errors = {}
    try:
        sudo = _sudo(run)
    except RuntimeError as error:
        errors["sudo/"] = str(error)
    return {
        "user": users,
        "group": {entry.gr_name: _number("gid", entry.gr_gid) for entry in groups},
        "sudo": sudo,
        "errors": errors,
    }


def _keys(entry: pwd.struct_passwd) -> Facts:
    """Hashes over the SSH keys that may log in, unless the account is a person's."""
    if _PEOPLE <= entry.pw_uid < _NOBODY:
        return {}
    keys = common.lines(f"{entry.pw_dir}/.ssh/authorized_keys")
    return {"ssh-keys": sorted(common.digest(key.encode())[:16] for key in keys)} if keys else {}


def _number(name: str, number: int) -> Facts:
    return {name: number} if number < _FIXED or number == _NOBODY else {name: None}


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _shadow() -> Items:
    found: Items = {}
    for line in (common.read("/etc/shadow") or b"").decode("utf-8", "replace").splitlines():
        fields = line.split(":") + [""] * 8
        value, expires = fields[1], fields[7]
        state = "none" if not value else "locked" if value[0] in "!*" else "set"
        found[fields[0]] = {"password": state, **({"expires": expires} if expires else {})}
    return found


def _sudo(run: Run) -> Items:
    code, out, err = run(["cvtsudoers", "-f", "json", "/etc/sudoers"])
    if code == 127:
        return {}
    try:
        rules = json.loads(out)
    except ValueError:
        raise RuntimeError(f"sudo's rules can't be parsed: {err.strip()}") from None
    found: dict[str, list[str]] = {}
    for entry in rules.get("User_Specs", []):
        hosts = ",".join(map(_word, entry["Host_List"]))
        specs = [f"{hosts} = {_spec(spec)}" for spec in entry["Cmnd_Specs"]]
        for who in map(_word, entry["User_List"]):
            found.setdefault(who, []).extend(specs)
    defaults = sorted(
        _option(option) for entry in rules.get("Defaults", []) for option in entry["Options"]
    )
    return {"Defaults": {"options": defaults}, **{who: {"rules": r} for who, r in found.items()}}


def _spec(spec: Mapping[str, Any]) -> str:
    users = ",".join(map(_word, spec.get("runasusers", [])))
    groups = ",".join(map(_word, spec.get("runasgroups", [])))
    options = " ".join(sorted(_option(option) for option in spec.get("Options", [])))
    commands = ", ".join(map(_word, spec["Commands"]))
    return f"({users}:{groups}) {options}: {commands}"


def _word(entry: Mapping[str, Any]) -> str:
    """`{"usergroup": "sudo"}`: `%sudo`."""
    signs = {"usergroup": "%", "netgroup": "+", "userid": "#", "usergid": "%#"}
    no = "!" if entry.get("negated") else ""
    values = [f"{signs.get(key, '')}{v}" for key, v in entry.items() if key != "negated"]
    return no + " ".join(values)


def _option(option: Mapping[str, Any]) -> str:
    return " ".join(
        (key if value else f"!{key}") if isinstance(value, bool) else f"{key}={value}"
        for key, value in option.items()
        if key != "operation"
    )
