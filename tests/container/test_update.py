"""`playbooks/update.yml`: packages change to another release's, from a mirror, and back."""

import pytest

from devvm.domain.errors import OperationError

pytestmark = pytest.mark.container

#: A mirror of two packages in the container itself; apt uses no other.
_MIRROR = r"""
mkdir -p /srv/mirror && cd /srv/mirror
pack() {
    mkdir -p build/DEBIAN build/etc
    cat >build/DEBIAN/control <<END
Package: $1
Version: $2
Architecture: all
Maintainer: nobody <nobody@localhost>
Description: $1
END
    echo "/etc/$1.conf" >build/DEBIAN/conffiles
    echo "of version $2" >"build/etc/$1.conf"
    dpkg-deb --root-owner-group --build build . >/dev/null
    rm -r build
}
pack devvm-example 1
pack devvm-example 2
pack devvm-gone 1
for deb in *.deb; do
    dpkg-deb --field "$deb"
    echo "Filename: ./$deb"
    echo "Size: $(stat --format=%s "$deb")"
    echo "SHA256: $(sha256sum "$deb" | cut -d' ' -f1)"
    echo
done >Packages
echo 'deb [trusted=yes] file:/srv/mirror ./' >sources.list
echo 'Dir::Etc::SourceList "/srv/mirror/sources.list"; Dir::Etc::SourceParts "-";' \
    >/etc/apt/apt.conf.d/99mirror
"""
FIRST = {"update_packages": ["devvm-example=1", "devvm-gone=1"], "update_removed": []}
SECOND = {"update_packages": ["devvm-example=2"], "update_removed": ["devvm-gone"]}
TAGS = ("packages", "nginx")


@pytest.fixture(scope="module")
def first(development, mirrors):
    """A machine with the first release's packages."""
    development.sh(_MIRROR)
    done = development.apply("update.yml", *TAGS, **mirrors, **FIRST)
    assert done.changed == 1
    assert ours(development) == {"devvm-example": "1", "devvm-gone": "1"}
    return development


def ours(machine):
    return {k: v for k, v in machine.packages().items() if k in ("devvm-example", "devvm-gone")}


def test_packages_become_those_of_the_release_and_back(first, mirrors):
    first.sh("mkdir -p /etc/devvm; echo '{}' >/etc/devvm/stamp.json")
    first.sh("echo by a role >/etc/devvm-example.conf")
    done = first.apply("update.yml", *TAGS, **mirrors, **SECOND)
    assert done.changed == 2  # one installed, one removed; nothing to do for the nginx role
    assert ours(first) == {"devvm-example": "2"}
    assert first.sh("cat /etc/devvm-example.conf") == "by a role\n"
    assert first.sh("ls /etc/devvm/stamp.json /etc/devvm-gone.conf 2>/dev/null ||:") == ""
    assert first.apply("update.yml", *TAGS, **mirrors, **SECOND).changed == 0
    assert first.apply("update.yml", *TAGS, **mirrors, **FIRST).changed == 1
    assert ours(first) == {"devvm-example": "1", "devvm-gone": "1"}


def test_a_version_that_the_mirror_has_no_more_is_named(first, mirrors):
    with pytest.raises(OperationError) as caught:
        first.apply("update.yml", *TAGS, **mirrors, update_packages=["devvm-example=3"])
    assert "Install the versions of this release" in caught.value.brief
    assert "devvm-example" in caught.value.details
    assert ours(first) == {"devvm-example": "1", "devvm-gone": "1"}
