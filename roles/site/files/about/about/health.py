"""Is everything there that the site needs? One check per dependency.

Every check is independent of the others and bounded in time, so the answer
names all that is wrong, not only the first. Everybody may ask, so a check only
reads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from about import people
from about.cache import ListCache
from about.photos import PhotoStore
from about.queue import JobQueue

Check = Callable[[], None]


class Unhealthy(Exception):
    """A dependency answers, but not as it should."""


def without_details(report: Mapping[str, Any]) -> dict[str, Any]:
    """What everybody may know: which checks failed, not why."""
    checks = {name: {"status": check["status"]} for name, check in report["checks"].items()}
    return {**report, "checks": checks}


class Health:
    def __init__(
        self, engine: sa.engine.Engine, cache: ListCache, queue: JobQueue, photos: PhotoStore
    ) -> None:
        self._engine = engine
        self._cache = cache
        self._queue = queue
        self._photos = photos

    def report(self, revision: str) -> dict[str, Any]:
        """The outcome of all checks; a failed one's ``detail`` is for operators only."""
        checks = {name: _outcome(check) for name, check in self._checks().items()}
        healthy = all(check["status"] == "ok" for check in checks.values())
        return {
            "status": "ok" if healthy else "failed",
            "revision": revision,
            "checks": checks,
        }

    def _checks(self) -> Mapping[str, Check]:
        return {
            "database": self._database,
            "schema": self._schema,
            "cache": self._cache.check,
            "queue": self._redis,
            "worker": self._worker,
            "media": self._media,
        }

    def _database(self) -> None:
        with self._engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))

    def _schema(self) -> None:
        with self._engine.connect() as connection:
            revision = people.schema_revision(connection)
        # One that this code has never heard of is a newer one: a release migrates before all of
        # its code is served, and an engineer's checkout follows when its owner pulls.
        if revision in {None, *people.earlier_revisions()}:
            raise Unhealthy(
                f"the database is at revision {revision}, the code needs {people.SCHEMA_REVISION}"
            )

    def _redis(self) -> None:
        self._queue.connection.ping()

    def _worker(self) -> None:
        if not self._queue.live_workers():
            raise Unhealthy(f"no worker serves the queue {self._queue.rq.name!r}")

    def _media(self) -> None:
        for directory in (self._photos.photos, self._photos.thumbnails):
            if not os.access(directory, os.W_OK | os.X_OK):
                raise Unhealthy(f"{directory} is not writable")
            if not os.statvfs(directory).f_bavail:
                raise Unhealthy(f"{directory} has no space left")


def _outcome(check: Check) -> dict[str, str]:
    try:
        check()
    except Exception as error:  # whatever it is, it is the answer
        text = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(": ")
        return {"status": "failed", "detail": text[:200]}
    return {"status": "ok"}
