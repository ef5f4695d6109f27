"""bin/devvm on a machine without its dependencies; tests/fresh tests a real first use."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
TOOLS = (
    "cat", "cut", "date", "dirname", "env", "flock", "fold", "grep", "head", "id", "mkdir",
    "readlink", "sed", "sh", "sha256sum", "sort", "tail", "tr", "wc",
)  # fmt: skip


@pytest.fixture
def bare(tmp_path):
    """A machine without a compiler or installed packages, on which APT always fails."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in TOOLS:
        (tools / name).symlink_to(shutil.which(name))
    for name, text in {
        "dpkg-query": "exit 1",
        "apt-get": "echo 'E: Could not connect to deb.debian.org:80'; exit 100",
        "dpkg": "exit 0",
        "sudo": 'shift; exec "$@"',
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)

    def run(*argv, launcher=REPOSITORY / "bin" / "devvm", home="home with space", **env):
        return subprocess.run(
            [launcher, *argv],
            env={"PATH": str(tools)} | ({"HOME": str(tmp_path / home)} if home else {}) | env,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


def test_what_is_missing_is_listed_and_nothing_is_asked(bare):
    done = bare("create", "dev1")
    assert (done.returncode, done.stdout) == (4, "")
    assert "Error: this host is not ready for devvm" in done.stderr
    assert "libvirt-daemon-system" in done.stderr
    assert "bin/devvm setup --yes" in done.stderr.splitlines()[-1]


def test_the_same_as_json(bare):
    error = json.loads(bare("list", "--json").stdout)["error"]
    assert error["code"] == "host-not-ready"
    assert error["exit_code"] == 4
    assert "vagrant-libvirt" in error["details"]
    assert set(error) == {"code", "brief", "details", "resolution", "log", "exit_code"}


def test_a_mirror_that_is_down(bare):
    done = bare("create", "dev1", "--yes")
    assert done.returncode == 4
    assert "Error: the Debian package mirror can't be reached" in done.stderr
    assert "Could not connect to deb.debian.org:80" in done.stderr
    log = Path(done.stderr.split("Log: ")[1].strip())
    assert "apt-get" in log.read_text()


def test_a_tab_neither_installs_nor_talks(bare):
    done = bare(_DEVVM_COMPLETE="complete_bash", DEVVM_YES="1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("env", [{}, {"HOME": ""}, {"XDG_DATA_HOME": "/nowhere"}])
@pytest.mark.parametrize(("launcher", "argument"), [("devvm", "list"), ("test", "--fast")])
def test_without_a_home_that_is_said_in_a_line(bare, launcher, argument, env):
    done = bare(argument, launcher=REPOSITORY / "bin" / launcher, home=None, **env)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "Error: HOME is not set, and devvm keeps its Python environment and logs there\n"
        "Next: set HOME, or both XDG_DATA_HOME and XDG_STATE_HOME\n"
    )


def test_without_a_home_in_json_and_on_a_tab(bare):
    error = json.loads(bare("list", "--json", home=None).stdout)["error"]
    assert (error["code"], error["exit_code"], error["details"]) == ("usage", 2, "")
    done = bare(home=None, _DEVVM_COMPLETE="complete_bash")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_folders_of_ones_own_are_enough_without_a_home(bare, tmp_path):
    folders = {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_STATE_HOME": str(tmp_path / "state")}
    done = bare("create", "dev1", home=None, **folders)
    assert done.returncode == 4
    assert "Error: this host is not ready for devvm" in done.stderr


def test_yes_for_another_program_is_none_for_us(bare):
    assert "Error: this host is not ready" in bare("exec", "dev1", "apt-get", "--yes").stderr


def test_a_link_leads_to_the_checkout(bare, tmp_path):
    link = tmp_path / "devvm"
    link.symlink_to(os.path.relpath(REPOSITORY / "bin" / "devvm", tmp_path))
    done = bare("create", launcher=link)
    assert f"{REPOSITORY}/bin/devvm setup --yes" in done.stderr
