"""Configuration, secret key, revision, fixtures, queue."""

import multiprocessing
import shutil

import pytest
from conftest import person
from PIL import Image

from about import fixtures, people
from about.cli import main
from about.config import Config, ConfigError, load_config, secret_key
from about.revision import CODE, ROOT, code_revision


def test_without_a_file_there_are_defaults(monkeypatch, tmp_path):
    for name in ("ABOUT_CONFIG", "ABOUT_DATABASE_URL", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("about.config.DEFAULT_FILE", tmp_path / "none.toml")
    assert load_config() == Config()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('list_cache_seconds = "60"', "must be of type int"),
        ("max_upload_bytes = true", "must be of type int"),
        ("x = ", "Invalid value"),
    ],
)
def test_a_bad_configuration_is_named(tmp_path, text, complaint):
    file = tmp_path / "about.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        load_config(file)


def test_another_database_can_be_named(monkeypatch, tmp_path):
    file = tmp_path / "about.toml"
    file.write_text('database_url = "sqlite:///one"\nnamespace = "x"')
    monkeypatch.setenv("ABOUT_DATABASE_URL", "sqlite:///other")
    assert load_config(file) == Config(database_url="sqlite:///other", namespace="x")


def test_the_password_of_the_database_is_a_credential(monkeypatch, tmp_path, caplog):
    file = tmp_path / "about.toml"
    file.write_text('database_url = "mysql+pymysql://about@db/about"\ndatabase_password = "no"')
    secret = "se/cr@t"  # noqa: S105
    (tmp_path / "database_password").write_text(f"{secret}\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    config = load_config(file)
    assert people.connect(config).url.password == secret
    assert "ignored the unknown key database_password" in caplog.text
    assert secret not in repr(config)


def test_the_configuration_of_newer_code_can_be_read(tmp_path, caplog):
    file = tmp_path / "about.toml"
    file.write_text('colour = 1\nnamespace = "x"')
    assert load_config(file) == Config(namespace="x")
    assert "colour" in caplog.text


def test_a_configuration_that_was_asked_for_must_exist(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("ABOUT_CONFIG", str(tmp_path / "none.toml"))
    assert main(["revision"]) == 1
    assert "no such file" in capsys.readouterr().err


def test_processes_that_start_together_share_one_secret_key(tmp_path):
    file = tmp_path / "secret_key"
    with multiprocessing.Pool(8) as pool:
        keys = pool.map(secret_key, [file] * 32)
    assert len(set(keys)) == 1
    assert len(keys[0]) == 32
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    assert list(tmp_path.iterdir()) == [file]


def test_the_revision_follows_the_code_and_nothing_else(tmp_path):
    for name in CODE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name)
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    before = code_revision(tmp_path)
    assert before == code_revision()
    (tmp_path / "about/__pycache__").mkdir(exist_ok=True)
    (tmp_path / "about/__pycache__/app.pyc").write_bytes(b"1")
    (tmp_path / "about/.app.py.swp").write_bytes(b"1")
    (tmp_path / "REVISION").write_text("1")
    assert code_revision(tmp_path) == before
    with (tmp_path / "about/static/about.css").open("a") as stream:
        stream.write("\n")
    assert code_revision(tmp_path) != before


def test_fixtures_fill_an_empty_site_only(parts):
    added = fixtures.load(parts.engine, parts.photos, parts.queue)
    assert added == len(people.every(parts.engine)) == len(parts.queue.rq) > 5
    assert fixtures.load(parts.engine, parts.photos, parts.queue) == 0


def test_fixtures_do_not_come_back(parts):
    people.add(parts.engine, person("ada"), by="tester")
    assert fixtures.load(parts.engine, parts.photos, parts.queue) == 0
    assert not list(parts.photos.photos.iterdir())


def test_portraits_are_drawn():
    portrait = fixtures.draw_portrait("#ffffff", "#c98a62", "#3b2320", "#1f5f6b", "long")
    assert portrait.size == (fixtures.SIDE, fixtures.SIDE)
    assert isinstance(portrait, Image.Image)
