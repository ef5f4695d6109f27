"""The programs that clone an application on folders of a mount namespace of its own."""

import os
import subprocess

import pytest

from devvm.system import assets

PROGRAMS = assets.overlay() / "roles/engineer/files/usr/lib/devvm"

#: Lays folders of the test's under /srv, /home and the files with the accounts. Arguments: the
#: test's folder, and the command.
_LAID = """
for file in passwd group; do
    grep -v ^jane: /etc/$file >"$0/$file" ||:
done
echo jane:x:15151:15151::/home/jane:/bin/sh >>"$0/passwd"
echo jane:x:15151: >>"$0/group"
for path in /srv /home /var/cache /etc/passwd /etc/group; do
    mount --bind "$0/${path##*/}" "$path"
done
exec "$@"
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to others")


@pytest.fixture
def machine(tmp_path):
    """The folder with `srv` and `home`, and what runs a command on them."""
    app = tmp_path / "srv/about/app/about"
    app.mkdir(parents=True)
    (app / "views.py").write_text("deployed\n")
    (tmp_path / "cache/devvm").mkdir(mode=0o711, parents=True)
    (tmp_path / "home/jane").mkdir(parents=True)
    os.chown(tmp_path / "home/jane", 15151, 15151)
    return tmp_path


def run(machine, *argv):
    return subprocess.run(
        ["unshare", "--mount", "sh", "-euc", _LAID, machine, *argv],
        env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def provide(machine, repository="", branch="main"):
    app = ("about", "/srv/about/checkout", "/srv/about/app")
    return run(machine, PROGRAMS / "provide-checkout", "jane", *app, repository, branch, "about")


def publish(machine):
    done = run(machine, PROGRAMS / "publish-code", "jane", "about", "/srv/about/app", "main")
    assert done.returncode == 0, done.stderr
    return done.stdout


def as_jane(machine, script):
    done = run(
        machine, "setpriv", "--reuid=jane", "--regid=jane", "--init-groups", "sh", "-euc", script
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_deployed_code_becomes_a_repository_and_its_checkout(machine):
    done = provide(machine)
    assert (done.returncode, done.stderr) == (0, "")
    assert as_jane(
        machine, "cd /home/jane/about; git log --format=%s; git status --porcelain --branch"
    ) == ("about as it was deployed\n## main...origin/main\n")
    checkout = machine / "srv/about/checkout"
    assert (checkout / "about/views.py").read_text() == "deployed\n"
    assert {path.name for path in checkout.iterdir()} == {".git", "about"}
    assert not (machine / "srv/git/about.git/index").exists()
    owned = [*checkout.rglob("*"), *(machine / "srv/git/about.git").rglob("*")]
    assert {path.stat().st_uid for path in owned} == {15151}
    assert (machine / "srv/git").stat().st_uid == 0
    commit = "git -c user.name=j -c user.email=j@h commit --quiet --message new"
    as_jane(machine, f"cd /home/jane/about; echo x >new; git add new; {commit}; git push --quiet")


def test_what_the_engineer_has_done_is_never_touched(machine):
    provide(machine)
    views = machine / "srv/about/checkout/about/views.py"
    views.write_text("mine\n")
    (machine / "home/jane/about").unlink()
    assert provide(machine).returncode == 0
    assert views.read_text() == "mine\n"
    assert not (machine / "home/jane/about").is_symlink()


@pytest.mark.parametrize("left", ["checkout/.clone/.git/x", "../git/about.git.new/HEAD"])
def test_what_a_killed_run_left_is_made_anew(machine, left):
    path = machine / "srv/about" / left
    path.parent.mkdir(parents=True)
    path.touch()
    assert provide(machine).returncode == 0
    assert not path.exists()
    assert (machine / "srv/about/checkout/about/views.py").is_file()


def test_other_files_in_its_place_are_left_alone(machine):
    mine = machine / "srv/about/checkout/mine"
    mine.parent.mkdir()
    mine.touch()
    done = provide(machine)
    assert done.returncode == 1
    assert "is not a git checkout and not empty" in done.stderr
    assert mine.exists()
    assert not (machine / "srv/git").exists()


def test_a_repository_of_ones_own_is_cloned_with_its_branch(machine):
    work = "cd /srv/about; git clone --quiet checkout /home/jane/own; cd /home/jane/own"
    provide(machine)
    as_jane(machine, f"{work}; git checkout --quiet -b next; echo >next; git add next;"
            " git -c user.name=j -c user.email=j@h commit --quiet --message next;"
            " rm -rf /srv/about/checkout/* /srv/about/checkout/.git")  # fmt: skip
    assert provide(machine, "/home/jane/own", "next").returncode == 0
    assert (machine / "srv/about/checkout/next").is_file()


def test_a_branch_that_is_not_there_is_an_error_and_can_be_tried_again(machine):
    provide(machine)
    as_jane(machine, "cp -r /srv/git/about.git /home/jane/own; rm -rf /srv/about/checkout/.git"
            " /srv/about/checkout/about")  # fmt: skip
    done = provide(machine, "/home/jane/own", "nowhere")
    assert done.returncode != 0
    assert "nowhere" in done.stderr
    assert provide(machine, "/home/jane/own", "main").returncode == 0


def log(machine, branch, form="%s"):
    return as_jane(machine, f"git -C /srv/git/about.git log --format={form} {branch} --")


def deploy(machine, text):
    (machine / "srv/about/app/about/views.py").write_text(text)


DEPLOYED = "about as it was deployed\n"


def test_newly_deployed_code_can_be_pulled(machine):
    provide(machine)
    assert publish(machine) == ""
    deploy(machine, "newer\n")
    assert publish(machine) == "published\n"
    assert publish(machine) == ""
    assert log(machine, "main") == log(machine, "deployed") == 2 * DEPLOYED
    views = machine / "srv/about/checkout/about/views.py"
    assert views.read_text() == "deployed\n"
    as_jane(machine, "cd /home/jane/about; git pull --quiet")
    assert views.read_text() == "newer\n"
    owned = (machine / "srv/git/about.git").rglob("*")
    assert {path.stat().st_uid for path in owned} == {15151}


def test_what_people_pushed_is_theirs_to_merge(machine):
    provide(machine)
    commit = "git -c user.name=j -c user.email=j@h commit --quiet --message mine"
    as_jane(machine, f"cd /home/jane/about; echo x >new; git add new; {commit}; git push --quiet")
    deploy(machine, "newer\n")
    assert publish(machine) == "published\n"
    assert log(machine, "main") == "mine\n" + DEPLOYED
    assert log(machine, "deployed") == 2 * DEPLOYED
    merge = "git -c user.name=j -c user.email=j@h merge --quiet origin/deployed"
    as_jane(machine, f"cd /home/jane/about; git fetch --quiet; {merge}; test -e new")
    assert (machine / "srv/about/checkout/about/views.py").read_text() == "newer\n"


def test_a_repository_of_an_older_devvm_goes_on(machine):
    provide(machine)
    as_jane(machine, "git -C /srv/git/about.git branch --quiet -D deployed")
    assert publish(machine) == ""
    deploy(machine, "newer\n")
    assert publish(machine) == "published\n"
    assert log(machine, "main") == 2 * DEPLOYED


def test_what_a_killed_run_left_in_the_repository_is_no_obstacle(machine):
    provide(machine)
    deploy(machine, "newer\n")
    as_jane(machine, "cd /srv/git/about.git; echo x >devvm-index; : >devvm-index.lock")
    assert publish(machine) == "published\n"
    assert not (machine / "srv/git/about.git/devvm-index").exists()


@pytest.fixture
def bundle(machine):
    """What devvm puts into the machine: a bundle with two branches and a tag, for root only."""
    git = "git -c user.name=j -c user.email=j@h"
    script = f"""cd "$1"; git init --quiet --initial-branch=main work; cd work; echo 1 >file
    git add file; {git} commit --quiet --message first; {git} tag v1
    git checkout --quiet -b next; {git} commit --quiet --allow-empty --message next
    git bundle create --quiet "$1/cache/devvm/about.bundle" --branches --tags"""
    subprocess.run(["sh", "-euc", script, "sh", machine], check=True, capture_output=True)
    (machine / "cache/devvm/about.bundle").chmod(0o600)
    return machine / "cache/devvm/about.bundle"


def test_what_devvm_brought_is_cloned_and_the_origin_is_the_company_s(machine, bundle):
    origin = "git@git.acme.test:about.git"
    done = provide(machine, origin, "next")
    assert (done.returncode, done.stderr) == (0, "")
    assert as_jane(
        machine,
        "cd /home/jane/about; git remote get-url origin; git log -1 --format=%s; git tag;"
        " git status --short --branch; git branch --remotes --list",
    ).splitlines() == [
        origin, "next", "v1", "## next...origin/next", "  origin/main", "  origin/next",
    ]  # fmt: skip
    assert not bundle.exists()
    assert not (machine / "srv/git").exists()


def test_what_devvm_brought_is_kept_until_it_is_cloned(machine, bundle):
    assert provide(machine, "git@git.acme.test:about.git", "nowhere").returncode != 0
    assert bundle.exists()
    assert provide(machine, "git@git.acme.test:about.git").returncode == 0
