"""A folder of packages that apt can read, whatever compression its packages use."""

import hashlib
import subprocess
from dataclasses import replace

import pytest

from devvm.adapters.packages.flat_repository import FlatRepositories
from devvm.domain.package_set import Package, PackageSet

CONTROL = """\
Package: {name}
Version: 1:2-1
Architecture: all
Maintainer: nobody <nobody@localhost>
{more}Description: made up
"""


def make(folder, name, more, compression):
    """Build a package; return devvm's record of it."""
    tree = folder / name
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(CONTROL.format(name=name, more=more))
    file = folder / f"{name}_1%3a2-1_all.deb"
    argv = ["dpkg-deb", "--root-owner-group", f"-Z{compression}", "--build", tree, file]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    content = file.read_bytes()
    package = Package(
        name=name, architecture="all", version="1:2-1", size=len(content), archive="main",
        sha256=hashlib.sha256(content).hexdigest(), path=f"pool/{name}.deb",
    )  # fmt: skip
    assert FlatRepositories().file(folder, package) == file
    return package


def index(folder, *packages):
    """The index's entries, by package."""
    FlatRepositories().index(folder, PackageSet(packages=packages))
    paragraphs = (folder / "Packages").read_text().strip().split("\n\n")
    fields = [dict(line.split(": ", 1) for line in text.splitlines()) for text in paragraphs]
    return {found["Package"]: found for found in fields}


@pytest.mark.parametrize("compression", ["gzip", "xz", "zstd", "none"])
def test_a_package_is_read_however_it_is_packed(tmp_path, compression):
    made = make(tmp_path, "web", "Depends: lib (>= 1)\n", compression)
    found = index(tmp_path, made)["web"]
    assert found["Depends"] == "lib (>= 1)"
    assert found["Filename"] == "./web_1%3a2-1_all.deb"
    assert (found["Size"], found["SHA256"]) == (str(made.size), made.sha256)
    sha256 = hashlib.sha256((tmp_path / "Packages").read_bytes()).hexdigest()
    assert sha256 in (tmp_path / "Release").read_text()


def test_the_archive_says_what_is_required_and_not_the_file(tmp_path):
    required, essential = "Priority: required\n", "Priority: required\nEssential: yes\n"
    found = index(
        tmp_path,
        replace(make(tmp_path, "is", "Priority: important\n", "gzip"), required=True),
        replace(make(tmp_path, "silent", "", "gzip"), required=True),
        make(tmp_path, "was", required, "gzip"),
        make(tmp_path, "plain", "Priority: extra\n", "gzip"),
        make(tmp_path, "essential", essential, "gzip"),
    )
    assert {name: fields["Priority"] for name, fields in found.items()} == {
        "essential": "required", "is": "required", "plain": "extra", "silent": "required",
        "was": "important",
    }  # fmt: skip
