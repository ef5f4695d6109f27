"""Mirrors of repositories, with the real git. `ssh` is a script here; a container has a server."""

import os
import subprocess
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from devvm.adapters import git
from devvm.adapters.git import GitOrigins, RepositoryError
from devvm.domain import origin
from devvm.system import process
from tests.support.company import Repository
from tests.support.company import git as run


class Company:
    """A company's repository, and the person's mirrors of it."""

    def __init__(self, folder):
        self.at, self.cache = folder / "company/shop", folder / "cache/mirrors"
        self.repository = Repository(self.at)
        self.origin = origin.parse(str(self.at))
        self.said = []

    def commit(self, text):
        self.repository.commit(text)

    def origins(self, **more):
        return GitOrigins(self.cache, **more)

    def fetch(self, where=None, known_hosts=(), **more):
        return self.origins(**more).fetch(
            where or self.origin, known_hosts=known_hosts, detail=self.said.append
        )

    @property
    def mirror(self):
        (found,) = self.cache.glob("*.git")
        return found

    def cloned(self, folder, branch="main"):
        """What a clone of the bundle has: its log."""
        with self.origins().bundle(self.origin) as file:
            run("clone", "--quiet", "--branch", branch, str(file), str(folder))
        assert not file.exists()
        return run("log", "--format=%s", at=folder).split()


@pytest.fixture
def company(tmp_path):
    return Company(tmp_path)


def test_a_mirror_has_the_branches_and_tags_and_follows(company, tmp_path):
    run("branch", "gone", at=company.at)
    run("tag", "v1", at=company.at)
    assert company.fetch() == ""
    assert company.origins().branches(company.origin) == ["gone", "main"]
    company.commit("second")
    run("branch", "--move", "gone", "next", at=company.at)
    assert company.fetch() == ""
    assert company.origins().branches(company.origin) == ["main", "next"]
    assert company.cloned(tmp_path / "clone") == ["second", "first"]
    assert run("tag", at=tmp_path / "clone") == "v1"
    assert company.cloned(tmp_path / "other", "next") == ["first"]


def test_the_files_of_a_branch_can_be_had_without_a_checkout(company):
    (company.at / "file").chmod(0o770)
    company.commit("second")
    company.fetch()
    with company.origins().archive(company.origin, "main") as (commit, file):
        assert commit == run("rev-parse", "main", at=company.at)
        with tarfile.open(file) as archive:
            assert [(one.name, oct(one.mode)) for one in archive] == [("file", "0o755")]
    assert not file.exists()


def test_a_rewritten_branch_is_taken_as_it_is_now(company, tmp_path):
    company.fetch()
    run("commit", "--quiet", "--amend", "--message", "other", at=company.at)
    company.fetch()
    assert company.cloned(tmp_path / "clone") == ["other"]


def test_it_stays_small(company):
    for number in range(12):
        company.commit(f"commit-{number}")
        company.fetch()
    assert len([*company.mirror.glob("objects/pack/*.pack")]) < 6
    assert [*company.mirror.glob("objects/??")] == []


def test_only_its_owner_can_enter(company):
    company.fetch()
    assert company.cache.stat().st_mode & 0o777 == 0o700


def test_two_commands_at_once_make_one_mirror(company, tmp_path):
    with ThreadPoolExecutor() as pool:
        assert [*pool.map(lambda _: company.fetch(), range(4))] == [""] * 4
    assert company.cloned(tmp_path / "clone") == ["first"]


def test_no_mirror_has_no_branches(company):
    assert company.origins().branches(company.origin) == []


def test_what_a_killed_git_left_is_no_obstacle(company, tmp_path):
    company.fetch()
    company.commit("second")
    (company.mirror / "packed-refs.lock").touch()
    (company.mirror / "refs/heads/main.lock").touch()
    (company.mirror / "objects/pack/tmp_pack_x").touch()
    assert company.fetch() == ""
    assert company.cloned(tmp_path / "clone") == ["second", "first"]
    assert [*company.mirror.glob("objects/pack/tmp_*")] == []


