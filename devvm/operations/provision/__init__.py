"""From disks and a definition to a machine that its engineer can use."""
