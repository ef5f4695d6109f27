"""What production is, and how a machine differs from it: pure, no I/O beyond reading files.

The parity suite (`tests/parity`), which looks at machines, and devvm's own commands share it.
"""
