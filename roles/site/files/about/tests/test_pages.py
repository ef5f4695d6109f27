import io

import pytest
from conftest import fields, image_file, person

from about import jobs, people


def test_an_empty_site_invites(browser):
    page = browser.get("/")
    assert page.status_code == 200
    assert "Be the first" in page.text


def test_reading_needs_no_cookie(browser):
    assert "Set-Cookie" not in browser.get("/").headers


def test_a_person_is_added_and_found(browser):
    answer = browser.send("/add", **fields("ada", name="Ada Test", bio="Likes <b>looms</b>."))
    assert (answer.status_code, answer.headers["Location"]) == (303, "/people/ada")
    page = browser.get("/people/ada").text
    assert "Ada Test was added." in page
    assert "Likes &lt;b&gt;looms&lt;/b&gt;." in page
    assert "was added" not in browser.get("/people/ada").text
    assert "Ada Test" in browser.get("/").text


@pytest.mark.parametrize(
    ("query", "found"),
    [("ada", ["ada"]), ("ENGINEER", ["ada", "bob"]), ("bob test", ["bob"]), ("50%", []), ("_", [])],
)
def test_search_wants_all_words_and_takes_them_literally(browser, parts, query, found):
    people.add(parts.engine, person("ada"), by="tester")
    people.add(parts.engine, person("bob"), by="tester")
    assert browser.logins(query.replace("%", "%25")) == found


def test_search_without_result_says_so(browser):
    assert "Nobody matches" in browser.get("/?q=nobody").text


def test_json_has_all_that_the_page_shows(browser, parts):
    people.add(parts.engine, person("ada"), by="tester")
    assert browser.get("/people.json").json == {
        "query": "",
        "count": 1,
        "people": [
            {
                "login": "ada",
                "name": "Ada Test",
                "title": "Engineer",
                "bio": "Likes tests.",
                "photo": None,
                "thumbnail": None,
            }
        ],
    }


def test_the_login_stays_and_the_rest_changes(browser, parts):
    people.add(parts.engine, person("ada"), by="tester")
    browser.send("/people/ada/edit", **fields("eve", name="Ada Changed"))
    assert people.find(parts.engine, "ada").name == "Ada Changed"
    assert people.find(parts.engine, "eve") is None


def test_a_removed_person_takes_the_photo_along(browser, parts):
    browser.send("/add", photo=image_file(), **fields("ada"))
    assert list(parts.photos.photos.iterdir())
    browser.post("/people/ada/remove", browser.hidden("/people/ada/edit"))
    assert browser.logins() == []
    assert not list(parts.photos.photos.iterdir())


@pytest.mark.parametrize("path", ["/add", "/people/ada/edit", "/people/ada/remove"])
def test_nothing_is_changed_without_the_token(browser, parts, path):
    people.add(parts.engine, person("ada"), by="tester")
    browser.get("/add")
    for sent in ({}, {"csrf": "x"}, {"csrf": "ä"}):
        answer = browser.post(path, fields("ada", name="Mallory") | sent)
        assert answer.status_code in (303, 422)
    assert people.every(parts.engine) == [person("ada")]


def test_a_forged_session_cookie_is_nobody(browser):
    browser.client.set_cookie("localhost", "__Host-about", "forged.signature", secure=True)
    assert browser.get("/").status_code == 200


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("login", "", "Please fill this in."),
        ("login", "Ada", "Lower-case letters"),
        ("login", "../etc", "Lower-case letters"),
        ("name", "  \t ", "Please fill this in."),
        ("name", "x" * 101, "101 characters; 100 at most."),
        ("bio", "x" * 2001, "2001 characters; 2000 at most."),
    ],
)
def test_a_bad_field_is_named_and_the_rest_kept(browser, parts, field, value, message):
    answer = browser.send("/add", **fields("ada", title="Weaver") | {field: value})
    assert answer.status_code == 422
    assert message in answer.text
    assert 'value="Weaver"' in answer.text
    assert people.every(parts.engine) == []


def test_a_login_is_taken_once(browser, parts):
    people.add(parts.engine, person("ada"), by="tester")
    answer = browser.send("/add", photo=image_file(), **fields("ada"))
    assert answer.status_code == 422
    assert "has this login already" in answer.text
    assert not list(parts.photos.photos.iterdir())


def test_a_photo_gets_its_thumbnail_from_the_worker(browser, parts, config, monkeypatch):
    browser.send("/add", photo=image_file(), **fields("ada"))
    shown = browser.get("/people.json").json["people"][0]
    assert shown["thumbnail"] is None
    assert "being prepared" in browser.get("/people/ada").text
    assert '<span class="portrait' in browser.get("/").text

    (job,) = parts.queue.rq.jobs
    monkeypatch.setattr(jobs, "load_config", lambda: config)
    assert job.perform() is True
    shown = browser.get("/people.json").json["people"][0]
    assert shown["thumbnail"] == shown["photo"].replace("photos", "thumbnails")
    assert '<img class="portrait' in browser.get("/").text


def test_a_new_photo_replaces_the_old(browser, parts):
    browser.send("/add", photo=image_file(), **fields("ada"))
    (old,) = parts.photos.photos.iterdir()
    browser.send("/people/ada/edit", photo=image_file(colour="blue"), **fields("ada"))
    (new,) = parts.photos.photos.iterdir()
    assert new.name != old.name
    browser.send("/people/ada/edit", **fields("ada"))
    assert people.find(parts.engine, "ada").photo == new.name


def test_what_is_no_photo_is_refused(browser, parts):
    script = (io.BytesIO(b"#!/bin/sh\n"), "me.png")
    answer = browser.send("/add", photo=script, **fields("ada"))
    assert answer.status_code == 422
    assert "This is not an image" in answer.text
    assert people.every(parts.engine) == []


def test_too_large_an_upload_is_refused(browser, config):
    huge = (io.BytesIO(bytes(config.max_upload_bytes + 100_000)), "me.png")
    assert browser.send("/add", photo=huge, **fields("ada")).status_code == 413


def test_unknown_people_and_pages_are_404(browser):
    assert browser.get("/people/nobody").status_code == 404
    assert "Nobody here has this login" in browser.get("/people/nobody").text
    assert browser.get("/nothing").status_code == 404


def test_no_page_may_run_scripts(browser):
    assert "default-src 'none'" in browser.get("/").headers["Content-Security-Policy"]
    assert "script" not in browser.get("/").text


def test_the_cookie_is_for_https_and_not_for_scripts(browser):
    cookie = browser.get("/add").headers["Set-Cookie"]
    assert cookie.startswith("__Host-about=")
    for attribute in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
        assert attribute in cookie


@pytest.mark.parametrize("path", ["/", "/add", "/people/ada", "/people/ada/edit"])
def test_asking_for_the_headers_is_reading(browser, parts, path):
    people.add(parts.engine, person("ada"), by="tester")
    assert browser.client.head(path, base_url="https://localhost").status_code == 200
