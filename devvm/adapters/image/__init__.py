"""Root file systems, disks and boxes: from packages to a file that can be booted."""
