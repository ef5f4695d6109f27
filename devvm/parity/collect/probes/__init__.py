"""What must work on a machine: one module per kind, standard library only.

Each has `probe(wanted, run)`, which tries what the expectations name and returns plain data. They
run inside the machine as the collectors do, but are no part of what is captured: they say that it
works, not what it is. They leave nothing behind.
"""
