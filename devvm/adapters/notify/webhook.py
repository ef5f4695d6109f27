"""Notifies about rollouts by posting JSON to a URL.

It uses the proxies in the environment (`http_proxy`, `https_proxy`, `no_proxy`). Certificates are
always verified, against the host's CAs. Redirects are not followed: they could send the token to
a host that nobody configured.
"""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from devvm.domain.errors import OperationError
from devvm.domain.rollout.message import Message
from devvm.system.secrets import read_secret


class Webhook:
    """Implements `Sender`.

    Args:
        url: http or https. It may be a secret, as those of chat services are, so errors only
            quote its host.
        token_file: File with the token for `Authorization: Bearer`; https only.
        timeout: Seconds to wait for data from the server.
    """

    name = "webhook"

    def __init__(self, url: str, *, token_file: Path | None = None, timeout: float = 10) -> None:
        self._url = url
        self._token_file = token_file
        self._timeout = timeout

    def send(self, message: Message) -> None:
        """Post the message once.

        Raises:
            OperationError: the message was not delivered, or the status is not 2xx.
            UsageError: the token can't be used.
        """
        request = self._request(message)
        host = urlsplit(self._url).hostname
        try:
            _opener().open(request, timeout=self._timeout).close()
        except urllib.error.HTTPError as error:
            with error:
                raise OperationError(
                    f"{host} answered {error.code}", details=error.reason
                ) from None
        except TimeoutError:
            raise OperationError(f"{host} did not answer within {self._timeout:g} s") from None
        except (OSError, http.client.HTTPException) as error:
            cause = getattr(error, "reason", None) or error
            raise OperationError(f"{host} can't be notified", details=str(cause)) from None

    def _request(self, message: Message) -> urllib.request.Request:
        headers = {"Content-Type": "application/json", "User-Agent": "devvm"}
        if self._token_file is not None:
            if urlsplit(self._url).scheme != "https":
                raise OperationError(
                    "a token is not sent over http", details="the address must start with https://"
                )
            headers["Authorization"] = f"Bearer {read_secret(self._token_file)}"
        return urllib.request.Request(  # noqa: S310 - the configuration takes http and https only
            self._url, data=message.to_json().encode(), headers=headers, method="POST"
        )


def _opener() -> urllib.request.OpenerDirector:
    """An opener with only the handlers that a request needs: no redirects, no `file:` URLs."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener
