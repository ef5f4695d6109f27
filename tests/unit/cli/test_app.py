import errno
import platform
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer

import devvm
from devvm.cli import commands
from devvm.cli.app import build
from devvm.domain.errors import ExitCode, InterruptedOperationError, LockedError

REPOSITORY = Path(__file__).parents[3]


def _python(*arguments, **options):
    # children inherit an ignored Ctrl-C, as in tests run in the background
    return subprocess.Popen(
        ["env", "--default-signal=INT,TERM,HUP", sys.executable, *arguments],
        cwd=REPOSITORY, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def _failing(monkeypatch, error):
    def fail():
        raise error

    monkeypatch.setattr(platform, "python_version", fail)


def test_version(cli):
    result = cli("version", "--json")
    assert result.code == 0
    assert result.json["devvm"] == devvm.__version__
    assert result.json["python"] == platform.python_version()
    assert cli("version").stdout == f"devvm {devvm.__version__}\n"
    assert cli("--version").stdout == f"devvm {devvm.__version__}\n"


def test_known_errors_end_with_their_code(cli, monkeypatch):
    _failing(monkeypatch, LockedError("dev1 is locked", resolution="wait"))
    result = cli("version")
    assert (result.code, result.stdout) == (ExitCode.LOCKED, "")
    assert result.stderr == "Error: dev1 is locked\nNext: wait\n"
    result = cli("version", "--json")
    assert result.code == ExitCode.LOCKED
    assert result.json["error"]["code"] == "locked"


def test_a_bug_is_named_and_its_traceback_is_in_the_log(cli, monkeypatch, tmp_path):
    _failing(monkeypatch, ZeroDivisionError("[bold]oh"))
    result = cli("version")
    assert result.code == 1
    assert "this is a bug in devvm\n  ZeroDivisionError: [bold]oh\n" in result.stderr
    log = Path(result.stderr.split("Log: ")[1].strip())
    assert tmp_path in log.parents
    assert "Traceback" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_a_bug_is_named_where_the_home_can_not_be_written(cli, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    _failing(monkeypatch, ZeroDivisionError())
    assert "this is a bug" in cli("version").stderr


def test_a_full_disk_is_no_bug(cli, monkeypatch):
    _failing(monkeypatch, OSError(errno.ENOSPC, "No space left on device", "/var/log/x"))
    result = cli("version")
    assert result.code == 1
    assert "no space left on this host\n  [Errno 28] No space left on device: " in result.stderr
    assert "Next: free some space: devvm trash list" in result.stderr


@pytest.mark.parametrize("error", [KeyboardInterrupt(), InterruptedOperationError("all undone")])
def test_interrupts_end_with_130(cli, monkeypatch, error):
    _failing(monkeypatch, error)
    assert cli("version").code == 130


def test_a_reader_that_went_away_is_not_told(cli, monkeypatch):
    _failing(monkeypatch, BrokenPipeError(errno.EPIPE, "Broken pipe"))
    process = _python(
        "-c",
        "import sys\nfrom devvm.cli.app import main\nsys.exit(main(['config', 'show']))",
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 1
    process.stderr.close()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("frobnicate",), "No such command 'frobnicate'"),
        (("create", "a", "b"), "Got unexpected extra argument"),
        (("list", "--nope"), "No such option"),
        (("create", "--driver", "xen"), "Invalid value for '--driver'"),
        (("create", "--cpus", "0"), "Invalid value for '--cpus'"),
        (("destroy",), "Missing argument 'NAME'"),
        (("box", "show"), "Missing argument 'RELEASE'"),
    ],
)
def test_wrong_usage_is_one_clear_message(cli, argv, message):
    result = cli(*argv)
    assert (result.code, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert lines[0].startswith(f"Error: {message}")
    assert lines[1].startswith("Next: devvm")
    assert lines[1].endswith("--help")
    assert len(lines) == 2
    as_json = cli(*argv, "--json")
    assert as_json.code == 2
    assert as_json.json["error"]["code"] == "usage"


def test_no_arguments_show_the_help(cli):
    result = cli()
    assert result.code == 2
    assert "Usage: devvm" in result.stdout + result.stderr
    assert "Error" not in result.stderr


def _root():
    group = typer.main.get_command(build())
    return group, typer.Context(group, help_option_names=["-h", "--help"])


def _commands(group=None, path=()):
    root, context = _root()
    for name, listed in (group or root).commands.items():
        command = listed if group else commands.load(name, context)
        yield (*path, name), command
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))


