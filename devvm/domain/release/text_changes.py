"""Changes of a text in words: a configuration's directives, or the number of lines of code."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePosixPath

#: Longer values are cut.
_SHOWN = 60
_CONFIGURATION = frozenset(
    {"", ".cfg", ".cnf", ".conf", ".ini", ".link", ".mount", ".network", ".path", ".preset",
     ".rules", ".service", ".slice", ".socket", ".target", ".timer", ".toml"}
)  # fmt: skip
#: Files in which a line beginning with `#` isn't a comment.
_HASH_IS_TEXT = frozenset({".css", ".html", ".js", ".json", ".md", ".rst", ".scss", ".txt"})
_DIRECTIVE = re.compile(r"(?P<key>[^\s=:]+)(?:\s*=\s*|\s*:\s+|\s+|$)(?P<value>.*)")
_BRACES_ONLY = re.compile(r"[\s{}()\[\];,]*")
_STATEMENT = re.compile(r"\{%.*%\}")
_SECTION = re.compile(r"\[[\w .:-]+\]")

Substitute = Callable[[str], str]


def decode(content: bytes) -> str | None:
    """A file's text; None if it isn't text."""
    try:
        return None if b"\0" in content else content.decode()
    except UnicodeDecodeError:
        return None


def is_configuration(path: str, text: str) -> bool:
    """Whether a file is a configuration with one directive per line, rather than code."""
    file = PurePosixPath(path.removesuffix(".j2"))
    is_script = text.startswith("#!")
    in_etc = "etc" in file.parts or file.suffix != ""
    return not is_script and in_etc and file.suffix in _CONFIGURATION


def same_but_comments(path: str, old: str, new: str) -> bool:
    """Whether two versions differ only in comments, blank lines and trailing spaces."""
    strip = _without_comment if is_configuration(path, new) else str.rstrip
    hash_counts = PurePosixPath(path.removesuffix(".j2")).suffix in _HASH_IS_TEXT
    before, after = (
        [
            strip(line)
            for line in text.splitlines()
            if line.strip() and (hash_counts or not _is_comment(line))
        ]
        for text in (old, new)
    )
    return before == after


def changed_lines(old: str, new: str) -> int:
    """How many lines changed; 0 if they are only in another order."""
    before, after = (Counter(text.splitlines()) for text in (old, new))
    return max((before - after).total(), (after - before).total())


def directives(old: str, new: str, before: Substitute, after: Substitute) -> list[str]:
    """What changed in a configuration, one phrase per directive; empty if that can't be determined.

    For example `gzip on → off`, `http2 on` if it was added, `removed gzip_static`.

    Args:
        old: The text before.
        new: The text now.
        before: Replaces variables in a line by their old values.
        after: Replaces variables in a line by their new values.
    """
    was, now = _lines(old, before), _lines(new, after)
    gone = _by_key((Counter(was) - Counter(now)).elements())
    come = _by_key((Counter(now) - Counter(was)).elements())
    remaining = {_split(line)[0] for line in now}
    phrases = []
    for key in sorted(gone.keys() | come.keys()):
        left = list(come.get(key, []))
        for value in gone.get(key, []):
            if left:
                successor = max(left, key=lambda each: len(_common(value, each)))
                left.remove(successor)
                phrases.append(changed(key, value, successor))
            else:
                phrases.append(f"removed {_shown(f'{key} {value}') if key in remaining else key}")
        phrases += [_shown(f"{key} {value}".rstrip()) for value in left]
    return phrases


def changed(key: str, old: str, new: str) -> str:
    """A changed value; a common beginning is shown only once."""
    if not old or not new:
        return f"{key} {_shown(old)} → nothing" if old else f"{key} {_shown(new)}"
    common = _common(old, new)
    rest = [" ".join(value.split()[len(common) :]) for value in (old, new)]
    if not all(rest):  # one is the beginning of the other
        return f"{key} {_shown(old)} → {_shown(new)}"
    return " ".join([key, *common, _shown(rest[0]), "→", _shown(rest[1])])


def _is_comment(line: str) -> bool:
    text = line.strip()
    return (
        text.startswith(("#", ";", "//")) and not text.startswith("#!")
    ) or (text.startswith("{#") and text.endswith("#}"))  # fmt: skip


def _without_comment(line: str) -> str:
    """A configuration's line without its trailing comment."""
    return re.sub(r"\s#\s.*$", "", line).strip()


def _lines(text: str, substitute: Substitute) -> list[str]:
    """A configuration's directives, normalised."""
    found = []
    for line in text.splitlines():
        if _is_comment(line) or _STATEMENT.fullmatch(line.strip()):
            continue
        plain = _without_comment(substitute(line))
        plain = " ".join(plain.removesuffix("{").rstrip("; ").split())
        if not _BRACES_ONLY.fullmatch(plain) and not _SECTION.fullmatch(plain):
            found.append(plain)
    return found


def _by_key(lines: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        key, value = _split(line)
        found[key].append(value)
    return found


def _split(line: str) -> tuple[str, str]:
    match = _DIRECTIVE.fullmatch(line)
    return (match["key"], match["value"]) if match else (line, "")


def _common(one: str, other: str) -> Sequence[str]:
    """The words both begin with."""
    found = []
    for a, b in zip(one.split(), other.split(), strict=False):
        if a != b:
            break
        found.append(a)
    return found


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1].rstrip()}…"
