"""`devvm production waive`: text, JSON, and what it refuses."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest

from devvm import wiring
from tests.support.reference_stack import REFERENCE
from tests.unit.cli.documented import documented_for


@pytest.fixture
def file(tmp_path, monkeypatch):
    folder = tmp_path / "production"
    folder.mkdir()
    shutil.copy(REFERENCE.production / "manifest.yml", folder)
    monkeypatch.setattr(wiring, "production", lambda config: folder)
    return folder / "waivers.yml"


def test_waive(cli, file):
    done = cli("production", "waive", "site/healthz/*", "--reason", "no mail", "--owner", "jane")
    until = (datetime.now(UTC) + timedelta(days=90)).date()
    assert done.code == 0, done.stderr
    assert f"Waived until {until}" in done.stdout
    assert "owner: jane" in file.read_text()


def test_waive_in_json(cli, file):
    done = cli(
        "production", "waive", "unit/nginx.service", "--reason", "x", "--until", "2999-01-31",
        "--machine", "dev1", "--machine", "dev2", "--json",
    )  # fmt: skip
    assert set(done.json) == documented_for("production waive")
    assert done.json["checks"] == ["unit/nginx.service"]
    assert "- dev2" in file.read_text()


@pytest.mark.parametrize(
    "options",
    [
        ("unit/nginx.servce", "--reason", "x"),
        ("unit/nginx.service",),
        ("unit/nginx.service", "--reason", ""),
        ("unit/nginx.service", "--reason", "x", "--until", "2020-01-01"),
        ("unit/nginx.service", "--reason", "x", "--until", "soon"),
    ],
)
def test_what_is_refused(cli, file, options):
    done = cli("production", "waive", *options)
    assert done.code == 2
    assert done.stderr
    assert not file.exists()
