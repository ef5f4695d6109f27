"""Where a box's packages come from, with real apt and a signed mirror that moves.

A mirror of a few made-up packages stands in for Debian's. No box is built, but every step before
mmdebstrap runs.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pytest

from devvm.adapters.packages.apt import Apt, Repository
from devvm.adapters.packages.flat_repository import FlatRepositories
from devvm.adapters.packages.package_cache import PackageCache
from devvm.config import Config
from devvm.domain import package_set
from devvm.domain.errors import HostNotReadyError, OperationError, UsageError
from devvm.domain.package_set import Package, PackageSet
from devvm.domain.release import identity
from devvm.operations.box import packages as box_packages
from devvm.operations.core.progress import Run
from devvm.system import assets
from devvm.system.state import State
from tests.support import debs
from tests.support.mirror import Mirror, Served
from tests.support.reference_stack import REFERENCE
from tests.support.stand_ins import Reporter

pytestmark = pytest.mark.container

#: Nothing listens there.
DEAD = "http://127.0.0.1:9/debian"
RELEASE_HASH = "1a2b3c4d5e6f"


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> dict[str, Path]:
    """A very small Debian, by package; newer versions have a `+`."""
    folder = tmp_path_factory.mktemp("debs")
    required = {"Priority": "required"}
    return {
        "base": debs.make(folder, "base", fields={"Essential": "yes", **required}),
        "shell": debs.make(folder, "shell", fields=required),
        "lib": debs.make(folder, "lib", "1:1.0-1~deb12u1"),
        "lib+": debs.make(folder, "lib", "1:1.0-1~deb12u2"),
        "web": debs.make(folder, "web", "2.0+dfsg-1", depends="lib (>= 1:1.0)"),
        "other": debs.make(folder, "other"),
    }


@dataclass
class Day:
    """A mirror, devvm's access to it, and a host that builds from it."""

    mirror: Mirror
    served: Served
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def apt(self, *more: str, main: str = "") -> Apt:
        """apt with further mirrors of the main archive, or another first one."""
        mirrors = {
            "main": [main or self.served.url, *more],
            "security": [self.served.security_url],
        }
        return Apt(mirrors, self.mirror.keyring)

    def resolve(self, *names: str) -> PackageSet:
        return self.apt().resolve(names or ("web",), detail=quiet, log=self.log)

    def host(self, apt: Apt, *declared: str) -> Host:
        state = State(self.folder / "state")
        state.ensure()
        tools = SimpleNamespace(
            archive=apt,
            cache=PackageCache(state),
            repositories=FlatRepositories(),
            declarations=SimpleNamespace(packages=lambda: declared or ("web",)),
        )
        services = SimpleNamespace(state=state, config=Config())
        return Host(services, tools)


