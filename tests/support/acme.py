"""The second stack, `tests/stacks/acme`: a copy of it, with a vault of its own."""

import shutil
import subprocess
import sys
from pathlib import Path

ACME = Path(__file__).parents[1] / "stacks" / "acme"
#: The shop's password for its database.
SECRET = "kept-in-a-vault"
_VAULT = "group_vars/all/vault.yml"


def copy(folder: Path) -> Path:
    """Copy the stack into a new folder, and encrypt its vault."""
    shutil.copytree(ACME, folder)
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


def identity(folder: Path) -> str:
    """Where the vault's password is, as Ansible and `ansible.vault_identities` name it."""
    return f"prod@{folder.parent}/password"
