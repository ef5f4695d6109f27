"""One SSH connection for many commands, with a real sshd on this host's loopback."""

import getpass
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from devvm.adapters.openssh import OpenSsh
from devvm.domain.vm import Lease, Metadata, Target
from devvm.operations.core.machine import Machine
from devvm.operations.guest import ssh
from devvm.system import sockets
from tests.support.world import RELEASE, World

#: Starts the sshd of another root file system on this host's loopback: $1 is that root, and $2 a
#: folder that both see.
_IN_ROOT = """
root=$1 shared=$2
shift 2
mount -t tmpfs none "$root/run"
mkdir "$root/run/sshd"
mkdir -p "$root$shared"
mount --bind "$shared" "$root$shared"
exec chroot "$root" /usr/sbin/sshd "$@"
"""

pytestmark = pytest.mark.container


class Server:
    """A VM's SSH server, with the VM's folder."""

    def __init__(self, tmp_path, root):
        self.root = root
        self.world = World(tmp_path / "world")
        self.folder = self.world.state.vm("dev1")
        self.folder.mkdir()
        self.log, self.private = tmp_path / "sshd.log", tmp_path
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        OpenSsh().new_key(self.folder / "id_ecdsa", "devvm dev1")
        self.machine = Machine(self.world.services, "dev1")
        self.process = None

    def start(self, host_key):
        """Start it, with the host key of this name, as `create` makes a VM known."""
        key = self.private / host_key
        if not key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        options = {
            "Port": self.port, "ListenAddress": "127.0.0.1", "HostKey": key, "PidFile": "none",
            "AuthorizedKeysFile": self.folder / "id_ecdsa.pub", "StrictModes": "no",
            "PermitRootLogin": "yes", "UsePAM": "no", "LogLevel": "VERBOSE",
        }  # fmt: skip
        words = [f"-o{name}={value}" for name, value in options.items()]
        self.process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-euc", _IN_ROOT, "sh", self.root, self.private,
             "-D", "-E", self.log, "-f", "/dev/null", *words],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        public = key.with_name(f"{host_key}.pub").read_text()
        metadata = Metadata(
            name="dev1", engineer=getpass.getuser(), release=RELEASE, created_at="", host_key=public
        )
        lease = Lease(mac="52:54:00:00:00:01", address="127.0.0.1", fqdn="dev1.devvm.test")
        ssh.write_ssh_files(self.world.services, metadata, lease)
        config = self.folder / "ssh_config"
        config.write_text(f"Port {self.port}\n{config.read_text()}")
        OpenSsh().wait(self.target, timeout=20, detail=lambda _text: None)

    def stop(self):
        if self.process is not None:
            self.process.terminate()  # open connections live on
            self.process.wait()

    @property
    def target(self):
        return ssh.target(self.machine, login="engineer")

    def logins(self):
        """How many connections there were."""
        return len(re.findall("^Accepted publickey", self.log.read_text(), re.MULTILINE))

    def say(self, text):
        return OpenSsh().run(self.target, ["echo", text])[1].strip()


@pytest.fixture
def server(tmp_path, root, monkeypatch):
    monkeypatch.setattr("devvm.adapters.openssh._PAUSE", 0.05)
    # not the folder of this user, whose other connections are no business of a test
    monkeypatch.setattr(sockets, "FOLDERS", (f"/tmp/devvm-test-{os.getpid()}-%i",))
    made = Server(tmp_path, root)
    made.start("first")
    yield made
    OpenSsh().disconnect(made.target)
    made.stop()
    shutil.rmtree(f"/tmp/devvm-test-{os.getpid()}-{os.getuid()}")


def test_the_first_command_uses_the_connection_of_the_wait(server):
    assert [server.say(text) for text in ("one", "two")] == ["one", "two"]
    assert OpenSsh().interactive(server.target, ["true"]) == 0
    assert server.logins() == 1


def test_the_socket_is_where_only_the_user_can_enter(server):
    (made,) = sockets.prepare().iterdir()
    assert made.is_socket()
    assert sockets.prepare() not in {server.folder, *server.folder.parents}


def test_after_disconnecting_there_is_another_connection(server):
    OpenSsh().disconnect(server.target)
    assert list(sockets.prepare().iterdir()) == []
    assert server.say("hello") == "hello"
    assert server.logins() == 2


def test_a_vm_that_was_made_anew_is_not_taken_for_the_old_one(server, tmp_path):
    old = shutil.copy(server.folder / "ssh_config", tmp_path)
    server.stop()  # the connection lives on, as to a VM that lost its power
    server.start("second")
    assert server.say("hello") == "hello"
    assert server.logins() == 2
    OpenSsh().disconnect(Target(ssh_config=Path(old), alias="dev1"))


def test_where_the_folder_is_somebody_elses_each_command_has_its_own_connection(
    server, monkeypatch
):
    OpenSsh().disconnect(server.target)
    folder = sockets.prepare()
    os.chown(folder, 65534, 65534)
    assert sockets.prepare() is None
    assert [server.say(text) for text in ("one", "two")] == ["one", "two"]
    assert server.logins() == 3
    assert list(folder.iterdir()) == []


def test_a_stale_socket_is_replaced(server):
    (socket_file,) = sockets.prepare().iterdir()
    OpenSsh().disconnect(server.target)
    with socket.socket(socket.AF_UNIX) as dead:  # as left by a killed connection
        dead.bind(str(socket_file))
    assert [server.say(text) for text in ("one", "two")] == ["one", "two"]
    assert server.logins() == 2


def test_a_connection_can_be_opened_beside_something_else(server):
    OpenSsh().disconnect(server.target)
    folder = sockets.prepare()
    with OpenSsh().opening(server.target):
        while not any(folder.iterdir()):  # it opens by itself
            time.sleep(0.05)
    assert server.say("hello") == "hello"
    assert server.logins() == 2


def test_a_block_is_not_held_up_by_a_connection_that_can_not_be_opened(server):
    OpenSsh().disconnect(server.target)
    server.stop()
    with OpenSsh().opening(server.target):
        pass
    assert list(sockets.prepare().iterdir()) == []
