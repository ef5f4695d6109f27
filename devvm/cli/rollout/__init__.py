"""Commands on rollouts."""
