"""Results as a run of the benchmark leaves them, made of JSON as devvm prints it (docs/json.md)."""

from pathlib import Path

from bench import contenders
from bench.results import Results, Sample, sample_of

REPOSITORY = Path(__file__).parents[3]

CHECKED = {
    "vm": "bench-1", "release": "2026.11.23-1a2b3c4d5e6f", "passed": True, "checks_passed": 2800,
    "checks_waived": 10, "checks_ahead": 1, "checks_total": 2811, "seconds": 10.5, "checks": [],
}  # fmt: skip


def printed(command, phases, *, report=CHECKED, **more):
    """What a command prints with --json."""
    run = {
        "command": command,
        "started_at": "2026-11-29T12:00:00+00:00",
        "seconds": round(sum(seconds for _, seconds in phases) + 0.2, 2),
        "result": "done",
        "phases": [
            {"name": name, "title": name, "seconds": seconds, "result": "done"}
            for name, seconds in phases
        ],
    }
    return {"vm": {"name": "bench-1"}, "report": report, "run": run, **more}


def create(slower=1.0, verify=10.0, **more):
    phases = [("check", 0.3), ("network", 0.1), ("disks", 0.5), ("boot", 35.0),
              ("personalise", 0.6), ("verify", verify)]  # fmt: skip
    return printed("create bench-1", [(name, took * slower) for name, took in phases], **more)


def whole_run(slower=1.0, verify=10.0):
    """Three rounds of everything on a machine that is so much slower."""
    found = Results(
        at="2026-11-29T12:00:00+00:00",
        commit="1a2b3c4d5e6f",
        machine={"cores": "2", "driver": "qemu (emulation)", "QEMU": "7.2.22"},
        not_run={"plain": "not asked for", "KVM": "every guest was emulated"},
    )
    for much in (1.0, 0.9, 1.2):
        times = slower * much
        floor = {contenders.SSH: 40.0 * times, contenders.SITE: 20.0 * times}
        found.add(contenders.FLOOR, Sample(seconds=60.0 * times, phases=floor))
        facts = {"root_mib": 30.0, "data_mib": 20.0, "memory_mib": 900.0}
        cold = sample_of(create(times, verify))
        found.add(
            contenders.CREATE_COLD,
            Sample(seconds=cold.seconds, phases=cold.phases, facts={**cold.facts, **facts}),
        )
        warm = {"restore": 4.0 * times, "personalise": 1.0 * times, "verify": verify * times}
        found.add(
            contenders.CREATE_WARM,
            Sample(
                seconds=(6.0 + verify) * times, phases=warm, facts={**facts, "ssh_seconds": 4.5}
            ),
        )
        found.add(contenders.START, sample_of(printed("start", [("boot", 30.0 * times)])))
        found.add(contenders.STOP, sample_of(printed("stop", [("stop", 6.0 * times)])))
        found.add(contenders.VERIFY, Sample(seconds=verify * times))
        found.add(contenders.VERSION, Sample(seconds=0.3 * times))
        found.add(contenders.LIST, Sample(seconds=0.5 * times))
        for count in (1, 2, 4):
            found.add(f"at-once-{count}", Sample(seconds=(20.0 + 9 * count) * times, phases=warm))
    return found
