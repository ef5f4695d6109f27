"""What a machine is: one module per subject, standard library only.

Each has `AREAS` and `collect(wanted, run)`, which lists everything of these areas by itself:
`{area: {item: {fact: value}}}`. The same modules capture production and look at a VM, so a check
is a comparison and no more. They run inside the machine as root (`observe.py` sends them,
`inside.py` calls them there) and change nothing.

An area's name is the first word of its checks: `package/nginx`. A fact that is null can't be told
on that machine and is not compared. Under the key `errors` go items that could not be seen:
`{"setting/redis/": "redis does not answer"}`. Under `evidence` goes what is no fact, and says whose
a difference is (devvm/parity/packages/attribution.py): the files that a setting comes from.

A company's own collectors are installed as entry points of the group `devvm.collectors`.

Imports are few (no pathlib): on an emulated processor each costs a tenth of a second.
"""
