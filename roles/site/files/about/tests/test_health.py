import dataclasses

import pytest
import rq
import sqlalchemy as sa
from conftest import NOWHERE, Browser, fields, without

from about import people
from about.app import create_app
from about.queue import WORKER_TTL
from about.revision import code_revision

CHECKS = ["database", "schema", "cache", "queue", "worker", "media"]


@pytest.fixture
def worker(parts):
    """A worker that is registered, as one that waits for jobs is."""
    worker = rq.Worker([parts.queue.rq], connection=parts.queue.connection, default_worker_ttl=30)
    worker.register_birth()
    yield worker
    worker.register_death()


def failed(app):
    answer = Browser(app.test_client()).get("/healthz")
    bad = [name for name, check in answer.json["checks"].items() if check["status"] == "failed"]
    assert answer.status_code == (503 if bad else 200)
    assert answer.json["status"] == ("failed" if bad else "ok")
    return bad


def set_revision(app, revision):
    with app.extensions["about"].engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES (:r)"), {"r": revision})


@pytest.mark.usefixtures("worker")
def test_all_is_well(app, browser):
    set_revision(app, people.SCHEMA_REVISION)
    answer = browser.get("/healthz")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json == {
        "status": "ok",
        "revision": code_revision(),
        "checks": {name: {"status": "ok"} for name in CHECKS},
    }


@pytest.mark.usefixtures("worker")
def test_a_schema_that_is_not_migrated_is_named(app, parts, monkeypatch):
    monkeypatch.setattr(people, "SCHEMA_REVISION", "0815")
    set_revision(app, "0001")
    assert failed(app) == ["schema"]
    assert "0001" in parts.health.report("x")["checks"]["schema"]["detail"]


@pytest.mark.usefixtures("worker")
def test_code_that_is_older_than_the_schema_goes_on(app):
    set_revision(app, "0815")
    assert failed(app) == []


def test_a_worker_that_stopped_reporting_is_dead(app, parts, worker):
    set_revision(app, people.SCHEMA_REVISION)
    assert failed(app) == []
    long_ago = "2020-01-01T00:00:00.000000Z"
    parts.queue.connection.hset(worker.key, "last_heartbeat", long_ago)
    assert failed(app) == ["worker"]
    assert WORKER_TTL < 60


def test_each_missing_dependency_is_named(config):
    app = without(config, redis_url=f"redis://{NOWHERE}/0", memcached=NOWHERE)
    set_revision(app, people.SCHEMA_REVISION)
    assert failed(app) == ["cache", "queue", "worker"]
    app.extensions["about"].photos.thumbnails.chmod(0o500)
    assert failed(app) == ["cache", "queue", "worker", "media"]


def test_the_public_learns_what_failed_and_the_journal_why(config, caplog):
    app = without(config, memcached=NOWHERE)
    answer = Browser(app.test_client()).get("/healthz")
    assert answer.json["checks"]["cache"] == {"status": "failed"}
    assert "refused" not in answer.text
    assert "health: cache: ConnectionRefusedError: [Errno 111] Connection refused" in caplog.text


def test_looking_changes_nothing(browser, parts, config):
    statements = []
    sa.event.listen(parts.engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
    before = parts.photos.photos.stat()
    browser.get("/healthz")
    assert {text.split()[0] for text in statements} <= {"SELECT", "DESCRIBE"}
    assert parts.photos.photos.stat().st_mtime_ns == before.st_mtime_ns
    assert list(parts.queue.connection.scan_iter(f"{config.namespace}:*")) == []


def test_without_a_database(config, tmp_path):
    url = f"mysql+pymysql://about@localhost/about?unix_socket={tmp_path}/none"
    app = create_app(dataclasses.replace(config, database_url=url))
    assert failed(app) == ["database", "schema", "worker"]
    assert Browser(app.test_client()).get("/").status_code == 503


def test_without_redis_pages_can_be_read_and_forms_say_why_not(config):
    app = without(config, redis_url=f"redis://{NOWHERE}/0")
    browser = Browser(app.test_client())
    assert browser.get("/").status_code == 200
    assert browser.get("/add").status_code == 503
    headers = {"X-Remote-User": "bob"}
    answer = browser.client.get("/login", headers=headers, base_url="https://localhost")
    assert answer.status_code == 503
    assert browser.post("/add", fields("ada")).status_code == 503
