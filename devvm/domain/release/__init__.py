"""Releases of the stack, and how two of them differ."""
