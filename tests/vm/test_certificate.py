"""A VM that ran for two years: libfaketime sets this host's clock ahead."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from tests.support.later import environment

pytestmark = pytest.mark.vm

AHEAD = timedelta(days=810)


def test_doctor_renews_the_certificate_of_a_vm_that_never_stopped(devvm, dev1):
    before = dev1["vm"]["certificate_until"]
    assert timedelta(days=820) < _day(before) - datetime.now(UTC) < timedelta(days=825)
    later = environment(AHEAD)
    assert f"dev1: its certificate expires on {before}" in devvm("list", **later).stderr
    (mended,) = devvm("doctor", "--fix", "--json", **later).json["findings"]
    assert (mended["kind"], mended["subject"], mended["mended"]) == ("certificate", "dev1", True)

    after = devvm("show", "dev1", "--json").json["vm"]["certificate_until"]
    assert _day(after) - _day(before) > timedelta(days=805)
    shown = ssl.get_server_certificate((dev1["vm"]["address"], 443), timeout=60)
    served = x509.load_pem_x509_certificate(shown.encode())
    assert served.not_valid_after_utc.date() == _day(after).date()


def _day(text):
    return datetime.fromisoformat(f"{text}T00:00:00+00:00")
