"""The state of a rollout, computed from events."""

from devvm.domain.rollout.plan import Plan, Terms, Wave
from devvm.domain.rollout.state import Record, Tally, VmProgress, VmState


def test_every_vm_of_a_rollout_is_counted_once():
    wave = Wave(name="canary", vms=tuple(map(str, VmState)))
    vms = {str(state): VmProgress(name=str(state), wave="canary", state=state) for state in VmState}
    other = Wave(name="wave 1", vms=("dev1",))
    vms["dev1"] = VmProgress(name="dev1", wave="wave 1", state=VmState.DONE)
    plan = Plan(by="ann", terms=Terms(release="r"), waves=(wave, other))
    record = Record(plan=plan, vms=vms)
    of_wave = record.tally(wave)
    # failed and stuck; asked, due and later; waiting, updating, left, going back and back
    assert of_wave == Tally(done=1, failed=2, waiting=3, left=5)
    assert sum(of_wave) == len(VmState)
    assert record.tally(other) == Tally(done=1, failed=0, waiting=0, left=0)
    assert record.tally() == Tally(done=2, failed=2, waiting=3, left=5)
