"""Looks at a machine: collectors say what it is, probes what works on it."""
