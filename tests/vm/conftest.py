"""Real virtual machines: the command line as a person types it, against the real libvirt."""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
RANGE = "192.168.218.0/24"  # config.toml's
_DOMAIN = ".devvm-test.test"


@dataclass(frozen=True)
class Result:
    code: int
    stdout: str
    stderr: str

    @property
    def json(self):
        return json.loads(self.stdout)


class Devvm:
    """Runs `devvm` with the tests' configuration, as its own process, of some checkout."""

    def __init__(self, state: Path, log: Path, checkout: Path = REPOSITORY) -> None:
        self.state = state
        self._log = log
        self._checkout = checkout

    def of(self, checkout: Path) -> "Devvm":
        """The same, of another checkout: another stack is in hand there."""
        return Devvm(self.state, self._log, checkout)

    def __call__(self, *args: str, code: int | None = 0, timeout: float = 3000, **env) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "devvm", *args],
            cwd=self._checkout,
            env=os.environ | {"DEVVM_CONFIG": str(HERE / "config.toml")} | env,
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
        return Result(done.returncode, done.stdout, done.stderr)


def virsh(*args: str) -> str:
    command = ["virsh", "--connect", "qemu:///system", "--quiet", *args]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def look(devvm):
    """What is there: libvirt's domains, volumes and leases, and the VMs' folders."""
    pools = virsh("pool-list", "--all", "--name").split()
    networks = virsh("net-list", "--all", "--name").split()
    network = virsh("net-dumpxml", "devvm-test") if "devvm-test" in networks else ""
    return {
        # other tests' domains may be on this host as well
        "domains": sorted(d for d in virsh("list", "--all", "--name").split() if _DOMAIN in d),
        "volumes": sorted(virsh("vol-list", "devvm-test").split()[::2])
        if "devvm-test" in pools
        else [],
        "leases": sorted(line.strip() for line in network.splitlines() if "<host " in line),
        "vms": sorted(p.name for p in (devvm.state / "vms").iterdir()),
    }


@pytest.fixture(scope="session")
def devvm(tmp_path_factory):
    """The command, on a host that is set up; VMs that a failed test left are destroyed."""
    # A packet for a VM that is gone must never leave this machine.
    route = ["ip", "route", "replace", "unreachable", RANGE, "metric", "4000000000"]
    subprocess.run(route, check=True)
    command = Devvm(Path("/var/lib/devvm-test"), tmp_path_factory.mktemp("devvm") / "log")
    command("setup", "--yes", "--no-link")
    with (command.state / "locks" / "tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs of the tests on one host take turns
        _destroy_all(command)
        for records in ("releases", "rollouts"):  # of an earlier run on this host
            for record in (command.state / records).iterdir():
                shutil.rmtree(record)
        yield command
        _destroy_all(command)


def _destroy_all(command: Devvm) -> None:
    listed = command("list", "--json")
    for vm in listed.json["vms"]:
        with contextlib.suppress(AssertionError):
            command("destroy", vm["name"], "--purge", vm["name"])
    for item in command("trash", "list", "--json").json["items"]:
        command("trash", "empty", item["id"], "--purge", item["name"])


@pytest.fixture(scope="session")
def box(devvm):
    """The box of the stack in this checkout, built for real where it is not there yet."""
    return devvm("box", "build", "--yes", "--json").json


@pytest.fixture(scope="session")
def vm(devvm, box, tmp_path_factory):
    """A VM made by `devvm create dev1`, and what the command printed."""
    key = tmp_path_factory.mktemp("key") / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    created = devvm("create", "dev1", "--engineer", "jane", "--ssh-key", f"{key}.pub", "--json")
    return created.json | {"key": key}


@pytest.fixture(scope="module")
def dev1(devvm, box):
    """dev1, from wherever it is: as it stands, out of the trash, or new."""
    names = {v["name"] for v in devvm("list", "--json").json["vms"]}
    trash = {item["name"] for item in devvm("trash", "list", "--json").json["items"]}
    if "dev1" not in names and "dev1" in trash:
        report = devvm("recover", "dev1", "--json").json["report"]
        assert report["passed"]
    elif "dev1" not in names:
        devvm("create", "dev1", "--engineer", "jane", "--json")
    return devvm("show", "dev1", "--json").json
