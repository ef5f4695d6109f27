"""A run: what is measured in which order, what happens when something fails, what is left.

devvm is a program that answers as devvm does (stand_in.py); libvirt is its test driver.
"""

import os
import subprocess
import sys

import libvirt
import pytest

import bench.__main__ as program
from bench import command, floor, machine, measure
from bench.answers import SshWatch
from bench.results import Results
from devvm.config import Config
from tests.unit.bench.recorded import REPOSITORY
from tests.unit.bench.stand_in import checkout

ALL_OF_A_ROUND = ["version", "list", "create-cold", "verify", "stop", "start", "rebuild",
                  "create-warm", "create-spare"]  # fmt: skip


@pytest.fixture
def config(tmp_path):
    return Config(uri="test:///default", state_dir=tmp_path / "devvm")


@pytest.fixture
def run(config, tmp_path):
    """Measure with a stand-in; return the results and what was typed."""

    def measured(only, *, rounds=1, at_once=(), other=None, **stand_in):
        made, state = checkout(tmp_path / "this", **stand_in)
        options = measure.Options(only=only, rounds=rounds, at_once=at_once, other=other)
        results, saved = Results(), []
        runner = command.Runner(tmp_path / "log")
        bench = measure.Bench(
            config, made, results, runner, options, lambda: saved.append(len(results.samples))
        )
        bench.run()
        assert bench.clean() == []
        assert list((state / "vms").iterdir()) == []
        assert runner.running == []
        assert bench.failed == any(key.startswith(tuple(stand_in)) for key in results.not_run)
        return results, (state / "typed").read_text().splitlines(), saved

    return measured


def test_contenders_take_turns(run):
    results, typed, saved = run(ALL_OF_A_ROUND, rounds=2)
    assert {key: len(samples) for key, samples in results.samples.items()} == {
        "version": 6, "list": 6, "create-cold": 2, "verify": 2, "stop": 2, "start": 2,
        "rebuild-warm": 2, "create-warm": 2, "create-spare": 2,
    }  # fmt: skip
    assert results.not_run == {}
    verbs = [line.split()[0] for line in typed if "--json" in line]
    one = ["create", "show", "verify", "stop", "start", "rebuild", "destroy", "trash", "create",
           "show", "destroy", "trash", "pool", "pool", "create", "show", "pool", "pool",
           "destroy", "trash"]  # fmt: skip
    assert verbs == ["list", *one, *one]
    assert len(saved) == 2 * len(ALL_OF_A_ROUND)


def test_the_pool_is_empty_again_whatever_happens(run):
    results, typed, _ = run(["create-spare"])
    assert [line.split()[:3] for line in typed if line.startswith("pool")] == [
        ["pool", "set", "1"], ["pool", "fill", "--quiet"],
        ["pool", "set", "0"], ["pool", "fill", "--quiet"],
    ]  # fmt: skip
    assert results.phases("create-spare") == {"take": 2.0, "verify": 8.0}


def test_the_pool_is_empty_again_if_the_create_fails(run):
    _, typed, _ = run(["create-spare"], create="broken")
    assert [line.split()[2] for line in typed if line.startswith("pool set")] == ["1", "0"]


def test_what_is_recorded_of_a_create(run):
    results, typed, _ = run(["create-cold", "create-warm"])
    assert "create bench-1 --yes --quiet --json --cold" in typed
    assert "create bench-2 --yes --quiet --json" in typed
    assert results.phases("create-cold")["boot"] == 35.0
    assert results.phases("create-warm") == {"restore": 3.0, "verify": 8.0}
    assert results.fact("create-warm", "root_mib").median == 30.0
    assert results.fact("create-warm", "failed_checks").high == 0


def test_a_create_that_was_not_restored_is_not_passed_off_as_one(run):
    results, _, _ = run(["create-warm"], warm=False)
    assert results.samples == {}
    assert "no warm box that fits (devvm box warm)" in results.not_run["create-warm"]


def test_an_older_devvm_always_boots(run):
    results, typed, _ = run(["create-cold", "create-warm"], warm=False, cold_option=False)
    assert set(results.samples) == {"create-cold"}
    assert "create bench-1 --yes --quiet --json" in typed
    assert "always boots" in results.not_run["create-warm"]


def test_a_contender_gets_the_vm_it_needs_without_measuring_it(run):
    results, typed, _ = run(["start", "stop"])
    assert set(results.samples) == {"start", "stop"}
    made = [line for line in typed if line.startswith("create bench-1")]
    assert made == ["create bench-1 --yes --quiet --json"]


