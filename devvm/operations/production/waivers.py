"""`production waive`: a difference that is wanted, written down with who answers for it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path

from devvm.domain.errors import DevvmError, UsageError
from devvm.parity import waivers, yaml_list
from devvm.system.state import write_atomic

#: From this likeness on, a name is a known one with a slip in it.
_SLIP = 0.8


@dataclass(frozen=True, kw_only=True)
class Waiver:
    """A difference that is allowed for a while.

    Attributes:
        check: The name of a check, or a pattern as in a shell.
        reason: Why.
        owner: Who answers for it.
        until: The last day that it holds.
        machines: Names or patterns of the machines; none: all.
    """

    check: str
    reason: str
    owner: str
    until: date
    machines: tuple[str, ...] = ()


def waive(file: Path, waiver: Waiver, known: Sequence[str], today: date) -> tuple[str, ...]:
    """Add a waiver to a file, which keeps its comments and order; the checks that it matches.

    Args:
        file: The file, which need not be there.
        waiver: What to add.
        known: The names of all checks.
        today: The day; a waiver must hold then.

    Raises:
        UsageError: no check has such a name, it has ended already, or the file can't be read or
            written.
    """
    matched = tuple(name for name in known if fnmatchcase(name, waiver.check))
    if not matched and not _may_be_extra(waiver.check, known):
        close = difflib.get_close_matches(waiver.check, known, n=3)
        raise UsageError(
            f"there is no check {waiver.check}",
            details=f"did you mean {' or '.join(close)}?" if close else None,
            resolution="the names are those that devvm verify NAME --checks lists",
        )
    if waiver.until < today:
        raise UsageError(
            f"{waiver.until} is over", resolution="give a day to come, as in --until 2030-01-31"
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
            f"nothing can be added to {file}, which is left as it is",
            details=str(error),
            resolution="correct it, then type the command again",
        ) from None
    except (OSError, DevvmError) as error:
        raise UsageError(
            f"{file} can't be written",
            details=str(error),
            resolution="waivers belong to the stack's repository: type it in a checkout of that",
        ) from None
    return matched


def _with(text: str, entry: Mapping[str, object], file: Path) -> str:
    """The text of the file with one more waiver, read again to see that it says just that.

    Raises:
        WaiverError: the file can't be read, before or after; or it would say something else.
    """
    said = waivers.parse(text, file)
    try:
        added = yaml_list.append(text, entry)
    except ValueError as error:
        raise waivers.WaiverError(f"{file}: {error}") from None
    if waivers.parse(added, file) != (*said, waivers.Waiver.model_validate(entry)):
        raise waivers.WaiverError(f"{file}: with one more waiver, the others would not be the same")
    return added


def _may_be_extra(check: str, known: Sequence[str]) -> bool:
    """Whether it can be the name of an item that should not be there: it has no check until it is.

    Not a pattern, and not what looks like a check's name with a slip in it.
    """
    area, _, item = check.partition("/")
    names = [name.partition("/")[2] for name in known if name.startswith(f"{area}/")]
    slip = difflib.get_close_matches(item, names, n=1, cutoff=_SLIP)
    return f"extra/{area}" in known and not slip and not set("*?[") & set(check)
