"""What is wrong with this host and its VMs, and its fixes."""
