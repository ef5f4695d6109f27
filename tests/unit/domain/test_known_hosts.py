"""Lines of known_hosts files."""

import pytest

from devvm.domain import known_hosts

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ"


@pytest.mark.parametrize(
    ("hosts", "name", "found"),
    [
        ("git.acme.test", "git.acme.test", True),
        ("git.acme.test", "git.acme.example", False),
        ("10.0.0.1,git.acme.test", "git.acme.test", True),
        ("*.acme.test,!old.acme.test", "git.acme.test", True),
        ("*.acme.test,!old.acme.test", "old.acme.test", False),
        ("[git.acme.test]:2222", "[git.acme.test]:2222", True),
        ("git.acme.test", "[git.acme.test]:2222", False),
        ("[*.acme.test]:2222", "[git.acme.test]:2222", True),
    ],
)
def test_which_server_a_line_is_for(hosts, name, found):
    line = known_hosts.check(f"{hosts} {KEY} a comment")
    assert known_hosts.knows(["other.test ssh-rsa AAAA", line], name) is found


def test_authorities_count():
    assert known_hosts.knows([known_hosts.check(f"@cert-authority *.test {KEY}")], "git.test")


@pytest.mark.parametrize(
    "line",
    ["", "git.acme.test", KEY, f"|1|c2FsdA==|aGFzaA== {KEY}", f"# {KEY}", f"git.test {KEY}\nx",
     f"@other git.test {KEY}", "git.test ssh-ed25519 no-key"],
)  # fmt: skip
def test_what_is_no_such_line(line):
    with pytest.raises(ValueError, match="is not a line of known_hosts"):
        known_hosts.check(line)
