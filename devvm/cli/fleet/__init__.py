"""Commands on all VMs of the host."""