@pytest.mark.parametrize("number", range(1, 7))
def test_killed_at_any_step_it_is_whole_the_next_time(company, tmp_path, monkeypatch, number):
    """First while the mirror is made, then while a damaged one is replaced."""
    steps = 0

    def dying(function):
        def call(*arguments, **more):
            nonlocal steps
            steps += 1
            if steps == number:
                raise KeyboardInterrupt
            return function(*arguments, **more)

        return call

    for damage in (False, True):
        steps = 0
        if damage:
            company.commit("second")
            (company.mirror / "HEAD").write_text("nonsense")
        with monkeypatch.context() as patch:
            patch.setattr(git.process, "run", dying(process.run))
            patch.setattr(git.process, "stream", dying(process.stream))
            patch.setattr(git.Path, "rename", dying(git.Path.rename))
            patch.setattr(git.trees, "remove", lambda path: None)  # nothing tidies up
            with suppress(KeyboardInterrupt):
                company.fetch()
        assert company.fetch() == ""
        assert company.cloned(tmp_path / f"clone-{damage}")[-1] == "first"
        assert {path.suffix for path in company.cache.iterdir()} <= {".git", ".lock"}


@pytest.mark.parametrize("harm", ["HEAD", "config", "objects/pack/*.pack", "objects/pack/*.idx"])
def test_a_damaged_mirror_is_made_anew(company, tmp_path, harm):
    company.fetch()
    company.commit("second")
    for path in company.mirror.glob(harm):
        path.chmod(0o600)
        path.write_bytes(b"nonsense")
    with suppress(RepositoryError):  # if it is found only now, the next command makes it anew
        company.fetch()
        company.cloned(tmp_path / "clone")
    assert company.fetch() == ""
    assert company.cloned(tmp_path / "again") == ["second", "first"]


def test_a_mirror_that_cant_be_read_is_removed(company):
    company.fetch()
    (company.mirror / "HEAD").unlink()
    with pytest.raises(RepositoryError, match="can't be read") as caught:
        company.origins().branches(company.origin)
    assert caught.value.resolution.startswith("type the same command again")
    assert [*company.cache.glob("*.git")] == []


def test_a_mirror_that_nobody_uses_any_more_is_removed(company, tmp_path):
    company.fetch()
    old, days = company.mirror, 91 * 24 * 3600
    os.utime(old, (time.time() - days,) * 2)
    other = Company(tmp_path / "other")
    other.cache = company.cache
    other.fetch()
    assert not old.exists()
    assert other.mirror.is_dir()


def test_nothing_of_the_repository_runs_on_this_host(company, tmp_path):
    """Hooks of the person's and of the mirror's, and git's transport that runs commands."""
    company.fetch()
    for name in ("reference-transaction", "post-update", "pre-auto-gc"):
        hook = company.mirror / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        hook.chmod(0o755)
    company.commit("second")
    company.fetch()
    bad = origin.Origin(text=f"ext::sh -c touch% {tmp_path}/ran", kind=origin.Kind.SSH, host="x")
    with pytest.raises(RepositoryError, match="can't be cloned"):
        company.fetch(bad)
    assert not (tmp_path / "ran").exists()


def test_objects_that_would_harm_a_checkout_are_refused(company):
    blob = run("hash-object", "-w", "file", at=company.at)
    tree = subprocess.run(
        ["git", "mktree"], cwd=company.at, input=f"100644 blob {blob}\t.git\n", text=True,
        capture_output=True, check=True,
    ).stdout.strip()  # fmt: skip
    commit = run("commit-tree", tree, "-m", "harm", at=company.at)
    run("branch", "harm", commit, at=company.at)
    with pytest.raises(RepositoryError) as caught:
        company.fetch()
    assert "hasDotgit" in caught.value.details
    assert [*company.cache.glob("*.git")] == []


def test_a_repository_that_is_not_there(company, tmp_path):
    with pytest.raises(RepositoryError, match="is not a git repository") as caught:
        company.fetch(origin.parse(f"{tmp_path}/nowhere"))
    assert "nowhere" in caught.value.details


