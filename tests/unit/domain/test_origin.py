"""Addresses of repositories."""

import pytest

from devvm.domain import origin


@pytest.mark.parametrize(
    ("text", "kind", "known_as"),
    [
        ("git@git.acme.test:shop.git", "ssh", "git.acme.test"),
        ("git.acme.test:teams/shop", "ssh", "git.acme.test"),
        ("ssh://git@git.acme.test/shop.git", "ssh", "git.acme.test"),
        ("ssh://git@git.acme.test:22/shop.git", "ssh", "git.acme.test"),
        ("ssh://git.acme.test:2222/shop.git", "ssh", "[git.acme.test]:2222"),
        ("https://git.acme.test/shop.git", "https", "git.acme.test"),
        ("https://git@git.acme.test:8443/shop.git", "https", "[git.acme.test]:8443"),
        ("file:///srv/git/shop.git", "path", ""),
        ("/srv/git/shop.git", "path", ""),
    ],
)
def test_what_devvm_can_clone_from(text, kind, known_as):
    found = origin.parse(text)
    assert (found.text, found.kind, found.known_as) == (text, kind, known_as)


@pytest.mark.parametrize(
    "text",
    ["", "--upload-pack=x", "-x", "shop", "../shop", "ext::sh -c x", "ext::sh", "fd::3",
     "http://git.acme.test/shop.git", "git://git.acme.test/shop.git", "ftp://a/b", "ssh:///x",
     "ssh://git.acme.test", "ssh://-oProxyCommand=x/y", "-oProxyCommand=x:y", "git@-o:y",
     "https://jane:secret@git.acme.test/shop.git", "ssh://a:x/b", "file://host/x", "a b:c",
     "git@git.acme.test:shop\n", "https://[/x", "file:///a\x1b[2Jb"],
)  # fmt: skip
def test_what_it_cannot(text):
    with pytest.raises(ValueError, match=r".") as caught:
        origin.parse(text)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
