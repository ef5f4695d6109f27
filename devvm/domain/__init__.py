"""Values and rules; no I/O, no external tools."""
