"""The command line: ``python3 -m about COMMAND``.

Every command prints one line of JSON. Exit status: 0 done, 1 it failed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from about.config import Config, ConfigError, load_config


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m about", description="The About site.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, function in COMMANDS.items():
        commands.add_parser(name, help=(function.__doc__ or "").splitlines()[0])
    chosen = parser.parse_args(arguments).command
    try:
        result = COMMANDS[chosen](load_config())
    except ConfigError as error:
        print(f"about: {error}", file=sys.stderr)
        return 1
    if result is None:
        return 0
    print(json.dumps(result))
    return 1 if result.get("status") == "failed" else 0


def migrate(config: Config) -> dict[str, Any]:
    """bring the database to the schema of this code"""
    from about import people
    from about.cache import ListCache
    from about.migrate import MigrationError
    from about.migrate import migrate as run

    try:
        found = run(people.connect(config))
    except MigrationError as error:
        return {"status": "failed", "changed": False, "detail": str(error)}
    ListCache(config).invalidate()  # the database may be another one, from a dump or a backup
    return found


def load_fixtures(config: Config) -> dict[str, Any]:
    """fill an empty database with invented people"""
    from about import people
    from about.fixtures import load
    from about.photos import PhotoStore
    from about.queue import JobQueue, connect

    added = load(
        people.connect(config),
        PhotoStore(config.media_dir),
        JobQueue(connect(config), config.namespace),
    )
    return {"changed": added > 0, "added": added}


def sanitize(config: Config) -> dict[str, Any]:
    """make everybody an invented person, in a copy of the database"""
    from about import people
    from about.cache import ListCache
    from about.sanitize import sanitize as run

    found = run(people.connect(config))
    ListCache(config).invalidate()
    return {"changed": found > 0, "people": found}


def revision(_config: Config) -> dict[str, Any]:
    """name the code in this directory"""
    from about.people import SCHEMA_REVISION
    from about.revision import code_revision

    return {"revision": code_revision(), "schema": SCHEMA_REVISION}


def worker(config: Config) -> None:
    """do background jobs until told to stop"""
    from about.worker import run

    run(config)


def ping_worker(config: Config) -> dict[str, Any]:
    """send a job through the queue and wait for its result"""
    from about.queue import JobQueue, connect

    started = time.monotonic()
    job = JobQueue(connect(config), config.namespace).ping()
    while job.result is None and time.monotonic() - started < 30:
        time.sleep(0.1)
    seconds = round(time.monotonic() - started, 1)
    if job.result == "pong":
        return {"status": "ok", "seconds": seconds}
    answer = "no answer" if job.result is None else f"the answer {job.result!r}"
    return {"status": "failed", "detail": f"{answer} after {seconds} s"}


def health(config: Config) -> dict[str, Any]:
    """report on every dependency, with the reasons that /healthz keeps to itself"""
    from about.app import create_app

    app = create_app(config)
    return app.extensions["about"].health.report(app.extensions["about"].revision)


COMMANDS: dict[str, Callable[[Config], dict[str, Any] | None]] = {
    "migrate": migrate,
    "load-fixtures": load_fixtures,
    "sanitize": sanitize,
    "revision": revision,
    "worker": worker,
    "ping-worker": ping_worker,
    "health": health,
}
