"""db export, import, shell: what they ask, print and refuse."""

import gzip
from pathlib import Path

import pytest

from tests.unit.cli.documented import documented_for


@pytest.fixture
def dump(tmp_path):
    file = tmp_path / "dump.sql"
    file.write_text("Ann Lee\n")
    return file


def test_export(cli, dev, tmp_path):
    file = tmp_path / "out.sql.gz"
    done = cli("db", "export", "dev001", str(file), "--json")
    assert done.code == 0, done.stdout
    assert set(done.json) == documented_for("db export")
    assert done.json["file"] == str(file)
    assert done.json["size_bytes"] == file.stat().st_size
    again = cli("db", "export", "dev001", str(file))
    assert (again.code, "exists already" in again.stderr) == (2, True)
    told = cli("db", "export", "dev001", str(tmp_path / "b.sql")).stdout
    assert told == f"The data of MariaDB in dev001 is in {tmp_path / 'b.sql'}\n"


def test_export_to_standard_output(cli, dev, monkeypatch, tmp_path):
    with (tmp_path / "out").open("w+") as out:
        monkeypatch.setattr("sys.stdout.fileno", out.fileno, raising=False)
        done = cli("db", "export", "dev001", "-")
        assert (done.code, done.stdout) == (0, "")
        assert (tmp_path / "out").read_text() == dev.shell.database
        refused = cli("db", "export", "dev001", "-", "--json")
    assert refused.code == 2
    assert "can't have both" in refused.json["error"]["brief"]


def test_import(cli, dev, dump):
    done = cli("db", "import", "dev001", str(dump), "--yes", "--json")
    assert done.code == 0, done.stdout
    assert set(done.json) == documented_for("db import")
    assert done.json["sanitized"] is True
    assert dev.shell.database == "Person 1\n"
    told = cli("db", "import", "dev001", str(dump), "--yes", "--no-sanitize")
    assert told.stdout == f"MariaDB in dev001 has the data of {dump}\n"
    assert "To go back to what was in it: devvm db import dev001 /" in told.stderr
    assert dev.shell.database == "Ann Lee\n"


def test_import_from_standard_input(cli, dev, dump, monkeypatch):
    with dump.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert cli("db", "import", "dev001", "-").code == 2  # nobody to ask
        assert cli("db", "import", "dev001", "-", "--yes", "-d", "mariadb").code == 0
    assert dev.shell.database == "Person 1\n"


def test_import_asks_first(cli, dev, dump):
    before = dev.shell.database
    refused = cli("db", "import", "dev001", str(dump), "--no-sanitize")
    assert refused.code == 2
    assert "replaces all data of MariaDB in dev001, which is saved first" in refused.stderr
    assert f"Next: devvm db import dev001 {dump} --no-sanitize --yes" in refused.stderr
    assert dev.shell.database == before


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("none.sql", None, "there is no file"),
        ("a.sql.gz", b"SELECT 1;", "a.sql.gz is not compressed with gzip"),
        ("a.sql", gzip.compress(b"SELECT 1;"), "a.sql is compressed with gzip"),
        ("a.sql.zst", b"x", "zstd -dc"),
    ],
)
def test_a_file_that_is_not_what_it_should_be(cli, dev, tmp_path, name, content, why):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = cli("db", "import", "dev001", str(tmp_path / name), "--yes")
    assert done.code == 2
    assert why in done.stderr
    assert cli("db", "import", "dev001", str(tmp_path), "--yes").code == 2


def test_files_that_can_not_be_written(cli, dev, tmp_path):
    done = cli("db", "export", "dev001", str(tmp_path / "no" / "a.sql"))
    assert (done.code, "doesn't exist" in done.stderr) == (2, True)
    done = cli("db", "export", "dev001", "a.sql.zst")
    assert "use .gz, or: devvm db export dev001 - | zstd >a.sql.zst" in done.stderr
    assert not Path("a.sql.zst").exists()


def test_a_shell_ends_with_its_own_code(cli, dev):
    assert cli("db", "shell", "dev001").code == 7
    assert cli("db", "shell", "dev001", "--database", "redis").code == 2
