"""The application with a database of its own and the machine's Redis and memcached.

Every test has its own namespace there, so tests, and the site that the machine
serves, see nothing of each other.
"""

import dataclasses
import io
import re
import secrets

import pytest
from PIL import Image

from about import people, queue
from about.app import create_app
from about.config import Config
from about.people import Person

#: A port on which nobody listens.
NOWHERE = "127.0.0.1:1"


@pytest.fixture
def config(tmp_path):
    config = Config(
        database_url=f"sqlite:///{tmp_path}/about.db",
        namespace=f"about-test-{secrets.token_hex(6)}",
        state_dir=str(tmp_path),
    )
    yield config
    connection = queue.connect(config)
    queue.JobQueue(connection, config.namespace).rq.delete(delete_jobs=True)
    for key in connection.scan_iter(f"{config.namespace}:*"):
        connection.delete(key)


@pytest.fixture
def app(config):
    app = create_app(config)
    people.metadata.create_all(app.extensions["about"].engine)
    app.config["TESTING"] = True
    return app


@pytest.fixture
def parts(app):
    return app.extensions["about"]


@pytest.fixture
def browser(app):
    return Browser(app.test_client())


class Browser:
    """A test client that speaks HTTPS and sends forms with their token."""

    def __init__(self, client):
        self.client = client

    def get(self, path):
        return self.client.get(path, base_url="https://localhost")

    def post(self, path, data):
        return self.client.post(path, data=data, base_url="https://localhost")

    def send(self, path, **fields):
        page = self.get(path).text
        token = re.search(r'name="csrf" value="([^"]+)"', page).group(1)
        return self.post(path, {"csrf": token} | fields)

    def logins(self, query=""):
        return [p["login"] for p in self.get(f"/people.json?q={query}").json["people"]]


def person(login="ada", **changes):
    known = Person(login=login, name=f"{login.title()} Test", title="Engineer", bio="Likes tests.")
    return dataclasses.replace(known, **changes)


def fields(login="ada", **changes):
    values = dataclasses.asdict(person(login))
    del values["photo"]
    return values | changes


def image_file(kind="PNG", size=(60, 40), mode="RGB", colour="red", name="me.png", **options):
    stream = io.BytesIO()
    Image.new(mode, size, colour).save(stream, kind, **options)
    stream.seek(0)
    return stream, name


def without(config, **changes):
    """The same application with dependencies that are not there."""
    app = create_app(dataclasses.replace(config, **changes))
    people.metadata.create_all(app.extensions["about"].engine)
    return app
