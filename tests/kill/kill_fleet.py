"""Two VMs and a release for them: the states in which rollouts begin and end."""

from dataclasses import dataclass, field
from functools import cached_property

from devvm.adapters.release_store import FolderReleaseStore
from devvm.domain.disk import DATA, ROOT
from devvm.domain.release.stack import Release
from devvm.domain.rollout.state import VmState
from devvm.domain.saved_state import Purpose
from devvm.operations.rollout.store import RolloutLog
from devvm.stack.folder import StackFolder
from tests.kill import kill_guests
from tests.kill.kill_host import Goldens
from tests.kill.kill_stand_ins import WRITES
from tests.kill.kill_states import Expected, problems

RUNS = "running"
#: Where a database writes; also on the data disk, but not part of a home backup.
_DATABASE = 830


@dataclass(frozen=True, eq=False)
class Fate:
    """The result of a rollout for a VM.

    Attributes:
        on_new: Whether it is on the new release.
        data: The golden copy that its data disk equals; also its root's, unless that is new.
        new_root: Whether its root is new.
        kept: Its saved states, by label: how many there may be, and the golden copies that the
            disks of each may equal.
    """

    on_new: bool
    data: str = "old"
    new_root: bool = False
    kept: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Keeps:
    """How many saved states of one label there may be, and their contents."""

    counts: tuple
    holds: tuple


