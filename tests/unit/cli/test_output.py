import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from devvm.cli.output import Output
from devvm.cli.progress import LiveReporter, PlainReporter, SilentReporter
from devvm.domain.errors import OperationError
from devvm.domain.run import PhaseRecord


def _error():
    return OperationError(
        "it [red]failed[/red] \x1b[31m",
        details="one [link]\ntwo",
        resolution="devvm list",
        log=Path("/var/log/x"),
    )


def test_an_error_says_what_why_what_next_and_where(capsys):
    Output().error(_error())
    assert capsys.readouterr() == (
        "",
        "Error: it [red]failed[/red] \n  one [link]\n  two\nNext: devvm list\nLog: /var/log/x\n",
    )


@pytest.mark.parametrize(
    ("user", "through", "said"),
    [(0, None, "devvm box build"), (0, "jane", "sudo devvm box build"),
     (1000, None, "sudo devvm box build")],
)  # fmt: skip
def test_root_is_not_told_to_use_sudo(user, through, said, monkeypatch, capsys):
    monkeypatch.setattr("os.geteuid", lambda: user)
    monkeypatch.delenv("SUDO_USER", raising=False)
    if through:
        monkeypatch.setenv("SUDO_USER", through)
    Output().error(OperationError("it failed", resolution="fix it, then: sudo devvm box build"))
    assert capsys.readouterr().err == f"Error: it failed\nNext: fix it, then: {said}\n"


def test_an_error_as_json_goes_to_stdout(capsys):
    Output(json=True).error(_error())
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out)["error"] == {
        "code": "failed",
        "brief": "it [red]failed[/red] \x1b[31m",
        "details": "one [link]\ntwo",
        "resolution": "devvm list",
        "log": "/var/log/x",
        "exit_code": 1,
    }


def test_a_long_line_stays_whole_where_nothing_limits_it(capsys):
    output = Output()
    output.line("word " * 100)
    output.table(("A", "B"), [("x" * 300, "y")])
    assert [len(line) for line in capsys.readouterr().out.splitlines()] == [500, 303, 303]


def test_facts_without_a_terminal_are_plain_lines(capsys):
    Output().facts("dev1 is ready", [("Log in", "devvm ssh dev1"), ("", ""), ("", "more")])
    assert capsys.readouterr().out == ("dev1 is ready\nLog in   devvm ssh dev1\n\n         more\n")


def test_nobody_is_asked_where_nobody_is(capsys, monkeypatch):
    output = Output()
    assert not output.can_ask
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert not output.confirm("Proceed?")


@pytest.mark.parametrize(("typed", "yes"), [("\n", True), ("y\n", True), ("No\n", False)])
def test_enter_means_yes(typed, yes, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert Output().confirm("Proceed?") is yes
    assert capsys.readouterr().err == "Proceed? [Y/n] "


def test_reporters_by_circumstance(capsys):
    assert isinstance(Output().reporter(), PlainReporter)
    assert isinstance(Output(json=True).reporter(), PlainReporter)
    assert isinstance(Output(quiet=True).reporter(), SilentReporter)


def _console(**options):
    return Console(file=io.StringIO(), width=60, highlight=False, markup=False, **options)


def _record(result="done"):
    return PhaseRecord(name="boot", title="Starting the VM", seconds=34.21, result=result)


def test_plain_progress_thins_details_out():
    now = [0.0]
    console = _console()
    reporter = PlainReporter(console, every=5, clock=lambda: now[0])
    reporter.phase_started("boot", "Starting the VM")
    for second in range(12):
        now[0] = float(second)
        reporter.detail(f"second {second}")
    reporter.phase_finished(_record())
    reporter.phase_finished(_record("failed"))
    reporter.note("[x]")
    assert console.file.getvalue().splitlines() == [
        "boot: Starting the VM",
        "boot: second 5",
        "boot: second 10",
        "boot: done in 34 s",
        "boot: failed after 34 s",
        "note: [x]",
    ]


def test_live_progress_leaves_one_line_a_phase_and_cuts_what_does_not_fit():
    console = _console(force_terminal=True, color_system=None, _environ={"TERM": "xterm"})
    reporter = LiveReporter(console)
    reporter.phase_started("boot", "Starting the VM")
    reporter.detail("waiting " * 30 + "\x1b[31m")
    reporter._live.refresh()
    reporter.phase_finished(_record())
    text = console.file.getvalue()
    moving = next(line for line in text.replace("\r", "\n").splitlines() if "waiting" in line)
    assert "…" in moving
    assert "Starting the VM" in moving
    assert "\x1b[31m" not in text
    assert " ✓ Starting the VM                           34 s" in text


def test_a_closed_live_line_can_be_closed_again():
    reporter = LiveReporter(_console(force_terminal=True, _environ={"TERM": "xterm"}))
    reporter.phase_started("a", "A")
    reporter.close()
    reporter.close()
    reporter.detail("nobody sees this")
    reporter.phase_finished(_record())


def test_a_terminal_shows_a_heading_and_states_in_colour(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    Output().table(("NAME", "STATE"), [("dev1", "running"), ("[red]", "\x1b[31mshut off")])
    bold, green, dim, off = "\x1b[1m", "\x1b[32m", "\x1b[2m", "\x1b[0m"
    assert [line.split("STATE")[0] for line in capsys.readouterr().out.splitlines()] == [
        f"{bold}NAME   {off}{bold}",
        f"dev1   {green}running{off}",
        f"[red]  {dim}shut off{off}",
    ]
