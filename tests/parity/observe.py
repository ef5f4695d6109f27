"""Looks at a machine: all collectors in one command, whatever testinfra reaches it by.

The collectors' text travels in the command itself, compressed (a machine in production has nothing
of the suite), so one round trip brings all. It runs as root, through sudo where need be.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

_COLLECTORS = Path(__file__).parent / "collectors"
_NOT_COLLECTORS = ("__init__", "main")

#: Unpacks what the second argument holds and runs it. Short: it is seen in `ps`.
_BOOTSTRAP = (
    "import base64,json,sys,zlib;"
    "p=json.loads(zlib.decompress(base64.b64decode(sys.argv[1])));"
    "m={};exec(p['main'],m);m['main'](p)"
)
_AS_ROOT = 'if [ "$(id -u)" = 0 ]; then exec "$@"; else exec sudo -n "$@"; fi'


class CannotObserveError(Exception):
    """The machine can't be looked at: not reached, no sudo, no Python."""


class NotObservedError(Exception):
    """One kind of fact could not be collected."""


class _Result(Protocol):
    rc: int
    stdout_bytes: bytes
    stderr_bytes: bytes


class Host(Protocol):
    """What is needed of testinfra's host."""

    def run(self, command: str, *args: str) -> _Result:
        """Run a command; `%s` are replaced by quoted arguments."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What was seen of one machine."""

    collected: Mapping[str, Mapping[str, Any]]
    seconds: float

    def __getitem__(self, name: str) -> Any:
        """What one collector found.

        Raises:
            NotObservedError: it failed; says why.
        """
        entry = self.collected[name]
        if "error" in entry:
            raise NotObservedError(f"not observed, {name}: {entry['error']}")
        return entry["data"]

    @property
    def conditions(self) -> dict[str, bool]:
        """Which conditions of expectations hold."""
        return dict(self["facts"]["conditions"])

    def timing(self) -> str:
        """Where the time went, for a log."""
        parts = [f"{name} {entry['seconds']} s" for name, entry in sorted(self.collected.items())]
        return f"one round trip, {self.seconds:.1f} s: {', '.join(parts)}"


def observe(host: Host, wanted: Mapping[str, Any]) -> Observation:
    """Collect everything, in one round trip.

    Raises:
        CannotObserveError: the machine can't be reached, or Python as root can't be had there.
    """
    command = "sh -c %s sh python3 -c %s %s"
    start = time.monotonic()
    try:
        result = host.run(command, _AS_ROOT, _BOOTSTRAP, payload(wanted))
    except RuntimeError as error:  # testinfra's, for ssh's exit code 255
        raise CannotObserveError(_last_line(getattr(error.args[0], "stderr_bytes", b""))) from None
    seconds = time.monotonic() - start
    lines = result.stdout_bytes.splitlines()
    if result.rc or not lines:
        reason = _last_line(result.stderr_bytes) or f"exit code {result.rc}"
        raise CannotObserveError(reason)
    return Observation(collected=json.loads(lines[-1]), seconds=seconds)


def payload(wanted: Mapping[str, Any]) -> str:
    """The collectors and what they must look at, fit for a command line."""
    text = {path.stem: path.read_text(encoding="utf-8") for path in _COLLECTORS.glob("*.py")}
    package = {
        "main": text["main"],
        "sources": {name: text[name] for name in sorted(text) if name not in _NOT_COLLECTORS},
        "wanted": wanted,
    }
    return base64.b64encode(zlib.compress(json.dumps(package).encode(), 9)).decode("ascii")


def _last_line(text: bytes) -> str:
    lines = text.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip() if lines else ""
