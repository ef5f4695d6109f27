"""Completes events written by an older devvm: what it only put into a sentence becomes a field.

Nothing else parses these sentences. No new ones are written, so they never change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from devvm.domain.rollout.state import POSTPONED, Cause, Event, Mark, State, VmState

_ASKED, _INTERRUPTED = "somebody asked to ", "interrupted"
#: The old name of the wave `POSTPONED`.
_POSTPONED = "put off before"
_QUIET = re.compile(r"quiet hours until (\d\d):(\d\d)")
_FAILED = re.compile(r"[a-z0-9-]+ could not be brought to \S+: (.+)")


def completed(event: Event) -> Event:
    """The event with the fields that devvm writes now; unchanged if it has them."""
    found: Mapping[str, str] = {}
    if event.what == State.PAUSED and event.vm is None:
        found = _cause(_text(event, "why"))
    elif event.what == Mark.PHASE:
        found = _quiet(event.at, _text(event, "title"))
    elif event.what == Mark.WAVE and event.facts.get("name") == _POSTPONED:
        return replace(event, facts={**event.facts, "name": POSTPONED})
    elif event.what in (VmState.FAILED, VmState.STUCK) and event.vm is not None:
        found = _failure(_text(event, "why"))
    return replace(event, facts={**found, **event.facts}) if found else event


def _cause(why: str) -> Mapping[str, str]:
    if why.startswith(_ASKED):
        return {"cause": Cause.REQUEST}
    return {"cause": Cause.INTERRUPT} if why == _INTERRUPTED else {}


def _quiet(at: str, title: str) -> Mapping[str, str]:
    """The next time the host's clock shows the hour that the sentence names."""
    match = _QUIET.fullmatch(title)
    if match is not None:
        with suppress(ValueError):
            said = datetime.fromisoformat(at).astimezone()
            until = said.replace(hour=int(match[1]), minute=int(match[2]), second=0, microsecond=0)
            until += timedelta(days=until <= said)
            return {"quiet_until": until.isoformat()}
    return {}


def _failure(why: str) -> Mapping[str, str]:
    match = _FAILED.match(why)
    return {"failure": match[1]} if match else {}


def _text(event: Event, key: str) -> str:
    return str(event.facts.get(key, ""))
