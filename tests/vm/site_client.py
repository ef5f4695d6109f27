"""A person using the site: a browser's HTTP, with the host's own name resolution."""

import html.parser
import http.cookiejar
import json
import ssl
import struct
import urllib.request
import uuid
import zlib
from pathlib import Path


def png(width: int, height: int) -> bytes:
    """A picture drawn here, to need neither a binary file nor an image library."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    row = lambda y: b"\0" + bytes(v for x in range(width) for v in (x % 256, y % 256, 128))  # noqa: E731
    rows = b"".join(row(y) for y in range(height))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


class _Token(html.parser.HTMLParser):
    value = ""

    def handle_starttag(self, tag, attrs):
        fields = dict(attrs)
        if tag == "input" and fields.get("name") == "csrf":
            self.value = fields["value"]


class Site:
    """The About site of one VM, over HTTPS, trusting only devvm's CA."""

    def __init__(self, url: str, ca: Path) -> None:
        self.url = url.rstrip("/")
        context = ssl.create_default_context(cafile=str(ca))
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=context),
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
        )

    def get(self, path: str) -> bytes:
        return self._opener.open(f"{self.url}{path}", timeout=60).read()

    def json(self, path: str):
        return json.loads(self.get(path))

    def people(self, query: str = "") -> dict[str, dict]:
        suffix = f"?q={query}" if query else ""
        return {p["login"]: p for p in self.json(f"/people.json{suffix}")["people"]}

    def add(self, photo: bytes | None = None, **fields: str) -> None:
        """Fill in the form and submit it."""
        token = _Token()
        token.feed(self.get("/add").decode())
        boundary = uuid.uuid4().hex
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in {**fields, "csrf": token.value}.items()
        ]
        body = "".join(parts).encode()
        if photo:
            body += (
                (
                    f'--{boundary}\r\nContent-Disposition: form-data; name="photo"; '
                    'filename="me.png"\r\nContent-Type: image/png\r\n\r\n'
                ).encode()
                + photo
                + b"\r\n"
            )
        body += f"--{boundary}--\r\n".encode()
        request = urllib.request.Request(
            f"{self.url}/add",
            data=body,
            headers={
                "Content-Type": f"multipart/form-data; boundary={boundary}",
                "Referer": f"{self.url}/add",
                "Origin": self.url,
            },
        )
        self._opener.open(request, timeout=60).read()
