import dataclasses

from conftest import NOWHERE, Browser, fields, person, without

from about import people
from about.cache import ListCache


def test_the_list_is_read_once(browser):
    assert [browser.get("/").headers["About-Cache"] for _ in range(3)] == ["miss", "hit", "hit"]
    assert browser.get("/people.json").headers["About-Cache"] == "hit"


def test_a_change_is_seen_at_once(browser):
    assert browser.logins() == []
    browser.send("/add", **fields("ada"))
    assert browser.logins() == ["ada"]
    browser.send("/people/ada/edit", **fields("ada", name="Ada Changed"))
    assert "Ada Changed" in browser.get("/").text


def test_a_slow_reader_cannot_store_stale_people(config):
    reader, writer = ListCache(config), ListCache(config)
    _, generation = reader.get()
    before_the_change = ["old"]
    writer.invalidate()
    reader.put(generation, before_the_change)
    assert writer.get()[0] is None


def test_two_first_readers_agree_on_the_generation(config):
    assert ListCache(config).get()[1] == ListCache(config).get()[1]


def test_without_memcached_the_site_works(config):
    app = without(config, memcached=NOWHERE)
    browser = Browser(app.test_client())
    people.add(app.extensions["about"].engine, person("ada"), by="tester")
    assert browser.logins() == ["ada"]
    browser.send("/add", **fields("bob"))
    assert browser.logins() == ["ada", "bob"]


def test_namespaces_do_not_mix(config):
    mine = ListCache(config)
    _, generation = mine.get()
    mine.put(generation, ["mine"])
    other = ListCache(dataclasses.replace(config, namespace=f"{config.namespace}-other"))
    assert other.get()[0] is None
    assert mine.get()[0] == ["mine"]
