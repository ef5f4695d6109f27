"""Single files: type, mode, owner."""

import grp
import os
import pwd
import stat


def collect(wanted, run):
    """`{path: {"mode": …, "owner": …, "link": …}}`; null where there is nothing."""
    return {path: _look(path) for path in wanted["files"]}


def _look(path):
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return {
        "mode": f"{stat.S_IMODE(status.st_mode):04o}",
        "owner": f"{_name(pwd.getpwuid, status.st_uid)}:{_name(grp.getgrgid, status.st_gid)}",
        "link": os.readlink(path) if stat.S_ISLNK(status.st_mode) else None,
    }


def _name(lookup, number):
    try:
        return lookup(number)[0]
    except KeyError:
        return str(number)
