"""The host's time zone, with its rules for summer time."""

from datetime import UTC, datetime
from zoneinfo import TZPATH

from devvm.adapters.host.local_zone import local_zone


def test_it_knows_summer_time(tmp_path):
    (tmp_path / "localtime").symlink_to(f"{TZPATH[0]}/Europe/Berlin")
    zone = local_zone(tmp_path / "localtime")
    shown = [datetime(2026, month, 1, 12, tzinfo=UTC).astimezone(zone).hour for month in (1, 7)]
    assert shown == [13, 14]


def test_without_one_it_is_utc(tmp_path):
    assert local_zone(tmp_path / "localtime") is UTC
    (tmp_path / "localtime").write_text("nothing of the kind")
    assert local_zone(tmp_path / "localtime") is UTC


def test_this_host_has_one():
    now = datetime.now(local_zone())
    assert abs((datetime.now(UTC) - now).total_seconds()) < 60