def test_only_commands_that_look_need_no_box_and_no_vm(run):
    results, typed, _ = run(["version", "list"])
    assert set(results.samples) == {"version", "list"}
    assert {line.split()[0] for line in typed} == {"version", "list", "create"}
    assert "create --help" in typed


def test_several_at_once(run):
    results, typed, _ = run(["at-once"], at_once=[1, 3])
    assert set(results.samples) == {"at-once-1", "at-once-3"}
    assert results.fact("at-once-3", "data_mib").median == 60.0
    assert {f"destroy bench-{n} --yes --purge bench-{n} --quiet --json" for n in (1, 2, 3)} <= {
        *typed
    }


def test_the_box_is_built_last(run):
    results, typed, _ = run(["box-build", "list"])
    assert set(results.samples) == {"list", "box-build"}
    assert "box build --force --yes --quiet --json" in typed[-1]


def test_a_contender_that_fails_is_noted_and_the_others_go_on(run):
    results, _, _ = run(["verify", "stop", "list"], verify="the VM does not answer")
    assert set(results.samples) == {"stop", "list"}
    assert results.not_run == {
        "verify": "round 1 of 1: devvm verify bench-1 --quiet failed: the VM does not answer"
    }


def test_another_checkout_is_measured_in_the_same_rounds(run, tmp_path):
    other, state = checkout(tmp_path / "other")
    results, _, _ = run(["version", "verify"], other=other)
    assert set(results.samples) == {"version", "verify", "version@other", "verify@other"}
    assert list((state / "vms").iterdir()) == []


def test_vms_of_these_names_are_not_touched(config):
    options = measure.Options(only=["verify"], rounds=1, at_once=[1, 2, 4], other=None)
    names = ("bench-1.devvm.test", "bench-4.devvm.test@1", "bench-plain", "bench-1.other.test",
             "bench-9.devvm.test")  # fmt: skip
    connection = libvirt.open(config.uri)
    domains = [
        connection.defineXML(
            f"<domain type='test'><name>{name}</name><memory>1024</memory>"
            "<os><type>hvm</type></os></domain>"
        )
        for name in names
    ]
    try:
        assert measure.leftovers(config, options) == [
            ("bench-1.devvm.test", "bin/devvm destroy bench-1 --purge bench-1"),
            ("bench-4.devvm.test@1", "bin/devvm trash empty bench-4 --purge bench-4"),
            ("bench-plain",
             "virsh destroy bench-plain; virsh undefine --remove-all-storage bench-plain"),
        ]  # fmt: skip
    finally:
        for domain in domains:
            domain.undefine()
        connection.close()


def test_an_interrupted_command_tidies_up(tmp_path):
    """It gets Ctrl-C, and time to undo what it did."""
    child = (
        "import pathlib, signal, time\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "try:\n"
        "    (folder / 'began').touch()\n"
        "    time.sleep(600)\n"
        "except KeyboardInterrupt:\n"
        "    (folder / 'undone').touch()\n"
    )

    def interrupt(_seconds):
        if (tmp_path / "began").exists():
            raise KeyboardInterrupt

    runner = command.Runner(tmp_path / "log")
    with pytest.raises(KeyboardInterrupt):
        runner.run_together([[sys.executable, "-c", child]], meanwhile=interrupt)
    assert (tmp_path / "undone").exists()
    assert runner.running == []


def test_an_interrupted_create_is_deleted(config, tmp_path, monkeypatch):
    """Ctrl-C reaches the run while devvm makes a VM, which nobody has recorded yet."""
    made, state = checkout(tmp_path / "this", hanging="create")
    options = measure.Options(only=["create-cold"], rounds=1, at_once=[], other=None)
    runner = command.Runner(tmp_path / "log")
    bench = measure.Bench(config, made, Results(), runner, options, lambda: None)

    def interrupt(_watch, _seconds):
        if list((state / "vms").iterdir()):
            raise KeyboardInterrupt

    monkeypatch.setattr(SshWatch, "look", interrupt)
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    assert [vm.name for vm in (state / "vms").iterdir()] == ["bench-1"]
    assert bench.clean() == []
    assert list((state / "vms").iterdir()) == []


