"""Runs every command line of the README and of docs/ on a real VM.

New ones in the docs are picked up automatically; this fails unless those that need a terminal, or
that another test runs, are listed here.
"""

import ast
import re
import shlex

import pytest

from tests.vm.conftest import REPOSITORY
from tests.vm.terminal import terminal

pytestmark = pytest.mark.vm

_ROLLOUT = "tests/vm/test_rollout.py::test_a_rollout_of_two_vms_and_back"
_PUT_OFF = "tests/vm/test_rollout.py::_put_off_and_due"
_BAD = "tests/vm/test_rollout.py::test_a_bad_release_is_stopped_at_the_canary_which_is_as_it_was"
_DUMP = "tests/vm/test_end_to_end.py::test_a_dump_comes_in_without_personal_data"
_PLAIN = "tests/vm/test_plain_vagrant.py::test_init_and_up"
_BENCH = "tests/vm/test_bench.py::test_a_run_makes_a_report_and_leaves_nothing"
#: Run for real by another test, with these words and options, because it takes minutes.
_ELSEWHERE = {
    "bin/devvm create dev1": "tests/vm/conftest.py::made",
    "bin/devvm create dev1 --yes": "tests/vm/conftest.py::made",
    "bin/devvm create dev2": "tests/vm/conftest.py::made",
    "devvm create dev1": "tests/vm/conftest.py::made",
    "devvm create": "tests/vm/conftest.py::made",  # as root, a name must be given
    "devvm create --cpus 4": "tests/vm/conftest.py::made",
    "devvm verify dev1": "tests/vm/test_end_to_end.py::test_verify_passes_and_writes_junit",
    "devvm verify dev1 --fix": (
        "tests/vm/test_drift.py::test_what_a_role_answers_for_is_mended_and_the_rest_is_said"
    ),
    "devvm stop dev1": "tests/vm/test_end_to_end.py::test_stopped_deleted_mended_and_started",
    "devvm start dev1": "tests/vm/test_end_to_end.py::test_stopped_deleted_mended_and_started",
    "devvm restart dev1": _PUT_OFF,
    "devvm destroy dev1": "tests/vm/test_killed.py::test_destroy_and_recover_that_are_killed",
    "devvm recover dev1": "tests/vm/test_killed.py::test_destroy_and_recover_that_are_killed",
    "devvm rebuild dev1": (
        "tests/vm/test_recovery.py"
        "::test_a_broken_vm_is_rebuilt_with_everything_that_a_person_would_miss"
    ),
    "devvm clone dev1 --as dev1-copy": "tests/vm/test_rollout.py::two",
    "devvm snapshot restore dev1 before": "tests/vm/test_recovery.py::test_snapshot_and_back",
    "devvm create scratch": "tests/vm/conftest.py::made",
    "devvm db export dev1 dump.sql.gz": _DUMP,
    "devvm db export scratch sanitized.sql.gz": _DUMP,
    "devvm db import dev1 dump.sql.gz": _DUMP,
    "devvm db import dev1 sanitized.sql.gz": _DUMP,
    "devvm db import scratch production.sql.gz": _DUMP,
    "devvm destroy scratch --purge scratch": (
        "tests/vm/test_end_to_end.py::test_destroy_with_purge_leaves_nothing"
    ),
    "devvm pages dev1": "tests/unit/cli/vm/test_vms.py::test_pages",  # the stack lacks it
    "devvm stack init FOLDER": "tests/unit/cli/test_stack.py",
    "devvm stack init acme-stack --from ~/ansible": "tests/unit/cli/test_stack.py",
    "devvm release lock": "tests/vm/test_rollout.py::releases",  # in its own checkout
    "devvm release lock --check": "tests/vm/test_rollout.py::releases",
    "devvm release lock --release 2026.11.23-1a2b3c4d5e6f": "tests/container/test_package_lock.py",
    "devvm box warm": "tests/vm/test_warm.py::test_it_can_be_made_again_under_vms",
    "devvm box warm RELEASE": "tests/vm/test_warm.py::test_it_can_be_made_again_under_vms",
    "devvm pool set 3": "tests/vm/test_pool.py::filled",
    "devvm pool set 0": "tests/vm/test_pool.py::filled",
    "devvm pool fill": (
        "tests/vm/test_pool.py::test_one_that_is_killed_while_it_takes_the_spare_leaves_it_there"
    ),
    "devvm list --pool": "tests/vm/test_pool.py::settled",
    "devvm box build --newest": "tests/vm/test_rollout.py::releases",
    # each would build a box from what the mirror has
    "devvm box build --release 2026.11.23-1a2b3c4d5e6f": "tests/unit/cli/test_package_lock.py",
    "devvm create dev1 --newest": "tests/unit/cli/test_package_lock.py",
    "devvm rebuild dev1 --newest": "tests/unit/cli/test_package_lock.py",
    "devvm release create --newest": "tests/unit/cli/test_package_lock.py",
    "devvm release diff 2026.11.23-1a2b3c4d5e6f latest": _ROLLOUT,
    "devvm release retire 2026.11.23-1a2b3c4d5e6f": _BAD,
    "devvm release retire latest": _BAD,
    "devvm box remove 2026.11.23-1a2b3c4d5e6f": "tests/vm/test_rollout.py::releases",
    "devvm update dev1": _ROLLOUT,
    "devvm pin dev1 --until $(date -d friday +%F) --reason 'demo on Friday'": _ROLLOUT,
    "devvm unpin dev1": _ROLLOUT,
    "devvm rollout plan latest": _ROLLOUT,
    "devvm rollout plan latest --canary 2 --wave 50% --wave 100%": _ROLLOUT,
    "devvm rollout plan --plan weekly.yml": _PUT_OFF,
    "devvm rollout start latest": _BAD,
    "devvm rollout start latest --canary 2 --wave 50% --wave 100%": _ROLLOUT,
    "devvm rollout start --plan weekly.yml": _PUT_OFF,
    "devvm rollout status": _BAD,
    "devvm rollout status --follow": _ROLLOUT,
    "devvm rollout log": _ROLLOUT,
    "devvm rollout log --json": "tests/vm/test_rollout.py::events",
    "devvm rollout pause": _ROLLOUT,
    "devvm rollout resume": _ROLLOUT,
    "devvm rollout abort": _PUT_OFF,
    "devvm rollout rollback": _ROLLOUT,
    "devvm rollout rollback r3": _ROLLOUT,
    "devvm production capture --host web1 --host web2": "tests/container/test_capture.py",
    "devvm production capture --host dev1-vagrant"
    " --ssh-config /var/lib/devvm/vms/dev1/ssh_config --over production/manifest.yml"
    " --unless container --output production/overlay/30-guest.yml": (
        "tests/vm/test_drift.py::test_the_shipped_layer_is_what_a_vm_is"
    ),
    "devvm production capture --host dev1-vagrant"
    " --ssh-config /var/lib/devvm/vms/dev1/ssh_config --over production/manifest.yml"
    " --over production/overlay/30-guest.yml --only-if engineer"
    " --output production/overlay/40-engineer.yml": "tests/vm/test_drift.py",
    "bench/run --only version,list": _BENCH,
    "bench/run --help": "tests/unit/bench/test_run.py::test_help_has_examples",
    "bench/run --check bench/results.json bench-report/results.json": (
        "tests/unit/bench/test_compare.py::test_check_warns_and_does_not_fail"
    ),
    "vagrant init devvm/RELEASE": _PLAIN,
    "DEVVM_SSH_KEY=$HOME/.ssh/id_vagrant vagrant up": _PLAIN,
    'ssh-keygen -t ecdsa -m PEM -N "" -f $HOME/.ssh/id_vagrant': _PLAIN,
}
#: Runs these tests.
_THIS = {"bin/test"}
#: Takes an hour; another test runs a part of it.
_WHOLE = {"bench/run", "bench/run --keep", "bench/run --other CHECKOUT"}
#: In a sentence, these are a command's name rather than a command line: each needs arguments.
_NAMES = {
    "devvm stop", "devvm destroy", "devvm ssh", "devvm box verify", "devvm rebuild",
    "devvm recover", "devvm resize", "devvm verify", "devvm production capture",
    "devvm production propose", "devvm start", "devvm restart", "devvm update",
    "devvm verify --fix", "devvm pool set", "devvm db import", "devvm db", "devvm pages",
    "devvm snapshot", "devvm box show",
}  # fmt: skip
#: For commands that open a session: what to type first, what the VM answers, what ends it.
_INTERACTIVE = {
    "devvm ssh dev1": ("", "jane@dev1", "exit\n"),
    "devvm db shell dev1": ("", "[about]>", "exit\n"),
    "devvm console dev1": ("\n", "dev1 login:", "\x1d"),
    "devvm logs dev1 --follow": ("", " dev1 ", "\x03"),
}
_GROUPS = {
    "box", "config", "db", "fleet", "pool", "production", "release", "rollout", "snapshot", "stack",
    "trash",
}  # fmt: skip


