"""`production waive`: allow a difference from production, with a reason and an owner."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path

from devvm.domain.errors import DevvmError, UsageError
from devvm.parity.production import waivers, yaml_list
from devvm.system.state import write_atomic

#: From this similarity on, a name counts as a misspelt known one.
_SLIP = 0.8


@dataclass(frozen=True, kw_only=True)
class Waiver:
    """A difference that is allowed for a while.

    Attributes:
        check: The name of a check, or a shell-style pattern.
        reason: Why.
        owner: Who is responsible for it.
        until: The last day on which it is valid.
        machines: Names or patterns of machines; empty for all.
    """

    check: str
    reason: str
    owner: str
    until: date
    machines: tuple[str, ...] = ()


def waive(file: Path, waiver: Waiver, known: Sequence[str], today: date) -> tuple[str, ...]:
    """Add a waiver to a file, keeping comments and order; return the checks that it matches.

    Args:
        file: The file; created if missing.
        waiver: What to add.
        known: The names of all checks.
        today: Today's date, on which the waiver must still be valid.

    Raises:
        UsageError: no check matches, the waiver has expired, its reason is empty, or the file can't
            be read or written.
    """
    matched = tuple(name for name in known if fnmatchcase(name, waiver.check))
    if not matched and not _may_be_extra(waiver.check, known):
        close = difflib.get_close_matches(waiver.check, known, n=3)
        raise UsageError(
            f"there is no check {waiver.check}",
            details=f"did you mean {' or '.join(close)}?" if close else None,
            resolution="to list the checks: devvm verify NAME --checks",
        )
    if waiver.until < today:
        raise UsageError(
            f"{waiver.until} is in the past",
            resolution="give a future day, as in --until 2030-01-31",
        )
    if not waiver.reason.strip():
        raise UsageError("a waiver needs a reason", resolution="--reason 'why it is wanted'")
    entry = {
        "check": waiver.check,
        **({"machines": list(waiver.machines)} if waiver.machines else {}),
        "reason": waiver.reason.strip(),
        "owner": waiver.owner,
        "until": waiver.until,
    }
    try:
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        write_atomic(file, _with(text, entry, file))
    except (waivers.WaiverError, UnicodeDecodeError) as error:
        raise UsageError(
            f"can't add to {file}; it is unchanged",
            details=str(error),
            resolution="fix it, then run the command again",
        ) from None
    except (OSError, DevvmError) as error:
        raise UsageError(
            f"{file} can't be written",
            details=str(error),
            resolution="waivers belong to the stack's repository: run the command in a "
            "checkout of it",
        ) from None
    return matched


def _with(text: str, entry: Mapping[str, object], file: Path) -> str:
    """The text of the file with the waiver added, parsed again to verify it.

    Raises:
        WaiverError: the file can't be parsed, or would change in another way.
    """
    said = waivers.parse(text, file)
    try:
        added = yaml_list.append(text, entry)
    except ValueError as error:
        raise waivers.WaiverError(f"{file}: {error}") from None
    if waivers.parse(added, file) != (*said, waivers.Waiver.model_validate(entry)):
        raise waivers.WaiverError(f"{file}: adding a waiver would change the others")
    return added


def _may_be_extra(check: str, known: Sequence[str]) -> bool:
    """Whether `check` may name an extra item, which has no check until it exists.

    Patterns don't count, nor what looks like the misspelt name of a check.
    """
    area, _, item = check.partition("/")
    names = [name.partition("/")[2] for name in known if name.startswith(f"{area}/")]
    slip = difflib.get_close_matches(item, names, n=1, cutoff=_SLIP)
    return f"extra/{area}" in known and not slip and not set("*?[") & set(check)
