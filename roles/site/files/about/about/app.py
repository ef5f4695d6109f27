"""The application: its parts, put together, and what holds for every page."""

from __future__ import annotations

import dataclasses
import logging

import redis
import sqlalchemy as sa
from flask import Flask, Response, current_app, render_template, request
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from about import people, queue
from about.cache import ListCache
from about.config import Config, load_config, secret_key
from about.health import Health
from about.logs import request_id
from about.photos import PhotoStore
from about.revision import code_revision
from about.sessions import RedisSessions

#: No scripts at all, nothing from elsewhere, never inside another page.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Services:
    """What the views work with."""

    engine: sa.engine.Engine
    cache: ListCache
    photos: PhotoStore
    queue: queue.JobQueue
    health: Health
    revision: str
    config: Config


def services() -> Services:
    return current_app.extensions["about"]


def create_app(config: Config | None = None) -> Flask:
    """Build the application. Connects to nothing: that happens with the first request."""
    config = config or load_config()
    app = Flask("about")
    app.secret_key = secret_key(config.secret_key_file)
    app.config.update(
        # Room for the form's other fields besides the photo.
        MAX_CONTENT_LENGTH=config.max_upload_bytes + 64 * 1024,
        SESSION_COOKIE_NAME="__Host-about",
        SESSION_COOKIE_SECURE=True,
        # One stat per template and page, for an edited template to be seen at once.
        TEMPLATES_AUTO_RELOAD=True,
    )
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
    # Exactly one proxy, the web server in front, says who asked and how.
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=0)

    connection = queue.connect(config)
    engine = people.connect(config)
    cache = ListCache(config)
    photos = PhotoStore(config.media_dir)
    jobs = queue.JobQueue(connection, config.namespace)
    for directory in (photos.photos, photos.thumbnails):
        directory.mkdir(parents=True, exist_ok=True)
    app.session_interface = RedisSessions(connection, f"{config.namespace}:session:")
    app.extensions["about"] = Services(
        engine=engine,
        cache=cache,
        photos=photos,
        queue=jobs,
        health=Health(engine, cache, jobs, photos),
        revision=code_revision(),
        config=config,
    )

    from about.views import pages

    app.register_blueprint(pages)
    app.after_request(_add_headers)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(redis.RedisError, _unavailable)
    app.register_error_handler(sa.exc.OperationalError, _unavailable)
    app.register_error_handler(sa.exc.TimeoutError, _unavailable)
    return app


def _add_headers(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    response.headers.setdefault("Cache-Control", "private, no-cache")
    return response


def _http_error(error: HTTPException) -> tuple[str, int] | HTTPException:
    if error.code is None or error.code < 400:
        return error
    return _error_page(error.name, error.description or "", error.code), error.code


def _unavailable(error: Exception) -> tuple[str, int]:
    """A dependency is away: say so and log why, without a traceback for each visitor."""
    log.error("%s %s: %s: %s", request.method, request.path, type(error).__name__, error)
    text = "Something that this page needs does not answer. Please try again in a moment."
    return _error_page("Not available right now", text, 503), 503


def _error_page(title: str, text: str, status: int) -> str:
    """With the name of the request, if whoever runs the site can find more in the log."""
    return render_template(
        "error.html", title=title, text=text, request_id=request_id() if status >= 500 else ""
    )
