"""What a role has to change for an item, in imperative lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from devvm.parity.differences.text import (
    CONTENT,
    HASH,
    facts_in_a_line,
    in_a_line,
    is_text,
    list_change,
    unified,
)
from devvm.parity.packages.debian import is_older
from devvm.parity.production.manifest import Facts, Value

_SECRET = "secret"  # noqa: S105 (the name of a fact)
#: The state of a package that was removed, but not its configuration.
_GONE = "config-files"
#: By area: the noun for its items, and the verbs to create and remove one.
_VERBS = {
    "api-mount": ("file system of the kernel", "mount", "no longer mount"),
    "application": ("application", "deploy", "remove"),
    "certificate": ("certificate authority", "trust", "no longer trust"),
    "cron": ("cron jobs of", "add", "remove"),
    "database": ("database item", "add", "remove"),
    "firewall": ("firewall table", "add", "remove"),
    "limit": ("limit", "set", "no longer set"),
    "loaded-module": ("kernel module", "load", "no longer load"),
    "manager": ("setting of systemd", "set", "no longer set"),
    "module": ("kernel module", "configure", "no longer configure"),
    "mount": ("file system", "mount", "no longer mount"),
    "python": ("Python package", "install", "remove"),
    "setting": ("setting", "set", "no longer set"),
    "socket": ("socket", "listen on", "no longer listen on"),
    "sudo": ("sudo rules of", "add", "remove"),
    "swap": ("swap", "use", "no longer use"),
    "sysctl": ("sysctl", "set", "no longer set"),
}
#: If more directives than this changed, show a diff instead.
_MANY = 12
#: Changes of a list are shown on one line up to this length.
_WIDE = 80


@dataclass(frozen=True)
class Line:
    """One thing to do, with a diff if it concerns a text."""

    text: str
    diff: str | None = None


def of(area: str, item: str, old: Facts | None, new: Facts | None) -> Iterator[Line]:
    """What to do so that an item becomes as in `new`.

    Args:
        area: Its area.
        item: Its name.
        old: Its old facts: those that differ, or all. None if it doesn't exist.
        new: The same facts as they should be. None if it should not exist.
    """
    match area:
        case "package":
            yield from _package(item, old, new)
        case "unit":
            yield from _unit(item, old, new)
        case "file":
            yield from _file(item, old, new)
        case "setting" if item == "nginx/config" and old and new:
            yield from _nginx(old, new)
        case _:
            yield from _other(area, item, old, new)


def _package(item: str, old: Facts | None, new: Facts | None) -> Iterator[Line]:
    was, now = (
        None if facts is None or facts.get("status") == _GONE else facts for facts in (old, new)
    )
    if now is None:
        stays = " (its configuration stays)" if new else ""
        verb = "remove" if was is not None else "have only the configuration of" if new else "purge"
        yield Line(f"{verb} package {item}" + (stays if was is not None else ""))
        return
    version, origin = now.get("version"), now.get("origin")
    if was is None:
        yield Line(f"install package {item} {version}" + (f" from {origin}" if origin else ""))
        was = {}
    elif version != was.get("version"):
        back = is_older(str(version), str(was.get("version")))
        verb = "downgrade" if back else "upgrade"
        yield Line(f"{verb} package {item} {was.get('version')} -> {version}")
    if origin and was.get("origin") not in (None, origin):
        yield Line(f"take package {item} from {origin}, not from {was['origin']}")
    if bool(now.get("hold")) is not bool(was.get("hold")):
        yield Line(f"{'hold' if now.get('hold') else 'no longer hold'} package {item}")
    if now.get("status"):
        yield Line(f"look at package {item} in production: it is {now['status']}")


def _unit(item: str, old: Facts | None, new: Facts | None) -> Iterator[Line]:
    if new is None:
        masked = str((old or {}).get("enabled")).startswith("masked")
        yield Line(f"{'unmask' if masked else 'stop and disable'} unit {item}")
        return
    was, now = (old or {}).get("enabled"), new.get("enabled")
    if "enabled" in new and was != now:
        yield Line(_enabling(item, was, now) + (f" ({_from_to(was, now)})" if old else ""))
    yield from _state(item, old, new)
    if old and ("file" in old or "file" in new):
        yield Line(f"change the file of unit {item}: {_from_to(old.get('file'), new.get('file'))}")
    before, after = (_mapping((facts or {}).get("drop-ins")) for facts in (old, new))
    for path in sorted({*before, *after}):
        if path not in after:
            yield Line(f"remove drop-in {path} of unit {item}")
        elif before.get(path) != after[path]:
            yield Line(f"{'change' if path in before else 'add'} drop-in {path} of unit {item}")
    if new.get("reload"):
        yield Line(f"look at unit {item} in production: daemon-reload is needed")


def _enabling(item: str, was: Value, now: Value) -> str:
    word = str(now)
    for begin, verb in (("enabled", "enable"), ("disabled", "disable"), ("masked", "mask")):
        if word.startswith(begin):
            return f"{verb} unit {item}"
    return f"{'unmask' if str(was).startswith('masked') else 'let be'} unit {item}"


def _state(item: str, old: Facts | None, new: Facts) -> Iterator[Line]:
    now, was = new.get("state"), (old or {}).get("state")
    if not isinstance(now, str) or now == was:
        return
    change = f" ({_from_to(was, now)})" if old else ""
    if now.startswith("failed"):
        yield Line(f"look at unit {item} in production: it has failed there")
    elif now.startswith("active"):
        active = isinstance(was, str) and was.startswith("active")
        yield Line(f"{'have' if active else 'start'} unit {item}{change}")
    elif old:
        yield Line(f"stop unit {item}{change}")


def _file(item: str, old: Facts | None, new: Facts | None) -> Iterator[Line]:
    kind = "directory" if item.endswith("/") else "link" if _is_link(new or old) else "file"
    if new is None:
        yield Line(f"remove {kind} {item}")
        return
    if old is None:
        texts = new.get(CONTENT)
        diff = unified("", texts, "/dev/null", f"b{item}") if isinstance(texts, str) else None
        facts = {name: value for name, value in new.items() if name not in (CONTENT, HASH)}
        yield Line(f"add {kind} {item} ({facts_in_a_line(facts)})", diff or None)
        return
    if "link" in old or "link" in new:
        target = new.get("link")
        yield Line(
            f"point link {item} at {target} ({_from_to(old.get('link'), target)})"
            if target
            else f"make {item} a file, not a link to {old['link']}"
        )
    before, after = old.get(CONTENT), new.get(CONTENT)
    if isinstance(before, str) and isinstance(after, str):
        yield Line(f"change file {item}", unified(before, after, f"a{item}", f"b{item}"))
    elif isinstance(after, str):
        yield Line(f"change file {item}", unified("", after, "/dev/null", f"b{item}") or None)
    elif {CONTENT, HASH} & {*new} and "link" not in old:
        yield Line(f"change file {item}: its new text is not in the manifest")
    elif new.get("package"):
        yield Line(f"have file {item} as package {new['package']} brings it")
    if _SECRET in new:
        yield Line(f"change the secret in file {item}")
    for name in sorted({*old, *new} - {CONTENT, HASH, _SECRET, "link", "package"}):
        yield Line(f"set {name} of {kind} {item}: {_from_to(old.get(name), new.get(name))}")


def _nginx(old: Facts, new: Facts) -> Iterator[Line]:
    """The effective configuration, whatever files it is in, by directive if few changed."""
    was, now = (str(facts.get(CONTENT) or "") for facts in (old, new))
    diff = unified(was, now, "a/nginx -T", "b/nginx -T")
    # A comment names the file that the lines come from.
    lines = ([one for one in text.split("\n") if one[:1] not in ("", "#")] for text in (was, now))
    more, less = list_change(*lines)
    blocks = any(one.endswith(("{", "}")) for one in (*more, *less))
    if blocks or not 0 < len(more) + len(less) <= _MANY:
        yield Line("change the configuration of nginx", diff or None)
        return
    for line in more:
        name = line.split(" ")[0]
        replaced = next((one for one in less if one.split(" ")[0] == name), None)
        if replaced is None:
            yield Line(f"nginx: add {line}")
        else:
            less.remove(replaced)
            values = (one.removeprefix(name).strip().rstrip(";") for one in (replaced, line))
            yield Line(f"nginx: set {name} {' -> '.join(values)}")
    for line in less:
        yield Line(f"nginx: remove {line}")


def _other(area: str, item: str, old: Facts | None, new: Facts | None) -> Iterator[Line]:
    noun, make, unmake = _VERBS.get(area, (area, "add", "remove"))
    if new is None:
        yield Line(f"{unmake} {noun} {item}")
        return
    if old is None:
        facts = {name: value for name, value in new.items() if value is not None}
        single = facts_in_a_line(facts).removeprefix("value: ")
        yield Line(f"{make} {noun} {item}" + (f" ({single})" if facts else ""))
        return
    if "value" in new and new.get("value") == new.get("configured"):  # only once
        old, new = ({n: v for n, v in one.items() if n != "configured"} for one in (old, new))
    for name in sorted({*old, *new}):
        was, now = old.get(name), new.get(name)
        where = f"{noun} {item}" + ("" if name == "value" else f" {name}")
        if name == _SECRET:
            yield Line(f"change the secret of {noun} {item}")
        elif isinstance(was, list) and isinstance(now, list):
            yield from _lists(f"{noun} {item}, {name}", was, now)
        elif is_text(was) or is_text(now):
            texts = (str(was or ""), str(now or ""))
            yield Line(f"change {where}", unified(*texts, f"a/{item}", f"b/{item}"))
        elif name == "version":
            yield Line(f"change {noun} {item} {_from_to(was, now)}")
        elif name != HASH or CONTENT not in {*old, *new}:
            yield Line(f"set {where} {_from_to(was, now)}")


def _lists(where: str, was: list[str], now: list[str]) -> Iterator[Line]:
    more, less = list_change(was, now)
    steps = [*(f"add {one}" for one in more), *(f"remove {one}" for one in less)]
    steps = steps or [f"put in order: {', '.join(now)}"]
    if len(together := "; ".join(steps)) <= _WIDE:
        steps = [together]
    yield from (Line(f"change {where}: {step}") for step in steps)


def _from_to(was: Value, now: Value) -> str:
    before, after = (("nothing" if v is None else in_a_line(v)) for v in (was, now))
    return f"{before} -> {after}"


def _is_link(facts: Facts | None) -> bool:
    return bool(facts) and "link" in (facts or {})


def _mapping(value: Value) -> dict[str, str]:
    return value if isinstance(value, dict) else {}
