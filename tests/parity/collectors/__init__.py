"""What is seen of a machine: one module per kind of fact, standard library only.

Each module has `collect(wanted, run)`, runs inside the observed machine as root, changes nothing
and returns plain data; `main.py` is what calls them there, `parity/observe.py` what sends them.
Imports are few (no pathlib): on an emulated processor each costs a tenth of a second.
"""