@dataclass
class Host:
    services: SimpleNamespace
    tools: SimpleNamespace

    def repository(self, packages: PackageSet, folder: Path) -> Path:
        """Create the repository that mmdebstrap would use."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self.tools.cache.remember(RELEASE_HASH, packages)
        run = Run("box build", Reporter())
        box_packages.repository(self.services, self.tools, run, packages, folder)
        return folder

    @property
    def debs(self) -> list[Path]:
        return sorted((self.services.state.root / "packages" / "debs").iterdir())


@pytest.fixture
def day(tmp_path, packages) -> Iterator[Day]:
    mirror = Mirror(tmp_path / "mirror")
    mirror.publish(bookworm=[packages[name] for name in ("base", "shell", "lib", "web", "other")])
    with mirror.served() as served:
        yield Day(mirror, served, tmp_path)


def quiet(text: str) -> None:
    pass


def test_a_box_gets_what_is_essential_required_and_declared_and_what_that_needs(day, packages):
    found = day.resolve()
    assert found.versions == {
        "base": "1", "lib": "1:1.0-1~deb12u1", "shell": "1", "web": "2.0+dfsg-1",
    }  # fmt: skip
    by_name = {package.name: package for package in found}
    lib = by_name["lib"]
    assert (lib.architecture, lib.archive, lib.size) == (
        "all", "main", packages["lib"].stat().st_size,
    )  # fmt: skip
    assert lib.path == "pool/bookworm/lib_1.0-1~deb12u1_all.deb"
    assert {package.name for package in found if package.required} == {"shell"}
    assert found == package_set.parse(found.text(), "packages.lock")
    assert any(note.startswith("bookworm-security of ") for note in found.notes)
    assert "127.0.0.1" not in found.text()


def test_a_security_update_is_another_set_and_comes_from_its_own_archive(day, packages):
    before = day.resolve()
    day.mirror.move(security=[packages["lib+"]])
    after = day.resolve()
    assert after.sha256 != before.sha256
    lib = next(package for package in after if package.name == "lib")
    assert (lib.version, lib.archive) == ("1:1.0-1~deb12u2", "security")
    repository = day.host(day.apt()).repository(after, day.folder / "repository")
    assert (repository / "lib_1%3a1.0-1~deb12u2_all.deb").exists()


def test_a_mirror_that_is_signed_by_somebody_else_is_not_trusted(day, tmp_path):
    other = Mirror(tmp_path / "other")
    mirrors = {"main": [day.served.url], "security": [day.served.security_url]}
    with pytest.raises(OperationError, match="can't be trusted") as caught:
        Apt(mirrors, other.keyring).resolve(["web"], detail=quiet, log=day.log)
    assert "box.keyring" in caught.value.resolution
    assert day.served.url in caught.value.details
    with pytest.raises(HostNotReadyError, match="can't be read"):
        Apt(mirrors, tmp_path / "none.gpg").resolve(["web"], detail=quiet, log=day.log)


def test_a_mirror_that_stands_still_is_not_trusted_and_the_clock_may_be_wrong(day, packages):
    """Its lists are valid until some day; a clock far ahead looks the same as an old mirror."""
    Mirror(day.folder / "mirror", valid_for=timedelta(days=-400)).publish(
        bookworm=packages.values()
    )
    with pytest.raises(OperationError, match="can't be trusted") as caught:
        day.resolve()
    assert "is expired (invalid since 400d" in caught.value.details
    assert "that this host's clock is right" in caught.value.resolution


def test_a_package_that_does_not_exist_is_named_with_where_to_look(day):
    with pytest.raises(OperationError, match="Debian bookworm has no package wbe") as caught:
        day.resolve("web", "wbe")
    assert caught.value.resolution == "grep -rn wbe roles/*/vars/main.yml"


def test_a_mirror_that_is_down_is_named(day):
    with pytest.raises(OperationError, match="mirror can't be used") as caught:
        day.apt(main=DEAD).resolve(["web"], detail=quiet, log=day.log)
    assert DEAD in caught.value.details
    assert "Connection refused" in caught.value.details


def test_a_version_that_is_gone_needs_another_mirror_and_then_none_any_more(day, packages):
    """The life of a lock: written, superseded, downloaded from an archive, then from the cache."""
    locked = day.resolve()
    day.mirror.move(bookworm=[packages["lib+"]])
    repository = day.folder / "repository"
    with pytest.raises(OperationError) as caught:
        day.host(day.apt()).repository(locked, repository)
    assert caught.value.brief == "1 package of the box can't be downloaded: lib 1:1.0-1~deb12u1"
    assert "--newest" in caught.value.resolution

    archive = Mirror(day.folder / "archive")
    archive.publish(bookworm=[packages["lib"]])
    with archive.served() as keeps:
        host = day.host(day.apt(keeps.url))
        host.repository(locked, repository)
        assert [unquote(r) for r in keeps.requests if r.endswith(".deb")] == [
            "/debian/pool/bookworm/lib_1.0-1~deb12u1_all.deb"
        ]  # only what the first mirror lacks

    offline = day.host(Apt({"main": [DEAD], "security": [DEAD]}, day.mirror.keyring))
    day.served.requests.clear()
    host = offline.repository(locked, repository)
    assert day.served.requests == []
    assert {path.name for path in host.glob("*.deb")} == {
        "base_1_all.deb", "lib_1%3a1.0-1~deb12u1_all.deb", "shell_1_all.deb",
        "web_2.0+dfsg-1_all.deb",
    }  # fmt: skip


def test_a_damaged_file_is_not_used_wherever_it_lies(day, packages):
    found = day.resolve()
    host = day.host(day.apt())
    repository = day.folder / "repository"
    host.repository(found, repository)
    shutil.rmtree(repository)  # its files are hard links to the cache
    for path in host.debs:
        path.write_bytes(path.read_bytes()[:-1])
    day.served.requests.clear()
    host.repository(found, repository)
    assert len([r for r in day.served.requests if r.endswith(".deb")]) == len(found)

    wrong = day.folder / "mirror/current/debian/pool/bookworm/web_2.0+dfsg-1_all.deb"
    wrong.unlink()
    shutil.copy(packages["other"], wrong)  # the mirror itself has another file
    for path in host.debs:
        path.unlink()
    with pytest.raises(OperationError, match=r"can't be downloaded: web 2\.0\+dfsg-1"):
        host.repository(found, repository)
    assert len(host.debs) == len(found) - 1


def test_a_lock_with_more_than_the_roles_need_is_refused(day):
    more = day.resolve("web", "other")
    with pytest.raises(OperationError, match="1 more than the box needs: other"):
        day.host(day.apt()).repository(more, day.folder / "repository")


# -- other repositories ----------------------------------------------------------------------------


@pytest.fixture
def vendor(tmp_path, packages) -> Iterator[Day]:
    """A repository of somebody else's, with a key of its own."""
    folder = tmp_path / "vendor"
    mirror = Mirror(folder)
    tool = debs.make(tmp_path, "tool", "3", depends="lib (>= 1:1.0)")
    mirror.publish(bookworm=[tool, packages["lib+"]])
    mirror.publish_flat([debs.make(tmp_path, "flat-tool", "1:4+x~1", depends="tool")])
    with mirror.served() as served:
        yield Day(mirror, served, tmp_path)


