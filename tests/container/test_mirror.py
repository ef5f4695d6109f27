"""The tests' own mirror, read by the real apt."""

import subprocess
import urllib.request
from datetime import timedelta

import pytest

from tests.support import debs
from tests.support.mirror import CODENAME, Mirror, architecture

pytestmark = pytest.mark.container

SECURITY = f"{CODENAME}-security"


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Packages like Debian's, by name."""
    folder = tmp_path_factory.mktemp("real")
    conf = "/etc/example.conf"
    return {
        "example": debs.make(
            folder, "example", "1:2.0-1", files={conf: "here = 1\n"}, conffiles=[conf]
        ),
        "plain": debs.make(folder, "plain", "3", files={"/usr/share/plain/text": "plain\n"}),
    }


@pytest.fixture
def mirror(tmp_path, real):
    mirror = Mirror(tmp_path / "mirror")
    mirror.publish(bookworm=real.values())
    return mirror


@pytest.fixture
def served(mirror):
    with mirror.served() as served:
        yield served


@pytest.fixture
def apt(tmp_path, mirror, served):
    """apt with its own root: it uses only this mirror, and nothing of this machine."""
    return Apt(tmp_path / "apt", mirror, served)


class Apt:
    def __init__(self, root, mirror, served):
        self._root = root
        for folder in (
            "etc/apt/apt.conf.d",
            "etc/apt/preferences.d",
            "lists/partial",
            "cache/archives/partial",
        ):
            (root / folder).mkdir(parents=True)
        (root / "status").touch()
        (root / "sources.list").write_text(
            "".join(
                f"deb [signed-by={mirror.keyring}] {url} {suite} main\n"
                for url, suite in (
                    (served.url, CODENAME),
                    (served.url, f"{CODENAME}-updates"),
                    (served.security_url, SECURITY),
                )
            )
        )
        settings = {
            "Dir": root,
            "Dir::Etc": root / "etc/apt",
            "Dir::Etc::SourceList": root / "sources.list",
            "Dir::Etc::SourceParts": "-",
            "Dir::Etc::Trusted": "/dev/null",
            "Dir::Etc::TrustedParts": "/dev/null",
            "Dir::State": root,
            "Dir::State::status": root / "status",
            "Dir::Cache": root / "cache",
            "Acquire::Languages": "none",
            "Acquire::http::Proxy": "DIRECT",
            "APT::Sandbox::User": "root",  # pytest's folders are private
            "Debug::NoLocking": "true",
        }
        (root / "apt.conf").write_text(
            "".join(f'{key} "{value}";\n' for key, value in settings.items())
        )

    def __call__(self, *command, code=0):
        """Run apt-get; return its output."""
        done = subprocess.run(
            ["apt-get", "-q", *command],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "APT_CONFIG": self._root / "apt.conf"},
            cwd=self._root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def candidate(self, package):
        """The version that would be installed, and its dependencies."""
        out = self("install", "--simulate", package)
        return sorted(line.split()[1:3] for line in out.splitlines() if line.startswith("Inst"))

    def downloaded(self):
        return sorted(p.name for p in (self._root / "cache/archives").glob("*.deb"))


def test_apt_installs_from_it(apt, served, real):
    apt("update")
    apt("install", "--yes", "--download-only", "example", "plain")
    assert apt.downloaded() == sorted(deb.name for deb in real.values())
    assert "/debian/pool/bookworm/example_2.0-1_all.deb" in served.requests


def test_another_day_has_what_is_newer_and_not_what_was(apt, mirror, served, real, tmp_path):
    apt("update")
    news = tmp_path / "news"
    mirror.move(
        bookworm=[debs.newer(real["plain"], news)],
        security=[
            debs.newer(real["example"], news, conffile="/etc/example.conf", depends="example-data"),
            debs.make(news, "example-data"),
        ],
    )
    assert mirror.packages() == {"plain=3+news1", "example=1:2.0-1"}
    assert mirror.packages(SECURITY) == {"example=1:2.0-1+news1", "example-data=1"}
    gone = apt("install", "--yes", "--download-only", "plain", code=100)  # known, but not available
    assert "404" in gone
    apt("update")
    assert apt.candidate("plain") == [["plain", "(3+news1"]]
    assert apt.candidate("example") == [["example", "(1:2.0-1+news1"], ["example-data", "(1"]]
    apt("install", "--simulate", "plain=3", code=100)
    mirror.move(gone=["plain"])
    apt("update")
    apt("install", "--simulate", "plain", code=100)


def test_a_newer_package_brings_what_it_was_asked_for_and_nothing_else(real, tmp_path):
    newer = debs.newer(
        real["example"], tmp_path, conffile="/etc/example.conf", unit="example.service"
    )
    trees = []
    for deb in (real["example"], newer):
        tree = tmp_path / f"tree{len(trees)}"
        subprocess.run(["dpkg-deb", "--raw-extract", deb, tree], check=True)
        trees.append({str(p.relative_to(tree)) for p in tree.rglob("*") if p.is_file()})
    unit = "lib/systemd/system/example.service"
    assert trees[1] - trees[0] == {unit, "DEBIAN/postinst", "DEBIAN/md5sums"}
    assert trees[0] <= trees[1]
    text = (tmp_path / "tree1/etc/example.conf").read_text()
    assert text == "here = 1\n# Since 1:2.0-1+news1.\n"
    assert unit in (tmp_path / "tree1/DEBIAN/md5sums").read_text()


def test_the_same_package_is_the_same_file(real, tmp_path):
    first, again = (
        debs.newer(real["example"], tmp_path / name, unit="example.service") for name in "ab"
    )
    assert first.read_bytes() == again.read_bytes()


def test_an_index_that_somebody_changed_is_refused(apt, tmp_path):
    index = tmp_path / f"mirror/current/debian/dists/{CODENAME}/main/binary-{architecture()}"
    for file in (index / "Packages", index / "Packages.gz"):
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert "Hash Sum mismatch" in apt("update", code=100)


def test_a_signature_by_another_key_is_refused(apt, tmp_path, real):
    other = Mirror(tmp_path / "other")
    other.publish(bookworm=real.values())
    signed = f"current/debian/dists/{CODENAME}/InRelease"
    (tmp_path / "mirror" / signed).write_bytes((tmp_path / "other" / signed).read_bytes())
    assert "NO_PUBKEY" in apt("update", code=100)


def test_a_package_that_somebody_changed_is_refused(apt, tmp_path):
    apt("update")
    pool = tmp_path / f"mirror/current/debian/pool/{CODENAME}"
    deb = pool / "plain_3_all.deb"
    changed = deb.read_bytes()[:-1] + b"x"
    deb.unlink()  # it is a hard link to the original
    deb.write_bytes(changed)
    assert "Hash Sum mismatch" in apt("install", "--yes", "--download-only", "plain", code=100)
    assert apt.downloaded() == []


def test_what_is_too_old_is_refused(apt, tmp_path, real):
    """A mirror that isn't updated any more, or somebody replaying yesterday's files."""
    Mirror(tmp_path / "mirror", valid_for=timedelta(seconds=-60)).publish(bookworm=real.values())
    assert "is expired" in apt("update", code=100)


def test_it_tells_what_was_asked_for(served):
    assert served.requests == []
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        f"{served.url}/dists/", timeout=10
    ) as answer:
        assert CODENAME in answer.read().decode()
    assert served.requests == ["/debian/dists/"]
