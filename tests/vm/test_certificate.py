"""A VM that ran for two years: this host's clock is ahead, as libfaketime has it."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.later import environment

pytestmark = pytest.mark.vm

AHEAD = timedelta(days=810)


def test_doctor_renews_the_certificate_of_a_vm_that_never_stopped(devvm, dev1):
    assert devvm("doctor", "--json").json["findings"] == []
    before = dev1["vm"]["certificate_until"]
    assert timedelta(days=820) < _day(before) - datetime.now(UTC) < timedelta(days=825)

    later = environment(AHEAD)
    (found,) = devvm("doctor", "--json", code=1, **later).json["findings"]
    assert (found["kind"], found["subject"]) == ("certificate", "dev1")
    assert found["problem"] == f"its certificate ends on {before}"
    assert before in devvm("list", **later).stderr
    (mended,) = devvm("doctor", "--fix", "--json", **later).json["findings"]
    assert mended["mended"], mended

    after = devvm("show", "dev1", "--json").json["vm"]["certificate_until"]
    assert _day(after) - _day(before) > timedelta(days=805)
    shown = ssl.get_server_certificate((dev1["vm"]["address"], 443), timeout=60)
    on_the_disk = devvm("exec", "dev1", "--", "sudo", "cat", "/data/identity/site.crt").stdout
    assert shown.split() == on_the_disk.split()
    assert devvm("doctor", "--json", **later).json["findings"] == []


def _day(text):
    return datetime.fromisoformat(f"{text}T00:00:00+00:00")
