"""From disks and a definition to a machine that is its engineer's."""
