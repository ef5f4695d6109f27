"""What production is, what a machine is, and how the two differ.

The testinfra suite (`tests/parity`) and devvm's commands are thin layers over it.
"""
