"""Kills a box build in each of its stages and repeats it: nothing is left that blocks it.

Also tests its two preconditions: a tool's mounts and processes end with it, and removing a folder
does not remove what is mounted in it.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import devvm
from devvm.system import process, trees
from tests.container import small_box

pytestmark = pytest.mark.container

#: What to kill: devvm; its whole process group; or the tool that it waits for.
DEVVM, GROUP = "devvm", "group"
#: The stage, a part of its output at which to kill, and what to kill. In the order of the build,
#: since each build continues the previous one.
KILLS = [
    ("packages", "unpacking", "unshare"),
    ("packages", "setting up", DEVVM),
    ("converge", "unpacking the packages", "tar"),
    ("converge", "waiting for the container", "systemd-nspawn"),
    ("converge", "small: Take a moment", DEVVM),
    ("idempotence", "small: Take a moment", "systemd-nspawn"),
    ("idempotence", "small: Take a moment", GROUP),
    ("anonymise", "looking for secrets", DEVVM),
    ("disk", "filling the file system", "mke2fs"),
    ("disk", "filling the file system", DEVVM),
    ("bootloader", "booting the disk once", "qemu-system-x86"),
    ("bootloader", "booting the disk once", DEVVM),
    ("verify", "checking", DEVVM),
    ("register", "begins", DEVVM),
]


class Site:
    """The folder on this host in which the small box is built."""

    def __init__(self, folder, scratch, config):
        self.folder = folder
        self.scratch = scratch
        self._config = config
        small_box.make_stack(folder / "stack")

    @contextmanager
    def building(self):
        """Start a build; kill it at the end if it is still running."""
        tied = ["setpriv", "--pdeathsig", "KILL", "--"]  # die with the tests if they are killed
        argv = [*tied, sys.executable, Path(small_box.__file__), self.folder]
        checkout = str(Path(devvm.__file__).parents[1])
        env = os.environ | {
            "PYTHONPATH": checkout, "TMPDIR": str(self.scratch), "DEVVM_CONFIG": str(self._config),
        }  # fmt: skip
        with subprocess.Popen(
            argv, env=env, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as build:  # fmt: skip
            try:
                yield build
            finally:
                if build.poll() is None:
                    os.killpg(build.pid, signal.SIGKILL)

    def left(self):
        """Mounts and processes left by builds here."""
        mounts = [
            str(m) for place in (self.folder, self.scratch) for m in trees.mounted_below(place)
        ]
        others = [
            folder for folder in Path("/proc").glob("[0-9]*") if int(folder.name) != os.getpid()
        ]
        return mounts + [f"{f.name}: {argv}" for f in others if (argv := self._ours(f))]

    def containers(self):
        """Names of the containers that were booted; there may be other builds on this host."""
        locks = (self.folder / "state/packages/locks").glob("*.lock")
        return [f"devvm-box-{release.stem}" for release in locks]

    def _ours(self, folder):
        """The arguments of a process that concerns this site, or has its root there."""
        try:
            argv = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            places = [str((folder / name).readlink()) for name in ("root", "cwd")]
        except OSError:  # it has ended
            return ""
        ours = (str(self.folder), str(self.scratch), *self.containers())
        return argv if any(place in text for text in (argv, *places) for place in ours) else ""


@pytest.fixture(scope="module")
def site(state):
    folder = state / "killed-build"
    trees.remove(folder)
    folder.mkdir()
    with (
        tempfile.TemporaryDirectory(prefix="kb-") as scratch,  # short, because it holds a socket
        small_box.served() as mirror,
    ):
        yield Site(folder, Path(scratch), mirror.settings(folder / "config.toml"))
    trees.remove(folder)


def soon(what, seconds=10):
    """Whether something becomes true soon; the kernel takes a moment to end things."""
    deadline = time.monotonic() + seconds
    while not what() and time.monotonic() < deadline:
        time.sleep(0.05)
    return what()


def child(pid, name):
    """The child with this name that a process is waiting for."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        for number in (task / "children").read_text().split():
            if Path(f"/proc/{number}/comm").read_text().strip() == name:
                return int(number)
    return None


