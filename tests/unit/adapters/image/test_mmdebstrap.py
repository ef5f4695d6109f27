"""apt's output for people: progress, and the cause of a failure."""

from pathlib import Path

import pytest

from devvm.adapters.image.mmdebstrap import Mmdebstrap
from devvm.domain.errors import OperationError
from devvm.system import process

FULL = "dpkg: error: cannot write: No space left on device\nE: run_chroot failed\n"


@pytest.fixture
def build(tmp_path, monkeypatch):
    def run(output, *, code=0, made=True):
        details = []

        def stream(argv, on_line, *, env, log, isolated):
            assert isolated  # because it mounts
            assert "--include=nginx,sudo" in argv
            scratch = Path(env["TMPDIR"])
            assert argv[-1] == f"deb [trusted=yes] copy://{tmp_path}/re%20po ./"
            own = (scratch / "sources.list").read_text()
            assert own == "deb http://mirror.test/debian bookworm main\n"
            for line in output.splitlines():
                on_line(line)
            if made:
                (scratch / "rootfs.tar").write_text("tar")
            if code:
                raise process.ProcessError(argv, code, output, log)

        monkeypatch.setattr(process, "stream", stream)
        Mmdebstrap().build(
            ["nginx", "sudo"],
            repository=tmp_path / "re po",
            sources=["deb http://mirror.test/debian bookworm main"],
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


def test_a_failure_says_why_and_leaves_nothing(build, tmp_path):
    with pytest.raises(OperationError, match="packages of the box can't be installed") as caught:
        build(FULL, code=25)
    assert "sudo devvm box build" in caught.value.resolution
    assert caught.value.log == tmp_path / "log"
    assert "No space left on device" in caught.value.details
    assert list(tmp_path.iterdir()) == []
