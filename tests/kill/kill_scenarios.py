"""The operations: the state each begins in, how it is run, and the state it must end in."""

from dataclasses import dataclass, replace
from functools import cached_property

from devvm.domain.disk import DATA, ROOT
from tests.kill.kill_host import RELEASE, Baseline, Goldens
from tests.kill.kill_states import Expected

BEFORE_REBUILD = f"before the rebuild to {RELEASE}"
BACK_TO_ONE = "before going back to one"
BACK_TO_REBUILD = f"before going back to {BEFORE_REBUILD}"
RUNS, USAGE = "running", 2


@dataclass(frozen=True)
class Scenario:
    """One operation.

    Attributes:
        name: Its name, for people.
        argv: The command.
        baseline: The state it begins in.
        before: What to expect there.
        after: What to expect at the end.
        again: Expected exit code and state if the command is run again after it has ended.
        others: Allowed exit codes and states if `start` is run next instead.
        every: Whether each of its boundaries is always tried.
        options: Further options of the worker, for the first run only.
    """

    name: str
    argv: tuple
    baseline: Baseline
    before: Expected
    after: Expected
    again: tuple
    others: tuple
    every: bool = True
    options: tuple = ()


class Scenarios:
    """Makes the states that operations begin in, each once, with real commands."""

    def __init__(self, host, number):
        self.host = host
        self.goldens = Goldens(host.scratch)
        # Names are unique across corners, because some of devvm's lists don't distinguish VMs by
        # domain.
        self.name, self.clone_name = f"kay{number}", f"kim{number}"

    def named(self, name):
        return getattr(self, name.replace("-", "_"))()

    # where operations begin

    @cached_property
    def nothing(self):
        self.host.clear()
        return self.host.save("nothing")

    @cached_property
    def vm(self):
        """The VM runs, has a snapshot `one`, and has written something since."""
        self.host.restore(self.nothing)
        self._command("create", self.name)
        self.host.stop(self.name)
        self.host.mark(self.name, 1)
        self._keep("one")
        self._command("snapshot-create", self.name, "one")
        self.host.mark(self.name, 2)
        self._keep("now")
        self._command("start", self.name)
        return self.host.save("vm")

    @cached_property
    def destroyed(self):
        self.host.restore(self.vm)
        self._command("destroy", self.name)
        return self.host.save("destroyed")

    @cached_property
    def rebuilt(self):
        """The VM was rebuilt, and has written something since."""
        self.host.restore(self.vm)
        self._command("rebuild", self.name)
        self.host.stop(self.name)
        self.host.mark(self.name, 3)
        self._keep("later")
        self._command("start", self.name)
        return self.host.save("rebuilt")

    def _command(self, *argv):
        done = self.host.run(*argv)
        assert done.code == 0, done.output

    def _keep(self, name):
        vm = self.host.libvirt.domains.vm(self.name)
        self.goldens.keep(f"{name} root", vm.root)
        self.goldens.keep(f"{name} data", vm.data)

    # expected states

    @property
    def is_nothing(self):
        return Expected({})

    @property
    def is_vm(self):
        contents = _holds(self.name, "now") | _holds("one", "one")
        return Expected({self.name: (RUNS, 1)}, (("snapshot", "one"),), contents)

    @property
    def is_destroyed(self):
        contents = _holds("destroyed", "now") | _holds("one", "one")
        return Expected({}, (("snapshot", "one"), ("trash", "destroyed")), contents)

    @property
    def is_rebuilt(self):
        return self._rebuilt_from(self.is_vm)

    # operations

    def create(self):
        """The first create on a host: the box's image is put into the pool too."""
        made = Expected({self.name: (RUNS, 1)})
        return Scenario(
            "create", ("create", self.name), self.nothing, self.is_nothing, made,
            again=(USAGE, made), others=((USAGE, self.is_nothing), (0, made)),
        )  # fmt: skip

    def rebuild(self):
        once = self.is_rebuilt
        twice = self._rebuilt_from(once)
        return Scenario(
            "rebuild", ("rebuild", self.name), self.vm, self.is_vm, once,
            again=(0, twice), others=((0, self.is_vm), (0, once)),
        )  # fmt: skip

    def rebuild_off(self):
        """A rebuild of a VM that is off; it runs only once it is rebuilt."""
        scenario = self.rebuild()
        self.host.restore(self.vm)
        self.host.stop(self.name)
        baseline = self.host.save("off")
        others = ((0, self.is_vm), (0, scenario.after))
        off = replace(self.is_vm, vms={self.name: ("shut off", 1)})
        return replace(
            scenario, name="rebuild-off", baseline=baseline, before=off, others=others, every=False
        )

    def rebuild_refused(self):
        """A rebuild that fails its checks: the old VM is restored, and killed during that."""
        return replace(self.rebuild(), name="rebuild-refused", options=("fail_checks",))

    def destroy(self):
        return Scenario(
            "destroy", ("destroy", self.name), self.vm, self.is_vm, self.is_destroyed,
            again=(USAGE, self.is_destroyed),
            others=((0, self.is_vm), (USAGE, self.is_destroyed)),
        )  # fmt: skip

    def recover(self):
        return Scenario(
            "recover", ("recover", self.name), self.destroyed, self.is_destroyed, self.is_vm,
            again=(USAGE, self.is_vm), others=((USAGE, self.is_destroyed), (0, self.is_vm)),
        )  # fmt: skip

    def snapshot_restore(self):
        contents = _holds(self.name, "one") | _holds("one", "one") | _holds(BACK_TO_ONE, "now")
        kept = (("snapshot", "one"), ("trash", BACK_TO_ONE))
        once = Expected({self.name: (RUNS, 1)}, kept, contents)
        del contents[BACK_TO_ONE, ROOT], contents[BACK_TO_ONE, DATA]  # there are two of that label
        twice = Expected({self.name: (RUNS, 1)}, (*kept, kept[1]), dict(contents))
        once = replace(once, contents=contents | _holds(BACK_TO_ONE, "now"))
        return Scenario(
            "snapshot-restore", ("snapshot-restore", self.name, "one"), self.vm, self.is_vm, once,
            again=(0, twice), others=((0, self.is_vm), (0, once)),
        )  # fmt: skip

    def snapshot_create(self):
        once = self.is_vm.also_kept("snapshot", "two", like=self.name)
        return Scenario(
            "snapshot-create", ("snapshot-create", self.name, "two"), self.vm, self.is_vm, once,
            again=(USAGE, once), others=((0, self.is_vm), (0, once)), every=False,
        )  # fmt: skip

    def snapshot_delete(self):
        """With a running VM: the layers that only the snapshot needed are merged."""
        once = Expected({self.name: (RUNS, 1)}, (), _holds(self.name, "now"))
        return Scenario(
            "snapshot-delete", ("snapshot-delete", self.name, "one"), self.vm, self.is_vm, once,
            again=(USAGE, once), others=((0, self.is_vm), (0, once)),
        )  # fmt: skip

    def destroy_purge(self):
        """With its snapshots, permanently."""
        return Scenario(
            "destroy-purge", ("destroy-purge", self.name), self.vm, self.is_vm, self.is_nothing,
            again=(USAGE, self.is_nothing),
            others=((0, self.is_vm), (USAGE, self.is_nothing)),
        )  # fmt: skip

    def trash_empty(self):
        """What a rebuild replaced is deleted, with the layers that only it needed."""
        before = self.is_rebuilt
        before = replace(before, contents=before.contents | _holds(self.name, "later"))
        contents = _holds(self.name, "later") | _holds("one", "one")
        once = Expected({self.name: (RUNS, 2)}, (("snapshot", "one"),), contents)
        return Scenario(
            "trash-empty", ("trash-empty", self.name), self.rebuilt, before, once,
            again=(USAGE, once), others=((0, before), (0, once)), every=False,
        )  # fmt: skip

    def clone(self):
        contents = self.is_vm.contents | _holds(self.clone_name, "now")
        once = replace(
            self.is_vm, vms={self.name: (RUNS, 1), self.clone_name: (RUNS, 1)}, contents=contents
        )
        return Scenario(
            "clone", ("clone", self.name, self.clone_name), self.vm, self.is_vm, once,
            again=(USAGE, once), others=((0, self.is_vm), (0, once)), every=False,
        )  # fmt: skip

    def resize(self):
        once = replace(self.is_vm, data_gib=2)
        return Scenario(
            "resize", ("resize", self.name, "2"), self.vm, self.is_vm, once,
            again=(0, once), others=((0, self.is_vm), (0, once)), every=False,
        )  # fmt: skip

    def recover_item(self):
        """An earlier state replaces the existing VM."""
        self.host.restore(self.rebuilt)
        item = next(k.id for k in self.host.kept() if k.label == BEFORE_REBUILD)
        before = self.is_rebuilt
        before = replace(before, contents=before.contents | _holds(self.name, "later"))
        contents = (
            _holds(self.name, "now") | _holds("one", "one") | _holds(BACK_TO_REBUILD, "later")
        )
        kept = (("snapshot", "one"), ("trash", BACK_TO_REBUILD))
        once = Expected({self.name: (RUNS, 2)}, kept, contents)
        return Scenario(
            "recover-item", ("recover", self.name, item), self.rebuilt, before, once,
            again=(USAGE, once), others=((0, before), (0, once)), every=False,
        )  # fmt: skip

    def _rebuilt_from(self, state):
        """The state after one more rebuild: the data is unchanged, the root is new."""
        generation = state.vms[self.name][1]
        contents = {key: golden for key, golden in state.contents.items() if key[0] == "one"}
        contents[self.name, DATA] = "now data"
        if generation == 1:  # two saved states with the same label can't be told apart here
            contents |= _holds(BEFORE_REBUILD, "now")
        kept = (*state.kept, ("trash", BEFORE_REBUILD))
        return Expected({self.name: (RUNS, generation + 1)}, kept, contents)


def _holds(holder, golden):
    return {(holder, role): f"{golden} {'root' if role == ROOT else 'data'}"
            for role in (ROOT, DATA)}  # fmt: skip
