"""Find what is wrong with this host and its VMs, and fix it."""