SHOP = origin.parse("ssh://git@git.acme.test:2222/shop.git")


@pytest.mark.parametrize(
    ("said", "brief", "next_step"),
    [
        ("git@git.acme.test: Permission denied (publickey).", "you have no access", "ssh-add"),
        ("ERROR: Repository not found.", "is not a git repository", "ask for access"),
        ("ssh: connect to host git.acme.test port 2222: Connection refused", "can't be reached",
         "git ls-remote ssh://git@git.acme.test:2222/shop.git"),
        ("ssh: Could not resolve hostname git.acme.test: Name or service not known",
         "can't be reached", "git ls-remote"),
        ("No ED25519 host key is known for git.acme.test.\nHost key verification failed.",
         "is not known", "ssh -p 2222 git.acme.test"),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
         "has another SSH host key", "ssh-keygen -R '[git.acme.test]:2222'"),
        ("\x1b[2Jsomething else", "can't be cloned", "git ls-remote"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_what_to_type(company, ssh, said, brief, next_step):
    ssh(f"cat >&2 <<'END'\n{said}\nEND\nexit 255")
    with pytest.raises(RepositoryError) as caught:
        company.fetch(SHOP)
    assert brief in caught.value.brief
    assert next_step in caught.value.resolution
    assert caught.value.details.isprintable()
    assert [*company.cache.glob("*.new")] == []


SERVER = 'exec sh -c "${!#/\\/shop.git/$SHOP}"'


def test_ssh_asks_nothing_and_knows_the_pinned_keys(company, ssh, tmp_path, monkeypatch):
    ssh(f"""printf '%s\\n' "$@" >{tmp_path}/arguments
    for argument; do case $argument in GlobalKnownHostsFile=*) files=${{argument#*=}};; esac; done
    file=${{files%% *}}; cat "${{file//\\"/}}" >{tmp_path}/pins
    SHOP={company.at}; {SERVER}""")
    assert company.fetch(SHOP, known_hosts=["git.acme.test ssh-ed25519 AAAA"]) == ""
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes", "ForwardAgent=no"} <= {*arguments}
    assert "-i" not in arguments
    assert (tmp_path / "pins").read_text() == "git.acme.test ssh-ed25519 AAAA\n"
    company.fetch(SHOP, key_file=tmp_path / "deploy key")
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert arguments[arguments.index("-i") + 1] == f"{tmp_path}/deploy key"
    assert "IdentitiesOnly=yes" in arguments


def test_without_its_server_a_mirror_serves_as_it_is(company, ssh, tmp_path):
    ssh(f"SHOP={company.at}; {SERVER}")
    company.fetch(SHOP)
    company.origin = SHOP
    ssh("echo 'ssh: connect to host git.acme.test port 2222: No route to host' >&2; exit 255")
    assert company.fetch(SHOP).endswith("No route to host")
    assert company.cloned(tmp_path / "clone") == ["first"]


def test_a_server_with_another_key_is_an_error_even_if_there_is_a_mirror(company, ssh):
    ssh(f"SHOP={company.at}; {SERVER}")
    company.fetch(SHOP)
    ssh("echo 'Host key verification failed.' >&2; exit 255")
    with pytest.raises(RepositoryError, match="is not known"):
        company.fetch(SHOP)


def test_under_sudo_and_with_a_key_of_the_hosts_the_advice_fits(company, ssh, monkeypatch):
    ssh("echo 'Permission denied (publickey).' >&2; exit 255")
    with pytest.raises(RepositoryError) as caught:
        company.fetch(SHOP, key_file="/etc/devvm/key")
    assert "/etc/devvm/key" in caught.value.resolution
    monkeypatch.setenv("SUDO_USER", "jane")
    with pytest.raises(RepositoryError) as caught:
        company.fetch(SHOP)
    assert "without sudo" in caught.value.resolution
    https = origin.parse("https://127.0.0.1:1/shop.git")
    with pytest.raises(RepositoryError, match="can't be reached"):
        company.fetch(https)
