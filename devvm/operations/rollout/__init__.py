"""Bringing a release to many VMs."""
