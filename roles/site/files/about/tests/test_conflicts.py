"""Two people who edit the same person."""

import re

import pytest
from conftest import Browser, fields, image_file, person

from about import people
from about.people import Changed

EDIT = "/people/ada/edit"


@pytest.fixture
def opened(browser, parts):
    """What a form sends that was opened before anybody else changed ada."""
    people.add(parts.engine, person("ada"), by="tester")
    return browser.hidden(EDIT)


@pytest.fixture
def other(app):
    return Browser(app.test_client())


def test_the_second_of_two_writers_chooses(browser, other, opened, parts):
    other.send(EDIT, **fields("ada", title="Chief weaver"))
    mine = fields("ada", title="Weaver\r\n", bio="First line.\r\nSecond line.")
    answer = browser.post(EDIT, opened | mine)
    assert answer.status_code == 409
    assert re.findall(r'type="radio" name="(\w+)" value="([^"]*)"', answer.text) == [
        ("title", "Chief weaver"),
        ("title", "Weaver"),
        ("bio", "Likes tests."),
        ("bio", "First line.\nSecond line."),
    ]
    assert people.find(parts.engine, "ada").title == "Chief weaver"

    hidden = browser.hidden_of(answer)
    assert hidden.keys() == {"csrf", "version", "name"}
    chosen = {"title": "Chief weaver", "bio": "First line.\r\nSecond line."}
    assert browser.post(EDIT, hidden | chosen).status_code == 303
    stored = people.find(parts.engine, "ada")
    assert (stored.title, stored.bio) == ("Chief weaver", "First line.\nSecond line.")


def test_who_does_not_choose_is_asked_again(browser, other, opened, parts):
    other.send(EDIT, **fields("ada", bio="Likes looms."))
    answer = browser.post(EDIT, opened | fields("ada", bio="Likes threads."))
    hidden = browser.hidden_of(answer)
    assert browser.post(EDIT, hidden).status_code == 422
    assert people.find(parts.engine, "ada").bio == "Likes looms."


def test_a_third_change_meanwhile_is_a_conflict_again(browser, other, opened):
    other.send(EDIT, **fields("ada", title="Weaver"))
    answer = browser.post(EDIT, opened | fields("ada", title="Spinner"))
    hidden = browser.hidden_of(answer)
    other.send(EDIT, **fields("ada", title="Dyer"))
    answer = browser.post(EDIT, hidden | {"title": "Spinner"})
    assert answer.status_code == 409
    assert 'value="Dyer"' in answer.text


def test_the_same_change_is_no_conflict(browser, other, opened):
    other.send(EDIT, **fields("ada", title="Weaver"))
    assert browser.post(EDIT, opened | fields("ada", title="Weaver")).status_code == 303


def test_a_photo_is_not_lost_silently(browser, other, opened, parts):
    other.send(EDIT, photo=image_file(), **fields("ada"))
    (theirs,) = parts.photos.photos.iterdir()
    answer = browser.post(EDIT, opened | fields("ada") | {"photo": image_file(colour="blue")})
    assert answer.status_code == 409
    assert "Please choose yours again" in answer.text
    assert list(parts.photos.photos.iterdir()) == [theirs]


def test_a_bad_field_does_not_hide_the_conflict(browser, other, opened):
    other.send(EDIT, **fields("ada", title="Weaver"))
    refused = browser.post(EDIT, opened | fields("ada", name=""))
    assert refused.status_code == 422
    assert f'name="version" value="{opened["version"]}"' in refused.text


def test_whoever_was_removed_meanwhile_can_be_added_again(browser, other, opened):
    other.post("/people/ada/remove", other.hidden(EDIT))
    answer = browser.post(EDIT, opened | fields("ada", title="Weaver"))
    assert answer.status_code == 409
    assert "was removed meanwhile" in answer.text
    assert 'action="/add"' in answer.text
    hidden = browser.hidden_of(answer)
    assert browser.post("/add", hidden | fields("ada", title="Weaver")).status_code == 303


def test_an_old_form_does_not_match_somebody_who_was_added_anew(browser, other, opened):
    other.post("/people/ada/remove", other.hidden(EDIT))
    other.send("/add", **fields("ada", title="Somebody else"))
    assert browser.post(EDIT, opened | fields("ada", title="Weaver")).status_code == 409


def test_nobody_is_removed_unseen(browser, other, opened):
    other.send(EDIT, **fields("ada", title="Weaver"))
    answer = browser.post("/people/ada/remove", opened)
    assert "was changed meanwhile" in browser.get(answer.headers["Location"]).text
    assert browser.logins() == ["ada"]


def test_writers_at_the_same_moment(parts):
    """Both have read before either writes: the database decides."""
    people.add(parts.engine, person("ada"), by="tester")
    version = people.find(parts.engine, "ada").version
    people.change(parts.engine, person("ada", title="Weaver"), version, by="tester")
    with pytest.raises(Changed):
        people.change(parts.engine, person("ada", title="Spinner"), version, by="tester")
    with pytest.raises(Changed):
        people.remove(parts.engine, "ada", version)
    assert people.find(parts.engine, "ada").title == "Weaver"
