"""Checks a manifest: its order, that it has no secrets, and the health of its production."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase

from devvm.parity.production.health import MODE, complaints
from devvm.parity.production.layout import first_out_of_order, lines_of_items
from devvm.parity.production.manifest import PRESENT, Facts, Manifest, check_name
from devvm.parity.production.roles import Roles

#: Facts that are strings: YAML reads some of them as numbers or booleans if they aren't quoted.
_TEXTS = frozenset(
    {"configured", "content", "enabled", "link", "mode", "origin", "owner", "sha256", "state",
     "type", "value", "version"}
)  # fmt: skip
#: Areas with an item for each setting, whose value is a fact of it.
_SETTINGS = frozenset({"manager", "php-fpm", "postgresql", "setting"})
_SEALED = re.compile(r"[0-9a-f]{32}")
_UNSEALED = re.compile(r"[0-9a-f]{64}")
_LONG = 100


class Severity(StrEnum):
    """Whether a finding must be fixed before the manifest is used."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A problem in a manifest.

    Args:
        rule: The rule's stable key.
        message: The problem, in one line. Never contains a secret.
        check: The name of the item's check; empty for the file itself.
        line: The line in the file, from 1.
        severity: Warnings are for people to judge.
    """

    rule: str
    message: str
    check: str = ""
    line: int | None = None
    severity: Severity = Severity.ERROR


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """How to recognize secrets; the same way as the collectors.

    Args:
        redact: Returns a text without its secrets, and the secrets.
        paths: Patterns of files that are secret as a whole.
    """

    redact: Callable[[str], tuple[str, list[str]]]
    paths: Sequence[str] = ()


def lint(text: str, manifest: Manifest, secrets: Secrets) -> list[Finding]:
    """The problems of a manifest, in the order of the file.

    Args:
        text: The file's text.
        manifest: The manifest read from it.
        secrets: How to recognize secrets.
    """
    places = lines_of_items(text)
    found = [*_order(text, manifest), *_varying(manifest)]
    if not any(manifest.areas.values()):
        found.append(Finding(rule="empty", message="it has no items"))
    for area, item, facts in manifest.items():
        where, line = check_name(area, item), places.get((area, item))
        found += [
            replace(finding, check=where, line=line)
            for finding in _item(area, item, facts, secrets)
        ]
    return sorted(found, key=lambda one: (one.line or 0, one.check))


def unused_patterns(roles: Roles, names: Iterable[str]) -> list[Finding]:
    """Patterns in `roles.yml` that match no item."""
    known = list(names)
    return [
        Finding(
            rule="roles",
            message=f"{role}: {pattern} matches no item",
            severity=Severity.WARNING,
        )
        for role, patterns in roles.patterns.items()
        for pattern in patterns
        if not any(fnmatchcase(name, pattern) for name in known)
    ]


def _order(text: str, manifest: Manifest) -> Iterator[Finding]:
    line = first_out_of_order(text, manifest)
    if line is not None:
        yield Finding(
            rule="order",
            line=line,
            message="from here on, format or order differ from what a capture writes, or a "
            "key is duplicated; to fix it: devvm production lint --fix",
        )


def _varying(manifest: Manifest) -> Iterator[Finding]:
    for area, items in manifest.varies.items():
        for item, names in items.items():
            facts = manifest.areas.get(area, {}).get(item)
            where = check_name(area, item)
            if PRESENT in names and item in manifest.areas.get(area, {}):
                yield Finding(
                    rule="varies", check=where,
                    message="it is listed as shared by all hosts, but varies as a whole "
                            "(present)",
                )  # fmt: skip
            elif facts and set(names) & set(facts):
                both = ", ".join(sorted(set(names) & set(facts)))
                yield Finding(
                    rule="varies", check=where, severity=Severity.WARNING,
                    message=f"{both}: given, but not compared because it varies",
                )  # fmt: skip


def _item(area: str, item: str, facts: Facts | None, secrets: Secrets) -> Iterator[Finding]:
    if facts is not None:
        yield from _types(facts)
        yield from _secrets(area, item, facts, secrets)
        for rule, message in complaints(area, item, facts):
            yield Finding(rule=rule, message=message, severity=Severity.WARNING)


def _types(facts: Facts) -> Iterator[Finding]:
    for name in sorted(_TEXTS & set(facts)):
        value = facts[name]
        if isinstance(value, (bool, int, float)):
            yield Finding(rule="text", message=f"{name}: {value!r} is not text; quote it")
    mode = facts.get("mode")
    if isinstance(mode, str) and not MODE.fullmatch(mode):
        yield Finding(rule="mode", message=f"mode: {mode!r} is not four octal digits")
    content, digest = facts.get("content"), facts.get("sha256")
    if isinstance(content, str) and isinstance(digest, str):
        right = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
        if digest != right:
            yield Finding(rule="hash", message=f"sha256 is not the content's, {right}")


def _secrets(area: str, item: str, facts: Facts, secrets: Secrets) -> Iterator[Finding]:
    sealed = facts.get("secret")
    if sealed is not None and not (isinstance(sealed, str) and _SEALED.fullmatch(sealed)):
        why = "anybody can guess at this hash" if _is_hash(sealed) else "not a sealed hash"
        yield Finding(rule="seal", message=f"secret: {why}; it must be null or 32 hex digits")
    own_text = area == "file" and "content" in facts and not facts.get("package")
    if own_text and any(fnmatchcase(item, pattern) for pattern in secrets.paths):
        yield Finding(rule="secret", message="content: a file like this is secret as a whole")
    for name, text in _strings(facts):
        # A setting may be secret because of its name; its collector checks that too.
        setting = area in _SETTINGS and name == "value"
        whole = f"{item.rpartition('/')[2]}={text}" if setting else text
        hidden, values = secrets.redact(whole)
        if any("{secret}" not in value for value in values):
            line = _first_other(whole, hidden)
            yield Finding(rule="secret", message=f"{name}: a secret: {line}")


def _strings(facts: Facts) -> Iterator[tuple[str, str]]:
    for name, value in facts.items():
        if isinstance(value, str):
            yield name, value
        elif isinstance(value, list):
            yield from ((name, one) for one in value)
        elif isinstance(value, dict):
            yield from ((f"{name}, {key}", one) for key, one in value.items())


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and bool(_UNSEALED.fullmatch(value))


def _first_other(text: str, hidden: str) -> str:
    """The first line that differs because a secret in it is hidden."""
    was = text.split("\n")
    for number, line in enumerate(hidden.split("\n")):
        if number >= len(was) or line != was[number]:
            line = line.strip()
            return line if len(line) <= _LONG else f"{line[:_LONG]}…"
    return "{secret}"
