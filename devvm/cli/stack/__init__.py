"""`devvm stack ...`."""
