"""Two VMs, and a release that goes out to them: where rollouts begin, and how they end."""

from functools import cached_property

from devvm.adapters.release_store import FolderReleaseStore
from devvm.fleet.record import VmState
from devvm.fleet.stack import Release
from devvm.model import DATA, ROOT
from devvm.operations.rollout_log import RolloutLog
from devvm.release import content_hash
from tests.kill.kill_host import Goldens
from tests.kill.kill_states import Expected, problems

RUNS = "running"


class Fleet:
    """Makes the states that rollouts begin with, each once, by real commands."""

    def __init__(self, host, scenarios):
        self.host, self._scenarios = host, scenarios
        self.names = (scenarios.name, scenarios.clone_name)

    @cached_property
    def releases(self):
        """The old and the new one, which differ by one line of a role."""
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
            vm = self.host.hypervisor.vm(name)
            self.goldens.keep(_golden(name, ROOT), vm.root)
            self.goldens.keep(_golden(name, DATA), vm.data)
            self._command("start", name)
        return self.host.save("fleet")

    @cached_property
    def on_new(self):
        """The release went out to both."""
        self.host.restore(self.on_old)
        self._command("rollout", self.new, *self.names)
        return self.host.save("fleet-new")

    def restore(self, baseline):
        self.host.restore(baseline)
        for path in self.host.guests.iterdir():
            path.unlink()

    def lost_work(self):
        """The VMs that went back without the work that was done in them since."""
        back = {path.name: path.read_text() for path in self.host.guests.iterdir()}
        aliases = [f"{name}-vagrant" for name in self.names]
        return [f"work is lost: {back}" for a in aliases if back.get(a) != f"work done in {a}"]

    def record(self):
        """The one rollout's record; None where there is none."""
        folder = self.host.state.rollouts / "r1"
        return RolloutLog(folder).record() if (folder / "plan.json").is_file() else None

    def wrong(self, state, on_new, baseline, *, rebuilt=False):
        """What is not as it has to be once a rollout has ended.

        Args:
            state: How the rollout has to be.
            on_new: The VMs that have to be on the new release; the others are as they were.
            baseline: Where it began.
            rebuilt: Whether those on the new release have a new root.
        """
        record = self.record()
        if record is None or record.state != state:
            return [f"the rollout is {record and (record.state, record.why)}, expected {state}"]
        vms, contents = {}, {}
        for name in self.names:
            new_root = rebuilt and name in on_new
            for role in (DATA,) if new_root else (DATA, ROOT):
                contents[name, role] = _golden(name, role)
            vms[name] = (RUNS, 2 if new_root else 1)
        kept = [k for k in self.host.kept() if k.vm.name in self.names]
        labels = tuple((str(k.purpose), k.label) for k in kept)
        found = problems(self.host, Expected(vms, labels, contents), self.goldens, baseline)
        found += [
            f"the {disk.role} of {k.label!r} of {k.vm.name} is not what it was: {difference}"
            for k in kept
            for disk in k.disks
            if (difference := self.goldens.differs(_golden(k.vm.name, disk.role), disk.path))
        ]
        found += self._wrong_releases(on_new, kept)
        done = [e.vm for e in self._events() if e.what == VmState.DONE and e.vm]
        return found + [f"{name} was done twice" for name in {n for n in done if done.count(n) > 1}]

    def _wrong_releases(self, on_new, kept):
        found, record = [], self.record()
        for vm in self.host.vms():
            facts, release = vm.metadata, self.new if vm.name in on_new else self.old
            if facts.release != release:
                found.append(f"{vm.name} is on {facts.release}, expected {release}")
            if facts.update_to or facts.update_by or facts.restore_point:
                found.append(f"{vm.name} is on its way to {facts.update_to or facts.restore_point}")
            # one more is there where a try was killed just when it had kept its state
            tokens = [k.id for k in kept if k.vm.name == vm.name]
            token = record.vms[vm.name].token
            if vm.name in on_new and (token not in tokens or len(tokens) > 2):
                found.append(f"{vm.name} can go back to {tokens}, on record is {token}")
            found += [f"{p} is left" for p in self.host.state.vm(vm.name).glob("work-*")]
        return found

    def _events(self):
        return RolloutLog(self.host.state.rollouts / "r1").events()

    def _command(self, *argv, **options):
        done = self.host.run(*argv, **options)
        assert done.code == 0, done.output

    def _release(self, day, line):
        """A release on record, with a box."""
        folder = self.host.scratch / f"stack-{line}"
        roles, playbooks = folder / "roles", folder / "playbooks"
        for path, text in (
            (roles / "nginx/templates/nginx.conf.j2", f"http2 {line};\n"),
            (playbooks / "site.yml", "---\n"),
            (folder / "production/manifest.yml", "---\n"),
        ):
            path.parent.mkdir(parents=True)
            path.write_text(text)
        name = f"2026.02.0{day}-{content_hash((roles, playbooks))}"
        self.host.make_box(name)
        store = FolderReleaseStore(
            self.host.state, roles=roles, playbooks=playbooks, production=folder / "production"
        )
        created_at = f"2026-02-0{day}T10:00:00+00:00"
        store.write(Release(release=name, created_at=created_at, created_by="ann", packages={}))
        return name


def _golden(name, role):
    return f"{name} {'root' if role == ROOT else 'data'}"
