"""Mounted file systems."""

import re


def collect(wanted, run):
    """`{mount point: {"root": …, "source": …, "type": …}}`, the last one where they are stacked.

    `root` is the directory of the file system that is mounted: a bind mount of /data/state/home
    on /home has the source of /data and the root /state/home.
    """
    found = {}
    with open("/proc/self/mountinfo") as file:
        for line in file:
            fields, _, filesystem = line.partition(" - ")
            root, point = (_unescape(field) for field in fields.split()[3:5])
            kind, source = filesystem.split()[:2]
            found[point] = {"root": root, "source": source, "type": kind}
    return found


def _unescape(text):
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
