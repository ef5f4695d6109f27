"""PHP-FPM: its pools, and the settings of PHP that they begin with."""

from __future__ import annotations

import glob
import json
import os
import re

from devvm.parity.collect.collectors import common

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from devvm.parity.collect.interface import Errors, Found, Items, Run, Wanted
    from devvm.parity.production.manifest import Facts

AREAS = ("php-fpm",)

PROGRAMS = "/usr/sbin/php-fpm[0-9]*"
#: A line of `php-fpm -tt`.
_LINE = re.compile(
    r".*NOTICE: +(?:\[(?P<pool>[^\]]+)\]|(?P<key>[\w.]+(?:\[[^\]]*\])?) = (?P<value>.*))$"
)
#: What the command-line PHP sets for itself, whatever its configuration says.
_OF_THE_COMMAND_LINE = frozenset(
    {
        "display_errors", "html_errors", "implicit_flush", "max_execution_time",
        "max_input_time", "output_buffering", "register_argc_argv",
    }
)  # fmt: skip
_ALL = "echo json_encode(ini_get_all(null, false));"


def collect(wanted: Wanted, run: Run) -> Found:
    """By `VERSION/POOL/SETTING` and `VERSION/ini/SETTING`: `value`."""
    found: Items = {}
    errors: Errors = {}
    for program in sorted(glob.glob(PROGRAMS)):
        version = os.path.basename(program).removeprefix("php-fpm")
        try:
            found |= {f"{version}/{key}": fact for key, fact in _pools(run, program).items()}
            found |= {f"{version}/ini/{key}": fact for key, fact in _ini(run, version).items()}
        except (RuntimeError, ValueError) as error:
            errors[f"php-fpm/{version}/"] = f"PHP-FPM {version}: {error}"
    return {"php-fpm": found, "errors": errors}


def _pools(run: Run, program: str) -> dict[str, Facts]:
    """The settings that it reads, by pool; `global` has its own."""
    code, out, err = run([program, "-tt"])
    if code:
        raise RuntimeError(" ".join((err or out).split()))
    found, pool = {}, "global"
    for line in f"{out}\n{err}".splitlines():
        match = _LINE.fullmatch(line.replace("\t", " "))
        if match and match["pool"]:
            pool = match["pool"].lower() if match["pool"] == "global" else match["pool"]
        elif match:
            found[f"{pool}/{match['key']}"] = _fact(match["key"], match["value"].strip())
    return found


def _ini(run: Run, version: str) -> dict[str, Facts]:
    """PHP's own settings, as it reads them for FPM; none without the command-line PHP."""
    folder = f"/etc/php/{version}/fpm"
    scan, php = f"PHP_INI_SCAN_DIR={folder}/conf.d", f"php{version}"
    code, out, err = run(["env", scan, php, "-c", f"{folder}/php.ini", "-r", _ALL])
    if code == 127:
        return {}
    if code:
        raise RuntimeError(" ".join((err or out).split()))
    settings = json.loads(out)
    return {
        name: _fact(name, "" if value is None else str(value))
        for name, value in settings.items()
        if name not in _OF_THE_COMMAND_LINE
    }


def _fact(name: str, value: str) -> Facts:
    inner = name.partition("[")[2].rstrip("]") or name  # of env[PASSWORD]
    return common.setting(inner, value)
