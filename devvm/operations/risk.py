"""What a rebuild would put out of a person's sight: work that is not on the data disk.

Looked for in the VM itself, with nothing but a shell: Python may be what is broken.
"""

from __future__ import annotations

from dataclasses import dataclass

from devvm import assets
from devvm.errors import DevvmError
from devvm.model import VmState
from devvm.operations import way_in
from devvm.operations.ports import Services

#: How many files of one kind are told; a person does not read more.
FILES_TOLD = 200


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """A git checkout with work in it that is nowhere else."""

    path: str
    changes: int  # files that are not committed
    commits: int  # that no remote has
    stashes: int
    on_data_disk: bool


@dataclass(frozen=True, kw_only=True)
class Risk:
    """What was found; `unknown` says why nothing could be looked at."""

    checkouts: tuple[Checkout, ...] = ()
    files: tuple[str, ...] = ()
    unknown: str | None = None

    @property
    def lost(self) -> tuple[Checkout, ...]:
        """Checkouts that go with the old root."""
        return tuple(c for c in self.checkouts if not c.on_data_disk)

    @property
    def any(self) -> bool:
        """Whether a person should be asked first."""
        return bool(self.lost or self.files or self.unknown)


def look(services: Services, name: str) -> Risk:
    """Look for work that a rebuild would take out of sight. Changes nothing, never fails."""
    begun = services.state.journal(name)
    if begun is not None:
        return Risk(unknown=f"an earlier {begun['operation']} has not ended, and is ended first")
    vm = services.hypervisor.vm(name)
    if vm is None or vm.state is not VmState.RUNNING:
        return Risk(unknown=f"it does not run (it is {vm.state if vm else 'missing'})")
    try:
        target = way_in.target(services, name, login="vagrant")
        script = assets.look_for_work().read_text(encoding="utf-8")
        code, out, err = services.shell.run(
            target, ["sudo", "sh", "-s", str(FILES_TOLD)], check=False, timeout=180, stdin=script
        )
    except DevvmError as error:
        return Risk(unknown=str(error))
    if code:
        return Risk(unknown=(err.strip().splitlines() or ["it does not let devvm in"])[-1])
    return parse(out)


def parse(text: str) -> Risk:
    """What the script in the guest printed."""
    checkouts, files, unknown = [], [], None
    for line in text.splitlines():
        kind, *fields = line.split("\t")
        if kind == "repo" and len(fields) == 5:
            path, changes, commits, stashes, kept = fields
            counts = int(changes), int(commits), int(stashes)
            if any(counts):
                checkouts.append(
                    Checkout(
                        path=path, changes=counts[0], commits=counts[1], stashes=counts[2],
                        on_data_disk=kept == "yes",
                    )
                )  # fmt: skip
        elif kind == "file" and fields:
            files.append(fields[0])
        elif kind == "nostamp":
            unknown = "it has no stamp, so it is not known which files were changed since"
    return Risk(checkouts=tuple(checkouts), files=tuple(files), unknown=unknown)
