"""Quiet hours: when a rollout leaves a VM alone.

Examples: `Mon-Fri 09:00-18:00`, `daily 22:00-06:00` (over midnight), `Sat,Sun 00:00-24:00`. The
days are those on which the hours begin. The times are local wall-clock time. If the clock is put
back, hours last until it shows their end for the last time; if it is put forward past their begin
or end, they begin or end at that moment.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

EXAMPLE = "Mon-Fri 09:00-18:00"

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = 24 * 60
_WEEK = 7 * _DAY
_FORM = re.compile(r"(\S+(?:\s*[-,]\s*\S+)*?)\s+(\d\d?:\d\d)\s*-\s*(\d\d?:\d\d)")


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """Hours on some days of the week.

    Attributes:
        days: The days on which they begin; 0 is Monday.
        begin: Minutes after midnight.
        end: Minutes after the same midnight; above 1440 if on the next day.
    """

    days: frozenset[int]
    begin: int
    end: int

    def __str__(self) -> str:
        days = ",".join(_DAYS[day].title() for day in sorted(self.days))
        end = self.end - _DAY if self.end > _DAY else self.end
        shown = "daily" if len(self.days) == len(_DAYS) else days
        return f"{shown} {_clock(self.begin)}-{_clock(end)}"


def parse(text: str) -> Quiet:
    """Parse quiet hours.

    Raises:
        ValueError: the text is invalid; says why.
    """
    form = _FORM.fullmatch(text.strip())
    if form is None:
        raise ValueError(f"{text!r} are not quiet hours: write days and times, as in {EXAMPLE}")
    days, begin, end = form[1], _minutes(form[2]), _minutes(form[3])
    if begin in (end, _DAY):
        raise ValueError(
            f"{form[2]}-{form[3]} is not a time span: a whole day is 00:00-24:00, part of a "
            f"day is as in {EXAMPLE}"
        )
    return Quiet(days=_weekdays(days), begin=begin, end=end if end > begin else end + _DAY)


def check(hours: Sequence[Quiet]) -> None:
    """Refuse hours that leave no minute of the week.

    Raises:
        ValueError: they leave none.
    """
    minutes = 0  # one bit each
    for quiet in hours:
        for day in quiet.days:
            minutes |= ((1 << (quiet.end - quiet.begin)) - 1) << (day * _DAY + quiet.begin)
    minutes |= minutes >> _WEEK  # from Sunday into Monday
    if minutes & ((1 << _WEEK) - 1) == (1 << _WEEK) - 1:
        shown = "; ".join(str(quiet) for quiet in hours)
        raise ValueError(
            f"the quiet hours {shown} leave no minute of the week: leave some, as in {EXAMPLE}"
        )


def until(hours: Sequence[Quiet], now: datetime) -> datetime | None:
    """When the current quiet hours end, with any that follow directly; None if it isn't quiet.

    Args:
        hours: All quiet hours, in any order.
        now: The time, in the time zone of the hours. For changes to and from summer time, this
            must be a real zone (`ZoneInfo`), not an offset.

    Raises:
        ValueError: the hours leave no minute of the week, or `now` has no time zone.
    """
    check(hours)
    zone = now.tzinfo
    if zone is None:
        raise ValueError("a time without a zone can't be compared with quiet hours")
    at = begun = now.astimezone(UTC)
    while ends := [end for begin, end in _spans(hours, at, zone) if begin <= at < end]:
        at = max(ends)
    return None if at == begun else at.astimezone(zone)


def _spans(
    hours: Sequence[Quiet], around: datetime, zone: tzinfo
) -> list[tuple[datetime, datetime]]:
    """The spans of quiet hours that may contain a moment, in UTC."""
    today = around.astimezone(zone).date()
    return [
        (_moment(day, quiet.begin, zone, last=False), _moment(day, quiet.end, zone, last=True))
        for day in (today - timedelta(days=1), today)
        for quiet in hours
        if day.weekday() in quiet.days
    ]


def _moment(day: date, minutes: int, zone: tzinfo, *, last: bool) -> datetime:
    """When the zone's clock shows a time, for the first or last time; or skips it."""
    wall = datetime.combine(day, time()) + timedelta(minutes=minutes)
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first <= second:
        return second if last else first
    # The clock was put forward past that time, somewhere between the two.
    before = second.astimezone(zone).utcoffset()
    while first - second > timedelta(seconds=1):
        middle = second + (first - second) // 2
        if middle.astimezone(zone).utcoffset() == before:
            second = middle
        else:
            first = middle
    return first.replace(microsecond=0)


def _weekdays(text: str) -> frozenset[int]:
    if text.lower() == "daily":
        return frozenset(range(len(_DAYS)))
    found: set[int] = set()
    for part in text.split(","):
        ends = [_weekday(day.strip()) for day in part.split("-")]
        if len(ends) > 2:
            raise ValueError(f"{part.strip()!r} are not days: write Mon-Fri, or Mon,Wed,Fri")
        found |= {(ends[0] + n) % 7 for n in range((ends[-1] - ends[0]) % 7 + 1)}
    return frozenset(found)


def _weekday(text: str) -> int:
    if text.lower() not in _DAYS:
        raise ValueError(
            f"{text!r} is not a day: use Mon, Tue, Wed, Thu, Fri, Sat, Sun or daily, as in "
            f"{EXAMPLE}"
        )
    return _DAYS.index(text.lower())


def _minutes(text: str) -> int:
    hour, minute = (int(part) for part in text.split(":"))
    if minute > 59 or hour * 60 + minute > _DAY:
        raise ValueError(f"{text} is not a time of day: write 00:00 to 24:00, as in {EXAMPLE}")
    return hour * 60 + minute


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
