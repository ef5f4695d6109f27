"""What must work on a machine: one module per kind, standard library only.

Each has `probe(wanted, run)`, which tries what the expectations name and returns plain data; the
contract is `Probe` in `interface.py`. They run on the machine as the collectors do, but are not
captured: they tell whether it works, not what it is. They leave nothing behind.
"""
