"""Runs on the observed machine: all collectors and probes in parallel, one line of output.

`observe.py` sends the text of this file and of theirs, because a machine in production has nothing
of devvm installed. Standard library only, and few modules of it: on an emulated processor each
import costs a tenth of a second.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import types
import zlib

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from devvm.parity.collect.interface import Wanted

#: Seconds for all of them together.
DEADLINE = 100.0
#: Probes that wait for services that have just started. They run first, so that the others see what
#: those services create when they start, such as the key for the site's sessions.
PATIENT = ("http",)
#: How many run at once. More than the processors, since some only wait; but not many more, because
#: switching between processes is expensive on an emulated processor.
MAX_PARALLEL = (os.cpu_count() or 1) + 1
#: If nothing ends for this many seconds, one more is started.
STALL_SECONDS = 10.0
#: A list of units, written when a VM is restored from a warm box; of interest for so many seconds.
RESTORED, RESTORED_SECONDS = "/run/devvm-restored", 600.0
#: Seconds for one command, unless its collector says otherwise.
COMMAND_TIMEOUT = 60.0


def run(
    argv: Sequence[str], timeout: float = COMMAND_TIMEOUT, cwd: str | None = None
) -> tuple[int, str, str]:
    """Run a command; return its exit code, standard output and standard error.

    Never raises for a bad command. As in a shell, the code is 127 if the command doesn't exist, and
    124 if it timed out.
    """
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
        )
    except OSError as error:
        return 127, "", str(error)
    except subprocess.TimeoutExpired:
        return 124, "", f"timed out after {timeout:g} s"
    out, err = (stream.decode("utf-8", "replace") for stream in (done.stdout, done.stderr))
    return done.returncode, out, err


def observe(
    sources: Mapping[str, str], wanted: Wanted, deadline: float = DEADLINE
) -> dict[str, dict[str, Any]]:
    """Run all: `{name: {"data": …, "areas": …, "seconds": …} or {"error": …, "seconds": …}}`.

    A collector's `areas` are listed even if it fails, so that its items don't count as missing.
    """
    found: dict[str, dict[str, Any]] = {}
    modules: dict[str, types.ModuleType] = {}
    for name, source in sources.items():
        try:
            modules[name] = load(name, source)
        except Exception as error:
            found[name] = {"areas": [], "error": _reason(error), "seconds": 0}
    modules = {name: one for name, one in modules.items() if is_wanted(one, wanted)}
    end = time.monotonic() + deadline
    patient = {name: module for name, module in modules.items() if name in PATIENT}
    others = {name: module for name, module in modules.items() if name not in PATIENT}
    found |= look_with(patient, wanted, end)
    prepare()
    return found | look_with(others, wanted, end)


def is_wanted(module: types.ModuleType, wanted: Wanted) -> bool:
    """Whether a manifest has one of a collector's areas; probes are always wanted."""
    chosen, own = wanted.get("areas"), areas(module)
    return chosen is None or not own or not set(own).isdisjoint(chosen)


def look_with(
    modules: Mapping[str, types.ModuleType], wanted: Wanted, end: float
) -> dict[str, dict[str, Any]]:
    """Run modules, a few at a time, until all are done or `time.monotonic()` reaches `end`."""
    found: dict[str, dict[str, Any]] = {}
    waiting = list(modules)
    running: dict[str, Look] = {}
    started = time.monotonic()
    while (waiting or running) and time.monotonic() < end:
        # One that hangs must not delay the others for long.
        if waiting and (len(running) < MAX_PARALLEL or time.monotonic() > started + STALL_SECONDS):
            name = waiting.pop(0)
            running[name] = Look(modules[name], wanted)
            started = time.monotonic()
            continue
        timeout = max(0.0, min(1.0, end - time.monotonic()))
        ready, _, _ = select.select(list(running.values()), [], [], timeout)
        for name in [name for name, look in running.items() if look in ready]:
            if running[name].has_ended():
                found[name] = running.pop(name).answer()
    for name, look in running.items():
        found[name] = look.answer()
    for name in waiting:
        found[name] = {"areas": areas(modules[name]), "error": "no time was left", "seconds": 0}
    return found


