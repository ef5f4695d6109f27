"""The application: what is deployed, as printed by the commands that the expectations name."""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from devvm.parity.collect.interface import Errors, Found, Items, Run, Wanted

AREAS = ("application",)


def collect(wanted: Wanted, run: Run) -> Found:
    """By name (`revision`, `schema`): `value`, the last line that the command prints."""
    found: Items = {}
    errors: Errors = {}
    for name, command in wanted["application"].items():
        code, out, err = run(command["argv"], timeout=command["timeout"], cwd=command["cwd"])
        lines = (out if not code else err or out).strip().splitlines() or ["nothing printed"]
        if code:
            errors[f"application/{name}"] = lines[-1].strip()
        else:
            found[name] = {"value": lines[-1].strip()}
    return {"application": found, "errors": errors}
