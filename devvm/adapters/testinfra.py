"""Runs the shipped parity suite (`tests/parity`) against one machine, with testinfra.

The suite runs in a child process, exactly as people run it with pytest themselves, so that pytest,
its plugins or a broken check can't affect devvm. Results come as events.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import devvm
from devvm.domain.check import CheckResult, Outcome
from devvm.domain.errors import OperationError
from devvm.domain.vm import Target
from devvm.ports.services import Detail
from devvm.system import process, tempdir
from devvm.system.jsonlines import Event, following

#: pytest's exit code if the suite ran and a check failed.
_CHECKS_FAILED = 1
#: Seconds to connect: an emulated guest under load is slow.
_CONNECT_TIMEOUT = 60


class Testinfra:
    """Implements `Verifier`.

    Args:
        suite: The folder of the parity suite.
        production: The folder that describes production.
        overlay: `dev` for machines with the dev overlay, `none` for machines as in production.
    """

    __test__ = False  # tells pytest that this isn't a test

    def __init__(self, *, suite: Path, production: Path, overlay: str = "dev") -> None:
        self._suite = suite
        self._production = production
        self._overlay = overlay

    def check(
        self,
        target: Target,
        *,
        checks: Path,
        detail: Detail,
        log: Path,
        packages: Mapping[str, str] | None = None,
        junit: Path | None = None,
    ) -> tuple[CheckResult, ...]:
        """Run all checks of the suite against one machine, and return their results by name.

        Checks that don't apply to the machine (no data disk) are left out.

        Args:
            target: The machine.
            checks: The folder of what must work, by the machine's stack; it may not exist.
            detail: Called with what is being checked.
            log: File to append pytest's output to.
            packages: The versions of packages in the machine's release, if known.
            junit: File for the results as JUnit XML.

        Raises:
            OperationError: the suite could not run: the machine can't be reached, or a file of
                expectations is invalid.
            HostNotReadyError: this Python environment is gone.
        """
        with tempdir.folder("verify") as private:
            results = private / "results.jsonl"
            story = _Story(target, log, detail)
            versions = private / "packages.json"
            versions.write_text(json.dumps(dict(packages or {})), encoding="utf-8")
            detail("checking packages, units, files, settings, the site")
            try:
                with following(results, story.tell) as follow:
                    process.stream(
                        [
                            *self._argv(target, checks, private, results, junit),
                            f"--release-packages={versions}",
                        ],
                        lambda _: follow(),
                        env=_environment(private) | self._path(),
                        log=log,
                    )
            except process.ProcessError as error:
                if error.returncode != _CHECKS_FAILED or not story.results:
                    raise story.failure(error) from None
            return story.sorted()

    def names(self, checks: Path) -> tuple[str, ...]:
        """The names of all checks.

        Raises:
            OperationError: a file of expectations is invalid.
        """
        argv = [sys.executable, "-B", "-m", "devvm.parity", "names"]
        argv += [
            f"--overlay={self._overlay}",
            f"--production={self._production}",
            f"--expectations={checks}",
        ]
        try:
            out = process.run(argv, env=self._path()).stdout
        except process.ProcessError as error:
            raise OperationError("the checks can't be listed", details=error.details) from None
        return tuple(out.split())

    def _path(self) -> dict[str, str]:
        """Variables that let Python find devvm, which most of the suite is part of."""
        return {"PYTHONPATH": str(Path(devvm.__file__).parent.parent)}

    def _argv(
        self, target: Target, checks: Path, private: Path, results: Path, junit: Path | None
    ) -> list[str]:
        settings = private / "pytest.ini"
        settings.write_text("[pytest]\njunit_family = xunit1\n", encoding="utf-8")
        # The SSH configuration decides about connection sharing; testinfra must not add its own.
        host = f"ssh://{target.alias}?controlpersist=0&timeout={_CONNECT_TIMEOUT}"
        return [
            sys.executable,
            "-m",
            "pytest",
            str(self._suite),
            f"--hosts={host}",
            f"--ssh-config={target.ssh_config}",
            f"--overlay={self._overlay}",
            f"--results={results}",
            f"--production={self._production}",
            f"--expectations={checks}",
            # pytest must not use settings that it finds near the suite or in the environment.
            f"-c={settings}",
            f"--rootdir={self._suite.parent}",
            "-ptestinfra.plugin",
            "-pno:cacheprovider",
            "--verbose",
            *((f"--junitxml={junit.absolute()}",) if junit else ()),
        ]


def _environment(private: Path) -> dict[str, str]:
    return {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONDONTWRITEBYTECODE": "1",  # the package's folder may be read-only
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(private),
    }


@dataclass
class _Story:
    """What the events say about a run."""

    target: Target
    log: Path
    detail: Detail
    results: list[CheckResult] = field(default_factory=list)
    aborted: str | None = None

    def tell(self, event: Event) -> None:
        """Process an event."""
        match event["event"]:
            case "aborted":
                self.aborted = event["message"]
            case "result":
                self.detail(event["name"])
                if event["outcome"] != "skipped":
                    self.results.append(_result(event))

    def sorted(self) -> tuple[CheckResult, ...]:
        """The results, sorted by name."""
        return tuple(sorted(self.results, key=lambda result: result.name))

    def failure(self, error: process.ProcessError) -> OperationError:
        """The error for a suite that could not run."""
        alias, ssh_config = self.target.alias, shlex.quote(str(self.target.ssh_config))
        if self.aborted is not None:
            return OperationError(
                f"{alias} could not be checked",
                details=self.aborted,
                resolution=f"ssh -F {ssh_config} {alias} sudo python3 --version",
                log=self.log,
            )
        return OperationError(
            f"the checks of {alias} could not run",
            details=error.details,
            resolution=f"less {self.log}",
            log=self.log,
        )


def _result(event: Event) -> CheckResult:
    return CheckResult(
        name=event["name"],
        role=event["role"],
        outcome=Outcome(event["outcome"]),
        message=event["message"],
        seconds=event["seconds"],
        difference=event.get("difference"),
        expected=event.get("expected"),
        found=event.get("found"),
        diff=event.get("diff"),
        waiver=event.get("waiver"),
        package=event.get("package"),
    )
