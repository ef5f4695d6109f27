"""Invalid input and a misconfigured host, with the real libvirt.

Each time: one clear message with the cause and the next command, the right exit code, no traceback
(`devvm` in conftest checks that), and nothing half done.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.vm import mirror
from tests.vm.baseline import pools, virsh
from tests.vm.conftest import HERE, REPOSITORY, look

pytestmark = pytest.mark.vm


def _everything(devvm):
    boxes = sorted(p.name for p in (devvm.state / "boxes").iterdir())
    return look(devvm) | {"boxes": boxes}


@pytest.fixture(scope="module")
def at_first(vm, devvm):
    return _everything(devvm)


@pytest.fixture
def world(at_first, devvm):
    """What a refusal must leave unchanged."""
    yield
    assert _everything(devvm) == at_first


@pytest.fixture
def settings(tmp_path):
    """The tests' configuration with some text replaced."""

    def write(old: str = "", new: str = "") -> dict[str, str]:
        text = (HERE / "config.toml").read_text()
        assert old in text
        path = tmp_path / "config.toml"
        path.write_text(text.replace(old, new, 1))
        return {"DEVVM_CONFIG": str(path)}

    return write


def _refused(done, *parts):
    error = done.json["error"]
    assert error["exit_code"] == done.code
    text = " ".join(str(v) for v in error.values())
    for part in parts:
        assert part in text, error
    assert error["resolution"], error
    return error


@pytest.mark.parametrize(
    "name",
    ["", "../x", "a b", "a;reboot", "x" * 64, "x" * 300, "Dev1", "dév", "root", "-x", "dev1\n"],
)
def test_a_name_that_can_not_be_one(devvm, world, name):
    _refused(devvm("create", "--json", "--", name, code=2))


@pytest.mark.parametrize("login", ["", "../x", "a b", "root", "mysql", "Jane", "x" * 40])
def test_an_engineer_that_can_not_be_one(devvm, world, login):
    _refused(devvm("create", "dev9", "--engineer", login, "--json", code=2))


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--cpus", "0"], "cpus"),
        (["--cpus", "many"], "cpus"),
        (["--memory", "-1"], "memory"),
        (["--memory", "1K"], "memory"),
        (["--data-disk", "0"], "data"),
        (["--driver", "xen"], "driver"),
        (["--release", "latest"], "release"),
        (["--release", "2001.01.01-000000000000"], "2001.01.01-000000000000"),
        (["--ssh-key", "/nonexistent.pub"], "/nonexistent.pub"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_an_option_that_can_not_be_met(devvm, world, options, part):
    _refused(devvm("create", "dev9", *options, "--json", code=2), part)


def test_a_private_key_is_not_taken_for_a_public_one(devvm, world, tmp_path):
    key = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    done = devvm("create", "dev9", "--ssh-key", str(key), "--json", code=2)
    _refused(done, f"{key}.pub")
    assert "PRIVATE KEY" not in done.stdout + done.stderr


def test_an_unknown_key_of_the_configuration(devvm, world, settings):
    env = settings("memory_mib", "memory")
    done = devvm("create", "dev9", "--json", code=2, **env)
    _refused(done, "vm.memory", env["DEVVM_CONFIG"], "memory_mib")


def test_more_memory_than_the_host_has(devvm, world):
    done = devvm("create", "dev9", "--memory", "900G", "--json", code=4)
    _refused(done, "memory", "--memory")


@pytest.fixture
def small():
    """A file system too small for a box, mounted where pytest's clean-up doesn't reach it."""
    place = Path("/var/lib/devvm-test-small")
    place.mkdir(mode=0o755, exist_ok=True)
    subprocess.run(["umount", "-q", place], check=False)  # left by a run that was killed
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m,mode=755", "tmpfs", place]
    subprocess.run(mount, check=True)
    yield place
    if "devvm-small" in pools():
        subprocess.run(["virsh", "-q", "pool-destroy", "devvm-small"], check=False)
        virsh("pool-undefine", "devvm-small")
    subprocess.run(["umount", place], check=True)
    place.rmdir()


def test_no_space_in_the_pool(devvm, box, settings, small):
    env = settings(
        'pool = "devvm-test"\npool_path = "/var/lib/libvirt/images/devvm-test"',
        f'pool = "devvm-small"\npool_path = "{small}/pool"',
    )
    _refused(devvm("create", "dev9", "--json", code=4, **env), "space")
    assert not (devvm.state / "vms" / "dev9").exists()
    assert "dev9" not in virsh("list", "--all", "--name")


def test_libvirt_is_not_reachable(devvm, world, settings):
    env = settings("state_dir", 'uri = "qemu+unix:///system?socket=/nonexistent"\nstate_dir')
    for command in (["list"], ["create", "dev9"], ["verify", "dev9"], ["box", "list"]):
        done = devvm(*command, "--json", code=None, **env)
        if command != ["box", "list"]:  # reads only files
            assert done.code == 4
            _refused(done, "libvirt")


def test_a_mirror_that_is_down(devvm, world, settings, tmp_path):
    """Nothing listens on this port; what the failed build left is not a box."""
    env = settings(
        'state_dir = "/var/lib/devvm-test"\npool = "devvm-test"',
        f'state_dir = "{tmp_path}/state"\npool = "devvm-empty"',  # where no VM needs the box
    )
    config = Path(env["DEVVM_CONFIG"])
    served = f"{mirror.ADDRESS}:{mirror.PORT}"
    config.write_text(config.read_text().replace(served, "127.0.0.1:9"))
    devvm("setup", "--yes", "--no-link", **env)
    done = devvm("box", "build", "--yes", "--json", code=None, **env)
    assert done.code in (1, 4)
    _refused(done, "http://127.0.0.1:9/debian")
    assert devvm("box", "list", "--json", **env).json["boxes"] == []


def test_a_box_that_vms_need_is_not_built_anew(devvm, vm, world):
    _refused(devvm("box", "build", "--force", "--yes", "--json", code=2), "devvm destroy dev1")


def test_a_user_outside_the_group_of_libvirt(devvm, world):
    done = subprocess.run(
        [
            "setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups",
            # the tests' environment may be in root's home; allow reading it
            "--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search",
            sys.executable, "-m", "devvm", "list",
        ],
        cwd=REPOSITORY,
        env=os.environ | {"DEVVM_CONFIG": str(HERE / "config.toml"), "HOME": "/nonexistent"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert "group" in done.stderr
    assert "devvm setup" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "show dev9", "start dev9", "stop dev9", "restart dev9", "verify dev9", "destroy dev9",
        "rebuild dev9", "recover dev9", "resize dev9 --data 9G", "clone dev9 --as dev8",
        "snapshot create dev9 x", "snapshot list dev9", "snapshot restore dev9 x --yes",
        "snapshot delete dev9 x", "trash show dev9", "trash empty dev9 --purge dev9",
    ],
)  # fmt: skip
def test_a_vm_that_is_not_there(devvm, world, command):
    _refused(devvm(*command.split(), "--json", code=2), "dev9")
