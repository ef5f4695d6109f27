"""The pages of a VM, served for real; and the sendmail program."""

import email
import http.client
import io
import socket
import threading
import types
from email.message import EmailMessage
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

import pytest

from devvm.system import assets

ROLES = assets.overlay() / "roles"
SETTINGS = {
    "engineer_uid": 0,
    "mails": True,
    "stack": {
        "name": "acme",
        "applications": [
            {"name": "shop", "units": ["no-such.service"], "checkout": "/srv/shop<1>"},
            {"name": "wiki", "units": [], "checkout": None},
        ],
        "databases": ["PostgreSQL"],
        "welcome": ["https://{host}/shop/  the shop of {login}", "~/shop  <code>"],
    },
}


def program(role, name):
    path = ROLES / role / "files/usr/lib/devvm" / name
    loader = SourceFileLoader(name.replace("-", "_"), str(path))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


class Browser:
    """Asks through the socket, with or without the key."""

    def __init__(self, path, pages):
        self.path, self.headers, self.name = path, {}, f"devvm-{pages.host()}"

    def get(self, path):
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.path))
        connection.request("GET", path, headers=self.headers)
        answer = connection.getresponse()
        answer.text = answer.read().decode()
        connection.close()
        return answer


@pytest.fixture
def pages(tmp_path, monkeypatch):
    found = program("vm_pages", "pages")
    (tmp_path / "mails").mkdir()
    monkeypatch.setattr(found, "MAILS", str(tmp_path / "mails"))
    found.folder = tmp_path / "mails"
    return found


@pytest.fixture
def browser(pages, tmp_path):
    with pages.Server(str(tmp_path / "http"), "secret", SETTINGS) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        browser = Browser(tmp_path / "http", pages)
        browser.headers = {"Cookie": f"{browser.name}=secret"}
        yield browser
        server.shutdown()
        thread.join()


def sent(pages, name="1.M1", **parts):
    message = EmailMessage()
    message["Subject"] = parts.get("subject", "Hello <b>you</b>")
    message["From"], message["To"] = "shop@acme.test", "ann@acme.test"
    message.set_content(parts.get("plain", "Plain <i>text</i>\n"))
    if "html" in parts:
        message.add_alternative(parts["html"], subtype="html")
    if "attached" in parts:
        message.add_attachment(b"data", maintype="a", subtype="b", filename=parts["attached"])
    (pages.folder / name).write_bytes(message.as_bytes())


@pytest.mark.parametrize("cookie", [None, "", "devvm-other=secret", "x", "{}=Secret", "{}=", '"=;'])
def test_nothing_is_shown_without_the_key(browser, pages, cookie):
    sent(pages)
    browser.headers = {} if cookie is None else {"Cookie": cookie.format(browser.name)}
    for path in ("/", "/mail", "/mail/1.M1", "/?key=", "/?key=wrong", "/x"):
        answer = browser.get(path)
        assert answer.status == 403
        assert "acme" not in answer.text


def test_the_address_with_the_key_gives_a_cookie(browser):
    browser.headers = {}
    answer = browser.get("/?key=secret")
    assert (answer.status, answer.getheader("Location")) == (303, "/")
    cookie, *rules = answer.getheader("Set-Cookie").split("; ")
    assert {"HttpOnly", "SameSite=Strict"} <= set(rules)
    browser.headers = {"Cookie": cookie}
    assert browser.get("/").status == 200


def test_the_first_page_links_everything(browser, pages):
    sent(pages)
    answer, name = browser.get("/"), pages.host()
    assert '<a href="https://' in answer.text
    assert "/shop/</a>  the shop of root" in answer.text
    assert "~/shop  &lt;code&gt;" in answer.text
    assert f"devvm db shell {name} --database PostgreSQL" in answer.text
    assert f"devvm logs {name} --follow --unit no-such.service" in answer.text
    assert "/srv/shop&lt;1&gt;" in answer.text
    assert '<a href="/mail">Mails: 1</a>' in answer.text
    assert answer.getheader("Content-Security-Policy").startswith("default-src 'none'")
    assert answer.getheader("Cache-Control") == "no-store"


