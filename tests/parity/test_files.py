"""Files, links and directories, and state that must be on the data disk."""

from parity.checks import Check
from parity.compare import differs, equal
from parity.observe import Observation

_DATA = "/data"


def test_file_exists(check: Check, seen: Observation) -> None:
    if seen["files"][check.subject[0]] is None:
        differs("a file", "none")


def test_file_aspect(check: Check, seen: Observation) -> None:
    path, aspect = check.subject
    equal(check.expected, (seen["files"][path] or {}).get(aspect))


def test_state_path(check: Check, seen: Observation) -> None:
    """Bound from /data/state, and /data is a disk of its own."""
    path = check.subject[0]
    mounts = seen["mounts"]
    data, mount = mounts.get(_DATA), mounts.get(path)
    if data is None:
        differs(f"a data disk at {_DATA}", "none mounted")
    if mount is None:
        differs(f"{path} bound from {_DATA}/state{path}", "the root disk's own directory")
    equal((data["source"], f"/state{path}"), (mount["source"], mount["root"]))
