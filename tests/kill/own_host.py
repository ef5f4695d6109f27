"""A libvirt host just for the tests, in namespaces that end with them.

    python -m tests.kill.own_host [PYTEST-ARGUMENT ...]

These tests kill libvirtd, cut the power of its domains and fill its disks, so nobody else may use
it. Its processes, network and files are invisible from outside, and disappear when the tests end,
however they end. It runs next to the machine's own libvirtd and other runs of the same tests, with
systemd or without. Needs root.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from devvm.adapters.host.libvirt_daemons import LibvirtDaemons

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
#: Set for the tests, so that they know that they run on their own host.
MARK = "DEVVM_KILL_OWN_HOST"
#: Where pytest's folders are, which include the tests' state folders.
PLACE = Path("/run/kill-tests")
#: The firmware that domains run.
FIRMWARE = PLACE / "guest.bin"
#: Replaced by empty folders in memory: where a host keeps libvirt's files.
_HIDDEN = ("/run", "/etc/libvirt", "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt")
_UNSHARE = (
    "unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child",
    "--mount-proc", "--",
)  # fmt: skip
#: libvirt's defaults need what isn't there: a security driver, writable control groups, virtlogd.
_QEMU_CONF = """
security_driver = "none"
stdio_handler = "file"
namespaces = []
cgroup_controllers = []
"""


def main() -> int:
    """Enter the namespaces or, if in them already, run the tests."""
    if os.environ.get(MARK) != "entering":
        if os.geteuid() != 0:
            sys.stderr.write("a libvirt host of one's own needs root: sudo bin/test kill\n")
            return 4
        argv = [*_UNSHARE, sys.executable, "-m", "tests.kill.own_host", *sys.argv[1:]]
        os.execvpe(argv[0], argv, os.environ | {MARK: "entering"})
    began = time.monotonic()
    _make_host()
    code = _run_tests(sys.argv[1:])
    used = _end_all()
    seconds = round(time.monotonic() - began)
    sys.stderr.write(f"{seconds} s, {used:.0f} s of CPU with libvirtd and QEMU\n")
    return code


def _make_host() -> None:
    call("mount", "--make-rprivate", "/")
    call("mount", "-t", "sysfs", "sysfs", "/sys")  # for this network namespace
    for path in _HIDDEN:
        Path(path).mkdir(parents=True, exist_ok=True)
        call("mount", "-t", "tmpfs", "-o", "mode=755,size=16g", "tmpfs", path)
    call("ip", "link", "set", "lo", "up")
    Path("/etc/libvirt/qemu.conf").write_text(_QEMU_CONF)
    PLACE.mkdir()
    _assemble(HERE / "guest.s", FIRMWARE)
    start_daemons()


def _assemble(source: Path, firmware: Path) -> None:
    with tempfile.NamedTemporaryFile(suffix=".o") as file:
        call("as", "--32", "-o", file.name, str(source))
        flags = ("-m", "elf_i386", "-Ttext", "0", "--oformat", "binary")
        call("ld", *flags, "-e", "start", "-o", str(firmware), file.name)
    firmware.chmod(0o644)


def start_daemons() -> None:
    """Start virtlogd and libvirtd as devvm does without systemd."""
    LibvirtDaemons().apply(lambda _: None, PLACE / "daemons.log")


def _run_tests(arguments: list[str]) -> int:
    """Run pytest, and meanwhile reap orphaned processes, as process 1 must."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest to handle
    argv = [sys.executable, "-m", "pytest", "-m", "kill", "-o", f"testpaths={HERE}"]
    process = subprocess.Popen(
        [*argv, f"--basetemp={PLACE / 'pytest'}", *arguments],
        env=os.environ | {MARK: "yes", "PYTHONPATH": str(REPOSITORY)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while True:
        pid, status = os.wait()
        if pid == process.pid:
            return os.waitstatus_to_exitcode(status)


def _end_all() -> float:
    """Kill every process of the host; return the seconds of CPU that they used."""
    os.kill(-1, signal.SIGKILL)
    try:
        while True:
            os.wait()
    except ChildProcessError:
        times = os.times()
        return sum(times[:4])


def call(*argv: str) -> None:
    subprocess.run(argv, check=True)


if __name__ == "__main__":
    sys.exit(main())
