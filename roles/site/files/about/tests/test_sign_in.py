"""Who may change something. The web server, which asks for the password, is not here."""

import logging
from urllib.parse import unquote

import pytest
from conftest import Browser, fields, image_file, person, without

from about import people

EDIT = "/people/ada/edit"


@pytest.fixture
def app(config):
    """The site as in production: nobody is signed in by default."""
    app = without(config, default_user="")
    people.add(app.extensions["about"].engine, person("ada"), by="tester")
    return app


def sign_in(browser, user="bob", path="/login"):
    """What the web server passes on when somebody gave their password."""
    headers = {} if user is None else {"X-Remote-User": user}
    return browser.client.get(path, headers=headers, base_url="https://localhost")


def test_everybody_may_read(browser):
    for path in ("/", "/people/ada", "/people.json"):
        answer = browser.get(path)
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers
    assert "Sign in" in browser.get("/").text


@pytest.mark.parametrize("path", ["/add", EDIT])
def test_who_wants_to_edit_signs_in_first(browser, path):
    answer = browser.get(path)
    assert (answer.status_code, unquote(answer.location)) == (303, f"/login?next={path}")
    answer = sign_in(browser, path=answer.location)
    assert (answer.status_code, answer.location) == (303, path)
    assert browser.get(path).status_code == 200


def test_nothing_is_changed_by_who_is_not_signed_in(browser, parts):
    for path in ("/add", EDIT):
        answer = browser.post(path, fields("ada", name="Mallory") | {"photo": image_file()})
        assert answer.status_code == 422
        assert "You are no longer signed in" in answer.text
        assert 'value="Mallory"' in answer.text
    removed = browser.post("/people/ada/remove", {})
    assert unquote(removed.location) == f"/login?next={EDIT}"
    assert people.every(parts.engine) == [person("ada")]
    assert not list(parts.photos.photos.iterdir())


def test_the_header_counts_only_where_the_web_server_asked(browser):
    headers = {"X-Remote-User": "mallory"}
    answer = browser.client.get("/add", headers=headers, base_url="https://localhost")
    assert answer.status_code == 303
    csrf = {"csrf": browser.hidden_of(browser.post("/add", fields("eve")))["csrf"]}
    answer = browser.client.post(
        "/add", data=fields("eve") | csrf, headers=headers, base_url="https://localhost"
    )
    assert answer.status_code == 422
    assert browser.logins() == ["ada"]


@pytest.mark.parametrize("user", [None, "", "x" * 256])
def test_without_a_name_nobody_is_signed_in(browser, user):
    assert sign_in(browser, user).status_code == 403
    assert browser.get("/add").status_code == 303


def test_another_header_can_say_the_name(config):
    app = without(config, default_user="", user_header="X-Forwarded-User")
    browser = Browser(app.test_client())
    assert sign_in(browser).status_code == 403
    headers = {"X-Forwarded-User": "bob"}
    browser.client.get("/login", headers=headers, base_url="https://localhost")
    assert browser.get("/add").status_code == 200


def test_who_changed_something_is_recorded(browser, parts, caplog):
    caplog.set_level(logging.INFO)
    sign_in(browser)
    browser.send(EDIT, **fields("ada", title="Weaver"))
    assert people.find(parts.engine, "ada").updated_by == "bob"
    assert "Changed by bob" in browser.get("/people/ada").text
    browser.send("/add", **fields("eve"))
    assert people.find(parts.engine, "eve").updated_by == "bob"
    browser.post("/people/eve/remove", browser.hidden("/people/eve/edit"))
    said = [record.getMessage() for record in caplog.records if record.name == "about.views"]
    assert said == ["bob signed in", "bob changed ada", "bob added eve", "bob removed eve"]


def test_who_signs_out_can_only_read(browser):
    sign_in(browser)
    assert "Sign out" in browser.get("/").text
    browser.post("/logout", {"csrf": "guessed"})
    assert "Sign out" in browser.get("/").text
    browser.post("/logout", browser.hidden("/"))
    assert "You are signed out" in browser.get("/").text
    assert browser.get("/add").status_code == 303


def test_a_session_gets_another_name_with_its_user(app):
    planted = Browser(app.test_client())
    planted.post("/add", fields("eve"))  # has a session now, as each form does
    victim = Browser(app.test_client())
    (cookie,) = planted.client.cookie_jar
    victim.client.set_cookie("localhost", cookie.name, cookie.value, secure=True)
    sign_in(victim)
    assert victim.get("/add").status_code == 200
    assert planted.get("/add").status_code == 303


def test_a_session_ends_even_if_it_is_used(browser, parts, config):
    sign_in(browser)
    (key,) = parts.queue.connection.scan_iter(f"{config.namespace}:session:*")
    parts.queue.connection.expire(key, 60)
    browser.send(EDIT, **fields("ada", title="Weaver"))
    assert 0 < parts.queue.connection.ttl(key) <= 60
    parts.queue.connection.delete(key)
    assert browser.get("/add").status_code == 303


@pytest.mark.parametrize(
    "after",
    ["https://example.com/", "//example.com", "/\\example.com", "/%09/example.com", "/%0d%0aX: y"],
)
def test_signing_in_leads_to_no_other_site(browser, after):
    assert sign_in(browser, path=f"/login?next={after}").location == "/"


def test_on_a_machine_of_ones_own_nobody_signs_in(config):
    browser = Browser(without(config, default_user="engineer").test_client())
    assert "Sign in" not in browser.get("/").text
    browser.send("/add", **fields("eve"))
    assert "Changed by engineer" in browser.get("/people/eve").text
