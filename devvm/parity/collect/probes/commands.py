"""Commands that expectations name: what they print."""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from typing import Any

    from devvm.parity.collect.interface import Answers, Program, Run, Wanted


def probe(wanted: Wanted, run: Run) -> Answers:
    """`{name: {"code": exit code, "line": last line printed, "error": why it failed or ""}}`."""
    return {name: _execute(command, run) for name, command in wanted["commands"].items()}


def _execute(command: Program, run: Run) -> dict[str, Any]:
    code, out, err = run(command["argv"], timeout=command["timeout"], cwd=command["cwd"])
    line = _last(out)
    return {"code": code, "line": line, "error": "" if not code else _last(err) or line}


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""
