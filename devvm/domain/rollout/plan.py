"""A rollout's plan: which VMs, in which order, and in which waves."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

#: Of all VMs of a rollout, where nothing else is asked for.
WAVES = ("10%", "50%", "100%")
CANARY = "canary"
_SHARE = re.compile(r"(\d{1,3})%")
_NUMBER = re.compile(r"\d{1,5}")


@dataclass(frozen=True, kw_only=True)
class Wave:
    """VMs that are brought to the release before any of the next wave is."""

    name: str
    vms: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What was asked for.

    Attributes:
        release: To which release.
        canary: How many VMs go first, by themselves.
        waves: How far each wave gets: `50%` of all VMs, or so many VMs more.
        max_failures: In a wave, more failed VMs than this stop everything. Of canaries: any.
        parallel: How many VMs are changed together.
        rebuild: Whether every VM is to get a new root.
        ask_minutes: How long somebody who is active in a VM is given to answer.
        only: The VMs that are meant; empty: all of the host.
    """

    release: str
    canary: int = 1
    waves: tuple[str, ...] = WAVES
    max_failures: int = 0
    parallel: int = 2
    rebuild: bool = False
    ask_minutes: int = 10
    only: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Who goes when.

    Attributes:
        by: Whose it is.
        terms: What was asked for.
        waves: The canary first.
        changes: What the release brings, in words.
        id: The rollout's name; empty as long as none carries the plan out.
    """

    by: str
    terms: Terms
    waves: tuple[Wave, ...]
    changes: tuple[str, ...] = ()
    id: str = ""

    @property
    def vms(self) -> tuple[str, ...]:
        """Every VM, in order."""
        return tuple(vm for wave in self.waves for vm in wave.vms)


def check_share(text: str) -> str:
    """Return how far a wave gets, if it can be read.

    Raises:
        ValueError: it can't; a sentence says why.
    """
    share = _SHARE.fullmatch(text)
    if share and 1 <= int(share[1]) <= 100:
        return text
    if _NUMBER.fullmatch(text) and int(text) >= 1:
        return text
    raise ValueError(f"{text!r} is not a wave size; use a share such as 50%, or a number of VMs")


def check_shares(shares: Sequence[str]) -> tuple[str, ...]:
    """Return the sizes of waves, if they can be read and each share is larger than those before.

    Raises:
        ValueError: they can't; a sentence says why.
    """
    percents = [int(text[:-1]) for text in map(check_share, shares) if text.endswith("%")]
    if percents != sorted(set(percents)):
        raise ValueError(
            f"the shares {', '.join(f'{p}%' for p in percents)} do not grow: each counts "
            "all VMs, including those of earlier waves"
        )
    return tuple(shares)


def waves(vms: Sequence[str], canary: int, shares: Sequence[str]) -> tuple[Wave, ...]:
    """Cut VMs, in their order, into a canary and waves; those without a VM are left out.

    A share counts all VMs, the canary and earlier waves included, and is rounded up.
    """
    ends = [min(canary, len(vms))]
    for share in shares:
        reached = ends[-1]
        size = (
            math.ceil(len(vms) * int(share[:-1]) / 100)
            if share.endswith("%")
            else reached + int(share)
        )
        ends.append(min(max(size, reached), len(vms)))
    parts = [tuple(vms[start:end]) for start, end in pairwise([0, *ends])]
    later = (part for part in parts[1:] if part)
    numbered = [Wave(name=f"wave {n}", vms=part) for n, part in enumerate(later, 1)]
    first = [Wave(name=CANARY, vms=parts[0])] if parts[0] else []
    return (*first, *numbered)
