"""Runs one devvm command in its own process, which can be told where to die.

    [--kill-at N] [--hold-at N] [--fill-at N] ... OPERATION ARGUMENT...

A boundary is the moment before or after a call through a port that may change something, or a
write to the state folder. Calls that only read are not boundaries: dying at one or at the next is
the same, and how often a command polls differs from run to run. Without `--kill-at` the boundaries
are counted and written to a file as JSON, with the number of changes before each.
"""

import argparse
import dataclasses
import json
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import devvm.system.state
from devvm import wiring
from devvm.config import Config
from devvm.domain.errors import DevvmError
from devvm.domain.vm import Engineer
from devvm.operations.core.progress import Run
from devvm.operations.rollout.store import RolloutLog
from devvm.operations.vm import clone, create, lifecycle, rebuild, resize, snapshots, trash
from tests.kill import worker_rollout
from tests.kill.kill_stand_ins import (
    Provisioner,
    Reporter,
    Shell,
    Stacks,
    Vagrant,
    Verifier,
)

#: Calls through ports that change nothing on the host.
READS = frozenset(
    {
        "all", "box_registered", "check", "damage", "definition", "details", "disks_in", "driver",
        "exists", "find", "free_bytes", "image", "image_sha256", "leases", "list",
        "memory_mib", "new_host_key", "of", "others", "saved_state", "saved_states", "sha256",
        "unused", "users_of", "uuid", "vm",
        "vms", "volume_name",
    }
)  # fmt: skip
_STATE_CHANGES = frozenset({"close_journal", "forget", "open_journal"})
_PORTS = (
    "host", "network", "domains", "volumes", "disks", "vagrant", "shell", "provisioner",
    "verifier", "ca", "boxes", "data_disks",
)  # fmt: skip


class Boundaries:
    """Counts boundaries, and dies, sleeps or fills a disk at one of them."""

    def __init__(self, options):
        self._options = options
        self._threads = options.operation in worker_rollout.OPERATIONS
        self._lock = threading.Lock()
        self._changes = 0
        self._began = time.monotonic()
        self.passed = []

    @contextmanager
    def step(self, name):
        """A call that may change something: one boundary before it and one after it."""
        self._pass(f"before {name}")
        try:
            yield
        finally:  # the call may have failed half way
            self._changes += 1
        self._pass(f"after {name}")

    def _pass(self, name):
        if not self._threads and threading.current_thread() is not threading.main_thread():
            return
        with self._lock:
            number = len(self.passed)
            seconds = time.monotonic() - self._began
            self.passed.append({"boundary": name, "changes": self._changes, "seconds": seconds})
        if number == self._options.kill_at:
            if not self._options.kill_after:
                _die()
            threading.Timer(self._options.kill_after, _die).start()
        if number == self._options.hold_at:
            self._options.reached.touch()
            while not self._options.go.exists():
                time.sleep(0.02)
        if number == self._options.fill_at:
            fill(self._options.fill)


def _die():
    os.killpg(0, signal.SIGKILL)


class Counted:
    """A port; every call that may change something is a step."""

    def __init__(self, port, name, boundaries, only=None):
        self._port, self._name, self._boundaries, self._only = port, name, boundaries, only

    def __getattr__(self, attribute):
        value = getattr(self._port, attribute)
        counted = attribute not in READS if self._only is None else attribute in self._only
        if not (counted and callable(value)):
            return value

        def call(*args, **kwargs):
            with self._boundaries.step(f"{self._name}.{attribute}"):
                return value(*args, **kwargs)

        return call


def fill(place):
    """Leave no byte free on a file system."""
    with (place / "filler").open("wb") as file:
        for piece in (64 * 1024**2, 1024**2, 4096):
            with suppress(OSError):  # until not even one more fits
                while True:
                    end = file.seek(0, os.SEEK_END)
                    os.posix_fallocate(file.fileno(), end, piece)


def count_writes(boundaries):
    """Make every atomic write to the state folder a step too."""
    original = devvm.system.state.write_atomic

    def write_atomic(path, text, **options):
        with boundaries.step(f"write {path.name}"):
            original(path, text, **options)

    for name, module in list(sys.modules.items()):
        if name.startswith("devvm.") and getattr(module, "write_atomic", None) is original:
            module.write_atomic = write_atomic


