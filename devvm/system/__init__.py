"""Processes, files, locks, templates: what has nothing to do with VMs."""
