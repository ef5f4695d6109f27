"""The background worker: ``python3 -m about worker``."""

from __future__ import annotations

import os
import socket

import redis
import rq

from about.config import Config
from about.photos import PhotoStore
from about.queue import WORKER_TTL, JobQueue


class Worker(rq.Worker):
    #: After an outage of Redis, be back within seconds (RQ's own limit is a minute).
    max_connection_wait_time = 5.0


def run(config: Config) -> None:
    """Work until told to stop (SIGTERM: finish the job at hand, then leave)."""
    # Imported before the first fork: a job then starts without loading it again.
    import PIL.Image  # noqa: F401

    connection = redis.Redis.from_url(config.redis_url)
    queue = JobQueue(connection, config.namespace)
    worker = Worker(
        [queue.rq],
        name=f"{socket.gethostname()}.{os.getpid()}",
        connection=connection,
        default_worker_ttl=WORKER_TTL,
        serializer=queue.rq.serializer,
    )
    for photo in PhotoStore(config.media_dir).without_thumbnail():
        queue.make_thumbnail(photo)
    worker.work(log_format="%(message)s")
