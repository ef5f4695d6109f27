import contextlib
import socket

import pytest

from devvm.adapters.host import libvirt_daemons
from devvm.adapters.host.libvirt_daemons import LibvirtDaemons
from devvm.domain.errors import HostNotReadyError
from devvm.system import process
from devvm.system.process import Completed


@contextlib.contextmanager
def _listening(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield


def _left_by_a_dead_daemon(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def commands(monkeypatch, run_dir):
    """The commands that would be started; libvirt's daemons begin to answer."""
    seen = []

    def run(argv, **options):
        argv = [str(a) for a in argv]
        seen.append((argv, options.get("stdin")))
        monkeypatch.setattr(LibvirtDaemons, "_answers", lambda self, name: True)
        return Completed(argv=tuple(argv), returncode=0, stdout="", stderr="")

    monkeypatch.setattr(process, "run", run)
    return seen


def test_sockets_tell_who_answers(run_dir):
    daemons = LibvirtDaemons(run_dir, run_dir / "no-systemd")
    assert daemons.missing() == ["start virtlogd and libvirtd"]
    with _listening(run_dir / "virtlogd-sock"):
        _left_by_a_dead_daemon(run_dir / "libvirt-sock")
        assert daemons.missing() == ["start libvirtd"]
    (run_dir / "virtlogd-sock").unlink()
    (run_dir / "libvirt-sock").unlink()
    with _listening(run_dir / "virtlogd-sock"), _listening(run_dir / "libvirt-sock"):
        assert daemons.missing() == []


def test_systemd_starts_them_where_it_runs(run_dir, commands):
    LibvirtDaemons(run_dir, run_dir).apply(lambda _: None, run_dir / "log")
    assert commands[0][0] == ["systemctl", "enable", "--now", "virtlogd.socket"]


def test_without_systemd_they_start_themselves(run_dir, commands):
    with _listening(run_dir / "virtlogd-sock"):
        LibvirtDaemons(run_dir, run_dir / "none").apply(lambda _: None, run_dir / "log")
    config = run_dir / "devvm-libvirtd.conf"
    assert commands[-1][0] == ["libvirtd", "-d", "--config", str(config)]
    assert 'unix_sock_group = "libvirt"' in commands[-2][1]


def test_one_that_does_not_come_up_is_said(run_dir, monkeypatch):
    def run(argv, **options):
        return Completed(argv=tuple(map(str, argv)), returncode=0, stdout="", stderr="")

    clock = iter(range(0, 1000, 15))
    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(libvirt_daemons.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(libvirt_daemons.time, "sleep", lambda _: None)
    with pytest.raises(HostNotReadyError, match="virtlogd was started but does not answer"):
        LibvirtDaemons(run_dir, run_dir / "none").apply(lambda _: None, run_dir / "log")


def test_the_hosts_own_settings_stay():
    text = libvirt_daemons._config('# auth_unix_rw = "polkit"\nunix_sock_group = "admins"\n')
    assert text == (
        '# auth_unix_rw = "polkit"\nunix_sock_group = "admins"\n'
        'unix_sock_rw_perms = "0770"\nauth_unix_rw = "none"\n'
    )
