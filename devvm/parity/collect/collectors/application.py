"""The application: what is deployed, by the commands that expectations name for it."""

from __future__ import annotations

TYPE_CHECKING = False  # as typing's, which costs a guest a tenth of a second
if TYPE_CHECKING:
    from devvm.parity.collect.interface import Errors, Found, Items, Run, Wanted

AREAS = ("application",)


def collect(wanted: Wanted, run: Run) -> Found:
    """By name (`revision`, `schema`): `value`, the last line that its command prints."""
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
