"""`production capture`: inspect production's hosts, read-only, and write a manifest."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from devvm.domain.errors import DevvmError, HostNotReadyError, OperationError, UsageError
from devvm.operations.core.parallel import for_each
from devvm.operations.core.progress import Run
from devvm.operations.production import vm_items
from devvm.parity.collect import capture as parity
from devvm.parity.production import manifest as manifests
from devvm.parity.production.manifest import Manifest, ManifestError
from devvm.stack.description import Description
from devvm.system.state import write_atomic


class ProductionHosts(Protocol):
    """Production's hosts."""

    def names(self, patterns: Sequence[str]) -> tuple[str, ...]:
        """The hosts that match names, groups or patterns of the inventory, each once."""

    def look(self, host: str, *, timeout: float) -> parity.Seen:
        """Run all collectors on a host. Changes nothing there."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to capture.

    Attributes:
        hosts: Names, or groups of the inventory.
        output: The file to write. Facts that vary in it already are kept as varying.
        over: Manifests that this one is a layer on, lowest first; empty for production's own.
        only_if: Conditions that are true for the layer's machines.
        unless: Conditions that are false for them.
        key: A file with the key for hashes of secrets, created if missing. Without a key, the
            manifest says of secrets only that they exist.
        packaged_contents: Whether to keep the content of unchanged packaged files, to show a diff
            when one is changed.
        timeout: Seconds to wait for one host.
        parallel: How many hosts to inspect at a time.
        description: That of the hosts' stack, for a layer of what a VM has.
    """

    hosts: tuple[str, ...]
    output: Path
    over: tuple[Path, ...] = ()
    only_if: tuple[manifests.Condition, ...] = ()
    unless: tuple[manifests.Condition, ...] = ()
    key: Path | None = None
    packaged_contents: bool = True
    timeout: float = 180
    parallel: int = 4
    description: Description = field(default_factory=Description)


@dataclass(frozen=True, kw_only=True)
class Captured:
    """A manifest that was written.

    Attributes:
        manifest: The manifest.
        changed: How many items differ from the previous file; None if there was none.
        new_varies: Facts that vary from host to host and didn't before, as `CHECK: FACT`.
        left_out: Checks that a layer for all VMs does not have, because they are the engineer's.
    """

    manifest: Manifest
    changed: int | None
    new_varies: tuple[str, ...] = field(default=())
    left_out: tuple[str, ...] = ()


def capture(hosts: ProductionHosts, plan: Plan, run: Run, today: datetime.date) -> Captured:
    """Inspect all hosts, and write a manifest of what they share. Writes nothing if one fails.

    Makes the manifest's folder, in one that exists: a new stack has no `production/`.

    Raises:
        UsageError: there is no such host, or a file can't be read or written.
        OperationError: a host could not be inspected completely; says which, and why.
    """
    with _files():
        previous = manifests.load(plan.output) if plan.output.exists() else None
        below = manifests.load_all(plan.over)
        key = _key(plan.key) if plan.key else secrets.token_bytes(32)
    names = hosts.names(plan.hosts)
    with run.phase("look", f"Inspecting {_count(len(names))}"):
        seen = _look(hosts, names, plan, run, key)
    with run.phase("write", "Writing the manifest"), _files():
        manifest = parity.merge(seen, day=today, previous=previous)
        if plan.key is None:
            manifest = parity.without_secrets(manifest)
        if not plan.packaged_contents:
            manifest = parity.without_packaged_contents(manifest)
        left_out: list[tuple[str, str]] = []
        if plan.over:
            layer = parity.over(below.of(seen[0].conditions), manifest)
            manifest = vm_items.with_varying(layer, plan.description)
            if _ENGINEER not in (*plan.only_if, *manifest.only_if):
                left_out = vm_items.engineers(manifest, plan.description)
                manifest = vm_items.without(manifest, left_out)
        if plan.only_if or plan.unless:
            manifest = manifest.model_copy(update={"only_if": plan.only_if, "unless": plan.unless})
        plan.output.parent.mkdir(exist_ok=True)
        write_atomic(plan.output, manifests.dump(manifest, _COMMENT))
    return Captured(
        manifest=manifest,
        changed=_changed(previous, manifest) if previous else None,
        new_varies=_new_varies(previous, manifest),
        left_out=tuple(manifests.check_name(area, item) for area, item in left_out),
    )


#: The condition that is true where there is an engineer.
_ENGINEER: manifests.Condition = "engineer"
_COMMENT = """\
Captured by `devvm production capture`: review it as code, and capture again instead of editing.
Only `varies` is for people: what is added there is kept."""


def _look(
    hosts: ProductionHosts, names: Sequence[str], plan: Plan, run: Run, key: bytes
) -> list[parity.Seen]:
    seen, failed = for_each(
        run,
        "waiting for",
        names,
        lambda name: hosts.look(name, timeout=plan.timeout),
        size=plan.parallel,
    )
    if failed:
        raise _not_seen(failed, len(names))
    return [replace(one, areas=parity.seal(one.areas, key)) for _, one in sorted(seen.items())]


def _not_seen(failed: dict[str, DevvmError], total: int) -> OperationError:
    names = sorted(failed)
    some = f"{len(failed)} of {_count(total)}" if total > 1 else names[0]
    return OperationError(
        f"{some} could not be inspected, and no manifest was written",
        details="\n".join(f"{n}: {failed[n].details or failed[n].brief}" for n in names),
        resolution=failed[names[0]].resolution,
    )


def _count(number: int) -> str:
    return "1 host" if number == 1 else f"{number} hosts"


def _key(file: Path) -> bytes:
    """Read the key for hashes of secrets; create it, private to its owner, if missing."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(32) + "\n", encoding="ascii")
    key = file.read_text(encoding="ascii").strip()
    if len(key) < 32:
        raise UsageError(
            f"{file} is not a key: it has {len(key)} characters, not 32",
            resolution="give a file that does not exist yet, and devvm creates it",
        )
    return key.encode()


def _changed(previous: Manifest, manifest: Manifest) -> int:
    return sum(len(items) for items in parity.over(previous, manifest).areas.values())


def _new_varies(previous: Manifest | None, manifest: Manifest) -> tuple[str, ...]:
    before = {
        (area, item, fact)
        for area, items in (previous.varies if previous else {}).items()
        for item, facts in items.items()
        for fact in facts
    }
    return tuple(
        sorted(
            {
                f"{manifests.check_name(area, item)}: {fact}"
                for area, items in manifest.varies.items()
                for item, facts in items.items()
                for fact in facts
                if (area, item, fact) not in before
            }
        )
    )


@contextmanager
def _files() -> Iterator[None]:
    """Turn errors of files into usage errors.

    Raises:
        UsageError: a file can't be read or written; says which, and why.
    """
    try:
        yield
    except ManifestError as error:
        raise UsageError(str(error), resolution="devvm production lint FILE") from None
    except HostNotReadyError as error:
        raise UsageError(
            error.brief, details=error.details, resolution="choose another file with --output"
        ) from None
    except OSError as error:
        raise UsageError(
            f"{error.filename} can't be read or written",
            details=error.strerror,
            resolution="choose another file",
        ) from None
