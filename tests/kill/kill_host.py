"""A part of the real libvirt host: inspected, put into a known state, and worked on."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import tomllib
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from xml.etree import ElementTree as ET

import libvirt

from devvm.adapters.image.box_store import FolderBoxStore
from devvm.adapters.libvirt import Libvirt
from devvm.config import Config
from devvm.system.state import State
from tests.kill import kill_guests, worker

#: Starts every command, so that killing one affects no other, and none waits for imports.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.kill.worker", "tests.kill.worker_modules"])
#: start() polls the processes of other threads, one of which may be half closed.
_CHILDREN = threading.Lock()

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
RELEASE = "2026.01.01-0123456789ab"
_ACTIVE_HOST = (
    libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG,
    libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG | libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE,
)
_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
)


@dataclass(frozen=True)
class Done:
    """A command that has ended, or was killed."""

    code: int
    output: str

    @property
    def killed(self):
        return self.code == -signal.SIGKILL

    @property
    def error(self):
        for line in self.output.splitlines():
            if line.startswith('{"error"'):
                return json.loads(line)["error"]
        return None


class Command:
    """A running command: a fork of a process that has only imported devvm's modules."""

    def __init__(self, argv, scratch):
        number, self._file = tempfile.mkstemp(dir=scratch, prefix="output-")
        os.close(number)
        self._process = _FORKS.Process(target=worker.begin, args=(argv, self._file))
        with _CHILDREN:
            self._process.start()
        self.pid = self._process.pid

    def ended(self, seconds):
        """Wait up to this many seconds; return whether it has ended."""
        deadline = time.monotonic() + seconds
        while self._exit_code() is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def finish(self, timeout=120):
        """Wait for it to end; kill it if it hangs."""
        hangs = not self.ended(timeout)
        if hangs:
            os.killpg(self.pid, signal.SIGKILL)
            self.ended(timeout)
        output, code = Path(self._file).read_text(), self._exit_code()
        Path(self._file).unlink()
        with _CHILDREN:
            self._process.close()
        return Done(code, f"{output}\n(no end after {timeout} s)" if hangs else output)

    def _exit_code(self):
        """Its exit code; None while it runs.

        To start a process, multiprocessing looks after all others. If two threads look at one at
        the same time, one of them reads nothing, and takes that for the exit code 255.
        """
        with _CHILDREN:
            return self._process.exitcode


@dataclass(frozen=True)
class Baseline:
    """A state of the host that can be restored."""

    folder: Path
    domains: list  # definitions
    running: set  # names
    leases: list  # <host> elements, as text
    hashes: dict  # of the pool's files, by name


def corner(number, scratch, **settings):
    """A corner of the libvirt host with its own pool, network and state folder."""
    text = (HERE / "config.toml").read_text()
    config = tomllib.loads(text.replace("devvm-kill", f"devvm-kill{number}"))
    net = list(IPv4Network(config["network"]["address"]).subnets(new_prefix=27))[number]
    config["network"]["address"] = str(net)
    return Host(Config.model_validate(config | settings), scratch)


