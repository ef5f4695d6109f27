"""How a VM gets from one release to another, converged or rebuilt, and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from devvm.domain.release.stack import Difference, PackageChange


class Kind(StrEnum):
    """The strategies."""

    #: Apply Ansible to the running machine: changes only; handlers restart services.
    CONVERGE = "converge"
    #: Give it a new root on the release's box.
    REBUILD = "rebuild"


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """How to update a VM.

    Attributes:
        kind: The strategy.
        reason: Why this one; a clause for people.
        roles: If converging: the roles to apply.
        every_role: If converging: whether to apply all roles, instead of only those in `roles`.
        packages: If converging: `NAME=VERSION` of packages to upgrade or install.
        removed: If converging: packages to remove.
    """

    kind: Kind
    reason: str
    roles: tuple[str, ...] = ()
    every_role: bool = False
    packages: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @classmethod
    def rebuild(cls, reason: str) -> Strategy:
        """Rebuild, for this reason."""
        return cls(kind=Kind.REBUILD, reason=reason)


#: Packages that need a reboot to take effect, or that everything depends on.
_NEEDS_BOOT = re.compile(
    r"linux-image-.*|systemd|udev|libc6|libc-bin|dbus|grub-.*|initramfs-tools.*|base-files"
)
#: If more packages than this changed, a rebuild is faster: the box has them installed.
_MANY_PACKAGES = 60
#: Roles that only affect how the image is built, not the running machine.
_IMAGE_ROLES = frozenset({"guest"})
_IMAGE_PLAYBOOKS = frozenset({"box.yml"})
#: Roles that `personalise` applies, whatever the strategy.
_PERSONAL_ROLES = frozenset({"engineer"})
#: Playbooks that say how a VM is updated and personalised, and leave nothing of their own on it.
_PERSONAL_PLAYBOOKS = frozenset({"personalise.yml", "update.yml"})
#: Roles that `update.yml` itself applies, each with its name as its tag.
_OVERLAY_ROLES = frozenset({"devtools", "mail_catcher", "vm_pages"})
#: Values of variables, which any role may use.
_VALUES = re.compile(r"(playbooks/)?(group_vars|host_vars)/.*")
#: What must work on a machine; it changes nothing on it.
_CHECKS = "checks/"
#: Parts of a role that are copied to machines. Converging would not remove what is gone here.
_PLACED = ("files/", "templates/")


def choose(difference: Difference, applied: Mapping[str, bool]) -> Strategy:
    """The strategy for a change of the stack: converge unless something prevents it.

    Args:
        difference: What changes.
        applied: The roles that the new stack applies, and whether each can be applied on its own
            (`applied_roles.of`).
    """
    obstacle = _obstacle(difference)
    if obstacle is not None:
        return Strategy.rebuild(obstacle)
    roles = tuple(c.role for c in difference.roles if c.role not in _PERSONAL_ROLES)
    packages = tuple(f"{p.name}={p.new}" for p in difference.packages if p.new is not None)
    removed = tuple(p.name for p in difference.packages if p.new is None)
    values = [path for path in _outside_roles(difference) if _VALUES.fullmatch(path)]
    # A role that no play names is brought by another one.
    every_role = bool(values) or not all(
        role in _OVERLAY_ROLES or applied.get(role, False) for role in roles
    )
    parts = [_count(len(roles), "role")] if roles else []
    parts += [_count(len(packages) + len(removed), "package")] if packages or removed else []
    parts += [_listed(values)] if values else []
    changes = len(roles) + len(packages) + len(removed) + len(values)
    what = " and ".join(parts) or "nothing on the machine"
    verb = "changes" if changes <= 1 else "change"
    return Strategy(
        kind=Kind.CONVERGE,
        reason=f"{what} {verb}, which needs no new root",
        roles=roles,
        every_role=every_role,
        packages=packages,
        removed=removed,
    )


def _outside_roles(difference: Difference) -> list[str]:
    return [*(f"playbooks/{path}" for path in difference.playbooks), *difference.others]


def _obstacle(difference: Difference) -> str | None:
    """Why a machine can't be converged; None if it can."""
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
    for path in _outside_roles(difference):
        name = path.removeprefix("playbooks/")
        if not (name in _PERSONAL_PLAYBOOKS or _VALUES.fullmatch(path) or path.startswith(_CHECKS)):
            return f"{path} changes, and what is on the machine because of it is unknown"
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
