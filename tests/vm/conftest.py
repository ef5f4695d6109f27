"""Real virtual machines: the command line as people use it, with the real libvirt."""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench import contenders
from bench.results import Results, sample_of
from tests.vm import baseline, mirror, network

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent


@dataclass(frozen=True)
class Result:
    code: int
    stdout: str
    stderr: str

    @property
    def json(self):
        return json.loads(self.stdout)


class Devvm:
    """Runs `devvm` with the tests' configuration, as its own process.

    `times` are those of the commands that bin/test compares with the benchmark's.
    """

    def __init__(
        self, state: Path, log: Path, *options: str, config: Path = HERE / "config.toml"
    ) -> None:
        self.state = state
        self.times = Results()
        self._log = log
        self._options = options
        self._config = config

    def of(self, stack: Path, config: Path) -> "Devvm":
        """The same for another stack, with another configuration."""
        return Devvm(self.state, self._log, f"--stack={stack}", config=config)

    def __call__(self, *args: str, code: int | None = 0, timeout: float = 3000, **env) -> Result:
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "devvm", *self._options, *args],
            cwd=REPOSITORY,
            env=os.environ | {"DEVVM_CONFIG": str(self._config)} | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        with self._log.open("a") as log:
            log.write(f"$ devvm {' '.join(args)}\n{done.stdout}{done.stderr}[{done.returncode}]\n")
        assert "Traceback" not in done.stdout + done.stderr
        assert code is None or done.returncode == code, done.stdout + done.stderr
        result = Result(done.returncode, done.stdout, done.stderr)
        if args[0] in ("create", "start") and "--json" in args and done.returncode == 0:
            sample = sample_of(result.json, time.monotonic() - begun)
            self.times.add(contenders.started_as(args[0], sample.phases), sample)
        return result


def look(devvm):
    """What exists: libvirt's domains, volumes and leases, and the VMs' folders."""
    return {
        "domains": baseline.domains("--all"),
        "volumes": sorted(baseline.virsh("vol-list", baseline.POOL).split()[::2])
        if baseline.POOL in baseline.pools()
        else [],
        "leases": baseline.leases(),
        "vms": sorted(p.name for p in (devvm.state / "vms").iterdir()),
    }


@pytest.fixture(scope="session")
def devvm(tmp_path_factory):
    """The command, on a host that is set up; VMs left by an earlier run are destroyed."""
    command = Devvm(Path("/var/lib/devvm-test"), tmp_path_factory.mktemp("devvm") / "log")
    command("setup", "--yes", "--no-link")
    with (command.state / "locks" / "tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs of the tests on one host take turns
        _destroy_all(command)
        network.ensure()
        for records in ("releases", "rollouts"):  # left by an earlier run on this host
            for record in (command.state / records).iterdir():
                shutil.rmtree(record)
        yield command
        if "BENCH_RECORD" in os.environ:
            command.times.write(Path(os.environ["BENCH_RECORD"]))
        _destroy_all(command)


def _destroy_all(command: Devvm) -> None:
    command("pool", "set", "0")
    purge(command, *(vm["name"] for vm in command("list", "--json").json["vms"]))


def purge(command: Devvm, *names: str) -> None:
    """Delete VMs, and everything that is in the trash."""
    for name in names:
        with contextlib.suppress(AssertionError):
            command("destroy", name, "--purge", name)
    for item in command("trash", "list", "--json").json["items"]:
        command("trash", "empty", item["id"], "--purge", item["name"])


@pytest.fixture(scope="session")
def archive(devvm):
    """The tests' own mirror, served from now on.

    A test that moves it must be the last to build a box.
    """
    with mirror.served() as made:
        yield made


@pytest.fixture(scope="session")
def news(archive):
    """What is newer in the mirror than in production: packages and versions."""
    return archive.news


@pytest.fixture(scope="session")
def box(devvm, archive):
    """The box of this checkout's stack; built for real unless it exists."""
    return devvm("box", "build", "--yes", "--json").json


@dataclass(frozen=True)
class Made:
    """dev1, as at the beginning of a test.

    Attributes:
        created: The JSON output of `devvm create`.
        shown: The JSON output of `devvm show`, with work in the VM.
        key: The engineer's private key.
        baseline: Restores it.
    """

    created: dict
    shown: dict
    key: Path
    baseline: baseline.Baseline


@pytest.fixture(scope="session")
def made(devvm, box, tmp_path_factory):
    """A VM created by `devvm create dev1`, with work in it, on a recorded release."""
    key = tmp_path_factory.mktemp("key") / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    created = devvm(
        "create", "dev1", "--engineer", "jane", "--ssh-key", f"{key}.pub", "--yes", "--json",
        "--cpus", "2", "--memory", "1536M", "--root-disk", "20G", "--data-disk", "3G",
        **_other_sizes(tmp_path_factory),
    )  # fmt: skip
    devvm("exec", "dev1", "--", "sh", "-c", WORK)
    devvm("release", "create", "--note", "as it was")
    shown = devvm("show", "dev1", "--json").json
    kept = baseline.Baseline(devvm.state, tmp_path_factory.mktemp("baseline"))
    kept.take()
    yield Made(created.json, shown, key, kept)
    kept.forget()


def _other_sizes(tmp_path_factory) -> dict[str, str]:
    """A configuration that differs in every setting."""
    path = tmp_path_factory.mktemp("sizes") / "config.toml"
    text = (HERE / "config.toml").read_text()
    sizes = "cpus = 1\nmemory_mib = 1024\nroot_gib = 21"
    path.write_text(text.replace("memory_mib = 1536", sizes))
    return {"DEVVM_CONFIG": str(path)}


@pytest.fixture(scope="module")
def vm(made):
    """dev1 for the tests of a module, which leave it unchanged; as `create` printed it."""
    made.baseline.restore()
    return made.created | {"key": made.key}


@pytest.fixture
def dev1(made):
    """dev1 for one test, which may do anything with it; as `show` printed it."""
    made.baseline.restore()
    return made.shown


#: Work people would miss: a file, an uncommitted edit, rows in the database.
WORK = """set -eu
echo 'a note' >~/note.txt
printf '\\n<!-- not committed -->\\n' >>~/about/about/templates/base.html
sudo mysql -e 'create table if not exists about.mine (x int); insert into about.mine values (42)'
"""


def work(devvm, name="dev1"):
    """What is left of it on a running VM; `ALL_THERE` if nothing is lost."""
    ask = "cat note.txt; git -C about status --short; sudo mysql -N -e 'select * from about.mine'"
    return devvm("exec", name, "--", "sh", "-c", ask, code=None).stdout.split("\n")[:3]


ALL_THERE = ["a note", " M about/templates/base.html", "42"]


def healthy(devvm):
    found = devvm("doctor", "--json", code=None).json
    assert found["healthy"], found
