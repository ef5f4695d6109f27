"""`verify --fix`: apply the roles responsible for what differs, and check again."""

from __future__ import annotations

from dataclasses import dataclass

from devvm.domain.check import CheckResult, Report
from devvm.domain.errors import OperationError
from devvm.domain.release import applied_roles
from devvm.operations.core import own_stack
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import ssh
from devvm.operations.provision import certificate, personalise, provision
from devvm.operations.transaction import transaction
from devvm.operations.verify.verify import examine, require_running
from devvm.operations.vm import lifecycle
from devvm.ports.services import Services

#: devvm's own roles, which `personalise` and the box bring, and waivers, which nobody can apply.
_NOT_OF_THE_STACK = frozenset(
    {"devtools", "engineer", "guest", "mail_catcher", "vm_pages", "waivers"}
)
#: Checks of the certificate that browsers see: whether it is trusted, and for how long.
_TLS = "tls/"


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """The result of `fix`.

    Attributes:
        before: The result of the first check.
        after: The result of the second check; the same if there was nothing to fix.
        roles: The roles that were applied.
        changed: How many of their tasks changed something.
    """

    before: Report
    after: Report
    roles: tuple[str, ...] = ()
    changed: int = 0

    @property
    def fixed(self) -> tuple[CheckResult, ...]:
        """The checks that failed before and don't any more."""
        left = {check.name for check in self.after.failures()}
        return tuple(check for check in self.before.failures() if check.name not in left)


def fix(services: Services, name: str, run: Run) -> Fixed:
    """Check a VM, apply the roles responsible for what differs, and check it again.

    The engineer's account and checkout are left as `personalise` leaves them: nobody's work is
    touched. It can be interrupted, and run again.

    Raises:
        NotFoundError: there is no such VM.
        LockedError: another command is changing the VM.
        OperationError: it is not running, can't be checked, or a role failed.
    """
    machine = Machine(services, name)
    with transaction.changing(machine, run), provision.recorded(machine, run):
        vm = require_running(lifecycle.present(machine))
        if vm.metadata is None or not vm.metadata.engineer:
            raise OperationError(
                f"devvm does not know who {name} belongs to", resolution=f"devvm rebuild {name}"
            )
        release = vm.metadata.release
        before = examine(machine, release=release, run=run)
        if before.passed:
            return Fixed(before=before, after=before)
        if any(check.name.startswith(_TLS) for check in before.failures()):
            certificate.keep_valid(machine, run, refused=True)
        roles, alone = _roles(services, before)
        changed = _apply(machine, release, roles, run, alone=alone) if roles else 0
        # The stack's roles don't know what personalise changed, and may have undone it.
        personalise.again(machine, vm.metadata.owner, release, run)
        after = examine(machine, release=release, run=run)
        return Fixed(before=before, after=after, roles=roles, changed=changed)


def _roles(services: Services, report: Report) -> tuple[tuple[str, ...], bool]:
    """The roles to apply, in the playbook's order, and whether tags select just these.

    Those responsible for the failed checks. If some checks name none of the stack's roles, or a
    role can't be applied on its own, all roles.
    """
    concerned = {check.role for check in report.failures()} - _NOT_OF_THE_STACK
    applied = applied_roles.of(own_stack.of(services, report.release).playbooks())
    alone = all(applied.get(role, False) for role in concerned)
    return tuple(role for role in applied if role in concerned or not alone), alone


def _apply(machine: Machine, release: str, roles: tuple[str, ...], run: Run, *, alone: bool) -> int:
    services = machine.services
    with run.phase("converge", f"Applying {', '.join(roles) if alone else 'all roles'}"):
        done = own_stack.provisioner(services, release).apply(
            applied_roles.SITE,
            ssh.target(machine, login="vagrant"),
            variables=services.config.box.role_variables,
            detail=run.detail,
            log=run.log(services.state),
            tags=roles if alone else (),
        )
    return done.changed
