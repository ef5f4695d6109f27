"""Rollouts: update many VMs to one release."""