def count_events(boundaries):
    """Make every event that a rollout writes a step, except reports of progress."""
    original = RolloutLog.append

    def append(log, event, *, durable=True):
        if not durable:
            original(log, event, durable=durable)
            return
        with boundaries.step(f"event {event.what}"):
            original(log, event, durable=durable)

    RolloutLog.append = append


def services(config, options, boundaries):
    """The services of a command, with stand-ins for what talks to a guest."""
    vagrant_home = config.state_dir.with_name(f"{config.state_dir.name}-vagrant")

    def counted(port, name):
        return Counted(port, name, boundaries)

    real = dataclasses.replace(
        wiring.build_services(config),
        vagrant=Vagrant(config, vagrant_home, boundaries.step),
        shell=Shell(config),
        provisioner=Provisioner(config),
        verifier=Verifier(config, passes=not options.fail_checks),
        stacks=Stacks(config, counted, options.bad_release),
        pause=lambda _seconds: None,
    )
    ports = {name: counted(getattr(real, name), name) for name in _PORTS}
    state = Counted(real.state, "state", boundaries, only=_STATE_CHANGES)
    return dataclasses.replace(real, state=state, **ports)


def operate(given, operation, arguments, release):
    """Run an operation, as the command line would."""
    jane = Engineer(login="jane", authorized_keys=(), git_name="Jane", git_email="jane@example.com")
    run = Run(" ".join([operation, *arguments]), Reporter())
    name = next(iter(arguments), "")
    if operation == "create":
        request = create.CreateRequest(name=name, engineer=jane, release=release)
        create.create(given, request, run)
    elif operation == "rebuild":
        request = rebuild.RebuildRequest(name=name, engineer=jane, release=release)
        rebuild.rebuild(given, request, run)
    elif operation == "destroy":
        trash.destroy(given, name, run)
    elif operation == "destroy-purge":
        trash.destroy(given, name, run, purge=True)
    elif operation == "trash-empty":
        trash.empty(given, trash.doomed(given, name), run)
    elif operation == "recover":
        trash.recover(given, name, run, identifier=arguments[1] if arguments[1:] else None)
    elif operation == "start":
        lifecycle.start(given, name, run)
    elif operation == "stop":
        lifecycle.stop(given, name, run, force=True)
    elif operation == "snapshot-create":
        snapshots.create(given, name, arguments[1], run)
    elif operation == "snapshot-restore":
        snapshots.restore_snapshot(given, name, arguments[1], run)
    elif operation == "snapshot-delete":
        snapshots.delete(given, name, arguments[1], run)
    elif operation == "clone":
        clone.clone(given, name, arguments[1], run)
    elif operation == "resize":
        resize.resize(given, name, int(arguments[1]), run)
    elif operation in worker_rollout.OPERATIONS:
        worker_rollout.operate(given, operation, arguments)
    else:
        raise ValueError(operation)


def begin(argv, output):
    """Set up the forked process like a shell would, and run the command."""
    assert "tests.kill.worker_modules" in sys.modules  # otherwise it is silently slow
    os.setsid()
    file = os.open(output, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)
    sys.stdout.reconfigure(line_buffering=True)  # keep all output if it is killed
    main(argv)


def main(argv):
    parser = argparse.ArgumentParser()
    for option in ("--kill-at", "--hold-at", "--fill-at"):
        parser.add_argument(option, type=int)
    parser.add_argument("--kill-after", type=float, default=0)
    for option in ("--fill", "--reached", "--go"):
        parser.add_argument(option, type=Path)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--release", required=True)
    parser.add_argument("--boundaries", type=Path)
    parser.add_argument("--fail-checks", action="store_true")
    parser.add_argument("--bad-release")
    parser.add_argument("operation")
    parser.add_argument("arguments", nargs="*")
    options = parser.parse_args(argv)
    config = Config.model_validate_json(options.config.read_text())
    boundaries = Boundaries(options)
    given = services(config, options, boundaries)
    count_writes(boundaries)
    count_events(boundaries)
    try:
        operate(given, options.operation, options.arguments, options.release)
    except DevvmError as error:
        told = {"code": error.code, "brief": error.brief, "details": error.details,
                "resolution": error.resolution}  # fmt: skip
        print(json.dumps({"error": told}))  # noqa: T201
        sys.exit(int(error.exit_code))
    finally:
        if options.boundaries:
            options.boundaries.write_text(json.dumps(boundaries.passed))
