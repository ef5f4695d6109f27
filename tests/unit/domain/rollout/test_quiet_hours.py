"""Quiet hours: parsing, and when they end, also across changes of summer time."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from devvm.domain.rollout import quiet_hours

BERLIN = ZoneInfo("Europe/Berlin")


def at(text, fold=0):
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold)


def hours(*texts):
    return [quiet_hours.parse(text) for text in texts]


def ends(now, *texts, fold=0):
    """When quiet hours end, in Berlin with the offset; None if it isn't quiet."""
    end = quiet_hours.until(hours(*texts), at(now, fold))
    return end and end.isoformat(timespec="minutes")


@pytest.mark.parametrize(
    ("text", "days", "begin", "end"),
    [
        ("Mon-Fri 09:00-18:00", {0, 1, 2, 3, 4}, 540, 1080),
        ("daily 22:00-06:00", set(range(7)), 1320, 1800),
        ("Sat,Sun 00:00-24:00", {5, 6}, 0, 1440),
        ("FRI-mon 9:00-10:30", {4, 5, 6, 0}, 540, 630),
        (" Mon - Wed, Fri  09:00 - 10:00 ", {0, 1, 2, 4}, 540, 600),
        ("Daily 22:00-00:00", set(range(7)), 1320, 1440),
    ],
)
def test_hours_as_people_write_them(text, days, begin, end):
    found = quiet_hours.parse(text)
    assert (found.days, found.begin, found.end) == (frozenset(days), begin, end)
    assert quiet_hours.parse(str(found)) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' are not quiet hours"),
        ("always", "'always' are not quiet hours"),
        ("Mon-Fri", "'Mon-Fri' are not quiet hours"),
        ("09:00-18:00", "'09:00-18:00' are not quiet hours"),
        ("Mon 09:00-18", "'Mon 09:00-18' are not quiet hours"),
        ("Montag 09:00-18:00", "'Montag' is not a day"),
        ("Mon,, 09:00-18:00", "'' is not a day"),
        ("daily,Mon 09:00-18:00", "'daily' is not a day"),
        ("Mon-Tue-Wed 09:00-18:00", "'Mon-Tue-Wed' are not days"),
        ("Mon 25:00-26:00", "25:00 is not a time of day"),
        ("Mon 09:60-10:00", "09:60 is not a time of day"),
        ("Mon 09:00-24:01", "24:01 is not a time of day"),
        ("Mon 09:00-09:00", "09:00-09:00 is not a time span"),
        ("Mon 24:00-03:00", "24:00-03:00 is not a time span"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(text, said):
    with pytest.raises(ValueError, match=r"as in|or ") as caught:
        quiet_hours.parse(text)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_hours_of_a_working_day():
    work = "Mon-Fri 09:00-18:00"
    assert ends("2026-11-27 08:59:59", work) is None
    assert ends("2026-11-27 09:00", work) == "2026-11-27T18:00+01:00"
    assert ends("2026-11-27 17:59:59", work) == "2026-11-27T18:00+01:00"
    assert ends("2026-11-27 18:00", work) is None
    assert ends("2026-11-28 12:00", work) is None  # a Saturday
    assert ends("2026-11-27 12:00") is None


def test_hours_over_midnight_belong_to_the_day_that_they_begin_on():
    night = "Fri 22:00-06:00"
    assert ends("2026-11-27 23:00", night) == "2026-11-28T06:00+01:00"
    assert ends("2026-11-28 05:59", night) == "2026-11-28T06:00+01:00"
    assert ends("2026-11-27 05:00", night) is None
    assert ends("2026-11-28 23:00", night) is None
    assert ends("2026-11-30 05:00", "Sun 22:00-06:00") == "2026-11-30T06:00+01:00"


def test_hours_that_follow_on_each_other_are_followed():
    weekend = ("Fri 18:00-24:00", "Sat,Sun 00:00-24:00", "Mon 00:00-08:00")
    assert ends("2026-11-27 19:00", *weekend) == "2026-11-30T08:00+01:00"
    overlapping = ("daily 09:00-12:00", "daily 11:00-14:00", "daily 10:00-11:30")
    assert ends("2026-11-27 09:30", *overlapping) == "2026-11-27T14:00+01:00"
    assert ends("2026-11-27 09:30", "daily 09:00-12:00", "daily 12:01-14:00") == (
        "2026-11-27T12:00+01:00"
    )


def test_a_quiet_week_is_followed_to_its_one_free_hour():
    rest = ("Mon-Fri 00:00-24:00", "Sat 00:00-10:00", "Sat 11:00-24:00", "Sun 00:00-24:00")
    assert ends("2026-11-28 11:00", *rest) == "2026-12-05T10:00+01:00"


def test_in_spring_the_hour_that_the_clock_leaves_out_is_no_hour():
    # 2026-03-29: from 02:00+01:00 to 03:00+02:00
    assert ends("2026-03-28 23:00", "daily 22:00-06:00") == "2026-03-29T06:00+02:00"
    assert ends("2026-03-29 01:30", "daily 22:00-02:30") == "2026-03-29T03:00+02:00"
    assert ends("2026-03-29 03:00", "daily 22:00-02:30") is None
    assert ends("2026-03-29 03:00", "daily 02:30-04:00") == "2026-03-29T04:00+02:00"
    assert ends("2026-03-29 01:59", "daily 02:30-04:00") is None
    assert ends("2026-03-29 03:00", "daily 02:15-02:45") is None
    assert ends("2026-03-29 01:59", "daily 02:15-02:45") is None


def test_in_autumn_the_hour_that_comes_twice_is_quiet_twice():
    # 2026-10-25: from 03:00+02:00 back to 02:00+01:00
    assert ends("2026-10-24 23:00", "daily 22:00-02:30") == "2026-10-25T02:30+01:00"
    assert ends("2026-10-25 02:45", "daily 22:00-02:30") == "2026-10-25T02:30+01:00"
    assert ends("2026-10-25 02:45", "daily 22:00-02:30", fold=1) is None
    assert ends("2026-10-25 02:15", "daily 22:00-02:30", fold=1) == "2026-10-25T02:30+01:00"
    assert ends("2026-10-25 02:30", "daily 02:30-04:00") == "2026-10-25T04:00+01:00"
    assert ends("2026-10-25 02:29", "daily 02:30-04:00") is None


def test_a_zone_that_changes_its_clock_at_midnight():
    havana = ZoneInfo("America/Havana")  # 2026-03-08: 00:00 is followed by 01:00
    evening = datetime(2026, 3, 7, 20, 0, tzinfo=havana)
    night = datetime(2026, 3, 8, 1, 0, tzinfo=havana)
    saturday, sunday = hours("Sat 12:00-24:00"), hours("Sun 00:00-02:00")
    assert quiet_hours.until(saturday, evening).isoformat() == "2026-03-08T01:00:00-04:00"
    assert quiet_hours.until(saturday, night) is None
    assert quiet_hours.until(sunday, night).isoformat() == "2026-03-08T02:00:00-04:00"
    assert quiet_hours.until(saturday + sunday, evening) == quiet_hours.until(sunday, night)


def test_hours_without_a_gap_are_refused():
    for never in (
        ("daily 00:00-24:00",),
        ("Mon-Sun 00:00-12:00", "daily 12:00-00:00"),
        ("daily 06:00-05:59", "daily 05:00-07:00"),
    ):
        with pytest.raises(ValueError, match="leave no minute of the week"):
            quiet_hours.check(hours(*never))
        with pytest.raises(ValueError, match="leave no minute of the week"):
            quiet_hours.until(hours(*never), at("2026-11-27 12:00"))
    quiet_hours.check(hours("daily 00:00-23:59"))
    quiet_hours.check([])


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="without a zone"):
        quiet_hours.until(hours("daily 09:00-18:00"), datetime(2026, 11, 27))  # noqa: DTZ001
