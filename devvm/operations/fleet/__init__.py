"""All VMs of the host: their releases and parity."""
