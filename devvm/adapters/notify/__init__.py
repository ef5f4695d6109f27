"""Where people are told of a rollout."""