def runs(pid):
    """Whether a process runs; one that nobody has waited for has no arguments any more."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


@pytest.mark.parametrize(("stage", "words", "who"), KILLS)
def test_a_build_that_is_killed_leaves_nothing_running_and_nothing_mounted(site, stage, words, who):
    with site.building() as build:
        said = []
        for line in build.stdout:
            said.append(line)
            if line.startswith(f"{stage}: {words}"):
                break
        else:
            pytest.fail(f"it never came to {stage}: {words}\n{''.join(said)}")
        uplink = child(build.pid, "slirp4netns")
        assert uplink or words != "small: Take a moment"
        if who == DEVVM:
            build.kill()
        elif who == GROUP:
            os.killpg(build.pid, signal.SIGKILL)
        else:
            assert soon(lambda: child(build.pid, who))
            os.kill(child(build.pid, who), signal.SIGKILL)
        rest = build.stdout.read()
        code = build.wait()
    if who in (DEVVM, GROUP):
        assert code == -signal.SIGKILL
    else:  # devvm itself reports what happened
        assert code == 1, rest
        assert re.search(r"^Error: .*\n(.+\n)+", rest, re.MULTILINE), rest
    assert soon(lambda: not site.left()), site.left()
    assert soon(lambda: not runs(uplink))


def test_then_it_is_typed_again_and_nothing_is_left_of_it(site):
    with site.building() as build:
        said = build.stdout.read()
    assert build.returncode == 0, said
    assert site.left() == []
    assert list((site.folder / "state/boxes").glob("*/metadata.json"))
    assert list((site.folder / "state/build").iterdir()) == []
    assert list(site.scratch.iterdir()) == []
    (container,) = site.containers()
    assert list(Path("/run/systemd/nspawn").glob(f"*/{container}")) == []


# -- preconditions ---------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    yield tree
    trees.remove(tree)


@pytest.fixture
def mount():
    """Mount for real; what a test leaves is unmounted in reverse order."""
    points = []

    def run(*argv):
        subprocess.run(["mount", *map(str, argv)], check=True)
        points.append(argv[-1])

    yield run
    for point in reversed(points):
        subprocess.run(["umount", "--recursive", "--lazy", "--quiet", point], check=False)


def test_a_tree_goes_and_what_was_mounted_in_it_stays_as_it_was(tree, mount, tmp_path):
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    (source / "file").write_text("precious")
    for name in ("bind", "a b", "proc"):
        (tree / name).mkdir()
    mount("--bind", source, tree / "bind")
    mount("-t", "tmpfs", "tmpfs", tree / "bind/inner")
    mount("-t", "tmpfs", "tmpfs", tree / "a b")
    mount("-t", "tmpfs", "tmpfs", tree / "a b")  # on top of the other
    mount("-t", "proc", "proc", tree / "proc")
    trees.remove(tree)
    assert not tree.exists()
    assert trees.mounted_below(tree) == []
    assert (source / "file").read_text() == "precious"
    assert (source / "inner").is_dir()


def test_a_copy_of_a_shared_mount_goes_without_the_mounts_of_the_original(tree, mount, tmp_path):
    original = tmp_path / "dev"
    original.mkdir()
    mount("-t", "tmpfs", "tmpfs", original)
    mount("--make-rshared", original)
    (original / "pts").mkdir()
    mount("-t", "tmpfs", "tmpfs", original / "pts")
    (tree / "dev").mkdir()
    mount("--rbind", original, tree / "dev")
    trees.remove(tree)
    assert not tree.exists()
    assert trees.mounted_below(original) == [original, original / "pts"]


def test_a_mount_that_somebody_uses_is_let_go_of_as_well(tree, mount):
    mount("-t", "tmpfs", "tmpfs", tree)
    with subprocess.Popen(["sleep", "60"], cwd=tree) as user:
        try:
            trees.remove(tree)
            assert not tree.exists()
            assert user.poll() is None
        finally:
            user.kill()


#: Mounts something, starts a daemon, and waits.
TOOL = 'mount -t tmpfs tmpfs "$0"; setsid sleep "$1" & echo begun'
OWNER = """
import sys
from devvm.system import process
process.stream(sys.argv[1:], lambda line: print(line, flush=True), isolated=True)
"""


@pytest.fixture
def daemon(tree):
    """An argument that identifies this test's daemon."""
    return f"600.{os.getpid()}{time.monotonic_ns()}"


def living(daemon):
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            argv = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if argv[:2] == [b"sleep", daemon.encode()]:
            found.append(int(folder.name))
    return found


def test_what_an_isolated_tool_mounted_and_started_ends_with_it(tree, daemon):
    seen = []
    process.stream(["sh", "-c", TOOL, tree, daemon], seen.append, isolated=True)
    assert seen == ["begun"]
    assert living(daemon) == []
    assert trees.mounted_below(tree) == []


def test_its_exit_code_is_its_own():
    assert process.stream(["sh", "-c", "exit 7"], print, check=False, isolated=True) == 7


def test_it_ends_when_devvm_is_interrupted(tree, daemon):
    def interrupt(_line):
        assert soon(lambda: living(daemon))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.stream(["sh", "-c", f"{TOOL}; wait", tree, daemon], interrupt, isolated=True)
    assert soon(lambda: not living(daemon))


@pytest.mark.parametrize("who", ["devvm", "unshare"])
def test_it_ends_when_somebody_is_killed(tree, daemon, who):
    argv = [sys.executable, "-c", OWNER, "sh", "-c", f"{TOOL}; wait", tree, daemon]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as owner:
        try:
            assert owner.stdout.readline() == "begun\n"
            assert soon(lambda: living(daemon))
            assert trees.mounted_below(tree) == []  # not in this namespace
            os.kill(owner.pid if who == "devvm" else child(owner.pid, who), signal.SIGKILL)
            owner.wait(timeout=10)
        finally:
            owner.kill()
    assert soon(lambda: not living(daemon))
