from pathlib import Path

import pytest

from devvm.adapters.host import debian_host
from devvm.adapters.host.debian_host import DebianPackages
from devvm.domain.errors import HostNotReadyError, OperationError
from devvm.system import process
from devvm.system.process import Completed

LOG = Path("/dev/null")


@pytest.fixture
def dpkg(monkeypatch):
    installed = {"git": "installed", "vagrant": "config-files"}

    def run(argv, **options):
        assert argv[0] == "dpkg-query"
        lines = [f"{name} {installed[name]}" for name in argv if name in installed]
        return Completed(argv=tuple(argv), returncode=1, stdout="\n".join(lines), stderr="none")

    monkeypatch.setattr(process, "run", run)
    return installed


@pytest.fixture
def apt(monkeypatch, dpkg):
    """APT's output and exit code, by verb."""
    said = {"update": ([], 0), "install": ([], 0)}
    calls = []

    def stream(argv, on_line, *, check=True, **options):
        verb = next(v for v in said if v in argv)
        calls.append(list(argv))
        lines, code = said[verb]
        for line in lines:
            on_line(line)
        return code

    monkeypatch.setattr(process, "stream", stream)
    return said, calls


def test_removed_and_unknown_packages_are_missing(dpkg):
    packages = DebianPackages(["git", "vagrant", "socat"])
    assert packages.absent() == ["vagrant", "socat"]
    assert packages.missing() == ["install 2 Debian packages: vagrant socat"]
    assert DebianPackages(["git"]).missing() == []


def test_another_system_is_said(monkeypatch):
    def run(argv, **options):
        raise HostNotReadyError("dpkg-query is not installed")

    monkeypatch.setattr(process, "run", run)
    with pytest.raises(HostNotReadyError, match="not a Debian host"):
        DebianPackages(["git"]).missing()


def test_only_the_missing_are_installed_and_progress_is_told(apt):
    said, calls = apt
    said["install"] = (
        [
            "Get:3 http://deb.debian.org/debian bookworm/main amd64 socat amd64 1.7.4 [375 kB]",
            "Unpacking socat (1.7.4) ...",
            "Setting up socat:amd64 (1.7.4) ...",
            "Processing triggers for man-db",
        ],
        0,
    )
    details = []
    DebianPackages(["git", "socat"]).apply(details.append, LOG)
    assert calls[1][-1] == "socat"
    assert "--no-install-recommends" in calls[1]
    assert "git" not in calls[1]
    assert details == [
        "reading the package lists", "downloading socat", "unpacking socat", "setting up socat",
    ]  # fmt: skip


def test_a_mirror_that_is_down_is_said_in_apts_words(apt):
    said, _ = apt
    said["update"] = (
        ["Err:1 http://deb.debian.org/debian bookworm InRelease",
         "W: Failed to fetch http://deb.debian.org/x  Could not connect to deb.debian.org:80"], 0,
    )  # fmt: skip
    said["install"] = (["E: Unable to locate package socat"], 100)
    with pytest.raises(HostNotReadyError, match="mirror can't be reached") as caught:
        DebianPackages(["socat"]).apply(lambda _: None, LOG)
    assert "Could not connect to deb.debian.org:80" in caught.value.details
    assert "devvm setup" in caught.value.resolution
    assert caught.value.log == LOG


def test_a_mirror_complaint_that_does_not_matter_stops_nothing(apt):
    said, calls = apt
    said["update"] = (["Err:1 http://other.example/ x InRelease"], 0)
    DebianPackages(["socat"]).apply(lambda _: None, LOG)
    assert [verb for call in calls for verb in said if verb in call] == ["update", "install"]


def test_other_failures_name_their_way_out(apt):
    said, _ = apt
    said["install"] = (["E: Sub-process /usr/bin/dpkg returned an error code (1)"], 100)
    with pytest.raises(OperationError, match="could not be installed") as caught:
        DebianPackages(["socat"]).apply(lambda _: None, LOG)
    assert "--fix-broken" in caught.value.resolution


def test_comments_are_no_packages(tmp_path):
    path = tmp_path / "list"
    path.write_text("# all\n\ngit # why\n  socat\n")
    assert debian_host.read_list(path) == ["git", "socat"]
