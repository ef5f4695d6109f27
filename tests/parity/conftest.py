"""pytest's side of the suite: options, one observation per machine, results by check name."""

from __future__ import annotations

import datetime
import json
import warnings
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

from parity import checks as catalogue
from parity import observe, schema, waivers

_SUITE = Path(__file__).parent
_CHECKS = pytest.StashKey[list[catalogue.Check]]()
_WANTED = pytest.StashKey[Mapping[str, Any]]()
_WAIVERS = pytest.StashKey[tuple[waivers.Waiver, ...]]()

_SEEN = pytest.StashKey[dict[str, observe.Observation]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("parity")
    group.addoption(
        "--overlay",
        choices=("dev", "none"),
        default="dev",
        help="dev (default): a development machine; none: a machine as in production",
    )
    group.addoption(
        "--expectations",
        type=Path,
        default=_SUITE / "expectations",
        help="folder of expectation files (default: those of the suite)",
    )
    group.addoption(
        "--waivers", type=Path, help="file of waivers: differences that are allowed for a while"
    )
    group.addoption(
        "--results", type=Path, help="file for results as JSON lines, one per check, as they come"
    )


def pytest_configure(config: pytest.Config) -> None:
    try:
        every = schema.load(
            config.getoption("--expectations"), overlay=config.getoption("--overlay")
        )
        allowed = waivers.load(file) if (file := config.getoption("--waivers")) else ()
        every_check = catalogue.expand(every)
        names = [check.name for check in every_check]
        config.stash[_CHECKS] = every_check + waivers.checks(allowed, names)
        config.stash[_WAIVERS] = allowed
    except (schema.ExpectationError, waivers.WaiverError) as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[_WANTED] = catalogue.wanted(every)
    config.stash[_SEEN] = {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`test_KIND` gets the checks of that kind."""
    if "check" in metafunc.fixturenames:
        kind = metafunc.function.__name__.removeprefix("test_")
        chosen = [check for check in metafunc.config.stash[_CHECKS] if check.kind == kind]
        metafunc.parametrize("check", chosen, ids=[check.name for check in chosen])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Functions of which nothing is expected are no skipped tests: they are not there."""
    items[:] = [item for item in items if _check_of(item) is not None]


@pytest.fixture
def seen(
    host: observe.Host, check: catalogue.Check, request: pytest.FixtureRequest
) -> observe.Observation:
    """What was observed of the machine; looks at it when the first check asks."""
    _name_in_junit(request, check)
    observation = _observation(request.config, host)
    reason = check.not_for(observation.conditions)
    if reason:
        pytest.skip(reason)
    return observation


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write the result of each check under its name."""
    report = yield
    check = _check_of(item)
    if check and (report.when == "call" or not report.passed):
        outcome, message = _outcome(report, call), _message(report, call)
        waiver = _waiver(item, check) if outcome == "failed" else None
        if waiver:
            outcome, message = "waived", f"{message}; {waiver.words()}"
            report.outcome, report.wasxfail = "skipped", waiver.words()
        _write(
            item.config,
            {
                "event": "result",
                "name": check.name,
                "role": check.role,
                "outcome": outcome,
                "message": message,
                "seconds": round(call.duration, 3),
            },
        )
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for name, observation in config.stash[_SEEN].items():
        terminalreporter.write_line(f"{name}: {observation.timing()}")


def _observation(config: pytest.Config, host: observe.Host) -> observe.Observation:
    cache = config.stash[_SEEN]
    name = repr(host)
    if name not in cache:
        try:
            cache[name] = observe.observe(host, config.stash[_WANTED])
        except observe.CannotObserveError as error:
            _write(config, {"event": "aborted", "message": str(error)})
            pytest.exit(f"can't look at {name}: {error}", returncode=3)
    return cache[name]


def _check_of(item: pytest.Item) -> catalogue.Check | None:
    callspec = getattr(item, "callspec", None)
    check = callspec.params.get("check") if callspec else None
    return check if isinstance(check, catalogue.Check) else None


def _name_in_junit(request: pytest.FixtureRequest, check: catalogue.Check) -> None:
    with warnings.catch_warnings():  # it is experimental, and wary of newer report forms
        warnings.simplefilter("ignore", pytest.PytestWarning)
        attribute = request.getfixturevalue("record_xml_attribute")
    attribute("name", check.name)
    attribute("classname", f"parity.{check.role}")


def _waiver(item: pytest.Item, check: catalogue.Check) -> waivers.Waiver | None:
    """What allows a check to fail; never one of a waiver's own."""
    seen = getattr(item, "funcargs", {}).get("seen")
    if check.kind == "waiver" or not isinstance(seen, observe.Observation):
        return None
    today = datetime.datetime.now(tz=datetime.UTC).date()
    return waivers.find(item.config.stash[_WAIVERS], check.name, seen["facts"]["fqdn"], today)


def _outcome(report: pytest.TestReport, call: pytest.CallInfo[None]) -> str:
    if not report.failed:
        return report.outcome
    differs = call.excinfo is not None and call.excinfo.errisinstance(pytest.fail.Exception)
    return "failed" if differs else "error"


def _message(report: pytest.TestReport, call: pytest.CallInfo[None]) -> str:
    if report.passed or call.excinfo is None:
        return ""
    error = call.excinfo.value
    return str(getattr(error, "msg", None) or error)


def _write(config: pytest.Config, event: dict[str, Any]) -> None:
    results = config.getoption("--results")
    if results:
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")
