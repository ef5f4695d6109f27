"""Collectors and probes follow their protocols, and import little in a guest.

mypy checks the modules below against the protocols; the tests check that none is missing here.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from devvm.parity.collect import inside, observe
from devvm.parity.collect.collectors import (
    accounts,
    apache,
    application,
    certificates,
    database,
    files,
    firewall,
    kernel,
    manager,
    modules,
    mounts,
    node,
    offers,
    packages,
    php,
    postgresql,
    python,
    settings,
    sockets,
    system,
    units,
)
from devvm.parity.collect.interface import Collector, Probe, Run
from devvm.parity.collect.probes import certificate, commands, configs, facts, http, moved
from devvm.system import assets

COLLECT = Path(observe.__file__).parent
RUN: Run = inside.run
COLLECTORS: Mapping[str, Collector] = {
    "accounts": accounts,
    "apache": apache,
    "application": application,
    "certificates": certificates,
    "database": database,
    "files": files,
    "firewall": firewall,
    "kernel": kernel,
    "manager": manager,
    "modules": modules,
    "mounts": mounts,
    "node": node,
    "offers": offers,
    "packages": packages,
    "php": php,
    "postgresql": postgresql,
    "python": python,
    "settings": settings,
    "sockets": sockets,
    "system": system,
    "units": units,
}
PROBES: Mapping[str, Probe] = {
    "certificate": certificate,
    "commands": commands,
    "configs": configs,
    "facts": facts,
    "http": http,
    "moved": moved,
}
#: Slow to import in an emulated guest, or not available there: a guest doesn't have devvm.
TOO_DEAR = ("typing", "pathlib", "dataclasses", "devvm.parity.collect.interface", "pydantic")

#: Loads what is sent to a machine as `inside.main` does, and prints the modules this imported.
LOAD = """
import json, sys
texts = json.load(sys.stdin)
inside = {}
exec(texts.pop("inside"), inside)
inside["share"](inside["load"]("common", texts.pop("common")))
for name, text in texts.items():
    inside["load"](name, text)
print(json.dumps(sorted(sys.modules)))
"""


def modules_in(folder: str) -> set[str]:
    return {path.stem for path in (COLLECT / folder).glob("[!_]*.py")}


def test_every_collector_and_probe_is_held_against_its_protocol() -> None:
    assert modules_in("collectors") == {*COLLECTORS, "common"}
    assert modules_in("probes") == {*PROBES}


def test_areas_have_one_collector_each() -> None:
    areas = [area for collector in COLLECTORS.values() for area in collector.AREAS]
    assert len(areas) == len(set(areas))


def test_every_area_is_in_the_table_of_the_docs() -> None:
    docs = (assets.parity_suite().parents[1] / "docs" / "parity.md").read_text(encoding="utf-8")
    table = docs.partition("| area | an item |")[2].partition("\n\n")[0]
    areas = {area for collector in COLLECTORS.values() for area in collector.AREAS}
    first = [line.split(" | ")[0] for line in table.splitlines()[2:]]
    assert {name for cell in first for name in re.findall("`(.*?)`", cell)} == areas


def test_what_runs_in_a_guest_loads_where_devvm_is_not_and_imports_nothing_dear() -> None:
    paths = (
        COLLECT / "inside.py",
        *(COLLECT / "collectors" / f"{name}.py" for name in ("common", *COLLECTORS)),
        *(COLLECT / "probes" / f"{name}.py" for name in PROBES),
    )
    texts = {path.stem: path.read_text(encoding="utf-8") for path in paths}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LOAD],
        input=json.dumps(texts), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not set(TOO_DEAR) & set(json.loads(done.stdout))


def test_a_companys_collector_means_its_annotations_as_they_stand() -> None:
    """`inside` postpones its own annotations; compile() would pass that on."""
    collector = inside.load("companys", "class A:\n    value: int\n")
    assert collector.A.__annotations__ == {"value": int}
