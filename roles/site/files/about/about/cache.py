"""The list of people in memcached.

The key of the list holds a *generation*, a random word that memcached keeps
under a key of its own. Whoever changes something commits first and then gives
the list a new generation. A reader that fetched the old rows just before the
commit stores them under the old generation, where nobody looks any more: there
is no moment at which stale rows can get into the cache and stay.

Without memcached the site works, only slower: every failure is a miss. A change
made while memcached could not be told shows up when the entry expires.
"""

from __future__ import annotations

import json
import logging
import secrets
from typing import Any

from pymemcache.client.base import PooledClient
from pymemcache.exceptions import MemcacheError

from about.config import Config

GENERATION = "generation"

log = logging.getLogger(__name__)


class ListCache:
    def __init__(self, config: Config) -> None:
        self._client = PooledClient(
            config.memcached,
            connect_timeout=0.5,
            timeout=0.5,
            max_pool_size=16,
            key_prefix=f"{config.namespace}:people:".encode(),
        )
        self._seconds = config.list_cache_seconds

    def get(self) -> tuple[Any | None, str | None]:
        """The list, or None; and the generation to give to :meth:`put` after a miss."""
        try:
            generation = self._generation()
            stored = self._client.get(generation)
        except (OSError, MemcacheError) as error:
            log.warning("cache: cannot read: %s", error)
            return None, None
        return (json.loads(stored) if stored is not None else None), generation

    def put(self, generation: str | None, value: Any) -> None:
        if generation is None:
            return
        try:
            self._client.set(generation, json.dumps(value).encode(), expire=self._seconds)
        except (OSError, MemcacheError) as error:
            log.warning("cache: cannot write: %s", error)

    def invalidate(self) -> None:
        """Call it after the change can be read by others, never before."""
        try:
            self._client.set(GENERATION, secrets.token_hex(8).encode(), noreply=False)
        except (OSError, MemcacheError) as error:
            log.warning("cache: cannot invalidate, stale for %d s: %s", self._seconds, error)

    def check(self) -> None:
        """Ask for the list's generation; raises OSError or MemcacheError."""
        self._client.get(GENERATION)

    def close(self) -> None:
        self._client.close()

    def _generation(self) -> str:
        """The current generation; the first reader of a fresh memcached makes one."""
        stored = self._client.get(GENERATION)
        if stored is None:
            fresh = secrets.token_hex(8).encode()
            if self._client.add(GENERATION, fresh, noreply=False):
                return fresh.decode()
            stored = self._client.get(GENERATION) or fresh
        return stored.decode()
