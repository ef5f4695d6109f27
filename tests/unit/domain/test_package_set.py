"""`packages.lock`: parsed strictly, written unchanged, compared package by package."""

from dataclasses import replace

import pytest

from devvm.domain.errors import UsageError
from devvm.domain.package_set import Package, PackageSet, parse
from devvm.operations.box.lock import Kind, changes

A, B = 64 * "a", 64 * "b"
NGINX = Package(
    name="nginx", architecture="amd64", version="1:1.22.1-9+deb12u2~x", sha256=A, size=10,
    archive="main", path="pool/main/n/nginx/nginx_1.22.1-9+deb12u2~x_amd64.deb",
)  # fmt: skip
ACL = Package(
    name="acl", architecture="all", version="2.3", sha256=B, size=5, archive="security",
    path="pool/updates/main/a/acl/acl_2.3_all.deb",
)  # fmt: skip
SET = PackageSet(packages=(NGINX, ACL), notes=("resolved 2026-11-23T10:00:00+00:00 from", "x"))
LINE = NGINX.line


def test_a_set_is_read_as_it_was_written():
    again = parse(SET.text(), "packages.lock")
    assert again == SET
    assert again.notes == SET.notes
    assert again.text() == SET.text()


def test_a_package_may_come_from_another_repository():
    other = replace(NGINX, archive="vendor-1", path="dists/stable/@scope/nginx=1%2b_x.deb")
    assert parse(f"{other.line}\n", "x").packages == (other,)


def test_it_is_sorted_whatever_the_order_in_the_file():
    text = f"{NGINX.line}\n\n# a comment\n{ACL.line}\n"
    assert [package.name for package in parse(text, "x")] == ["acl", "nginx"]


def test_notes_and_places_do_not_make_it_another_one():
    moved = replace(NGINX, archive="security", path="pool/x.deb", size=11)
    other = PackageSet(packages=(moved, ACL), notes=())
    assert other.sha256 == SET.sha256
    assert PackageSet(packages=SET.packages) == SET
    assert PackageSet(packages=(replace(NGINX, sha256=B), ACL)).sha256 != SET.sha256


def test_what_it_comes_to():
    assert SET.versions == {"acl": "2.3", "nginx": "1:1.22.1-9+deb12u2~x"}
    assert SET.size == 15
    assert SET.lacks(["nginx", "redis", "acl", "git"]) == ["git", "redis"]


def test_a_machine_that_has_others_is_told_by_name():
    assert SET.differs_from({("acl", "all"): "2.3", ("nginx", "amd64"): NGINX.version}) == []
    assert SET.differs_from({("acl", "all"): "2.4", ("git", "amd64"): "2"}) == [
        "acl:all: 2.4 instead of 2.3",
        "git:amd64: 2 is not in the set",
        "nginx:amd64: 1:1.22.1-9+deb12u2~x is missing",
    ]


@pytest.mark.parametrize(
    ("text", "where", "reason"),
    [
        ("", "packages.lock", "has no packages"),
        ("# only words\n\n", "packages.lock", "has no packages"),
        (f"{LINE}\n{LINE}\n", "packages.lock:2", "nginx is listed twice; line 1 has it"),
        (f"{LINE}\r\n", "packages.lock:1", "CR LF"),
        (f"# x\n<<<<<<< HEAD\n{LINE}\n", "packages.lock:2", "unresolved merge conflict"),
        (f"{LINE}\n=======\n", "packages.lock:2", "unresolved merge conflict"),
        (f"{LINE}\n>>>>>>> other\n", "packages.lock:2", "unresolved merge conflict"),
        (LINE.replace("amd64 ", "", 1), "packages.lock:1", "7 columns, not 8"),
        (f"{LINE} more", "packages.lock:1", "9 columns"),
        (LINE.replace(" ", "  ", 1), "packages.lock:1", "9 columns"),
        (LINE.replace(" ", "\t"), "packages.lock:1", "1 columns"),
        (LINE.replace("nginx amd64", "Nginx amd64"), "packages.lock:1", "not a valid package name"),
        (LINE.replace(" amd64", " AMD64"), "packages.lock:1", "not a valid architecture"),
        (LINE.replace(" 1:1.22.1-9", " 1:1_22"), "packages.lock:1", "not a valid version"),
        (LINE.replace(" 1:1.22.1-9", " -1"), "packages.lock:1", "not a valid version"),
        (LINE.replace(A, A[1:]), "packages.lock:1", "not a valid sha256"),
        (LINE.replace(A, A.upper()), "packages.lock:1", "not a valid sha256"),
        (LINE.replace(" 10 ", " 0 "), "packages.lock:1", "not a valid size"),
        (LINE.replace(" 10 ", " -1 "), "packages.lock:1", "not a valid size"),
        (LINE.replace(" main ", " Main "), "packages.lock:1", "not a valid archive"),
        (LINE.replace(" other ", " optional "), "packages.lock:1", "not a valid priority"),
        (LINE.replace("pool/main/n", "/pool/main/n"), "packages.lock:1", "not a valid path"),
        (LINE.replace("pool/main/n", "pool/../../n"), "packages.lock:1", "not a valid path"),
        (LINE.replace("pool/main/n", "pool//n"), "packages.lock:1", "not a valid path"),
        (LINE.replace("pool/main/n", "pool/$(id)/n"), "packages.lock:1", "not a valid path"),
        (LINE.replace("_amd64.deb", "_amd64.rpm"), "packages.lock:1", "not a valid path"),
    ],
)
def test_what_can_not_be_a_lock_is_said_in_one_line(text, where, reason):
    with pytest.raises(UsageError) as caught:
        parse(text, "packages.lock")
    assert caught.value.brief.startswith(f"{where}: ")
    assert reason in caught.value.brief
    assert "\n" not in caught.value.brief
    assert "devvm release lock" in caught.value.resolution


def test_what_a_new_lock_changes_is_told_by_kind():
    new = PackageSet(
        packages=(
            replace(NGINX, version="1:1.22.1-9+deb12u2"),  # `~x` sorts before the end
            replace(ACL, version="2.2"),
            replace(ACL, name="git"),
            replace(ACL, name="same", sha256=A),
        )
    )
    old = PackageSet(packages=(NGINX, ACL, replace(ACL, name="gone"), replace(ACL, name="same")))
    found = [(c.name, c.kind, c.old, c.new) for c in changes(old, new)]
    assert found == [
        ("acl", Kind.OLDER, "2.3", "2.2"),
        ("git", Kind.ADDED, None, "2.3"),
        ("gone", Kind.REMOVED, "2.3", None),
        ("nginx", Kind.NEWER, NGINX.version, "1:1.22.1-9+deb12u2"),
        ("same", Kind.REPLACED, "2.3", "2.3"),
    ]
    assert changes(old, old) == ()
