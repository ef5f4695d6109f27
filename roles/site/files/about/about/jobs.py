"""What the worker does. Each job runs in a process of its own, forked by RQ.

The worker's parent process never imports this module: a job that was edited in
a checkout is the edited one the next time it runs.
"""

from __future__ import annotations

import logging

from about.cache import ListCache
from about.config import load_config
from about.photos import PhotoStore

log = logging.getLogger(__name__)


def make_thumbnail(photo: str) -> bool:
    """Make the thumbnail, then have the list read anew, which shows it."""
    config = load_config()
    made = PhotoStore(config.media_dir).make_thumbnail(photo)
    if made:
        cache = ListCache(config)
        cache.invalidate()
        cache.close()
    return made


def ping() -> str:
    """For checks: shows that jobs are taken and done; changes nothing."""
    return "pong"
