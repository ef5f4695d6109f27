"""The name of the code that is running: a hash over its own files.

It is computed, not written at deployment: so it is also right in a checkout
with uncommitted changes, it cannot disagree with the code, and comparing what
``/healthz`` says with ``python3 -m about revision`` shows a process that still
runs older code. Only the standard library: whoever deploys the code runs this
file by itself to name what it is about to copy.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CODE = ("about", "alembic.ini", "fixtures", "migrations", "pyproject.toml", "README.md", "tests")


def code_revision(root: Path = ROOT) -> str:
    """The first twelve digits of SHA-256 over names and contents of the code."""
    digest = hashlib.sha256()
    for file in sorted(file for top in CODE for file in _files(root / top) if _is_code(file, root)):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:12]


def _files(top: Path) -> Iterable[Path]:
    return top.rglob("*") if top.is_dir() else [top]


def _is_code(file: Path, root: Path) -> bool:
    """Leave out what is not source: byte code, hidden files, an editor's backups."""
    parts = file.relative_to(root).parts
    return (
        "__pycache__" not in parts
        and not any(part.startswith(".") for part in parts)
        and not file.name.endswith(("~", ".pyc"))
        and file.is_file()
    )


if __name__ == "__main__":
    print(code_revision())
