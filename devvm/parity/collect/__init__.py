"""Observes a machine: collectors list what it is, probes try what works on it."""
