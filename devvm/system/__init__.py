"""Processes, files, locks and templates: everything that isn't specific to VMs."""