class Host:
    """The pool, network and state folder of one configuration."""

    def __init__(self, config, scratch):
        self.config, self.scratch = config, scratch
        self.config_file = scratch / "config.json"
        self.config_file.write_text(config.model_dump_json())
        self.state = State(self.config.state_dir)
        self.pool = self.config.pool_path
        root = self.state.root
        self.vagrant_home = root.with_name(f"{root.name}-vagrant")
        self.state.ensure()
        self.vagrant_home.mkdir(exist_ok=True)
        self.connect()

    def connect(self):
        """Open a new connection to libvirt; a broken one is noticed late."""
        self.libvirt = Libvirt(self.config)

    # commands

    def start(self, *args, **options):
        """Start a command in its own process, session and group."""
        argv = ["--config", str(self.config_file), "--release", RELEASE]
        for name, value in options.items():
            option = f"--{name.replace('_', '-')}"
            argv += [option] if value is True else [option, str(value)]
        return Command([*argv, *args], self.scratch)

    def run(self, *args, timeout=120, **options):
        return self.start(*args, **options).finish(timeout)

    def boundaries(self, *args, **options):
        """The boundaries of a command that is not killed, and how it ended."""
        file = self.scratch / "boundaries.json"
        done = self.run(*args, boundaries=file, **options)
        return json.loads(file.read_text()), done

    # looking

    def connection(self):
        return self.libvirt.connection.get()

    def domains(self):
        """Every domain of this corner, whoever defined it, by name."""
        suffix = f".{self.config.network.domain}"
        found = self.connection().listAllDomains()
        return {d.name(): d for d in found if d.name().partition("@")[0].endswith(suffix)}

    def vms(self):
        """The VMs of this corner; other corners of the libvirt host may have some too."""
        names = self.domains()
        return [vm for vm in self.libvirt.domains.vms() if vm.fqdn in names]

    def kept(self):
        """The saved states of this corner."""
        names, domain = self.domains(), self.config.network.domain
        return [
            k
            for k in self.libvirt.domains.saved_states()
            if f"{k.vm.name}.{domain}@{k.id}" in names
        ]

    def files(self):
        return {p.name: p for p in self.pool.iterdir()} if self.pool.is_dir() else {}

    def journals(self):
        return sorted(self.state.vms.glob("*/journal.json"))

    def lease_elements(self):
        try:
            network = self.connection().networkLookupByName(self.config.network.name)
        except libvirt.libvirtError:
            return []
        hosts = ET.fromstring(network.XMLDesc()).iterfind("ip/dhcp/host")
        return [ET.tostring(host, encoding="unicode") for host in hosts]

    # the box

    def make_box(self, release=RELEASE):
        """Register a box with a small disk of unique content."""
        store = FolderBoxStore(self.state)
        if store.find(release) is None:
            raw, image = self.scratch / "box.raw", self.scratch / "box.qcow2"
            raw.write_bytes(os.urandom(4 * 1024**2))
            os.truncate(raw, 64 * 1024**2)
            call("qemu-img", "convert", "-q", "-O", "qcow2", raw, image)
            box = store.pack(image, release, self.scratch / "devvm.box")
            facts = {"built_at": "2026-01-01T00:00:00+00:00", "debian": "12", "packages": {}}
            store.register(box, {**facts, "verified": True})
        return store.find(release)

    # known states

    def save(self, name):
        """Save the current state of the host."""
        domains = self.domains()
        running = {name for name, domain in domains.items() if domain.isActive()}
        definitions = [d.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE) for d in domains.values()]
        for running_name in running:
            _cut(domains[running_name])
        folder = self.scratch / name
        shutil.rmtree(folder, ignore_errors=True)
        for source, part in self._parts(folder):
            part.mkdir(parents=True)
            if source.is_dir():
                _copy_changed(source, part)
        hashes = {name: sha256(path) for name, path in self.files().items()}
        baseline = Baseline(folder, definitions, running, self.lease_elements(), hashes)
        self.restore(baseline)
        return baseline

    def restore(self, baseline):
        """Restore a state of the host."""
        self.clear_domains()
        for source, part in self._parts(baseline.folder):
            source.mkdir(parents=True, exist_ok=True)
            _copy_changed(part, source)
        self.set_leases(baseline.leases)
        self._refresh()
        for definition in baseline.domains:
            domain = self.connection().defineXML(definition)
            if domain.name() in baseline.running:
                kill_guests.power_on(domain)

    def clear(self):
        """Remove everything except the box and the network."""
        self.clear_domains()
        for source, _ in self._parts(self.scratch):
            for path in source.iterdir() if source.is_dir() else ():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.set_leases([])
        self._refresh()

    def clear_domains(self):
        for domain in self.domains().values():
            _cut(domain)
            domain.undefineFlags(_UNDEFINE)

    def set_leases(self, wanted):
        there = self.lease_elements()
        if sorted(there) == sorted(wanted):
            return
        network = self.connection().networkLookupByName(self.config.network.name)
        flags = _ACTIVE_HOST[network.isActive()]
        section = libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST
        for host in there:
            network.update(libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE, section, -1, host, flags)
        for host in wanted:
            network.update(libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, section, -1, host, flags)

    def power_cut(self):
        """Stop everything at once; what is on the disks stays."""
        for domain in self.domains().values():
            _cut(domain)
        self.connection().networkLookupByName(self.config.network.name).destroy()
        self.connection().storagePoolLookupByName(self.config.pool).destroy()

    def domain(self, name):
        return self.domains()[f"{name}.{self.config.network.domain}"]

    def stop(self, name):
        _cut(self.domain(name))

    def mark(self, name, pattern):
        """Write something to both disks of a VM that is off, as a guest would."""
        vm = self.libvirt.domains.vm(name)
        for path in (vm.root, vm.data):
            kill_guests.write_off(path, 700 + pattern, pattern)

    def _refresh(self):
        try:
            self.connection().storagePoolLookupByName(self.config.pool).refresh()
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_POOL:
                raise

    def _parts(self, folder):
        return (
            (self.pool, folder / "pool"),
            (self.state.vms, folder / "vms"),
            (self.vagrant_home, folder / "vagrant"),
            (self.state.ca, folder / "ca"),
            (self.state.rollouts, folder / "rollouts"),
        )


@dataclass
class Goldens:
    """Copies of disks' contents, as a guest would see them."""

    folder: Path
    made: dict = field(default_factory=dict)

    def keep(self, name, volume):
        path = self.folder / f"golden-{name}.qcow2"
        call("qemu-img", "convert", "-q", "-U", "-O", "qcow2", volume, path)
        self.made[name] = path

    def differs(self, name, volume):
        """How a volume differs from a copy, in words; None if it doesn't."""
        argv = ["qemu-img", "compare", "-U", self.made[name], volume]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        said = f"{done.stdout}{done.stderr}".strip()
        return said or f"code {done.returncode}" if done.returncode else None


def await_that(condition, what, *, seconds=120):
    """Wait until a condition holds; fail if it doesn't in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"within {seconds} s not: {what}"
        time.sleep(0.02)


def _cut(domain):
    """Power off a domain; its QEMU may just have ended by itself."""
    if domain.isActive():
        try:
            domain.destroy()
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
                raise


def call(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def sha256(path):
    return call("sha256sum", path).split()[0]


def _copy_changed(source, destination):
    """Make one folder equal to another; files with the same size and time are skipped."""
    for path in destination.iterdir():
        if not (source / path.name).exists():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in source.iterdir():
        other = destination / path.name
        if path.is_dir():
            other.mkdir(exist_ok=True)
            shutil.copystat(path, other)
            _copy_changed(path, other)
        elif not other.exists() or _changed(path, other):
            call("cp", "--preserve=mode,timestamps", "--sparse=always", path, other)


def _changed(a, b):
    one, other = a.stat(), b.stat()
    return (one.st_size, one.st_mtime_ns) != (other.st_size, other.st_mtime_ns)
