"""The application with a database and a Redis of its own, and the machine's memcached.

Every test has its own namespace, so tests, and the site that the machine
serves, see nothing of each other.
"""

import dataclasses
import io
import re
import secrets
import subprocess
import time

import pytest
import redis
from PIL import Image

from about import people
from about.app import create_app
from about.config import Config
from about.people import Person

#: A port on which nobody listens.
NOWHERE = "127.0.0.1:1"


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory):
    """A Redis that keeps nothing; only the site's account may connect to the machine's."""
    folder = tmp_path_factory.mktemp("redis")
    url = f"unix://{folder}/socket?db=0"
    command = ["redis-server", "--port", "0", "--unixsocket", f"{folder}/socket", "--save", ""]
    with (folder / "log").open("w") as log, redis.Redis.from_url(url) as connection:
        server = subprocess.Popen(command, cwd=folder, stdout=log)  # noqa: S603
        try:
            for _ in range(200):
                try:
                    connection.ping()
                    break
                except redis.ConnectionError:
                    time.sleep(0.05)
            yield url
        finally:
            server.terminate()
            server.wait()


@pytest.fixture
def config(tmp_path, redis_url):
    return Config(
        database_url=f"sqlite:///{tmp_path}/about.db",
        redis_url=redis_url,
        namespace=f"about-test-{secrets.token_hex(6)}",
        state_dir=str(tmp_path),
    )


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
