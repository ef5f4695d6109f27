"""What a rollout is: its plan, its state, when it waits, what is told of it."""
