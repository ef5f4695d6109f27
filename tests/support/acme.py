"""The second stack, `tests/stacks/acme`: a copy of it with a vault and the wiki's repository."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.company import git

_STACKS = Path(__file__).parents[1] / "stacks"
ACME = _STACKS / "acme"
#: The shop's password for its database.
SECRET = "kept-in-a-vault"
_VAULT = "group_vars/all/vault.yml"


def copy(folder: Path) -> Path:
    """Copy the stack into a new folder, encrypt its vault, and make the repository of the wiki."""
    shutil.copytree(ACME, folder)
    name_origin(folder, str(_repository(folder.parent / "wiki")))
    (folder.parent / "password").write_text("open sesame\n")
    done = subprocess.run(
        [
            sys.executable, Path(sys.executable).parent / "ansible-vault", "encrypt",
            f"--output={folder / _VAULT}", f"--vault-id={identity(folder)}",
        ],
        input=f"shop_database_password: {SECRET}\n",
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def name_origin(folder: Path, address: str) -> None:
    """Say in the copy where the wiki's repository is."""
    file = folder / "stack.yml"
    text, found = re.subn(r"(?<=origin: ).*", f"'{address}'", file.read_text())
    assert found == 1
    file.write_text(text)


def _repository(folder: Path) -> Path:
    shutil.copytree(_STACKS / "wiki", folder)
    git("init", "--quiet", "--initial-branch=main", at=folder)
    git("add", ".", at=folder)
    git("commit", "--quiet", "--message", "first", at=folder)
    return folder


def identity(folder: Path) -> str:
    """Where the vault's password is, as Ansible and `ansible.vault_identities` name it."""
    return f"prod@{folder.parent}/password"
