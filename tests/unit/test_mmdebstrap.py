"""What apt prints, as a person reads it: progress, and the cause when it fails."""

from pathlib import Path

import pytest

from devvm import process
from devvm.adapters.mmdebstrap import Mmdebstrap
from devvm.errors import OperationError

DOWN = """\
I: running apt-get update...
Err:1 http://mirror.test/debian bookworm InRelease
  Could not connect to mirror.test:80 (127.0.0.1). - connect (111: Connection refused)
E: The repository 'http://mirror.test/debian bookworm Release' does not have a Release file.
E: apt-get update failed
"""
UNKNOWN = "E: Unable to locate package nginxx\nE: apt-get install failed\n"
FULL = "dpkg: error: cannot write: No space left on device\nE: run_chroot failed\n"


@pytest.fixture
def build(tmp_path, monkeypatch):
    def run(output, *, code=0, made=True):
        details = []

        def stream(argv, on_line, *, env, log, isolated):
            assert isolated  # it mounts
            assert "--include=nginx,sudo" in argv
            scratch = Path(env["TMPDIR"])
            for line in output.splitlines():
                on_line(line)
            if made:
                (scratch / "rootfs.tar").write_text("tar")
            if code:
                raise process.ProcessError(argv, code, output, log)

        monkeypatch.setattr(process, "stream", stream)
        Mmdebstrap().build(
            ["nginx", "sudo"],
            mirror="http://mirror.test/debian",
            security_mirror="http://mirror.test/debian-security",
            destination=tmp_path / "rootfs.tar",
            detail=details.append,
            log=tmp_path / "log",
        )
        return details

    return run


def test_progress_counts_what_is_done(build, tmp_path):
    details = build(
        "I: extracting archives...\nUnpacking nginx (1.22) ...\nUnpacking sudo (1.9) ...\n"
        "Setting up nginx (1.22) ...\n"
    )
    assert details == [
        "extracting archives...",
        "unpacking nginx (1)",
        "unpacking sudo (2)",
        "setting up nginx (1 of 2)",
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["rootfs.tar"]


@pytest.mark.parametrize(
    ("output", "brief", "resolution"),
    [
        (DOWN, "the package mirror can't be used", "[box]"),
        (UNKNOWN, "Debian bookworm has no package nginxx", "grep -rn nginxx roles"),
        (FULL, "the packages of the box can't be installed", "sudo devvm box build"),
    ],
    ids=["mirror down", "no such package", "disk full"],
)
def test_a_failure_says_why_and_leaves_nothing(build, tmp_path, output, brief, resolution):
    with pytest.raises(OperationError, match=brief) as caught:
        build(output, code=25)
    assert resolution in caught.value.resolution
    assert caught.value.log == tmp_path / "log"
    assert "E: " in caught.value.details
    assert not (tmp_path / "rootfs.tar").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_mirror_that_is_down_is_named(build):
    with pytest.raises(OperationError) as caught:
        build(DOWN, code=25)
    assert "http://mirror.test/debian" in caught.value.details
    assert "Connection refused" in caught.value.details
