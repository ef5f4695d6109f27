import re
from pathlib import Path

import pytest

from devvm.domain.errors import HostNotReadyError, OperationError
from devvm.operations.core.progress import Run
from devvm.operations.host import setup


class Step:
    needed_only_to_create = False

    def __init__(self, key, *, needed=(), optional=False, works=True, fails=None):
        self.key = key
        self.title = f"Doing {key}"
        self.optional = optional
        self.applied = 0
        self._needed = list(needed)
        self._works = works
        self._fails = fails

    def missing(self):
        return self._needed

    def apply(self, detail, log):
        if self._fails:
            raise self._fails
        self.applied += 1
        detail("working")
        if self._works:
            self._needed = []


class Recorder:
    def __init__(self):
        self.phases = []

    def phase_started(self, name, title):
        pass

    def detail(self, text):
        pass

    def phase_finished(self, record):
        self.phases.append((record.name, record.result))

    def note(self, text):
        pass


def test_a_ready_host_is_let_pass():
    setup.require([Step("a"), Step("link", needed=["make a link"], optional=True)])


def test_what_is_missing_is_listed_with_the_next_command():
    with pytest.raises(HostNotReadyError) as caught:
        setup.require([Step("a", needed=["install x"]), Step("b", needed=["start y"])])
    assert caught.value.details == "still to do:\n- install x\n- start y"
    assert caught.value.resolution == "devvm setup --yes"
    assert caught.value.exit_code == 4


def test_only_what_is_missing_is_applied_each_a_phase():
    steps = [Step("a"), Step("b", needed=["do b"]), Step("c", needed=["do c"], optional=True)]
    recorder = Recorder()
    status = setup.apply(steps, Run("setup", recorder), Path("/dev/null"))
    assert [s.applied for s in steps] == [0, 1, 1]
    assert recorder.phases == [("b", "done"), ("c", "done")]
    assert status.complete


def test_a_step_that_did_not_help_is_said():
    with pytest.raises(HostNotReadyError, match="did not complete: doing a") as caught:
        setup.apply(
            [Step("a", needed=["do a"], works=False)], Run("setup", Recorder()), Path("/dev/null")
        )
    assert "do a" in caught.value.details


def test_a_failed_step_ends_it():
    later = Step("b", needed=["do b"])
    with pytest.raises(OperationError, match="broken"):
        setup.apply(
            [Step("a", needed=["do a"], fails=OperationError("broken")), later],
            Run("setup", Recorder()),
            Path("/dev/null"),
        )
    assert not later.applied


def test_the_package_list_is_plain_names():
    from devvm.adapters.host.debian_host import read_list
    from devvm.system import assets

    names = read_list(assets.host_packages())
    assert {"vagrant", "vagrant-libvirt", "mmdebstrap", "libvirt-dev", "python3-venv"} <= set(names)
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", name) for name in names)
