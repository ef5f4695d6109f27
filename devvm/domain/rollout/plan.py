"""A rollout's plan: which VMs are updated, in which order and waves."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

#: The default waves, as shares of a rollout's VMs.
WAVES = ("10%", "50%", "100%")
CANARY = "canary"
_SHARE = re.compile(r"(\d{1,3})%")
_NUMBER = re.compile(r"\d{1,5}")


@dataclass(frozen=True, kw_only=True)
class Wave:
    """VMs that are updated before any of the next wave."""

    name: str
    vms: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The options of a rollout.

    Attributes:
        release: The release to update to.
        canary: How many VMs to update first, by themselves.
        waves: How far each wave gets: `50%` of all VMs, or a number of further VMs.
        max_failures: Stop if more VMs of a wave fail than this. A failed canary always stops it.
        parallel: How many VMs to update at once.
        rebuild: Whether to rebuild every VM.
        ask_minutes: How long an active user has to answer.
        only: The VMs to update; empty for all on the host.
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
    """Which VMs are updated, and when.

    Attributes:
        by: The login of whoever planned it.
        terms: Its options.
        waves: Its waves, the canary first.
        changes: What the release changes, in words.
        id: The rollout's id; empty until one is started.
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
    """Return `text` if it is a valid wave size.

    Raises:
        ValueError: it isn't; says why.
    """
    share = _SHARE.fullmatch(text)
    if share and 1 <= int(share[1]) <= 100:
        return text
    if _NUMBER.fullmatch(text) and int(text) >= 1:
        return text
    raise ValueError(f"{text!r} is not a wave size; use a share such as 50%, or a number of VMs")


def check_shares(shares: Sequence[str]) -> tuple[str, ...]:
    """Return the wave sizes if each is valid, and each share is larger than those before it.

    Raises:
        ValueError: they aren't; says why.
    """
    percents = [int(text[:-1]) for text in map(check_share, shares) if text.endswith("%")]
    if percents != sorted(set(percents)):
        raise ValueError(
            f"the shares {', '.join(f'{p}%' for p in percents)} do not grow: each counts "
            "all VMs, including those of earlier waves"
        )
    return tuple(shares)


def waves(vms: Sequence[str], canary: int, shares: Sequence[str]) -> tuple[Wave, ...]:
    """Split VMs, in order, into a canary and waves; empty waves are left out.

    A share is of all VMs, the canary and earlier waves included, and is rounded up.
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
