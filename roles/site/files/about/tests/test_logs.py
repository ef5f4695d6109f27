import io
import logging

import pytest
from conftest import NOWHERE, Browser, without

from about import logs

ID = {"X-Request-ID": "0123abcd"}


@pytest.fixture
def journal(monkeypatch):
    """What a process of the site writes on standard error."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    logs.configure()
    return root.handlers[0].stream


def test_log_lines_and_error_pages_name_the_request(config, journal):
    app = without(config, redis_url=f"redis://{NOWHERE}/0")
    client = Browser(app.test_client()).client
    answer = client.get("/add", headers=ID, base_url="https://localhost")
    assert answer.status_code == 503
    assert "request <code>0123abcd</code>" in answer.text
    assert "ERROR about.app [0123abcd]: GET /add: ConnectionError" in journal.getvalue()


def test_a_bug_is_logged_with_its_traceback_and_not_shown(app, journal, monkeypatch):
    monkeypatch.setattr("about.views._people", lambda: 1 / 0)
    app.config.update(TESTING=False, PROPAGATE_EXCEPTIONS=False)
    answer = app.test_client().get("/", headers=ID, base_url="https://localhost")
    assert answer.status_code == 500
    assert "division" not in answer.text
    assert "0123abcd" in answer.text
    assert "ERROR about [0123abcd]: Exception on / [GET]" in journal.getvalue()
    assert "ZeroDivisionError" in journal.getvalue()


def test_other_errors_are_the_visitor_s(browser):
    answer = browser.client.get("/nothing", headers=ID, base_url="https://localhost")
    assert "0123abcd" not in answer.text


def test_without_a_request_there_is_none_to_name(journal):
    logging.getLogger("about.photos").warning("late")
    assert journal.getvalue() == "WARNING about.photos: late\n"