def _documented() -> list[str]:
    found = set()
    for path in [REPOSITORY / "README.md", *sorted(REPOSITORY.glob("docs/**/*.md"))]:
        text = path.read_text()
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            lines = (line.strip() for line in block.splitlines())
            found |= {line for line in lines if line and not line.startswith("#")}
        text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        found |= set(
            re.findall(r"`((?:bin/)?devvm [a-z][^`]*|bin/test[^`]*|bench/run[^`]*)`", text)
        )
    commands = found - _NAMES - _THIS - _WHOLE
    return sorted(c for c in commands if not re.search(r"\b(NAME|COMMAND|FILE|CHECK)\b", c))


def test_there_are_documented_commands():
    assert set(_ELSEWHERE) | set(_INTERACTIVE) <= set(_documented())
    assert "devvm list" in _documented()


@pytest.mark.parametrize("command", sorted(_ELSEWHERE))
def test_another_test_runs_it(command):
    """That test exists, and has a call or a list with all words of the command."""
    name, _, function = _ELSEWHERE[command].partition("::")
    tree = ast.parse((REPOSITORY / name).read_text())
    parts = [tree]  # the whole module, if its tests share what runs the command
    if function:
        (defined,) = (
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef) and node.name == function
        )
        parts = [node for node in ast.walk(defined) if isinstance(node, ast.Call | ast.List)]
    assert any(_words(command) <= _texts(part) for part in parts), _ELSEWHERE[command]


