"""Every command line of the README and of docs/ is run, against a real VM.

A new one in the docs is picked up by itself; one that needs a terminal, or is run elsewhere,
has to be named here, or else this fails.
"""

import os
import pty
import re
import select
import shlex
import subprocess
import sys
import time

import pytest

from tests.vm.conftest import HERE, REPOSITORY

pytestmark = pytest.mark.vm

#: Run for real by another test, named.
_ELSEWHERE = {
    "bin/devvm create dev1": "tests/fresh/run, and conftest.vm",
    "bin/devvm create dev1 --yes": "tests/fresh/run",
    "bin/devvm create dev2": "test_end_to_end: a second VM",
    "bin/test": "itself",
    "devvm create": "conftest.vm: as root, a name must be given",
    "devvm create --cpus 4": "test_end_to_end: a second VM, with options",
    "devvm destroy dev1": "test_end_to_end: destroy",
    "devvm recover dev1": "test_recovery",
    "devvm rebuild dev1": "test_recovery",
    "devvm clone dev1 --as dev1-copy": "test_recovery",
    "devvm snapshot create dev1 before": "test_recovery",
    "devvm snapshot restore dev1 before": "test_recovery",
    "devvm release create": "test_rollout",
    "devvm release create --note 'HTTP/2, MariaDB 10.11.11'": "test_rollout",
    "devvm release lock": "tests/container/test_package_lock: in a checkout of its own",
    "devvm release lock --check": "tests/container/test_package_lock",
    "devvm release lock --release 2026.11.23-1a2b3c4d5e6f": "tests/container/test_package_lock",
    "devvm box build --newest": "tests/unit/test_box: it would build a box",
    "devvm box build --release 2026.11.23-1a2b3c4d5e6f": "tests/unit/test_box: the same",
    "devvm create dev1 --newest": "tests/unit/cli/test_package_lock",
    "devvm rebuild dev1 --newest": "tests/unit/cli/test_package_lock",
    "devvm release create --newest": "tests/unit/cli/test_package_lock",
    "devvm release show latest": "test_rollout: with a release on record",
    "devvm release diff 2026.11.23-1a2b3c4d5e6f latest": "test_rollout: two of its own",
    "devvm release retire 2026.11.23-1a2b3c4d5e6f": "tests/unit/test_releases",
    "devvm release retire latest": "tests/unit/test_releases",
    "devvm box remove 2026.11.23-1a2b3c4d5e6f": "test_recovery: a box of its own",
    "devvm update dev1": "test_rollout",
    "devvm pin dev1 --until $(date -d friday +%F) --reason 'demo on Friday'": "test_rollout",
    "devvm unpin dev1": "test_rollout",
    "devvm fleet report --html fleet.html": "test_rollout: into a folder of its own",
    "devvm rollout plan latest": "test_rollout: with a release on record",
    "devvm rollout plan latest --canary 2 --wave 50% --wave 100%": "tests/unit/cli/test_rollout",
    "devvm rollout plan --plan weekly.yml": "tests/unit/cli/test_rollout",
    "devvm rollout start latest": "test_rollout, with --yes: it asks",
    "devvm rollout start latest --canary 2 --wave 50% --wave 100%": "tests/unit/cli/test_rollout",
    "devvm rollout start --plan weekly.yml": "tests/unit/cli/test_rollout",
    "devvm rollout status": "test_rollout: with a rollout on record",
    "devvm rollout status --follow": "tests/unit/cli/test_rollout",
    "devvm rollout log": "test_rollout: with a rollout on record",
    "devvm rollout log --json": "tests/unit/cli/test_rollout",
    "devvm rollout pause": "tests/unit/cli/test_rollout",
    "devvm rollout resume": "tests/unit/cli/test_rollout",
    "devvm rollout abort": "tests/unit/cli/test_rollout",
    "devvm rollout rollback": "test_rollout, with --yes: it asks",
    "devvm rollout rollback r3": "tests/unit/cli/test_rollout",
    "devvm production capture --host web1 --host web2": "tests/container/test_capture",
    "devvm production capture --host dev1-vagrant"
    " --ssh-config /var/lib/devvm/vms/dev1/ssh_config --over production/manifest.yml"
    " --unless container --output production/overlay/30-guest.yml": "test_parity: the layer",
    "vagrant init devvm/RELEASE": "test_plain_vagrant",
    "DEVVM_SSH_KEY=$HOME/.ssh/id_vagrant vagrant up": "test_plain_vagrant",
    'ssh-keygen -t ecdsa -m PEM -N "" -f $HOME/.ssh/id_vagrant': "test_plain_vagrant",
}
#: In a sentence these are a command's name, not a command line: each wants more.
_NAMES = {
    "devvm stop", "devvm destroy", "devvm ssh", "devvm box verify", "devvm rebuild",
    "devvm recover", "devvm resize", "devvm verify", "devvm production capture",
    "devvm production propose", "devvm start", "devvm restart", "devvm update",
}  # fmt: skip
#: What a person types in the session that the command opens.
_INTERACTIVE = {
    "devvm ssh dev1": ("exit\n", "jane@dev1"),
    "devvm console dev1": ("\x1d", "Escape character"),
}


def _documented() -> list[str]:
    found = set()
    for path in [REPOSITORY / "README.md", *sorted(REPOSITORY.glob("docs/**/*.md"))]:
        text = path.read_text()
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            lines = (line.strip() for line in block.splitlines())
            found |= {line for line in lines if line and not line.startswith("#")}
        text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        found |= set(re.findall(r"`((?:bin/)?devvm [a-z][^`]*|bin/test[^`]*)`", text))
    commands = (c for c in found - _NAMES if not re.search(r"\b(NAME|COMMAND|FILE|CHECK)\b", c))
    # what follows a stop wants the VM running again: stop, start, then the others
    return sorted(commands, key=lambda c: ("stop" not in c, "start dev1" not in c, c))


def test_there_are_documented_commands():
    assert set(_ELSEWHERE) | set(_INTERACTIVE) <= set(_documented())
    assert "devvm list" in _documented()


@pytest.mark.parametrize("command", [c for c in _documented() if c not in _ELSEWHERE])
def test_documented_command(command, vm, devvm, tmp_path):
    if command in _INTERACTIVE:
        _type(command, *_INTERACTIVE[command])
        return
    program, *args = shlex.split(command)
    assert program.removeprefix("bin/") == "devvm", f"nobody runs: {command}"
    done = devvm(*(a.replace("RELEASE", vm["report"]["release"]) for a in args))
    assert (done.stdout + done.stderr).strip()


def _type(command: str, typed: str, expected: str) -> None:
    """Run a command on a terminal of its own, type something, and see that it ends.

    What is typed before a program has the terminal as it wants it may be thrown away, so it is
    typed again, as a person would.
    """
    main, terminal = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", *command.split()],
        cwd=REPOSITORY,
        env={"DEVVM_CONFIG": str(HERE / "config.toml"), "PATH": "/usr/bin:/bin", "TERM": "xterm"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    seen = b""
    deadline = time.monotonic() + 60
    while child.poll() is None and time.monotonic() < deadline:
        if select.select([main], [], [], 1)[0]:
            seen += os.read(main, 4096)
        elif expected.encode() in seen:
            os.write(main, typed.encode())
    child.kill()
    assert (child.wait(), expected.encode() in seen) == (0, True), seen