def test_the_table_says_what_the_commands_do():
    root, context = _root()
    for name, listed in root.commands.items():
        command = commands.load(name, context)
        assert command.help.split("\n\n")[0] == listed.help
        assert command.rich_help_panel == listed.rich_help_panel, name


def test_the_table_has_every_command_of_its_modules():
    table = {
        name: module for names in commands.TABLE.values() for name, (module, _) in names.items()
    }
    registered = {}
    for module in set(table.values()):
        app = typer.Typer()
        import_module(f"devvm.cli.{module}").register(app)
        registered |= dict.fromkeys(typer.main.get_group(app).commands, module)
    assert registered == table


def test_help_breaks_lines_where_the_terminal_ends_and_not_where_the_source_does(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    told = cli("create", "--help").stdout
    assert "after asking once. Exits with 3 if the VM was created but a check fails." in told


def test_every_command_has_help_and_an_example_and_every_option_has_help():
    seen = set()
    for path, command in _commands():
        seen.add(" ".join(path))
        assert command.help, path
        if not hasattr(command, "commands"):
            assert command.epilog.startswith(f"Example:  devvm {' '.join(path)}"), path
        for parameter in command.params:
            assert getattr(parameter, "help", None), (path, parameter.name)
    assert seen >= {
        "create", "list", "show", "ssh", "exec", "start", "stop", "restart", "destroy", "verify",
        "logs", "console", "box build", "box list", "box show", "box verify", "box remove",
        "db export", "db import", "db shell", "pages",
        "setup", "config show", "stack show", "stack check", "version",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "drawn"),
    [(("--help",), True), (("create", "-h"), True), (("version",), False), (("--version",), False)],
)
def test_light_commands_load_nothing_heavy(argv, drawn):
    code = (
        "import sys\n"
        "from devvm.cli.app import main\n"
        f"main({list(argv)!r})\n"
        "heavy = {'libvirt', 'ansible', 'vagrant', 'testinfra', 'pytest', 'cryptography'}\n"
        "heavy |= {'devvm.config', 'devvm.ports.services', 'jinja2', 'yaml', 'pydantic'}\n"
        f"heavy |= {set() if drawn else {'rich.console'}!r}\n"
        "sys.exit(sorted(heavy & set(sys.modules)) or 0)\n"
    )
    process = _python("-c", code)
    _, err = process.communicate()
    assert process.returncode == 0, err


#: A command that is busy until it is interrupted, and then for this many seconds.
AT_WORK = """
import platform, sys, time
from devvm.cli.app import main
def slow():
    try:
        print("at work", flush=True)
        time.sleep(30)
    finally:
        print("undoing", flush=True)
        time.sleep(float(sys.argv[1]))
        print("undone", flush=True)
platform.python_version = slow
sys.exit(main(["version"]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_let_what_was_begun_be_undone(number):
    process = _python("-c", AT_WORK, "0")
    assert process.stdout.readline() == "at work\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert (out, process.returncode) == ("undoing\nundone\n", 130)
    assert err == "Interrupted: nothing more was done\n"


def test_a_second_signal_does_not_stop_the_undoing():
    process = _python("-c", AT_WORK, "1")
    assert process.stdout.readline() == "at work\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "undoing\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (out, process.returncode) == ("undone\n", 130)
    assert "still cleaning up" in err


def test_exit_codes_are_documented():
    text = (REPOSITORY / "docs" / "exit-codes.md").read_text()
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| ")][1:]
    assert {name.strip(): int(code) for code, name in rows} == {
        code.name.lower().replace("_", "-"): int(code) for code in ExitCode
    }
