"""Runs inside the observed machine: the collectors, side by side, and one line of JSON.

`parity/observe.py` sends this file's text with the text of the others, since a machine in
production has nothing of the suite on it. Standard library only, and few modules of it: on an
emulated processor each costs a tenth of a second.
"""

import json
import os
import subprocess
import sys
import threading
import time
import types

#: Seconds for all collectors together.
DEADLINE = 100.0
#: Collectors that give freshly started services time. They go first, so that the others see what
#: these services make when they start, such as the key of the site's sessions.
PATIENT = ("http",)
#: Seconds for one command, unless its collector says otherwise.
COMMAND_TIMEOUT = 60.0


def run(argv, timeout=COMMAND_TIMEOUT, cwd=None):
    """Run a command; exit code, standard output, standard error. Never raises for a bad command.

    A command that is not there gives 127, one that takes too long 124, as in a shell.
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
        return 124, "", f"no end after {timeout:g} s"
    out, err = (stream.decode("utf-8", "replace") for stream in (done.stdout, done.stderr))
    return done.returncode, out, err


def observe(sources, wanted, deadline=DEADLINE):
    """Run the collectors; `{name: {"data": …, "seconds": …} or {"error": …, "seconds": …}}`."""
    found = {}

    def collect(name, source):
        start = time.monotonic()
        module = types.ModuleType(name)
        try:
            exec(compile(source, f"<collector {name}>", "exec"), module.__dict__)
            entry = {"data": module.collect(wanted, run)}
        except Exception as error:  # one collector's failure must not hide what the others see
            entry = {"error": f"{type(error).__name__}: {error}"}
        entry["seconds"] = round(time.monotonic() - start, 2)
        found[name] = entry

    threads = {
        name: threading.Thread(target=collect, args=(name, source), daemon=True)
        for name, source in sources.items()
    }
    end = time.monotonic() + deadline
    for patient in (True, False):
        together = [thread for name, thread in threads.items() if (name in PATIENT) is patient]
        for thread in together:
            thread.start()
        for thread in together:
            thread.join(max(0.0, end - time.monotonic()))
    late = {"error": f"no answer after {deadline:g} s", "seconds": deadline}
    return {name: found.get(name, late) for name in sources}


def wait_for_boot(timeout=180.0):
    """Let a machine that is still booting finish, so that nothing is reported as missing early.

    Returns systemd's word: `running`, `degraded`, or `starting` where the time ran out.
    """
    code, out, err = run(["systemctl", "is-system-running", "--wait"], timeout=timeout)
    if code == 124:
        return "starting"
    return out.strip() or err.strip()


def main(package):
    """Observe and print."""
    os.environ.update(LC_ALL="C.UTF-8", PATH="/usr/sbin:/usr/bin:/sbin:/bin")
    start = time.monotonic()
    boot = wait_for_boot()
    waited = round(time.monotonic() - start, 2)
    found = observe(package["sources"], package["wanted"])
    found["boot"] = {"data": boot, "seconds": waited}
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
    os._exit(0)  # a collector that hangs must not keep the answer
