"""A rollout: its plan, its state, its quiet hours and its messages."""