class Look:
    """A collector or probe running in its own process, to use several processors."""

    def __init__(self, module: types.ModuleType, wanted: Wanted) -> None:
        self._areas = areas(module)
        self._start = time.monotonic()
        self._text = b""
        self._ended = False
        self._pipe, write_end = os.pipe()
        self._process = os.fork()
        if self._process == 0:
            os.setpgid(0, 0)
            os.close(self._pipe)
            with open(write_end, "wb") as pipe:
                pipe.write(json.dumps(self._look(module, wanted)).encode())
            os._exit(0)
        os.close(write_end)

    def fileno(self) -> int:
        """The pipe to wait for, for `select`."""
        return self._pipe

    def _look(self, module: types.ModuleType, wanted: Wanted) -> dict[str, Any]:
        try:
            function = module.collect if hasattr(module, "collect") else module.probe
            answer = {"data": function(wanted, run)}
        except Exception as error:  # one failure must not hide what the others see
            answer = {"error": _reason(error)}
        return answer | {"seconds": round(time.monotonic() - self._start, 2)}

    def has_ended(self) -> bool:
        """Read from the pipe; return whether the process has ended."""
        part = os.read(self._pipe, 1 << 20)
        self._text += part
        self._ended = not part
        return self._ended

    def answer(self) -> dict[str, Any]:
        """The answer, or an error. Kills the process if it is still running."""
        with contextlib.suppress(ProcessLookupError):  # with any command it is waiting for
            os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._pipe)
        try:
            found: dict[str, Any] = json.loads(self._text)
        except ValueError:
            took = round(time.monotonic() - self._start, 1)
            error = "ended without an answer" if self._ended else f"no answer after {took:g} s"
            found = {"error": error, "seconds": took}
        return {"areas": self._areas, **found}


def areas(module: types.ModuleType) -> list[str]:
    """A collector's areas; none for a probe."""
    return list(getattr(module, "AREAS", ()))


def prepare() -> None:
    """Find out what several collectors need, once, before they are forked."""
    with contextlib.suppress(Exception):  # each reports its own error
        sys.modules["common"].packaged(run)
        sys.modules["common"].is_container(run)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def load(name: str, source: str) -> types.ModuleType:
    """Make a module from its source."""
    module = types.ModuleType(name)
    # Without this file's `from __future__`: a company's collector may evaluate its annotations.
    code = compile(source, f"<{name}>", "exec", dont_inherit=True)
    exec(code, module.__dict__)
    return module


def share(common: types.ModuleType) -> None:
    """Let collectors import `common` by the name it has where devvm is installed."""
    package = types.ModuleType("devvm.parity.collect.collectors")
    vars(package)["common"] = common
    sys.modules[package.__name__] = package
    sys.modules["common"] = common  # for companies' collectors written before 2026-12


def wait_for_boot(timeout: float = 180.0) -> str:
    """Wait until the machine has booted, so that nothing is reported as missing too early.

    Returns systemd's state: `running`, `degraded`, or `starting` if it did not boot in time.
    """
    end = time.monotonic() + timeout
    code, out, err = run(["systemctl", "is-system-running", "--wait"], timeout=timeout)
    if code == 124:
        return "starting"
    started = just_started()
    while started and started & jobs() and time.monotonic() < end:
        time.sleep(0.3)
    return out.strip() or err.strip()


def just_started() -> set[str]:
    """The units that a VM restored a few minutes ago is starting; systemd calls it `running`."""
    try:
        if time.time() > os.stat(RESTORED).st_mtime + RESTORED_SECONDS:
            return set()
        with open(RESTORED, encoding="utf-8") as file:
            return set(file.read().split())
    except OSError:
        return set()


def jobs() -> set[str]:
    """The units that systemd is starting or stopping, or is about to."""
    _, out, _ = run(["systemctl", "list-jobs", "--plain", "--no-legend"])
    return {line.split()[1] for line in out.splitlines() if len(line.split()) > 1}


def main(package: Mapping[str, Any]) -> None:
    """Observe, and print the answer."""
    os.environ.update(LC_ALL="C.UTF-8", PATH="/usr/sbin:/usr/bin:/sbin:/bin")
    os.nice(package["nice"])
    start = time.monotonic()
    boot = wait_for_boot()
    waited = round(time.monotonic() - start, 2)
    share(load("common", package["common"]))
    found = observe(package["sources"], package["wanted"])
    found["boot"] = {"data": boot, "seconds": waited}
    # Compressed for slow connections; and a truncated answer can't pass for a complete one.
    answer = base64.b64encode(zlib.compress(json.dumps(found).encode(), 6))
    sys.stdout.write(answer.decode("ascii") + "\n")
    sys.stdout.flush()
    os._exit(0)  # a collector that hangs must not keep the answer
