"""`devvm production waive`: text, JSON, and what is refused."""

from datetime import UTC, datetime, timedelta

import pytest
from documented import documented_for

from devvm import assets


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "waivers.yml"
    monkeypatch.setattr(assets, "waivers", lambda: path)
    return path


def test_waive(cli, file):
    done = cli("production", "waive", "site/healthz/*", "--reason", "no mail", "--owner", "jane")
    until = (datetime.now(UTC) + timedelta(days=90)).date()
    assert done.code == 0, done.stderr
    assert f"Waived until {until}" in done.stdout
    assert "owner: jane" in file.read_text()


def test_waive_in_json(cli, file):
    done = cli(
        "production", "waive", "service/nginx/running", "--reason", "x", "--until", "2999-01-31",
        "--machine", "dev1", "--machine", "dev2", "--json",
    )  # fmt: skip
    assert set(done.json) == documented_for("production waive")
    assert done.json["checks"] == ["service/nginx/running"]
    assert "- dev2" in file.read_text()


@pytest.mark.parametrize(
    "options",
    [
        ("service/nginx/runing", "--reason", "x"),
        ("service/nginx/running",),
        ("service/nginx/running", "--reason", ""),
        ("service/nginx/running", "--reason", "x", "--until", "2020-01-01"),
        ("service/nginx/running", "--reason", "x", "--until", "soon"),
    ],
)
def test_what_is_refused(cli, file, options):
    done = cli("production", "waive", *options)
    assert done.code == 2
    assert done.stderr
    assert not file.exists()
