"""Runs unit tests that depend on dates on other days: a year from now, a leap day, a skipped hour.

If you add such tests, add their module here.
"""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.support.later import environment

pytestmark = pytest.mark.container

REPOSITORY = Path(__file__).parent.parent.parent
#: How long a program may take to start, plus the skipped hour.
SOON = timedelta(hours=1, minutes=1)
MODULES = [
    "adapters/test_ca.py",
    "cli/fleet/test_fleet.py",
    "cli/rollout/test_pin.py",
    "cli/production/test_production.py",
    "cli/test_formatting.py",
    "domain/release/test_release.py",
    "domain/rollout/test_quiet_hours.py",
    "html/test_parity_report.py",
    "operations/fleet/test_report.py",
    "operations/guest/test_sessions.py",
    "operations/production/test_capture.py",
    "operations/provision/test_certificate.py",
    "operations/provision/test_gc.py",
    "operations/rollout/test_pins.py",
    "operations/storage/test_saved_states.py",
    "operations/verify/test_last_result.py",
    "operations/vm/test_trash.py",
    "parity/production/test_manifest.py",
    "parity/production/test_waivers.py",
    "system/test_tempdir.py",
]
MOMENTS = {
    "a year on": (f"{datetime.now(UTC) + timedelta(days=400):%Y-%m-%dT12:00:00}", "UTC"),
    "the end of a leap day": ("2028-02-29T23:59:55", "America/St_Johns"),
    "an hour that is not there": ("2027-03-28T01:59:55", "Europe/Berlin"),
}


@pytest.mark.parametrize(("moment", "zone"), MOMENTS.values(), ids=MOMENTS)
def test_it_passes_on_another_day(moment, zone, tmp_path):
    then = datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo(zone))

    def run(*argv):
        done = subprocess.run(
            [sys.executable, *argv],
            cwd=REPOSITORY,
            env=os.environ | environment(then - datetime.now(UTC)) | {"TZ": zone},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    now = run("-c", "import datetime; print(datetime.datetime.now().isoformat())")
    assert abs(datetime.fromisoformat(now.strip()) - then.replace(tzinfo=None)) < SOON
    modules = [f"tests/unit/{module}" for module in MODULES]
    folder = tmp_path / "then"
    out = run("-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={folder}", *modules)
    assert " passed" in out
