"""pytest's side of the suite: options, one observation per machine, results by check name."""

from __future__ import annotations

import datetime
import json
import warnings
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

from devvm.parity.checks import catalogue, expectations
from devvm.parity.checks.outcome import ItemsAhead, ItemsDiffer
from devvm.parity.collect import observe
from devvm.parity.collect.interface import Wanted
from devvm.parity.differences.compare import Difference
from devvm.parity.packages import attribution
from devvm.parity.production import manifest, production, waivers
from devvm.system import assets

_REFERENCE = assets.reference_stack()
_CHECKS = pytest.StashKey[list[catalogue.Check]]()
_WANTED = pytest.StashKey[Wanted]()
_WAIVERS = pytest.StashKey[tuple[waivers.Waiver, ...]]()

_KEY = pytest.StashKey[bytes | None]()
_RELEASE = pytest.StashKey[Mapping[str, str]]()
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
        default=_REFERENCE / "checks",
        help="folder of expectation files (default: those of the reference stack)",
    )
    group.addoption(
        "--production",
        type=Path,
        default=_REFERENCE / "production",
        help="folder that says what production is (default: the reference stack's)",
    )
    group.addoption(
        "--release-packages",
        type=Path,
        help="JSON file with the versions of packages in the machine's release, by name",
    )
    group.addoption(
        "--results", type=Path, help="file for results as JSON lines, one per check, as they come"
    )


def pytest_configure(config: pytest.Config) -> None:
    option = config.getoption
    try:
        every = expectations.load(option("--expectations"), overlay=option("--overlay"))
        stated = production.load(option("--production"), option("--overlay"))
    except (expectations.ExpectationError, waivers.WaiverError, manifest.ManifestError) as error:
        raise pytest.UsageError(str(error)) from None
    checks = catalogue.expand(every) + catalogue.of_manifest(stated.layers, stated.roles)
    names = [check.name for check in checks]
    config.stash[_CHECKS] = checks + catalogue.of_waivers(stated.waivers, names)
    config.stash[_WAIVERS] = stated.waivers
    config.stash[_KEY] = stated.key
    config.stash[_RELEASE] = _release_packages(option("--release-packages"))
    candidates = attribution.candidates(stated.layers, config.stash[_RELEASE])
    config.stash[_WANTED] = catalogue.wanted(every, candidates, stated.layers.areas())
    config.stash[_SEEN] = {}


def _release_packages(file: Path | None) -> Mapping[str, str]:
    try:
        return json.loads(file.read_text(encoding="utf-8")) if file else {}
    except (OSError, ValueError) as error:
        raise pytest.UsageError(f"--release-packages: {file}: {error}") from None


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
    if request.config.option.xmlpath:
        _name_in_junit(request, check)
    observation = _observation(request.config, host)
    reason = check.not_for(observation.conditions)
    if reason:
        pytest.skip(reason)
    return observation


@pytest.fixture(scope="session")
def release(pytestconfig: pytest.Config) -> Mapping[str, str]:
    """The versions of packages in the machine's release; empty where they are not known."""
    return pytestconfig.stash[_RELEASE]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write the result of each check under its name."""
    report = yield
    check = _check_of(item)
    if check and (report.when == "call" or not report.passed):
        results = _results(item, check, report, call)
        for result in results:
            _write(item.config, {"event": "result", **result})
        allowed = [result for result in results if result["outcome"] in ("waived", "ahead")]
        if report.failed and len(allowed) == len(results):
            words = (result.get("waiver") or f"of {result['package']}" for result in allowed)
            report.outcome, report.wasxfail = "skipped", next(words)
    return report


def _results(
    item: pytest.Item,
    check: catalogue.Check,
    report: pytest.TestReport,
    call: pytest.CallInfo[None],
) -> list[dict[str, Any]]:
    """The result of a check: one, or where items are there that should not be, one of each."""
    base = {"role": check.role, "seconds": round(call.duration, 4), "message": ""}
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, (ItemsDiffer, ItemsAhead)):
        answering = check.expected[1] if check.kind == "extra" else None
        explained = {name: one.package for name, one in error.ahead.items()}
        differences = {name: one.difference for name, one in error.ahead.items()}
        return [
            _allowed_or_not(
                item,
                {
                    **base,
                    "name": name,
                    "role": answering.of_name(name) if answering else check.role,
                    "outcome": "ahead" if name in explained else "failed",
                    "package": explained.get(name),
                    "message": difference.words(),
                    **_details(difference),
                },
            )
            for name, difference in sorted({**error.differences, **differences}.items())
        ]
    message = "" if report.passed or error is None else str(getattr(error, "msg", None) or error)
    result = {**base, "name": check.name, "outcome": _outcome(report, call), "message": message}
    # A waiver's own check can't be waived.
    return [result if check.kind == "waiver" else _allowed_or_not(item, result)]


def _details(difference: Difference) -> dict[str, Any]:
    return {
        "difference": difference.kind.value,
        "expected": dict(difference.expected),
        "found": dict(difference.found),
        "diff": difference.diff,
    }


def _allowed_or_not(item: pytest.Item, result: dict[str, Any]) -> dict[str, Any]:
    """A result, as waived where a waiver allows it."""
    seen = getattr(item, "funcargs", {}).get("seen")
    if result["outcome"] != "failed" or not isinstance(seen, observe.Observation):
        return result
    today = datetime.datetime.now(tz=datetime.UTC).date()
    every = item.config.stash[_WAIVERS]
    waiver = waivers.find(every, result["name"], seen["facts"]["fqdn"], today)
    return {**result, "outcome": "waived", "waiver": waiver.words()} if waiver else result


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for name, observation in config.stash[_SEEN].items():
        terminalreporter.write_line(f"{name}: {observation.timing()}")
    if not config.stash[_RELEASE]:
        terminalreporter.write_line(
            "which packages the machine's release has is not known (--release-packages): each one "
            "that is not as in production failed"
        )


def _observation(config: pytest.Config, host: observe.Host) -> observe.Observation:
    cache = config.stash[_SEEN]
    name = repr(host)
    if name not in cache:
        try:
            cache[name] = observe.observe(
                host, config.stash[_WANTED], key=config.stash[_KEY],
                collectors=config.getoption("--expectations") / expectations.COLLECTORS,
            )  # fmt: skip
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


def _outcome(report: pytest.TestReport, call: pytest.CallInfo[None]) -> str:
    if not report.failed:
        return report.outcome
    differs = call.excinfo is not None and call.excinfo.errisinstance(pytest.fail.Exception)
    return "failed" if differs else "error"


def _write(config: pytest.Config, event: dict[str, Any]) -> None:
    results = config.getoption("--results")
    if results:
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")
