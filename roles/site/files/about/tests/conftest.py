"""The application with a MariaDB and a Redis of its own, and the machine's memcached.

The servers are the machine's programs with data of the tests' own, so they need
no account and can't touch the site's. Every test has a database there, and a
namespace in Redis and memcached: tests, and the site that the machine serves,
see nothing of each other.
"""

import dataclasses
import io
import re
import secrets
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pymysql
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
        server = subprocess.Popen(command, cwd=folder, stdout=log)
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


@pytest.fixture(scope="session")
def database_server():
    """The socket of a running MariaDB without any data."""
    with tempfile.TemporaryDirectory(prefix="about-test-") as folder:
        data, socket = f"--datadir={folder}/data", f"{folder}/socket"
        # Root's is the account without a password, and only the owner gets into the folder.
        options = ["--no-defaults", data, "--auth-root-authentication-method=normal"]
        command = ["mariadb-install-db", *options, "--skip-test-db", "--force"]  # without DNS, too
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stdout + made.stderr
        # It ends with the tests, even if they are killed.
        command = ["setpriv", "--pdeathsig", "TERM", "/usr/sbin/mariadbd", "--no-defaults", data]
        command += [f"--socket={socket}", f"--pid-file={folder}/pid", "--skip-networking"]
        command += ["--user=root", "--max-connections=1000", "--innodb-flush-log-at-trx-commit=0"]
        with Path(folder, "log").open("w+") as log, subprocess.Popen(command, stderr=log) as server:
            try:
                _wait_for(server, socket, log)
                yield socket
            finally:
                server.terminate()


def _wait_for(server, socket, log, seconds=60):
    end = time.monotonic() + seconds
    while True:
        try:
            return pymysql.connect(unix_socket=socket, user="root").close()
        except pymysql.OperationalError:
            if server.poll() is not None or time.monotonic() > end:
                log.seek(0)
                pytest.exit(f"MariaDB does not start:\n{log.read()}", returncode=1)
            time.sleep(0.1)


@pytest.fixture
def database_url(database_server):
    name = f"test_{secrets.token_hex(6)}"
    with closing(pymysql.connect(unix_socket=database_server, user="root")) as connection:
        connection.cursor().execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    return f"mysql+pymysql://root@localhost/{name}?unix_socket={database_server}&charset=utf8mb4"


@pytest.fixture
def config(tmp_path, database_url, redis_url):
    return Config(
        database_url=database_url,
        redis_url=redis_url,
        namespace=f"about-test-{secrets.token_hex(6)}",
        state_dir=str(tmp_path),
        default_user="tester",
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
        return self.post(path, self.hidden(path) | fields)

    def hidden(self, path):
        """What the form of a page sends by itself."""
        return self.hidden_of(self.get(path))

    @staticmethod
    def hidden_of(answer):
        return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', answer.text))

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
