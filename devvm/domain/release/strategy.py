"""How a VM gets from one release to another, where it stands or on a new root, and why so."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from devvm.domain.release.stack import Difference, PackageChange


class Kind(StrEnum):
    """What there is to choose from."""

    #: Ansible on the machine as it stands: what changed, and services as handlers say.
    CONVERGE = "converge"
    #: A new root on the release's box.
    REBUILD = "rebuild"


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """How a VM gets there, and what is to be done for it.

    Attributes:
        kind: Which it is.
        reason: Why this one; a clause for people.
        roles: To converge: the roles to apply.
        packages: To converge: `NAME=VERSION` of packages that change or come.
        removed: To converge: packages that go.
    """

    kind: Kind
    reason: str
    roles: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @classmethod
    def rebuild(cls, reason: str) -> Strategy:
        """A new root, for a reason."""
        return cls(kind=Kind.REBUILD, reason=reason)


#: Packages of which a new version is in force only after a boot, or that everything runs on.
_NEEDS_BOOT = re.compile(
    r"linux-image-.*|systemd|udev|libc6|libc-bin|dbus|grub-.*|initramfs-tools.*|base-files"
)
#: More changed packages than this are quicker on the box, where they are installed already.
_MANY_PACKAGES = 60
#: What is about how the image itself is made, and not about the machine that it becomes.
_IMAGE_ROLES = frozenset({"guest"})
_IMAGE_PLAYBOOKS = frozenset({"box.yml"})
#: Applied by `personalise`, in either case.
_PERSONAL_ROLES = frozenset({"engineer"})
#: Parts of a role that are put onto machines: what is gone of these would stay there.
_PLACED = ("files/", "templates/")


def choose(difference: Difference) -> Strategy:
    """The strategy for a change of the stack: to converge, unless something speaks against it."""
    obstacle = _obstacle(difference)
    if obstacle is not None:
        return Strategy.rebuild(obstacle)
    roles = tuple(c.role for c in difference.roles if c.role not in _PERSONAL_ROLES)
    packages = tuple(f"{p.name}={p.new}" for p in difference.packages if p.new is not None)
    removed = tuple(p.name for p in difference.packages if p.new is None)
    parts = [_count(len(roles), "role")] * bool(roles)
    parts += [_count(len(packages) + len(removed), "package")] * bool(packages or removed)
    what = " and ".join(parts) or "nothing on the machine"
    verb = "changes" if not roles or len(roles) + len(packages) + len(removed) == 1 else "change"
    return Strategy(
        kind=Kind.CONVERGE,
        reason=f"{what} {verb}, which needs no new root",
        roles=roles,
        packages=packages,
        removed=removed,
    )


def _obstacle(difference: Difference) -> str | None:
    """Why a machine can't be converged; None where it can."""
    changed = {change.role for change in difference.roles}
    if image := sorted(changed & _IMAGE_ROLES):
        return f"how the image is built changes (role {', '.join(image)})"
    if image := sorted(set(difference.playbooks) & _IMAGE_PLAYBOOKS):
        return f"how the image is built changes (playbook {', '.join(image)})"
    if difference.gone_roles:
        gone_roles = ", ".join(difference.gone_roles)
        return f"the role {gone_roles} is gone, but what it created would stay"
    for change in difference.roles:
        if gone := [file for file in change.removed if file.startswith(_PLACED)]:
            return f"{change.role} no longer has {gone[0]}, but what it created would stay"
    return _package_obstacle(difference.packages)


def _package_obstacle(packages: tuple[PackageChange, ...]) -> str | None:
    if booted := [p.name for p in packages if _NEEDS_BOOT.fullmatch(p.name)]:
        return f"{_listed(booted)} changes, which needs a reboot"
    if len(packages) > _MANY_PACKAGES:
        return f"{len(packages)} packages change, and the box already has them"
    return None


def _listed(names: Iterable[str]) -> str:
    first, *others = names
    return f"{first} (and {len(others)} more)" if others else first


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
