"""The queue of background jobs: RQ on Redis.

Jobs are named by text, so that putting one into the queue imports nothing of
what the worker needs to do it. They are JSON: unlike a pickle, reading one runs
nothing.
"""

from __future__ import annotations

import datetime

import redis
import rq
from rq.serializers import JSONSerializer

from about.config import Config

#: A worker reports every WORKER_TTL - 15 seconds (RQ's rule); without a sign for
#: twice the TTL it is taken for dead.
WORKER_TTL = 30


def connect(config: Config) -> redis.Redis:
    """A connection for those who must not wait: a page, a health check."""
    return redis.Redis.from_url(config.redis_url, socket_timeout=3)


class JobQueue:
    def __init__(self, connection: redis.Redis, name: str) -> None:
        self.connection = connection
        self.rq = rq.Queue(name, connection=connection, serializer=JSONSerializer)

    def make_thumbnail(self, photo: str) -> None:
        self.rq.enqueue(
            "about.jobs.make_thumbnail",
            photo,
            job_timeout=120,
            result_ttl=600,
            retry=rq.Retry(max=2),
        )

    def ping(self) -> rq.job.Job:
        return self.rq.enqueue(
            "about.jobs.ping", job_timeout=30, result_ttl=60, ttl=60, failure_ttl=60
        )

    def live_workers(self) -> int:
        """How many workers of this queue have been heard of lately."""
        # RQ's own times are UTC without a zone
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        limit = datetime.timedelta(seconds=2 * WORKER_TTL)
        return sum(
            1
            for worker in rq.Worker.all(queue=self.rq)
            if worker.last_heartbeat and now - worker.last_heartbeat < limit
        )
