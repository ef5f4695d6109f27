"""Shows the pool: as a table and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from devvm.cli import formatting

if TYPE_CHECKING:
    from devvm.cli.session import Session
    from devvm.operations.pool.pool import Pool, Spare


def data(pool: Pool) -> dict[str, Any]:
    """The pool, with the keys of docs/json.md."""
    return {
        "pool": {
            "wanted": dict(pool.wanted),
            "filling": pool.filling is not None,
            "failure": pool.failure or None,
            "spares": [
                {
                    "id": one.kept.id,
                    "release": one.kept.vm.release,
                    "made_at": one.kept.kept_at,
                    "used_bytes": one.used_bytes,
                    "busy": one.busy,
                    "stale": one.stale or None,
                }
                for one in pool.spares
            ],
        }
    }


def pool(session: Session, found: Pool) -> None:
    """Print the pool."""
    output = session.output
    if not found.wanted and not found.spares:
        output.note("There is no pool of spare VMs on this host. Next: devvm pool set 3")
        return
    output.table(
        ("SPARE", "RELEASE", "STATE", "SIZE", "AGE"),
        [
            (
                one.kept.id,
                one.kept.vm.release,
                _state(one),
                formatting.size(one.used_bytes),
                formatting.age(one.kept.kept_at),
            )
            for one in found.spares
        ],
    )
    for release, count in found.wanted.items():
        output.line(f"{found.ready(release)} of {count} are ready for {release}")
    if found.filling:
        output.note("The pool is being filled. Next: devvm list --pool")
    elif found.failure:
        output.note(f"The pool could not be filled: {found.failure}. Next: devvm pool fill")
    elif not found.right:
        output.note("Next: devvm pool fill")


def _state(one: Spare) -> str:
    if one.busy:
        return "busy"
    return f"stale: {one.stale}" if one.stale else "ready"