def repository(of: Day, *mirrors: str, key: Path | None = None) -> Repository:
    return Repository(
        name="vendor", mirrors=mirrors or [of.served.url], suite="bookworm", components=["main"],
        key=key or of.mirror.keyring,
    )  # fmt: skip


def with_repositories(day: Day, *repositories: Repository) -> Apt:
    mirrors = {"main": [day.served.url], "security": [day.served.security_url]}
    return Apt(mirrors, day.mirror.keyring, repositories=repositories)


def test_packages_come_from_other_repositories_as_well_and_the_newest_is_taken(day, vendor):
    flat = replace(
        repository(vendor), name="flat", mirrors=[vendor.served.flat_url], suite="./", components=()
    )
    apt = with_repositories(day, repository(vendor), flat)
    found = apt.resolve(["web", "flat-tool"], detail=quiet, log=day.log)
    assert {p.name: (p.version, p.archive) for p in found} == {
        "base": ("1", "main"), "shell": ("1", "main"), "web": ("2.0+dfsg-1", "main"),
        "lib": ("1:1.0-1~deb12u2", "vendor"), "tool": ("3", "vendor"),
        "flat-tool": ("1:4+x~1", "flat"),
    }  # fmt: skip
    assert found == package_set.parse(found.text(), "packages.lock")
    made = day.host(apt, "web", "flat-tool").repository(found, day.folder / "repository")
    assert (made / "tool_3_all.deb").exists()
    assert (made / "flat-tool_1%3a4+x~1_all.deb").exists()
    assert not any(line for line in apt.source_lines() if vendor.served.base in line)


def test_each_repository_is_trusted_by_its_own_key_only(day, vendor, tmp_path):
    with pytest.raises(OperationError, match="lists of the repository vendor can't be") as caught:
        with_repositories(day, repository(vendor, key=day.mirror.keyring)).resolve(
            ["web"], detail=quiet, log=day.log
        )
    assert f"must be signed with {day.mirror.keyring}" in caught.value.details
    assert "one that its owner publishes" in caught.value.resolution
    mirrors = {"main": [vendor.served.url], "security": [day.served.security_url]}
    debian_by_vendor = Apt(mirrors, day.mirror.keyring, repositories=[
        replace(repository(vendor), mirrors=[vendor.served.flat_url], suite="./", components=()),
    ])  # fmt: skip
    with pytest.raises(OperationError, match="the package mirror's indices can't be trusted"):
        debian_by_vendor.resolve(["web"], detail=quiet, log=day.log)
    (tmp_path / "vendor/current/debian/dists/bookworm/InRelease").unlink()
    with pytest.raises(OperationError, match="lists of the repository vendor can't be") as caught:
        with_repositories(day, repository(vendor)).resolve(["web"], detail=quiet, log=day.log)
    assert "is not signed" in caught.value.details


def test_a_key_that_is_none_is_said_before_anything_is_asked(day, vendor, tmp_path):
    (tmp_path / "key.asc").write_text("<html>Not found</html>")
    for key, problem in (
        (tmp_path / "key.asc", "it is not an OpenPGP"),
        (tmp_path / "no", "No such"),
    ):
        with pytest.raises(UsageError, match="key of the repository vendor") as caught:
            with_repositories(day, repository(vendor, key=key)).resolve(
                ["web"], detail=quiet, log=day.log
            )
        assert f"{key}: {problem}" in caught.value.details
    assert day.served.requests == vendor.served.requests == []


