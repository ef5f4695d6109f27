"""The rollout commands, as a worker runs them."""

from datetime import UTC, datetime

from devvm.domain.rollout.plan import Terms
from devvm.operations.rollout import control
from devvm.operations.rollout import plan as rollout_plan
from devvm.operations.rollout.engine import Rollout
from devvm.operations.rollout.notify import Messenger

OPERATIONS = ("rollout", "rollout-rebuild", "rollout-resume", "rollout-abort", "rollout-rollback")


def operate(given, operation, arguments):
    """Run a rollout command.

    For `rollout RELEASE VM ...`, the first VM is the canary; the others need no arguments.
    """

    def make(log):
        return Rollout(services=given, log=log, by="ann", messenger=Messenger([]))

    if operation in ("rollout", "rollout-rebuild"):
        release, *names = arguments
        terms = Terms(
            release=release, waves=("100%",), parallel=1, only=tuple(names),
            rebuild=operation == "rollout-rebuild",
        )  # fmt: skip
        today = datetime.now(UTC).date()
        plan, _ = rollout_plan.make(given, terms, by="ann", today=today)
        with control.started(given, plan, command=operation) as log:
            make(log).carry_out()
    elif operation == "rollout-resume":
        with control.locked_rollout(given, None, command=operation) as log:
            make(log).carry_out()
    elif operation == "rollout-abort":
        control.abort(given, None, make, command=operation)
    else:
        control.roll_back(given, None, make, command=operation)
