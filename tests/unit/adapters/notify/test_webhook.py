"""The webhook, with real servers on loopback."""

import json
import socket
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from devvm.adapters.notify.webhook import Webhook
from devvm.domain.errors import DevvmError, UsageError
from devvm.domain.rollout.message import Message
from tests.support.tls import self_signed

MESSAGE = Message(
    kind="wave", rollout="r1", release="2026.11.23-1a2b3c4d5e6f", at="2026-11-23T10:00:00+00:00",
    by="jane", text="wave 1 of 3: 10 VMs — „go“", facts={"vms": ["dev1", "dev2"]},
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@contextmanager
def served(*, status=200, headers=(), tls=None):
    """A server that gives every request this answer; yields its address and the requests."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.path, dict(self.headers), body))
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *args: None  # ignore clients that hang up, as tests want them to
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        scheme = "https" if tls else "http"
        yield f"{scheme}://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def answering(answer):
    """A server that sends these bytes to its first client, and then nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        held = []

        def serve():
            connection, _ = listening.accept()
            held.append(connection)
            connection.recv(65536)
            connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/hook"
        thread.join()
        for connection in held:
            connection.close()


@pytest.fixture
def certificate(tmp_path):
    return self_signed(tmp_path)


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text("s3cret-token\n")
    path.chmod(0o600)
    return path


def complaint(webhook):
    with pytest.raises(DevvmError) as caught:
        webhook.send(MESSAGE)
    return f"{caught.value.brief}: {caught.value.details}"


def test_the_message_is_posted_as_json():
    with served() as (address, asked):
        Webhook(f"{address}/hook?team=platform").send(MESSAGE)
    [(path, headers, body)] = asked
    assert path == "/hook?team=platform"
    assert headers["Content-Type"] == "application/json"
    assert "Authorization" not in headers
    assert json.loads(body) == {
        "kind": "wave", "rollout": "r1", "release": "2026.11.23-1a2b3c4d5e6f",
        "at": "2026-11-23T10:00:00+00:00", "by": "jane",
        "text": "wave 1 of 3: 10 VMs — „go“", "facts": {"vms": ["dev1", "dev2"]},
    }  # fmt: skip


def test_any_2xx_will_do():
    with served(status=204) as (address, asked):
        Webhook(address).send(MESSAGE)
    assert len(asked) == 1


def test_over_tls_with_a_token(certificate, token_file, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.certificate))
    with served(tls=certificate) as (address, asked):
        Webhook(address, token_file=token_file).send(MESSAGE)
    assert asked[0][1]["Authorization"] == "Bearer s3cret-token"


def test_a_certificate_that_nobody_vouches_for_is_refused(certificate, token_file):
    with served(tls=certificate) as (address, asked):
        assert "certificate verify failed" in complaint(Webhook(address, token_file=token_file))
    assert asked == []


def test_a_certificate_of_another_server_is_refused(tmp_path, monkeypatch):
    other = self_signed(tmp_path, address="127.0.0.2")
    monkeypatch.setenv("SSL_CERT_FILE", str(other.certificate))
    with served(tls=other) as (address, asked):
        assert "IP address mismatch" in complaint(Webhook(address))
    assert asked == []


def test_a_token_never_goes_over_http(token_file):
    with served() as (address, asked):
        assert "a token is not sent over http" in complaint(Webhook(address, token_file=token_file))
    assert asked == []


def test_a_token_file_that_is_not_there(certificate, tmp_path):
    with pytest.raises(UsageError, match="can't be read"):
        Webhook("https://127.0.0.1:1", token_file=tmp_path / "none").send(MESSAGE)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status):
    with (
        served() as (elsewhere, asked_elsewhere),
        served(status=status, headers=[("Location", elsewhere)]) as (address, asked),
    ):
        assert f"127.0.0.1 answered {status}" in complaint(Webhook(address))
    assert len(asked) == 1
    assert asked_elsewhere == []


@pytest.mark.parametrize(("status", "reason"), [(404, "Not Found"), (500, "Internal Server Error")])
def test_any_other_answer_is_a_complaint(status, reason):
    with served(status=status) as (address, _):
        assert complaint(Webhook(address)) == f"127.0.0.1 answered {status}: {reason}"


def test_a_complaint_has_of_the_address_the_host_only():
    with served(status=403) as (address, _):
        assert "T0P-SECRET" not in complaint(Webhook(f"{address}/services/T0P-SECRET"))


@pytest.mark.parametrize(
    "answer", [b"\x00\xff\x1b[2Jgarbage\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 abc\r\n"]
)
def test_what_is_no_answer_is_a_complaint(answer):
    with answering(answer) as address:
        assert complaint(Webhook(address, timeout=5)).startswith("127.0.0.1 can't be notified: ")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nServer: slow"])
def test_a_server_that_hangs_is_given_up(answer):
    with answering(answer) as address:
        assert "127.0.0.1 did not answer within 0.1 s" in complaint(Webhook(address, timeout=0.1))


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert "Connection refused" in complaint(Webhook(f"http://127.0.0.1:{port}"))


def test_the_proxy_of_the_environment_is_used(monkeypatch):
    with served() as (proxy, asked):
        monkeypatch.setenv("http_proxy", proxy)
        Webhook("http://chat.example.test/hook").send(MESSAGE)
    assert asked[0][0] == "http://chat.example.test/hook"
