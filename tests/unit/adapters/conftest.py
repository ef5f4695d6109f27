"""What the tests of several adapters need."""

import os

import pytest


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    """Puts a script in place of ssh; its last argument is the command for the server."""

    def make(script):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / "ssh").write_text(f"#!/bin/bash\n{script}\n")
        (folder / "ssh").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return make
