"""Vagrant: what is shown of its output, its failures, and a clean stop when interrupted.

`vagrant` is a script that prints recorded output; the VM tier uses the real one.
"""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from devvm.adapters.vagrant import LibvirtVagrant, VagrantError, hint, tell
from devvm.domain.box import Box
from devvm.domain.errors import HostNotReadyError

BOX = Box(
    release="2026.11.23-1a2b3c4d5e6f",
    path=Path("/var/lib/devvm/boxes/x/devvm.box"),
    sha256="0" * 64,
    built_at="2026-11-23T10:00:00+00:00",
    size_bytes=1,
    verified=True,
    debian="12",
)
UP = """\
Bringing machine 'dev1.devvm.test' up with 'libvirt' provider...
==> dev1.devvm.test: Creating image (snapshot of base box volume).
==> dev1.devvm.test: Creating domain with the following settings...
==> dev1.devvm.test:  -- Name:              dev1.devvm.test
==> dev1.devvm.test: Starting domain.
==> dev1.devvm.test: Waiting for domain to get an IP address...
==> dev1.devvm.test: Waiting for machine to boot. This may take a few minutes...
    dev1.devvm.test: SSH address: 192.168.219.7:22
==> dev1.devvm.test: Machine booted and ready!
"""


@pytest.fixture
def vagrant(tmp_path, monkeypatch):
    """A `vagrant` made of lines of shell."""

    def make(script):
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "vagrant").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "vagrant").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        monkeypatch.setenv("VAGRANT_HOME", str(tmp_path / "home"))

    return make


def test_up_tells_in_few_words_what_it_does(vagrant, tmp_path):
    vagrant(f"cat <<'END'\n{UP}END\necho more >&2")
    said, log = [], tmp_path / "log"
    LibvirtVagrant().up(tmp_path, said.append, log)
    assert said == [
        "cloning the root disk",
        "defining the VM",
        "powering on",
        "booting: waiting for the network",
        "booting: waiting for SSH",
        "booted",
    ]
    assert "Machine booted and ready!" in log.read_text()
    assert "more" in log.read_text()


def test_up_keeps_what_failed_and_gets_no_more_than_its_environment(vagrant, tmp_path, monkeypatch):
    vagrant('echo "$@"; env; pwd')
    monkeypatch.setenv("VAGRANT_LOG", "debug")
    monkeypatch.setenv("SECRET", "s3cret")
    log = tmp_path / "log"
    LibvirtVagrant().up(tmp_path, lambda _text: None, log)
    text = log.read_text()
    assert "up --no-destroy-on-error" in text
    assert f"VAGRANT_CWD={tmp_path}" in text
    assert "VAGRANT_CHECKPOINT_DISABLE=1" in text
    assert "VAGRANT_DEFAULT_PROVIDER=libvirt" in text
    assert "VAGRANT_LOG" not in text
    assert "s3cret" not in text


def test_a_failure_is_shown_by_its_end_with_the_log(vagrant, tmp_path):
    vagrant("echo ' -- Memory: 1024M'; echo 'No space left on device' >&2; exit 1")
    log = tmp_path / "log"
    with pytest.raises(VagrantError) as caught:
        LibvirtVagrant().up(tmp_path, lambda _text: None, log)
    assert caught.value.brief == "vagrant up failed (exit code 1)"
    assert caught.value.details == "No space left on device"
    assert "make room" in caught.value.resolution
    assert caught.value.log == log


@pytest.fixture
def interruptible():
    """Restore Ctrl-C, which may be ignored if the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_stops_vagrant_in_order(vagrant, tmp_path):
    vagrant("trap 'echo cleaned up; exit 1' INT; echo Starting domain; while :; do sleep 0.1; done")
    log = tmp_path / "log"

    def interrupt():
        deadline = time.monotonic() + 10
        while "Starting" not in (log.read_text() if log.exists() else ""):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        LibvirtVagrant().up(tmp_path, lambda _text: None, log)
    thread.join()
    assert "cleaned up" in log.read_text()


def test_vagrant_does_not_outlive_a_devvm_that_was_killed(vagrant, tmp_path):
    vagrant(
        "echo $$ >pid.new; mv pid.new pid; while :; do sleep 0.1; done".replace(
            "pid", f"{tmp_path}/pid"
        )
    )
    pid = tmp_path / "pid"
    if not (child := os.fork()):
        LibvirtVagrant().up(tmp_path, lambda _text: None, tmp_path / "log")
        os._exit(1)
    _until(pid.exists)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    _until(lambda: not _runs(int(pid.read_text())))


def _until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(pid):
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_host_without_vagrant(tmp_path, monkeypatch):
    monkeypatch.setattr("devvm.adapters.vagrant.shutil.which", lambda _name, path: None)
    with pytest.raises(HostNotReadyError) as caught:
        LibvirtVagrant().up(tmp_path, lambda _text: None, tmp_path / "log")
    assert caught.value.resolution == "devvm setup"


def test_a_box_is_added_by_a_catalog_with_its_checksum(vagrant):
    vagrant('case "$1 $2" in "box add") cat "$3" >"$VAGRANT_HOME"; esac; echo "$@" >&2')
    LibvirtVagrant().add_box(BOX, lambda _text: None)
    catalog = Path(os.environ["VAGRANT_HOME"]).read_text()
    assert '"name": "devvm/2026.11.23-1a2b3c4d5e6f"' in catalog
    assert '"url": "file:///var/lib/devvm/boxes/x/devvm.box"' in catalog
    assert f'"checksum": "{"0" * 64}"' in catalog


def test_the_end_of_a_failed_box_add_is_in_the_message(vagrant):
    vagrant("echo The checksum of the downloaded box did not match; exit 1")
    with pytest.raises(VagrantError) as caught:
        LibvirtVagrant().add_box(BOX, lambda _text: None)
    assert "checksum" in caught.value.details
    assert caught.value.log is None


@pytest.mark.parametrize("below", ["libvirt", "amd64/libvirt"])
def test_a_box_is_registered_when_vagrant_has_unpacked_it(vagrant, tmp_path, below):
    vagrant("exit 1")
    adapter = LibvirtVagrant()
    assert not adapter.box_registered(BOX)
    name = "devvm-VAGRANTSLASH-2026.11.23-1a2b3c4d5e6f"
    folder = tmp_path / "home" / "boxes" / name / "1.0.0" / below
    folder.mkdir(parents=True)
    (folder / "box.img").touch()
    assert adapter.box_registered(BOX)
    assert adapter.image(BOX) == folder / "box.img"


def test_a_box_that_is_not_there_is_removed_without_asking_vagrant(vagrant, tmp_path):
    vagrant(f"touch {tmp_path}/asked")
    LibvirtVagrant().remove_box(BOX)
    assert not (tmp_path / "asked").exists()


def test_the_volume_has_the_name_that_vagrant_libvirt_looks_for():
    assert LibvirtVagrant().volume_name(BOX) == (
        "devvm-VAGRANTSLASH-2026.11.23-1a2b3c4d5e6f_vagrant_box_image_1.0.0_box.img"
    )


def test_lines_without_meaning_are_not_told():
    said = []
    tell("==> dev1:  -- Memory:            1024M", said.append)
    tell("\rProgress: 12%", said.append)
    assert said == []


def test_failures_without_a_known_way_out_have_no_hint():
    assert hint("something new") is None
    assert hint("The provider 'libvirt' could not be found") == "devvm setup"