def test_a_repository_that_is_gone_or_lacks_a_component_is_named(day, vendor):
    lacking = replace(repository(vendor), components=["main", "extra"])
    for one, said in (
        (repository(vendor, "http://localhost:9/vendor"), "Connection refused"),
        (repository(vendor, f"{vendor.served.base}/moved"), "does not have a Release file"),
        (replace(repository(vendor), suite="trixie"), "does not have a Release file"),
        (lacking, "doesn't have the component 'extra'"),
    ):
        with pytest.raises(OperationError, match="the repository vendor can't be used") as caught:
            with_repositories(day, one).resolve(["web"], detail=quiet, log=day.log)
        assert said in caught.value.details
        assert "stack.yml" in caught.value.resolution


def test_a_package_that_no_source_has_is_said(day, vendor):
    with pytest.raises(OperationError, match="Debian bookworm or vendor has no package wbe"):
        with_repositories(day, repository(vendor)).resolve(["wbe"], detail=quiet, log=day.log)


def test_a_mirror_with_a_login_is_asked_and_nobody_sees_the_login(day, vendor):
    vendor.served.login = "Basic " + base64.b64encode(b"reader:open@sesame").decode()
    address = vendor.served.url.replace("http://", "http://reader:open%40sesame@")
    apt = with_repositories(day, repository(vendor, address))
    found = apt.resolve(["tool"], detail=quiet, log=day.log)
    made = day.host(apt, "tool").repository(found, day.folder / "repository")
    assert (made / "tool_3_all.deb").exists()
    assert "sesame" not in day.log.read_text() + found.text()
    vendor.served.login = "Basic x"
    with pytest.raises(OperationError, match="the repository vendor can't be used") as caught:
        apt.resolve(["tool"], detail=quiet, log=day.log)
    assert "401" in caught.value.details
    assert "sesame" not in caught.value.details


def test_a_repository_that_dropped_a_version_needs_a_mirror_that_keeps_it(day, vendor):
    apt = with_repositories(day, repository(vendor))
    locked = apt.resolve(["tool"], detail=quiet, log=day.log)
    vendor.mirror.move(gone=["tool"])
    with pytest.raises(OperationError, match="can't be downloaded: tool 3") as caught:
        day.host(apt, "tool").repository(locked, day.folder / "repository")
    assert caught.value.details == f"not in the cache, and not on: {vendor.served.url}"
    assert "box.repository_mirrors" in caught.value.resolution
    assert "box.mirror" not in caught.value.resolution
    with pytest.raises(UsageError, match=r"repositories that stack\.yml lacks: vendor"):
        day.host(day.apt(), "tool").repository(locked, day.folder / "repository")
    archive = Mirror(day.folder / "archive")
    archive.publish(bookworm=[day.folder / "tool_3_all.deb"])
    with archive.served() as keeps:
        moved = with_repositories(day, repository(vendor, vendor.served.url, keeps.url))
        day.host(moved, "tool").repository(locked, day.folder / "repository")


@contextmanager
def half_a_file(large: str) -> Iterator[tuple[str, threading.Event]]:
    """A mirror that stops in the middle of one file; yields an event that says when."""
    reached = threading.Event()
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            content = b"x" * 1000
            self.send_response(200)
            self.send_header("Content-Length", "2000" if large in self.path else "1000")
            self.end_headers()
            self.wfile.write(content)
            if large in self.path:
                self.wfile.flush()
                reached.set()
                over.wait(60)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", reached
        finally:
            over.set()
            server.shutdown()


_DOWNLOAD = """
import sys
from pathlib import Path
from devvm.domain import package_set
from devvm.adapters.packages.apt import Apt
from devvm.adapters.packages.package_cache import PackageCache
from devvm.system.state import State
from tests.support.reference_stack import REFERENCE
state, mirror, text = sys.argv[1:]
cache = PackageCache(State(Path(state)))
found = package_set.parse(text, "x")
with cache.incoming() as incoming:
    Apt({"main": [mirror], "security": [mirror]}, Path()).fetch(
        found.packages, incoming, detail=print, log=Path("/dev/null")
    )
"""


