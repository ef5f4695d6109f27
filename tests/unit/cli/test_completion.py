import os
import subprocess
import sys
from pathlib import Path

import pytest

from devvm import wiring
from devvm.cli import completion
from devvm.config import Config
from devvm.domain.errors import HostNotReadyError, UsageError

REPOSITORY = Path(__file__).parents[3]


def test_names_begin_with_what_was_typed(monkeypatch):
    monkeypatch.setattr(wiring, "vm_names", lambda config: ["dev1", "dev2", "jane"])
    assert completion.vm_names("dev") == ["dev1", "dev2"]
    assert completion.vm_names("") == ["dev1", "dev2", "jane"]


def test_names_are_those_of_the_state_folder_whether_or_not_libvirt_answers(tmp_path):
    for name in ("dev2", "dev1", ".new"):
        (tmp_path / "vms" / name).mkdir(parents=True)
    assert wiring.vm_names(Config(uri="qemu:///nowhere", state_dir=tmp_path)) == ["dev1", "dev2"]


@pytest.mark.parametrize(
    "error", [HostNotReadyError("x"), UsageError("y"), ImportError("libvirt"), OSError("z")]
)
def test_a_host_that_can_not_be_asked_offers_nothing(monkeypatch, error, capsys):
    def fail(config):
        raise error

    monkeypatch.setattr(wiring, "vm_names", fail)
    monkeypatch.setattr(wiring, "releases", fail)
    assert completion.vm_names("") == []
    assert completion.releases("") == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("shell", "env"),
    [
        ("bash", {"COMP_WORDS": "devvm res", "COMP_CWORD": "1"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "devvm res"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "devvm res", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
def test_commands_are_completed(shell, env):
    done = subprocess.run(
        [sys.executable, "-m", "devvm"],
        cwd=REPOSITORY, env=os.environ | {"_DEVVM_COMPLETE": f"complete_{shell}"} | env,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "restart" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(shell):
    done = subprocess.run(
        [sys.executable, "-m", "devvm"],
        cwd=REPOSITORY, env=os.environ | {"_DEVVM_COMPLETE": f"source_{shell}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"_DEVVM_COMPLETE=complete_{shell}" in done.stdout
