"""Check whether VMs match production."""
