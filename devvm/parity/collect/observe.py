"""Observes a machine: runs all collectors in one command, over any backend of testinfra.

The command itself carries the collectors' code, compressed, because a machine in production has
nothing of the suite; so one round trip does everything. It runs as root, with sudo if needed.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from devvm.parity.collect import capture
from devvm.parity.collect.interface import Wanted
from devvm.parity.differences.compare import Tokens
from devvm.parity.packages.attribution import Attribution
from devvm.parity.production.manifest import Areas, Layers, Manifest, check_name

_HERE = Path(__file__).parent
#: The probe that every observation needs: it finds the machine's name and conditions.
_FACTS = "facts"
#: The probe for packages that differ from production.
_MOVED = "moved"

#: Unpacks and runs what it reads. Short, because `ps` shows it.
_BOOTSTRAP = (
    "import base64,json,sys,zlib;"
    "p=json.loads(zlib.decompress(base64.b64decode(sys.stdin.read())));"
    "m={};exec(p['inside'],m);m['main'](p)"
)
#: Gives the first argument to the others as input. Not as an argument: sudo logs each, and a log of
#: fifty kilobytes takes a second on an emulated processor.
_AS_ROOT = 'p=$1; shift; [ "$(id -u)" = 0 ] || set -- sudo -n "$@"; printf %s "$p" | "$@"'


class CannotObserveError(Exception):
    """The machine can't be observed: unreachable, no sudo, no Python."""


class NotObservedError(Exception):
    """Something could not be observed."""


class _Result(Protocol):
    rc: int
    stdout_bytes: bytes
    stderr_bytes: bytes


class Host(Protocol):
    """What is used of testinfra's `Host`."""

    def run(self, command: str, *args: str) -> _Result:
        """Run a command; each `%s` is replaced by a quoted argument."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What was observed on a machine."""

    collected: Mapping[str, Mapping[str, Any]]
    seconds: float
    key: bytes | None = field(default=None, repr=False)
    _expected: dict[Layers, Manifest] = field(default_factory=dict, repr=False)
    _attributions: dict[Layers, Attribution] = field(default_factory=dict, repr=False)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 (each has its own form)
        """What one collector or probe returned.

        Raises:
            NotObservedError: it failed; says why.
        """
        entry = self.collected[name]
        if "error" in entry:
            raise NotObservedError(f"not observed, {name}: {entry['error']}")
        return entry["data"]

    @cached_property
    def raw(self) -> Areas:
        """All observed areas, with unsealed hashes of secrets."""
        found: Areas = {}
        for entry in self.collected.values():
            if entry.get("areas") and "error" not in entry:
                for area in entry["areas"]:
                    found.setdefault(area, {}).update(entry["data"].get(area, {}))
        return self.tokens.areas(found)

    @cached_property
    def areas(self) -> Areas:
        """All observed areas; hashes of secrets are sealed, or left out if there is no key."""
        return capture.seal(self.raw, self.key) if self.key else capture.unsealed(self.raw)

    @cached_property
    def errors(self) -> dict[str, str]:
        """Why items couldn't be observed, by the beginning of their checks' names."""
        found: dict[str, str] = {}
        for name, entry in self.collected.items():
            if "error" in entry:
                found |= {f"{area}/": f"{name}: {entry['error']}" for area in entry["areas"]}
            elif entry.get("areas"):
                found |= entry["data"].get("errors", {})
        return found

    @property
    def evidence(self) -> dict[str, Any]:
        """Data that helps to attribute differences; not facts themselves."""
        found: dict[str, Any] = {"packages": self.collected.get(_MOVED, {}).get("data", {})}
        for entry in self.collected.values():
            if entry.get("areas") and "error" not in entry:
                for name, one in entry["data"].get("evidence", {}).items():
                    # Several collectors say which files say so, each for areas of its own.
                    found[name] = {**found.get(name, {}), **one} if name == "said_by" else one
        return found

    @property
    def conditions(self) -> dict[str, bool]:
        """Whether each condition that expectations and layers may have holds."""
        return dict(self[_FACTS]["conditions"])

    @property
    def tokens(self) -> Tokens:
        """The machine's own names."""
        name = self[_FACTS]["fqdn"]
        # A short name could be any word. Only a full name is unmistakable.
        full = name if "." in name and not name.startswith("localhost") else ""
        return Tokens(host=full, engineer=self[_FACTS]["engineer"])

    def expected(self, layers: Layers) -> Manifest:
        """What the layers expect of this machine."""
        if layers not in self._expected:
            self._expected[layers] = layers.of(self.conditions)
        return self._expected[layers]

    def attribution(self, layers: Layers, release: Mapping[str, str]) -> Attribution:
        """What the packages of the machine's release explain."""
        if layers not in self._attributions:
            self._attributions[layers] = Attribution(
                expected=self.expected(layers), found=self.areas, tokens=self.tokens,
                release=release, evidence=self.evidence,
            )  # fmt: skip
        return self._attributions[layers]

    def require_observed(self, name: str) -> None:
        """Check that what the check of this name is about was observed.

        Raises:
            NotObservedError: it wasn't; says why.
        """
        for beginning, reason in self.errors.items():
            if name.startswith(beginning) or name == beginning:
                raise NotObservedError(f"not observed: {reason}")
        if name.partition("/")[0] not in self.areas:
            broken = [
                f"{one}: {entry['error']}"
                for one, entry in self.collected.items()
                if "error" in entry and not entry["areas"]
            ]
            reason = "; ".join(broken) or "no collector tells of it"
            raise NotObservedError(f"not observed: {reason}")

    def names(self) -> Iterator[str]:
        """The names of the checks of all observed items, expected or not."""
        for area, items in self.areas.items():
            yield from (check_name(area, item) for item in items)

    def timing(self) -> str:
        """The time of each part, for a log."""
        parts = [f"{name} {entry['seconds']} s" for name, entry in sorted(self.collected.items())]
        return f"one round trip, {self.seconds:.1f} s: {', '.join(parts)}"


