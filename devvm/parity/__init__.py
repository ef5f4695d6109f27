"""What production is, how a machine is looked at, and how the two differ.

The testinfra suite (`tests/parity`) is a thin layer over it, and devvm's commands share it.
"""
