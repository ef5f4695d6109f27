"""Commands that an expectation names: what they print."""


def probe(wanted, run):
    """`{name: {"code": exit code, "line": last line printed, "error": why it failed or ""}}`."""
    return {name: _execute(command, run) for name, command in wanted["commands"].items()}


def _execute(command, run):
    code, out, err = run(command["argv"], timeout=command["timeout"], cwd=command["cwd"])
    line = _last(out)
    return {"code": code, "line": line, "error": "" if not code else _last(err) or line}


def _last(text):
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""
