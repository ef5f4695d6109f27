"""Root file systems, disks and boxes: everything from packages to a bootable image."""
