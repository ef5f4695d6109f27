"""What a person does with rollouts, as a worker does it."""

from datetime import UTC, datetime

from devvm.fleet.plan import Terms
from devvm.operations import rollout_plan, rollouts
from devvm.operations.messages import Messengers
from devvm.operations.rollout import Rollout

OPERATIONS = ("rollout", "rollout-rebuild", "rollout-resume", "rollout-abort", "rollout-rollback")


def operate(given, operation, arguments):
    """`rollout RELEASE VM ...`: the first VM is the canary; the others need no argument."""

    def make(log):
        return Rollout(services=given, log=log, by="ann", messenger=Messengers([]))

    if operation in ("rollout", "rollout-rebuild"):
        release, *names = arguments
        terms = Terms(
            release=release, waves=("100%",), parallel=1, only=tuple(names),
            rebuild=operation == "rollout-rebuild",
        )  # fmt: skip
        today = datetime.now(UTC).date()
        plan, _ = rollout_plan.make(given, terms, by="ann", today=today)
        with rollouts.started(given, plan, command=operation) as log:
            make(log).carry_out()
    elif operation == "rollout-resume":
        with rollouts.taken_up(given, None, command=operation) as log:
            make(log).carry_out()
    elif operation == "rollout-abort":
        rollouts.abort(given, None, make, command=operation)
    else:
        rollouts.roll_back(given, None, make, command=operation)
