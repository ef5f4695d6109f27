"""devvm: a VM for every engineer, with the full stack configured as production is."""

__version__ = "0.1.0"
