"""The channels for notifications about rollouts."""