def test_a_terminated_run_ends_as_an_interrupted_one(tmp_path):
    """What is stopped from outside deletes its VMs, keeps what it measured, and ends with 130."""
    child = (
        "import os, signal\n"
        "import bench.__main__ as program\n"
        "from bench import measure\n"
        "def stopped(self):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    signal.pause()\n"
        "measure.Bench.run = stopped\n"
        "raise SystemExit(program.main(['--only', 'version', '--output', 'out']))\n"
    )
    settings = tmp_path / "config.toml"
    settings.write_text(f'uri = "test:///default"\nstate_dir = "{tmp_path}/state"\n')
    done = subprocess.run(
        [sys.executable, "-c", child], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"DEVVM_CONFIG": str(settings), "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.returncode == 130, done.stderr
    assert "deleting what was made" in done.stderr
    assert "bench/run --report" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_reason_of_a_failure_has_no_path_or_address_of_this_machine():
    said = measure._anonymous("failed: /var/lib/devvm/boxes/x.box is 1/2 of http://a/b")
    assert said == "failed: x.box is 1/2 of URL"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--only", "nothing"], "nothing is not one of: version, list"),
        (["--rounds", "0"], "numbers from 1 on"),
        (["--at-once", "0"], "numbers from 1 on"),
        (["--at-once", "many"], "--at-once"),
        (["--other", "/nowhere"], "/nowhere is not a checkout"),
        (["--only", "list", "--keep"], "leave --only out"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(given, said, capsys):
    with pytest.raises(SystemExit) as ended:
        program.main(given)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit) as ended:
        program.main(["--help"])
    assert ended.value.code == 0
    assert "bench/run --only version,list" in capsys.readouterr().out


GUEST = floor.Guest(
    fqdn="bench-1.devvm.test", disks=(), driver="qemu", cpus=2, memory_mib=2048, processor="max",
    machine="pc-i440fx-7.2", ca=REPOSITORY,
)  # fmt: skip


def test_the_floor_boots_the_root_first_and_talks_to_nobody():
    layers = [("root", REPOSITORY / "a.qcow2"), ("devvm-data", REPOSITORY / "b.qcow2")]
    argv = floor.argv(GUEST, layers, 40022, 40443)
    network = argv[argv.index("-netdev") + 1]
    assert "restrict=on" in network
    assert "hostfwd=tcp:127.0.0.1:40022-:22" in network
    assert "hostfwd=tcp:127.0.0.1:40443-:443" in network
    devices = [word for word in argv if word.startswith("virtio-blk-pci")]
    assert "serial=root,addr=0x5,bootindex=1" in devices[0]
    assert "serial=devvm-data,addr=0x6,bootindex=2" in devices[1]
    assert argv[argv.index("-accel") + 1] == "tcg"


@pytest.mark.parametrize(
    ("cpu", "shown"),
    [
        ("", "max"),
        ("<cpu mode='maximum' check='none'/>", "max"),
        ("<cpu mode='host-passthrough'/>", "host"),
        (
            "<cpu><model>qemu64</model><feature policy='require' name='x2apic'/>"  # noqa: ISC004
            "<feature policy='disable' name='svm'/></cpu>",
            "qemu64,x2apic=on,svm=off",
        ),
    ],
)  # fmt: skip
def test_the_floor_has_the_vms_processor(cpu, shown):
    definition = f"<domain><os><type machine='pc-q35-7.2'>hvm</type></os>{cpu}</domain>"
    assert machine.processor(definition) == shown
    assert machine.machine_type(definition) == "pc-q35-7.2"


def test_the_machine_is_described():
    found = machine.describe(Config(uri="test:///default"))
    assert set(found) == {
        "cores", "processor", "memory", "system", "kernel", "driver", "QEMU", "libvirt", "guest"
    }  # fmt: skip
    assert found["cores"] == str(os.cpu_count())
    assert found["guest"] == "2 processors, 2048 MiB"
    assert machine._version(7002022) == "7.2.22"


def test_the_commit_of_a_changed_work_tree_says_so(tmp_path):
    def git(*words):
        subprocess.run(
            ["git", "-C", tmp_path, "-c", "user.name=x", "-c", "user.email=x@x", *words],
            check=True, capture_output=True,
        )  # fmt: skip

    assert machine.commit(tmp_path) == "unknown"
    git("init")
    (tmp_path / "file").write_text("a")
    git("add", "file")
    git("commit", "-m", "x")
    assert len(machine.commit(tmp_path)) == 12
    (tmp_path / "file").write_text("b")
    assert machine.commit(tmp_path).endswith(", changed")
