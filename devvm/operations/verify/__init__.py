"""Whether VMs match production."""
