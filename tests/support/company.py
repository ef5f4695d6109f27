"""A company's git repository, for tests."""

import os
import subprocess
from pathlib import Path

_NOBODY = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "j", "GIT_AUTHOR_EMAIL": "j@h",
    "GIT_COMMITTER_NAME": "j", "GIT_COMMITTER_EMAIL": "j@h",
}  # fmt: skip


def git(*argv, at=None):
    """Run git as nobody in particular; returns what it printed."""
    done = subprocess.run(
        ["git", *argv], cwd=at, check=False, capture_output=True, text=True,
        env={**os.environ, **_NOBODY},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Repository:
    """A repository with a branch `main` and a first commit."""

    def __init__(self, at: Path) -> None:
        self.at = at
        git("init", "--quiet", "--initial-branch=main", str(at))
        self.commit("first")

    def commit(self, text):
        (self.at / "file").write_text(text)
        git("add", "file", at=self.at)
        git("commit", "--quiet", "--message", text, at=self.at)

    def git(self, *argv):
        return git(*argv, at=self.at)
