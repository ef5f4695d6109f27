"""Log lines of the site: on standard error, and so in the journal."""

from __future__ import annotations

import logging

from flask import has_request_context, request


def configure() -> None:
    """Log from INFO on, with the ID of the request, which the web server's log has too."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s%(request)s: %(message)s"))
    handler.addFilter(_add_request)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def request_id() -> str:
    """The web server's name for this request; empty without one."""
    return request.headers.get("X-Request-ID", "") if has_request_context() else ""


def _add_request(record: logging.LogRecord) -> bool:
    record.request = f" [{request_id()}]" if request_id() else ""
    return True