def _texts(part: ast.AST) -> set[str]:
    """The strings in a piece of Python; of `--option=value`, the option."""
    found = (node.value for node in ast.walk(part) if isinstance(node, ast.Constant))
    return {str(value).partition("=")[0] for value in found}


def _words(command: str) -> set[str]:
    """The verb and options of a command line, without values."""
    command = re.sub(r"\$\(.*?\)", "DAY", command)
    words = [word for word in shlex.split(command) if "=" not in word]
    verb = words[1:3] if words[1] in _GROUPS else words[1:2]
    if words[0] == "ssh-keygen":
        verb = words[:1]
    return {*verb, *(word for word in words if word.startswith("-"))}


@pytest.mark.parametrize("command", [c for c in _documented() if c not in _ELSEWHERE])
def test_documented_command(command, vm, devvm, tmp_path):
    if command in _INTERACTIVE:
        typed, said, end = _INTERACTIVE[command]
        with terminal(*command.split()) as session:
            session.type_until(typed, said)
            assert session.type_until_it_ends(end) == (130 if end == "\x03" else 0)
        return
    program, *args = shlex.split(command)
    assert program.removeprefix("bin/") == "devvm", f"nobody runs: {command}"
    changed = {"RELEASE": vm["report"]["release"], "fleet.html": str(tmp_path / "fleet.html")}
    for old, new in changed.items():
        args = [a.replace(old, new) for a in args]
    done = devvm(*args)
    assert (done.stdout + done.stderr).strip()
