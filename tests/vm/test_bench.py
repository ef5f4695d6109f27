"""The benchmark for real, with the contenders that take seconds, and a VM of its own."""

import json
import os
import subprocess
from xml.etree import ElementTree as ET

import pytest

from tests.vm.conftest import HERE, REPOSITORY, look

pytestmark = pytest.mark.vm


def test_a_run_makes_a_report_and_leaves_nothing(devvm, vm, tmp_path):
    before = look(devvm)
    done = subprocess.run(
        [
            REPOSITORY / "bench" / "run", "--rounds", "1", "--output", tmp_path,
            "--only", "version,list,stop",
        ],
        env=os.environ | {"DEVVM_CONFIG": str(HERE / "config.toml")},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + (tmp_path / "commands.log").read_text()[-5000:]
    found = json.loads((tmp_path / "results.json").read_text())
    assert set(found["samples"]) == {"version", "list", "stop"}
    assert found["machine"]["QEMU"]
    assert done.stdout == (tmp_path / "report.md").read_text()
    assert ET.parse(tmp_path / "chart.svg").getroot().tag.endswith("svg")
    assert look(devvm) == before
