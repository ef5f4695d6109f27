"""The tests as a whole: plain `pytest` finds every tier's."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

#: Collects the tests, and prints files that were imported as more than one module.
COLLECT = """
import sys, pytest

class Look:
    def pytest_collection_finish(self):
        files = [getattr(module, "__file__", None) for module in [*sys.modules.values()]]
        ours = [file for file in files if file and file.startswith(sys.argv[1])]
        print("more than once:", sorted({file for file in ours if ours.count(file) > 1}))

options = ["--collect-only", "-q", "-m", "", "-pno:cacheprovider"]
sys.exit(pytest.main(options, plugins=[Look()]))
"""


@pytest.fixture(scope="module")
def collected():
    done = subprocess.run(
        [sys.executable, "-c", COLLECT, REPOSITORY / "tests"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_whole_tree_is_collected_without_an_error(collected):
    found = set(re.findall(r"^(tests/\S+\.py)::", collected, re.MULTILINE))
    there = {str(file.relative_to(REPOSITORY)) for file in REPOSITORY.glob("tests/*/**/test_*.py")}
    assert found == {file for file in there if not file.startswith("tests/parity/")}


def test_a_support_module_is_one_however_it_is_reached(collected):
    assert "more than once: []" in collected


def test_ctrl_c_is_heard_in_a_job_in_the_background():
    """Shells make such jobs ignore it, and some tests send it."""
    name = (
        "tests/unit/cli/rollout/test_start.py::test_an_interrupted_start_has_one_object_on_stdout"
    )
    pytest = f"{shlex.quote(sys.executable)} -m pytest -q -pno:cacheprovider {name}"
    done = subprocess.run(
        ["sh", "-c", f"trap '' INT; exec {pytest}"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "1 passed" in done.stdout, done.stdout + done.stderr
