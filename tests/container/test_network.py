"""The network of a container in which a box is built: none, or what the host reaches.

The host is this machine in a network namespace of the test's own.
"""

import errno
import hashlib
import shlex
import subprocess
from pathlib import Path

import pytest

from devvm.adapters.image.nspawn import Nspawn, remove_leftovers
from devvm.domain.errors import HostNotReadyError
from devvm.stack.folder import StackFolder
from devvm.system import assets
from tests.container import reference
from tests.container.reference import OVERLAY, Machine, quiet
from tests.support import own_network
from tests.support.own_network import ADDRESS, NAME

pytestmark = pytest.mark.container

CONTAINER = "devvm-test-network"
PACKAGES = "ca-certificates dbus git openssh-server python3 sudo systemd-resolved systemd-sysv"
PASSWORD = "kept-from-the-box"

PLAYBOOK = """\
- hosts: all
  become: true
  gather_facts: false
  roles: [small]
"""
#: Each task leaves a file in /tmp, which a box doesn't keep.
TASKS = """\
- name: By name
  ansible.builtin.get_url: {url: "http://NAME:HTTP/file", dest: /tmp/by-name, mode: "0644"}
- name: Through the proxy
  ansible.builtin.get_url: {url: "http://ADDRESS:HTTP/file", dest: /tmp/proxied, mode: "0644"}
- name: Through the proxy, as another account
  ansible.builtin.get_url: {url: "http://ADDRESS:HTTP/file", dest: /tmp/as-other, mode: "0644"}
  become: false
- name: With the company's CA
  ansible.builtin.get_url: {url: "https://ADDRESS:HTTPS/file", dest: /tmp/secure, mode: "0644"}
- name: With git
  ansible.builtin.git: {repo: "https://ADDRESS:HTTPS/code.git", dest: /tmp/code, version: main}
- name: The host's loopback
  ansible.builtin.wait_for: {host: 10.0.2.2, port: LOOPBACK, timeout: 2}
  register: small_loopback
  failed_when: small_loopback is succeeded
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    root = tmp_path_factory.mktemp("small")
    for path, text in {
        "playbooks/site.yml": PLAYBOOK,
        "roles/small/vars/main.yml": f"small_packages: [{', '.join(PACKAGES.split())}]\n",
        "roles/small/tasks/main.yml": "[]\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return StackFolder(root, overlay=assets.overlay())


@pytest.fixture(scope="module")
def root(state, log, stack):
    remove_leftovers(CONTAINER)
    with reference.unpacked(OVERLAY, log, stack) as root:
        yield root


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The test's own network, with a file and a git repository to get."""
    folder = tmp_path_factory.mktemp("world") / "served"
    folder.mkdir()
    (folder / "file").write_text("from the server\n")
    code = folder / "code.git"
    git = ["git", f"--git-dir={code}", "-c", "user.name=test", "-c", "user.email=test@devvm.test"]

    def run(*command):
        done = subprocess.run([*git, *command], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    run("init", "--quiet", "--bare", "--initial-branch=main", str(code))
    tree = run("hash-object", "-t", "tree", "-w", "/dev/null")
    run("update-ref", "refs/heads/main", run("commit-tree", "-m", "first", tree))
    run("update-server-info")  # for clients of a server that only has files
    with own_network.entered(folder) as servers:
        yield servers


def files(root: Path) -> dict[str, str]:
    """The files in which settings are, by path, with their content's hash."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file() and not path.is_symlink()
        else str(path.readlink() if path.is_symlink() else "")
        for place in ("etc", "usr/local", "opt", "srv")
        for path in sorted((root / place).rglob("*"))
    }


def test_there_is_none_unless_the_stack_asks_for_it(root, log, world):
    with Nspawn().booted(root, name=CONTAINER, detail=quiet, log=log) as target:
        machine = Machine(target, log)
        assert machine.sh("ls /sys/class/net") == "lo\n"
        assert machine.sh("ls /run | grep devvm || true") == ""
        connect = f"import socket; print(socket.socket().connect_ex(('{ADDRESS}', {world.http})))"
        assert machine.sh(shlex.join(["python3", "-c", connect])) == f"{errno.ENETUNREACH}\n"


def test_with_it_tasks_reach_what_the_host_reaches_and_nothing_is_left(
    root, log, world, stack, monkeypatch
):
    before = files(root)
    for name in ("https_proxy", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://jane:{PASSWORD}@{ADDRESS}:{world.proxy}")
    monkeypatch.setenv("no_proxy", NAME)
    tasks = TASKS.replace("ADDRESS", ADDRESS).replace("NAME", NAME)
    for name in ("HTTPS", "HTTP", "LOOPBACK"):
        tasks = tasks.replace(name, str(getattr(world, name.lower())))
    (stack.root / "roles/small/tasks/main.yml").write_text(tasks)
    with Nspawn(world.certificate).booted(
        root, name=CONTAINER, detail=quiet, log=log, network=True
    ) as target:
        machine = Machine(target, log, stack)
        machine.apply("site.yml")
        assert machine.sh("cat /tmp/by-name /tmp/secure") == 2 * "from the server\n"
        assert machine.sh("cat /tmp/proxied /tmp/as-other") == 2 * "from the proxy\n"
        assert machine.sh("git -C /tmp/code log --format=%s") == "first\n"
        assert machine.apply("site.yml").changed == 0
        assert not [p for p in _arguments() if PASSWORD in p]
    url = f"http://{ADDRESS}:{world.http}/file"
    assert set(world.proxied) == {(url, f"jane:{PASSWORD}")}
    assert files(root) == before
    grep = ["grep", "--recursive", "--files-with-matches", "--devices=skip", PASSWORD, root]
    assert subprocess.run(grep, capture_output=True, check=False).stdout == b""
    assert PASSWORD not in log.read_text()


def _arguments():
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            yield (folder / "cmdline").read_text(errors="replace")
        except OSError:
            continue


def test_a_proxy_that_the_container_can_not_reach_is_said_at_once(root, log, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://jane:{PASSWORD}@localhost:3128")
    with (
        pytest.raises(HostNotReadyError, match="can't reach the proxy on localhost"),
        Nspawn().booted(root, name=CONTAINER, detail=quiet, log=log, network=True),
    ):
        pass
