"""Sessions in Redis: the browser holds a signed random name, Redis what it stands for.

A visitor who only reads gets no session, no cookie, and costs Redis nothing.
While Redis is down everybody is such a visitor: the pages can be read, and
whatever needs a session answers 503 (see :mod:`about.app`).
"""

from __future__ import annotations

import hmac
import json
import logging
import secrets
from typing import TYPE_CHECKING, Any

import itsdangerous
import redis
from flask.sessions import SessionInterface, SessionMixin
from werkzeug.datastructures import CallbackDict

if TYPE_CHECKING:
    from flask import Flask, Request, Response

LIFETIME_SECONDS = 12 * 3600

log = logging.getLogger(__name__)


class RedisSession(CallbackDict, SessionMixin):
    def __init__(self, name: str | None = None, values: dict[str, Any] | None = None) -> None:
        super().__init__(values, on_update=lambda session: setattr(session, "modified", True))
        self.name = name
        self.modified = False
        self.old_name: str | None = None

    def renew(self) -> None:
        """Forget all, and take another name: who knew the old one has nothing of it."""
        self.clear()
        self.old_name, self.name = self.name, None


class RedisSessions(SessionInterface):
    def __init__(self, connection: redis.Redis, prefix: str) -> None:
        self._redis = connection
        self._prefix = prefix

    def open_session(self, app: Flask, request: Request) -> RedisSession:
        cookie = request.cookies.get(self.get_cookie_name(app))
        if not cookie:
            return RedisSession()
        try:
            name = self._signer(app).unsign(cookie).decode()
        except itsdangerous.BadSignature:
            return RedisSession()
        try:
            stored = self._redis.get(self._prefix + name)
        except redis.RedisError as error:
            log.warning("session: cannot read: %s", error)
            return RedisSession()
        return RedisSession(name, json.loads(stored)) if stored else RedisSession()

    def save_session(self, app: Flask, session: RedisSession, response: Response) -> None:
        if not session.modified:
            return
        if session.old_name:
            self._redis.delete(self._prefix + session.old_name)
        # However long it is used, it ends when it was to end at first.
        lifetime = {"keepttl": True, "xx": True} if session.name else {"ex": LIFETIME_SECONDS}
        name = session.name or secrets.token_urlsafe(24)
        self._redis.set(self._prefix + name, json.dumps(dict(session)), **lifetime)
        response.set_cookie(
            self.get_cookie_name(app),
            self._signer(app).sign(name).decode(),
            secure=self.get_cookie_secure(app),
            httponly=True,
            samesite="Lax",
            path="/",
        )
        response.vary.add("Cookie")

    @staticmethod
    def _signer(app: Flask) -> itsdangerous.Signer:
        return itsdangerous.Signer(app.secret_key, salt="about.session", key_derivation="hmac")


def csrf_token(session: RedisSession) -> str:
    """The token that a form of this session carries; made with its first form."""
    if "csrf" not in session:
        session["csrf"] = secrets.token_urlsafe(24)
    return session["csrf"]


def csrf_matches(session: RedisSession, token: str) -> bool:
    expected = session.get("csrf", "")
    return bool(expected) and hmac.compare_digest(expected.encode(), token.encode())
