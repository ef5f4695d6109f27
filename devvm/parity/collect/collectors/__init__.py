"""What a machine is: one module per subject.

Each has `AREAS` and `collect(wanted, run)`, which lists everything in these areas:
`{area: {item: {fact: value}}}`. The contract is `Collector` in `interface.py`. The same modules
capture production and look at a VM, so a check is a comparison and no more. They run on the machine
as root (`observe.py` sends them, `inside.py` calls them there) and change nothing.

An area's name is the first part of its checks' names: `package/nginx`. A fact that is null can't be
determined on that machine and is not compared. The key `errors` has the items that could not be
seen: `{"setting/redis/": "redis does not answer"}`. The key `evidence` has what is not a fact but
tells what caused a difference (devvm/parity/packages/attribution.py), such as the files that a
setting comes from.

A company's own collectors satisfy `Collector` too, and are in its stack, in `checks/collectors`.

Standard library only, and few imports (no pathlib, no typing): on an emulated processor each costs
a tenth of a second.
"""
