"""The parity suite for tests on this machine: its modules, and runs with pytest."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from devvm.parity.collect import inside
from devvm.system import assets

SUITE = assets.parity_suite()

#: A company's own collector, installed with an entry point.
COMPANYS = """
AREAS = ("@area@",)

def collect(wanted, run):
    return {
        "@area@": {
            "good": {"value": "1"},
            "other": {"value": "1"},
            "surplus": {"value": "1"},
        },
        "errors": {"@area@/hidden": "it does not answer"},
    }
"""
#: The expected items of such a collector's area.
EXPECTED = {
    "good": {"value": "1"},
    "other": {"value": "2"},
    "gone": {"value": "1"},
    "hidden": {"value": "1"},
}

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the suite needs root where it looks")


def collect(name, **wanted):
    """What a collector finds on this machine."""
    collector = importlib.import_module(f"devvm.parity.collect.collectors.{name}")
    return collector.collect(wanted, inside.run)


def own_collectors(folder, *areas):
    """A folder of a stack's own collectors."""
    folder.mkdir(parents=True)
    for area in areas:
        (folder / f"{area}.py").write_text(COMPANYS.replace("@area@", area))
    return folder


class LocalHost:
    """Replaces testinfra's host as far as the suite uses it: this machine, as the current user."""

    def __init__(self, rc=None, stdout=b"", stderr=b""):
        self.rc, self.stdout, self.stderr, self.commands = rc, stdout, stderr, []

    def run(self, command, *args):
        self.commands.append(args)
        if self.rc is not None:
            return types.SimpleNamespace(
                rc=self.rc, stdout_bytes=self.stdout, stderr_bytes=self.stderr
            )
        _, payload, program = args  # without becoming root
        python = [sys.executable, "-c", program]
        done = subprocess.run(python, input=payload.encode(), capture_output=True, check=False)
        return types.SimpleNamespace(
            rc=done.returncode, stdout_bytes=done.stdout, stderr_bytes=done.stderr
        )


def run_suite(folder, *options, expectations="role: base\n", manifest=None, waivers=None):
    """Run the suite on this machine; return the finished process, and the results by check."""
    (folder / "expectations").mkdir(exist_ok=True)
    (folder / "expectations" / "x.yml").write_text(expectations)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "production").mkdir()
    for name, text in (("manifest", manifest), ("waivers", waivers)):
        if text is not None:
            (folder / "production" / f"{name}.yml").write_text(text)
    command = [
        sys.executable, "-B", "-m", "pytest", str(SUITE), f"-c={folder}/pytest.ini",
        "-pno:cacheprovider", "--hosts=local://", f"--expectations={folder}/expectations",
        f"--production={folder}/production", f"--results={folder}/results", *options,
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    results = folder / "results"
    lines = results.read_text().splitlines() if results.exists() else []
    return done, {e["name"]: e for e in map(json.loads, lines) if e["event"] == "result"}