def observe(
    host: Host,
    wanted: Wanted,
    *,
    probes: bool = True,
    key: bytes | None = None,
    collectors: Path | None = None,
) -> Observation:
    """Observe a machine in one round trip.

    Args:
        host: testinfra's.
        wanted: What expectations name (`catalogue.wanted`).
        probes: Whether to run the probes too. If not, everything runs at low priority.
        key: The key to seal hashes of secrets with.
        collectors: The folder of the stack's own collectors; it may not exist.

    Raises:
        CannotObserveError: the stack's own collectors can't be used, or the machine is unreachable,
            or can't run Python as root.
    """
    command = "sh -c %s sh %s python3 -c %s"
    sent = payload(wanted, probes=probes, collectors=collectors)
    start = time.monotonic()
    try:
        result = host.run(command, _AS_ROOT, sent, _BOOTSTRAP)
    except RuntimeError as error:  # raised by testinfra for ssh's exit code 255
        stderr = getattr(error.args[0], "stderr_bytes", b"") if error.args else b""
        reason = _last_line(stderr) or "the connection ended"
        raise CannotObserveError(reason) from None
    seconds = time.monotonic() - start
    lines = result.stdout_bytes.splitlines()
    if result.rc or not lines:
        raise CannotObserveError(_last_line(result.stderr_bytes) or f"exit code {result.rc}")
    try:
        collected = json.loads(zlib.decompress(base64.b64decode(lines[-1], validate=True)))
    except (ValueError, zlib.error):
        raise CannotObserveError("its answer was cut off") from None
    return Observation(collected=collected, seconds=seconds, key=key)


def payload(wanted: Wanted, *, probes: bool = True, collectors: Path | None = None) -> str:
    """The collectors and their input, encoded for a command line."""
    ours = _texts("collectors")
    package = {
        "inside": (_HERE / "inside.py").read_text(encoding="utf-8"),
        "common": ours.pop("common"),
        "sources": ours | _own(collectors) | _chosen(_texts("probes"), every=probes),
        "wanted": wanted,
        "nice": 0 if probes else 10,
    }
    return base64.b64encode(zlib.compress(json.dumps(package).encode(), 9)).decode("ascii")


def _texts(folder: str) -> dict[str, str]:
    files = sorted((_HERE / folder).glob("[!_]*.py"))
    return {path.stem: path.read_text(encoding="utf-8") for path in files}


def _chosen(probes: dict[str, str], *, every: bool) -> dict[str, str]:
    return probes if every else {_FACTS: probes[_FACTS]}


def _own(folder: Path | None) -> dict[str, str]:
    """A stack's own collectors.

    Raises:
        CannotObserveError: one has the name of one of devvm's, or can't be read.
    """
    found = {}
    for path in sorted(folder.glob("[!_]*.py")) if folder else ():
        if any((_HERE / kind / path.name).exists() for kind in ("collectors", "probes")):
            raise CannotObserveError(f"{path}: devvm has one of this name; rename it")
        try:
            found[path.stem] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CannotObserveError(f"{path}: {error}") from None
    return found


def _last_line(text: bytes) -> str:
    lines = text.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip() if lines else ""