class Fleet:
    """Makes the states that rollouts begin in, each once, with real commands.

    Golden copies of each VM's disks: `old`, before the rollout; `updated`, with what the update
    writes; `later`, with what was written since then; `back`, like `old` but with the person's
    later work.
    """

    def __init__(self, host, scenarios):
        self.host, self._scenarios = host, scenarios
        self.names = (scenarios.name, scenarios.clone_name)

    # results for a VM

    @property
    def untouched(self):
        return Fate(on_new=False)

    @property
    def hardly_begun(self):
        """Its disks are unchanged; their state may have been saved, to go back to."""
        return Fate(on_new=False, kept={self._before("update"): Keeps((0, 1), ("old",))})

    @property
    def updated(self):
        # two, if an attempt was killed just after it saved its state
        return Fate(
            on_new=True, data="updated", kept={self._before("update"): Keeps((1, 2), ("old",))}
        )

    @property
    def rebuilt(self):
        kept = {self._before("rebuild"): Keeps((1, 2), ("old",))}
        return Fate(on_new=True, new_root=True, kept=kept)

    @property
    def went_back(self):
        """It was updated, failed its checks, and went back to its old disks."""
        return self._went_back("old", ("updated",))

    @property
    def half_way_back(self):
        """It went back to its old disks in the middle of the update."""
        return self._went_back("old", ("old", "updated"))

    @property
    def rolled_back(self):
        return self._went_back("back", ("later",))

    def _went_back(self, data, holds):
        before = self._before("update")
        kept = {
            # two, if an attempt was killed just after going back, and the next one updated it again
            f"before going back to {before}": Keeps((1, 2), holds),
            before: Keeps((0, 1), ("old",)),
        }
        return Fate(on_new=False, data=data, kept=kept)

    def _before(self, what):
        return f"before the {what} to {self.new}"

    # where rollouts begin

    @cached_property
    def releases(self):
        """The old and the new one, which differ in one line of a role."""
        return tuple(self._release(day, line) for day, line in ((1, "off"), (2, "on")))

    @property
    def old(self):
        return self.releases[0]

    @property
    def new(self):
        return self.releases[1]

    @cached_property
    def goldens(self):
        folder = self.host.scratch / "fleet-goldens"
        folder.mkdir()
        return Goldens(folder)

    @cached_property
    def on_old(self):
        """Both VMs run, and have written something."""
        self.host.restore(self._scenarios.nothing)
        for number, name in enumerate(self.names, 5):
            self._command("create", name, release=self.old)
            self.host.stop(name)
            self.host.mark(name, number)
            self._keep(name, "old")
            self._command("start", name)
        found = self.host.save("fleet")
        self._derive("updated", "old", WRITES["update.yml"])
        return found

    @cached_property
    def on_new(self):
        """Both are on the new release; people and databases have written something since."""
        self.host.restore(self.on_old)
        self._command("rollout", self.new, *self.names)
        since = {}
        for number, name in enumerate(self.names, 50):
            work = (DATA, kill_guests.WORK, number)
            since[name] = (work, (DATA, _DATABASE, number), (ROOT, _DATABASE, number))
            for role, place, pattern in since[name]:
                kill_guests.write(self.host.domain(name), role, place, pattern)
            self._derive("later", "updated", since[name], name)
            self._derive("back", "old", [work], name)
        return self.host.save("fleet-new")

    def _keep(self, name, golden):
        vm = self.host.libvirt.domains.vm(name)
        for role, path in ((ROOT, vm.root), (DATA, vm.data)):
            self.goldens.keep(_golden(name, golden, role), path)

    def _derive(self, golden, source, writes, *names):
        """Golden copies made from others by writing something."""
        for name in names or self.names:
            for role in (ROOT, DATA):
                path = self.goldens.made[_golden(name, source, role)]
                self.goldens.keep(_golden(name, golden, role), path)
            for role, place, pattern in writes:
                path = self.goldens.made[_golden(name, golden, role)]
                kill_guests.write_off(path, place, pattern)

    # results of rollouts

    def record(self):
        """The record of the only rollout; None if there is none."""
        folder = self.host.state.rollouts / "r1"
        return RolloutLog(folder).record() if (folder / "plan.json").is_file() else None

    def wrong(self, state, fates, baseline):
        """What is wrong after a rollout has ended.

        Args:
            state: The expected state of the rollout.
            fates: The possible results for each VM, by name; one must apply.
            baseline: Where it began.
        """
        record = self.record()
        if record is None or record.state != state:
            return [f"the rollout is {record and (record.state, record.why)}, expected {state}"]
        chosen, found = {}, []
        for name in self.names:
            tried = {fate: self._of_vm(name, fate) for fate in fates[name]}
            chosen[name] = min(tried, key=lambda fate: len(tried[fate]))
            found += tried[chosen[name]]
        vms = {name: (RUNS, 2 if chosen[name].new_root else 1) for name in self.names}
        kept = tuple((str(k.purpose), k.label) for k in self._kept())
        found += problems(self.host, Expected(vms, kept), self.goldens, baseline)
        done = [e.vm for e in self._events() if e.what == VmState.DONE and e.vm]
        return found + [f"{name} was done twice" for name in {n for n in done if done.count(n) > 1}]

    def _of_vm(self, name, fate):
        """How a VM differs from an expected result."""
        vm = self.host.libvirt.domains.vm(name)
        if vm is None:
            return [f"{name} is gone"]
        facts, release = vm.metadata, self.new if fate.on_new else self.old
        found = []
        if facts.release != release:
            found.append(f"{name} is on {facts.release}, expected {release}")
        if facts.update_to or facts.update_by or facts.restore_point:
            found.append(f"{name} is on its way to {facts.update_to or facts.restore_point}")
        for role, path in ((DATA, vm.data), (ROOT, vm.root)):
            if not (role == ROOT and fate.new_root):
                found += self._differs(name, (fate.data,), role, path)
        found += self._wrong_kept(name, fate)
        return found + [f"{p} is left" for p in self.host.state.vm(name).glob("work-*")]

    def _wrong_kept(self, name, fate):
        kept = [k for k in self._kept() if k.vm.name == name]
        labels = [k.label for k in kept]
        found = [f"{name} has kept {label!r}" for label in {*labels} - {*fate.kept}]
        for label, keeps in fate.kept.items():
            if labels.count(label) not in keeps.counts:
                found.append(f"of {name} are kept {labels}, expected {label!r} {keeps.counts}")
        for state in kept:
            if state.purpose is not Purpose.TRASH:
                found.append(f"{state.label!r} of {name} is kept as a {state.purpose}")
            if state.label in fate.kept:
                for disk in state.disks:
                    found += self._differs(name, fate.kept[state.label].holds, disk.role, disk.path)
        token = self.record().vms[name].token
        if fate.on_new and token not in [k.id for k in kept]:
            found.append(f"{name} can't go back to {token}, which is on record")
        return found

    def _differs(self, name, goldens, role, path):
        """How a disk differs from each of these golden copies, in words."""
        found = {
            golden: difference
            for golden in goldens
            if (difference := self.goldens.differs(_golden(name, golden, role), path))
        }
        return [f"{path.name} is not {found}"] if len(found) == len(goldens) else []

    def _kept(self):
        return [k for k in self.host.kept() if k.vm.name in self.names]

    def _events(self):
        return RolloutLog(self.host.state.rollouts / "r1").events()

    def _command(self, *argv, **options):
        done = self.host.run(*argv, **options)
        assert done.code == 0, done.output

    def _release(self, day, line):
        """A recorded release, with a box."""
        folder = self.host.scratch / f"stack-{line}"
        roles, playbooks = folder / "roles", folder / "playbooks"
        for path, text in (
            (roles / "nginx/templates/nginx.conf.j2", f"http2 {line};\n"),
            (playbooks / "site.yml", "---\n"),
            (folder / "production/manifest.yml", "---\n"),
        ):
            path.parent.mkdir(parents=True)
            path.write_text(text)
        name = f"2026.02.0{day}-{StackFolder(folder).content()}"
        self.host.make_box(name)
        store = FolderReleaseStore(
            self.host.state, stack=StackFolder(folder), production=folder / "production"
        )
        created_at = f"2026-02-0{day}T10:00:00+00:00"
        store.write(Release(release=name, created_at=created_at, created_by="ann", packages={}))
        return name


def _golden(name, golden, role):
    return f"{name} {golden} {'root' if role == ROOT else 'data'}"
