"""Finds the reference stack, devvm's own roles, templates and the parity suite.

They are in a checkout or, when devvm is installed, in the package.

No other module builds these paths.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_CHECKOUT = _PACKAGE.parent


def _find(name: str, *, in_checkout: str | None = None) -> Path:
    packaged = _PACKAGE / "_assets" / name
    return packaged if packaged.exists() else _CHECKOUT / (in_checkout or name)


def reference_stack() -> Path:
    """The folder of the reference stack."""
    packaged = _PACKAGE / "_assets"
    return packaged if packaged.exists() else _CHECKOUT


def is_packaged() -> bool:
    """Whether devvm is installed as a package, whose files must not be edited."""
    return (_PACKAGE / "_assets").exists()


def overlay() -> Path:
    """The folder of devvm's own roles and playbooks, which go on top of any stack."""
    return _PACKAGE / "overlay"


def new_stack() -> Path:
    """A small stack that works, to begin with."""
    return _PACKAGE / "data" / "new-stack"


def templates() -> Path:
    """The folder of templates for the host."""
    return _find("templates")


def vagrantfile_template() -> Path:
    """`Vagrantfile.j2`."""
    return _find("Vagrantfile.j2")


def box_vagrantfile() -> Path:
    """The Vagrantfile that boxes contain, for use without devvm."""
    return templates() / "box.Vagrantfile"


def parity_suite() -> Path:
    """The testinfra suite that `devvm verify` runs."""
    return _find("parity", in_checkout="tests/parity")


def callback_plugins() -> Path:
    """The folder of devvm's Ansible callback plugin."""
    return _PACKAGE / "ansible_plugins" / "callback"


def host_packages() -> Path:
    """The list of Debian packages that a host needs."""
    return _PACKAGE / "data" / "host-packages.txt"


def look_for_work() -> Path:
    """The script that finds work that exists only in the guest."""
    return _PACKAGE / "data" / "look-for-work.sh"


def keep_work() -> Path:
    """The script that saves work in a guest before its disks go back to an earlier state."""
    return _PACKAGE / "data" / "keep-work.sh"


def people() -> Path:
    """The script that lists a guest's users, messages them and reads their answers."""
    return _PACKAGE / "data" / "people.sh"


def launcher() -> Path | None:
    """`bin/devvm` of the checkout; None if devvm is installed as a package."""
    path = _CHECKOUT / "bin" / "devvm"
    return path if path.is_file() and not is_packaged() else None
