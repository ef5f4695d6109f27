"""Configuration files, as checked by the programs that read them."""

from __future__ import annotations

import glob

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from devvm.parity.collect.interface import Answers, Run, Wanted

#: The command by which each program checks its configuration; none changes or starts anything. The
#: program may be a pattern: then the newest is meant.
VALIDATORS = {
    "apache": ["apache2ctl", "-t"],
    "chrony": ["chronyd", "-p"],
    "mariadb": ["mariadbd", "--user=mysql", "--help", "--verbose"],
    "nginx": ["nginx", "-t", "-q"],
    "php-fpm": ["/usr/sbin/php-fpm[0-9]*", "-t"],
    "ssh": ["sshd", "-t"],
    "sudo": ["visudo", "-c"],
}


def probe(wanted: Wanted, run: Run) -> Answers:
    """By name: null if the configuration parses, else what the program says about it."""
    return {name: _judge(name, run) for name in wanted["configs"]}


def _judge(name: str, run: Run) -> str | None:
    if name not in VALIDATORS:
        return f"no validator of this name; known ones: {', '.join(sorted(VALIDATORS))}"
    program, *arguments = VALIDATORS[name]
    found = sorted(glob.glob(program)) if "*" in program else [program]
    if not found:
        return f"there is no {program}"
    code, out, err = run([found[-1], *arguments])
    if code == 0:
        return None
    lines = [line.strip() for line in (err or out).splitlines() if line.strip()]
    errors = [line for line in lines if "[warning]" not in line.lower()]
    return "; ".join(errors[:3]) or f"exit code {code}"