def test_a_killed_download_leaves_no_file_that_counts_and_loses_none_that_is_whole(day):
    found = day.resolve()
    host = day.host(day.apt())
    host.tools.cache.remember(RELEASE_HASH, found)
    whole = Package(
        name="aa", architecture="all", version="1", size=1000, archive="main", path="pool/a.deb",
        sha256=hashlib.sha256(b"x" * 1000).hexdigest(),
    )  # fmt: skip
    half = replace(whole, name="bb", path="pool/b.deb", sha256=64 * "0")
    some = PackageSet(packages=(whole, half))
    with half_a_file("b.deb") as (mirror, reached):
        argv = [sys.executable, "-c", _DOWNLOAD, host.services.state.root, mirror, some.text()]
        with subprocess.Popen(argv, cwd=REFERENCE.root) as process:
            assert reached.wait(30)
            process.send_signal(signal.SIGKILL)
    assert host.debs == []
    with host.tools.cache.incoming():
        pass
    assert [path.name for path in host.debs] == [f"{whole.sha256}.deb"]
    host.repository(found, day.folder / "repository")


@pytest.fixture
def checkout(day) -> Iterator:
    """A checkout of a small stack, and its devvm."""
    folder = day.folder / "checkout"
    shutil.copytree(
        assets.launcher().parent.parent / "devvm", folder / "devvm",
        ignore=shutil.ignore_patterns("__pycache__", "overlay"),
    )  # fmt: skip
    (folder / "bin").mkdir()
    (folder / "bin/devvm").touch()
    (folder / "playbooks").mkdir()
    variables = folder / "roles/web/vars/main.yml"
    variables.parent.mkdir(parents=True)
    variables.write_text("web_packages: [web]\n")
    config = day.folder / "config.toml"
    config.write_text(
        f'state_dir = "{day.folder}/state"\n[box]\nmirror = ["{day.served.url}", "{DEAD}"]\n'
        f'security_mirror = "{day.served.security_url}"\nkeyring = "{day.mirror.keyring}"\n'
    )

    def devvm(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "devvm", *arguments],
            cwd=folder, env=os.environ | {"DEVVM_CONFIG": str(config)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    devvm.folder = folder
    devvm.config = config
    return devvm


def test_the_lock_of_a_checkout_is_written_checked_renewed_and_taken_back(checkout, day, packages):
    lock = checkout.folder / "packages.lock"
    first = checkout("release", "lock", "--json")
    assert first.returncode == 0, first.stderr
    written = package_set.parse(lock.read_text(), "packages.lock")
    assert json.loads(first.stdout)["packages"] == written.versions
    assert checkout("release", "lock", "--check").returncode == 0

    day.mirror.move(security=[packages["lib+"]])
    checked = checkout("release", "lock", "--check")
    assert checked.returncode == 3
    assert checked.stdout.splitlines()[1].split() == [
        "lib", "newer", "1:1.0-1~deb12u1", "1:1.0-1~deb12u2",
    ]  # fmt: skip
    assert package_set.parse(lock.read_text(), "x") == written
    assert checkout("release", "lock").returncode == 0
    assert package_set.parse(lock.read_text(), "x").versions["lib"] == "1:1.0-1~deb12u2"

    name = identity.new_release(RELEASE_HASH)  # from an earlier build on this host
    day.host(day.apt()).tools.cache.remember(RELEASE_HASH, written)
    taken = checkout("release", "lock", "--release", name)
    assert taken.returncode == 0, taken.stderr
    assert "older" in taken.stdout
    assert package_set.parse(lock.read_text(), "x") == written


def test_the_repositories_of_stack_yml_and_their_mirrors_are_used(checkout, vendor):
    files = checkout.folder / "roles/web/files"
    files.mkdir()
    shutil.copy(vendor.mirror.keyring, files / "vendor.gpg")
    (checkout.folder / "roles/web/vars/main.yml").write_text("web_packages: [web, tool]\n")
    (checkout.folder / "stack.yml").write_text(
        "apt:\n  repositories:\n    - {name: vendor, uri: 'http://localhost:9/vendor', "
        "suite: bookworm, components: [main], key: roles/web/files/vendor.gpg}\n"
    )
    refused = checkout("release", "lock")
    assert refused.returncode == 1
    assert "Error: the repository vendor can't be used\n" in refused.stderr
    with checkout.config.open("a") as config:
        config.write(f'[box.repository_mirrors]\nvendor = "{vendor.served.url}"\n')
    done = checkout("release", "lock")
    assert done.returncode == 0, done.stderr
    lock = package_set.parse((checkout.folder / "packages.lock").read_text(), "x")
    assert {p.name: p.archive for p in lock}["tool"] == "vendor"