def test_mails_are_listed_newest_first_and_shown(browser, pages):
    assert "No mail was sent yet" in browser.get("/mail").text
    sent(pages, "1.M1", subject="first")
    sent(pages, "2.M2", subject="<script>", html="<p>hi</p>", attached="a&b.pdf")
    listed = browser.get("/mail").text
    assert listed.index("&lt;script&gt;") < listed.index("first")
    shown = browser.get("/mail/2.M2").text
    assert "<script>" not in shown
    assert "Plain &lt;i&gt;text&lt;/i&gt;" in shown
    assert "Attached: a&amp;b.pdf" in shown
    assert '<iframe sandbox src="/mail/2.M2/html"' in shown
    html = browser.get("/mail/2.M2/html")
    assert html.text.strip() == "<p>hi</p>"
    assert html.getheader("Content-Security-Policy").startswith("sandbox; default-src 'none'")
    source = browser.get("/mail/2.M2/source")
    assert source.getheader("Content-Type").startswith("text/plain")
    assert "Subject: <script>" in source.text


@pytest.mark.parametrize("path", ["/mail/nothing", "/mail/../http", "/mail/%2e%2e", "/x"])
def test_what_is_not_there(browser, pages, path):
    sent(pages)
    assert browser.get(path).status == 404


def test_a_mail_that_is_broken_is_shown_as_far_as_possible(browser, pages):
    (pages.folder / "1").write_bytes(b"\xff\xfe not a mail")
    (pages.folder / "2").write_bytes(
        b"Subject: =?x?b?zz\nContent-Type: text/plain; charset=none\n\nna\xefve\n"
    )
    assert browser.get("/mail").status == 200
    assert browser.get("/mail/1").status == 200
    assert "na" in browser.get("/mail/2").text


MAIL = b"To: Ann <ann@a.test>, bob@a.test\nBcc: eve@a.test\nSubject: x\n\nbody\n"


@pytest.mark.parametrize(
    ("argv", "sender", "recipients"),
    [
        (["-t", "-i"], None, ["ann@a.test", "bob@a.test", "eve@a.test"]),
        (["-ti", "-f", "me@a.test"], "me@a.test", ["ann@a.test", "bob@a.test", "eve@a.test"]),
        (["-oi", "-fme@a.test", "joe@a.test"], "me@a.test", ["joe@a.test"]),
        (["-bm", "joe@a.test", "-i", "kim@a.test"], None, ["joe@a.test", "kim@a.test"]),
        (["-odb", "-r", "me@a.test", "--", "joe@a.test"], "me@a.test", ["joe@a.test"]),
    ],
)
def test_sendmail_hands_over(monkeypatch, argv, sender, recipients):
    sendmail, handed = program("mail_catcher", "sendmail"), []

    class Smtp:
        def __init__(self, host, port, timeout):
            assert (host, port) == ("127.0.0.1", 1025)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def sendmail(self, *what):
            handed.append(what)

    monkeypatch.setattr(sendmail.smtplib, "SMTP", Smtp)
    assert _run(sendmail, monkeypatch, argv) == 0
    ((from_whom, to, content),) = handed
    assert to == recipients
    assert from_whom == (sender or sendmail.getpass.getuser())
    assert (email.message_from_bytes(content)["Bcc"] is None) == ("-t" in argv or "-ti" in argv)


def test_sendmail_says_why_it_can_not(monkeypatch, capsys):
    sendmail = program("mail_catcher", "sendmail")
    assert _run(sendmail, monkeypatch, ["-i"]) == 64
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(sendmail, "PORT", taken.getsockname()[1])
        assert _run(sendmail, monkeypatch, ["joe@a.test"]) == 75
    assert "the mail catcher does not take it" in capsys.readouterr().err


def _run(sendmail, monkeypatch, argv):
    monkeypatch.setattr(
        sendmail, "sys",
        types.SimpleNamespace(stdin=types.SimpleNamespace(buffer=io.BytesIO(MAIL)),
                              stderr=sendmail.sys.stderr),
    )  # fmt: skip
    monkeypatch.setattr("sys.argv", ["sendmail", *argv])
    return sendmail.main()
