"""The guest's own programs, on folders of this machine; tests/vm has them in a guest."""

import os
import subprocess
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

from devvm.system import assets

PROGRAMS = assets.overlay() / "roles" / "guest" / "files" / "usr" / "lib" / "devvm"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to others")


def program(name):
    loader = SourceFileLoader(name.replace("-", "_"), str(PROGRAMS / name))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


# The data disk


@pytest.fixture
def data(tmp_path, monkeypatch):
    """`data-disk`, with two state paths of an image, and a folder for what is mounted."""
    found = program("data-disk")
    found.mounted = []
    for folder in ("home/jane", "var/lib/db", "data"):
        (tmp_path / "image" / folder).mkdir(parents=True)
    (tmp_path / "image/home/jane/notes").write_text("mine")
    (tmp_path / "image/var/lib/db").chmod(0o700)
    found.image = [f"{tmp_path}/image/home", f"{tmp_path}/image/var/lib/db"]
    (tmp_path / "paths").write_text("".join(f"{path}\n" for path in found.image))
    monkeypatch.setattr(found, "PATHS", str(tmp_path / "paths"))
    monkeypatch.setattr(found, "TOP", str(tmp_path / "data"))
    monkeypatch.setattr(found, "SEEDS", str(tmp_path / "data/seeds.new"))
    monkeypatch.setattr(found, "find_disk", lambda: "/dev/vdb")
    monkeypatch.setattr(found, "has_grown", lambda _: False)
    monkeypatch.setattr(found, "start", lambda *argv: run(argv, found))
    monkeypatch.setattr(found, "mount", lambda source, target, *_: found.mounted.append(target))
    (tmp_path / "data").mkdir()
    return found


def run(argv, found):
    return 0 if argv[0] == "fsck.ext4" else subprocess.run(argv, check=False).returncode


def test_a_path_is_seeded_once_from_the_image(data):
    assert data.main() == 0
    assert data.mounted == [data.TOP, *data.image]
    home, db = (Path(data.state_of(path)) for path in data.image)
    assert (home / "jane/notes").read_text() == "mine"
    assert db.stat().st_mode & 0o777 == 0o700
    (home / "jane/notes").unlink()
    assert data.main() == 0
    assert not (home / "jane/notes").exists(), "what a person deleted does not come back"
    assert {path.name for path in Path(data.TOP).iterdir()} == {"owners", "state"}


def test_what_a_killed_seed_left_is_made_anew(data):
    Path(data.SEEDS, "half").mkdir(parents=True)
    assert data.main() == 0
    assert Path(data.state_of(data.image[1])).is_dir()
    assert not Path(data.SEEDS).exists()


def test_a_later_release_brings_a_path_of_its_own(data, tmp_path):
    assert data.main() == 0
    (tmp_path / "image/srv").mkdir()
    (tmp_path / "image/srv/new").write_text("x")
    with Path(data.PATHS).open("a") as file:
        file.write(f"{tmp_path}/image/srv\n")
    assert data.main() == 0
    assert Path(data.state_of(f"{tmp_path}/image/srv"), "new").is_file()


def test_a_disk_that_a_person_has_to_look_at_ends_it(data, monkeypatch):
    monkeypatch.setattr(data, "start", lambda *_: 4)
    assert data.main() == 4
    assert data.mounted == []


def test_without_a_disk_nothing_is_done(data, monkeypatch):
    monkeypatch.setattr(data, "find_disk", lambda: None)
    assert data.main() == 0
    assert list(Path(data.TOP).iterdir()) == []


@needs_root
def test_files_follow_their_owners_name(data):
    """The image before had another number for the account, and for the group."""
    assert data.main() == 0
    path = data.image[0]
    state = Path(data.state_of(path))
    for file in (state, state / "jane/notes"):
        os.chown(file, 4242, 4343)
    os.chown(state / "jane", 77, 77)
    data.record(path, "games 4242 games 4343")
    assert data.main() == 0
    assert [(file.owner(), file.group()) for file in (state, state / "jane/notes")] == [
        ("games", "games")
    ] * 2
    assert (state / "jane").stat().st_uid == 77
    assert data.main() == 0
    assert Path(data.owner_of(path)).read_text().strip() == data.describe(str(state))


@needs_root
def test_a_path_that_somebody_gave_away_stays_theirs(data):
    assert data.main() == 0
    state = Path(data.state_of(data.image[0]))
    os.chown(state, 2000, 2000)
    assert data.main() == 0
    assert (state.stat().st_uid, state.stat().st_gid) == (2000, 2000)


def test_a_disk_that_has_grown_is_seen(tmp_path):
    image = tmp_path / "disk"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-F", image, "16M"], check=True)
    has_grown = program("data-disk").has_grown
    assert not has_grown(str(image))
    os.truncate(image, 24 * 2**20)
    assert has_grown(str(image))


# The lease


@pytest.fixture
def lease(tmp_path, monkeypatch):
    found = program("lease")
    (tmp_path / "leases").mkdir()
    monkeypatch.setattr(found, "LEASES", str(tmp_path / "leases"))
    monkeypatch.setattr(found, "SOURCES", str(tmp_path / "chrony" / "devvm.sources"))
    found.named = []
    monkeypatch.setattr(found, "name_machine", lambda *names: found.named.append(names))
    return found


def test_the_lease_names_the_machine_and_its_time_servers(lease, tmp_path):
    (tmp_path / "leases/2").write_text(
        "# This is private data. Do not parse.\nADDRESS=192.0.2.7\nHOSTNAME=dev1.devvm.test\n"
        "DOMAINNAME=devvm.test\nNTP=192.0.2.1 192.0.2.2\n"
    )
    lease.main()
    assert lease.named == [("dev1", "devvm.test")]
    assert Path(lease.SOURCES).read_text() == "server 192.0.2.1 iburst\nserver 192.0.2.2 iburst\n"


def test_a_lease_is_input_from_the_network(lease, tmp_path):
    (tmp_path / "leases/2").write_text("HOSTNAME=a;reboot\nNTP=$(reboot) ::1 a\\nb\n")
    lease.main()
    assert lease.named == []
    assert Path(lease.SOURCES).read_text() == "server ::1 iburst\n"


def test_without_a_lease_there_is_nothing_to_apply(lease):
    lease.main()
    assert lease.named == []
