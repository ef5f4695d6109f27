"""Runs on the observed machine: all collectors and probes in parallel, one line of output.

`observe.py` sends the text of this file and of theirs, because a machine in production has nothing
of devvm installed. Standard library only, and few modules of it: on an emulated processor each
import costs a tenth of a second.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
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

    A collector's `areas` are listed even if it fails, so that none of their items counts as
    missing.
    """
    found: dict[str, dict[str, Any]] = {}
    modules: dict[str, types.ModuleType] = {}
    for name, source in sources.items():
        found[name] = {"error": f"no answer after {deadline:g} s", "seconds": deadline}
        try:
            modules[name] = load(name, source)
        except Exception as error:
            found[name] = {"error": f"{type(error).__name__}: {error}", "seconds": 0}
        found[name]["areas"] = list(getattr(modules.get(name), "AREAS", ()))

    def look(name: str, module: types.ModuleType) -> None:
        start = time.monotonic()
        entry: dict[str, Any] = {"areas": found[name]["areas"]}
        try:
            function = module.collect if hasattr(module, "collect") else module.probe
            entry["data"] = function(wanted, run)
        except Exception as error:  # one failure must not hide what the others see
            entry["error"] = f"{type(error).__name__}: {error}"
        entry["seconds"] = round(time.monotonic() - start, 2)
        found[name] = entry

    threads = {
        name: threading.Thread(target=look, args=(name, module), daemon=True)
        for name, module in modules.items()
    }
    end = time.monotonic() + deadline
    for patient in (True, False):
        together = [thread for name, thread in threads.items() if (name in PATIENT) is patient]
        for thread in together:
            thread.start()
        for thread in together:
            thread.join(max(0.0, end - time.monotonic()))
    return dict(found)


def load(name: str, source: str) -> types.ModuleType:
    """Make a module from its text."""
    module = types.ModuleType(name)
    # Without this file's `from __future__`: a company's collector may evaluate its annotations.
    code = compile(source, f"<{name}>", "exec", dont_inherit=True)
    exec(code, module.__dict__)
    return module


def share(common: types.ModuleType) -> None:
    """Let collectors import `common` under the name it has where devvm is installed."""
    package = types.ModuleType("devvm.parity.collect.collectors")
    vars(package)["common"] = common
    sys.modules[package.__name__] = package
    sys.modules["common"] = common  # for companies' collectors written before 2026-12


def wait_for_boot(timeout: float = 180.0) -> str:
    """Wait until the machine has booted, so that nothing is reported as missing too early.

    Returns systemd's state: `running`, `degraded`, or `starting` if it did not boot in time.
    """
    code, out, err = run(["systemctl", "is-system-running", "--wait"], timeout=timeout)
    if code == 124:
        return "starting"
    return out.strip() or err.strip()


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
