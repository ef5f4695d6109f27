"""Configuration files, as checked by the programs that read them."""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from devvm.parity.collect.interface import Answers, Run, Wanted

#: The command by which each program checks its configuration; none changes or starts anything.
VALIDATORS = {
    "chrony": ["chronyd", "-p"],
    "mariadb": ["mariadbd", "--user=mysql", "--help", "--verbose"],
    "nginx": ["nginx", "-t", "-q"],
    "ssh": ["sshd", "-t"],
    "sudo": ["visudo", "-c"],
}


def probe(wanted: Wanted, run: Run) -> Answers:
    """By name: null if the configuration parses, else what the program says about it."""
    return {name: _judge(name, run) for name in wanted["configs"]}


def _judge(name: str, run: Run) -> str | None:
    if name not in VALIDATORS:
        return f"no validator of this name; known ones: {', '.join(sorted(VALIDATORS))}"
    code, out, err = run(VALIDATORS[name])
    if code == 0:
        return None
    lines = [line.strip() for line in (err or out).splitlines() if line.strip()]
    errors = [line for line in lines if "[warning]" not in line.lower()]
    return "; ".join(errors[:3]) or f"exit code {code}"
