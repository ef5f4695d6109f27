"""The cost of saving a state as a layer (decision 0010) and as a copy, as a table for the docs.

    python3 bench/keep_a_state.py [GIB ...]

Creates its own storage pool with a volume of that many GiB of random data, and removes it at the
end. Needs libvirt, and root to fill the volume.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import libvirt

POOL = "devvm-bench"
TRIES = 5


def volume_xml(name: str, size: int, below: str | None = None) -> str:
    """A qcow2 volume, empty or as a layer on another."""
    backing = f"<backingStore><path>{below}</path><format type='qcow2'/></backingStore>"
    return (
        f"<volume><name>{name}</name><capacity>{size}</capacity>"
        f"<target><format type='qcow2'/></target>{backing if below else ''}</volume>"
    )


def timed(make: Callable[[str], libvirt.virStorageVol]) -> float:
    """Median seconds to make a volume; each one is deleted afterwards."""
    seconds = []
    for number in range(TRIES):
        begun = time.monotonic()
        made = make(f"made-{number}.qcow2")
        seconds.append(time.monotonic() - begun)
        made.delete()
    return sorted(seconds)[TRIES // 2]


def measure(pool: libvirt.virStoragePool, folder: Path, gib: int) -> tuple[float, float]:
    """Seconds for a layer and for a copy of a volume with this much data."""
    size = gib * 1024**3
    source = pool.createXML(volume_xml("source.qcow2", size))
    raw = folder / "raw"
    with raw.open("wb") as file:
        for _ in range(gib * 16):
            file.write(os.urandom(64 * 1024**2))
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, source.path()], check=True)
    raw.unlink()
    pool.refresh()
    source = pool.storageVolLookupByName("source.qcow2")
    layer = timed(lambda name: pool.createXML(volume_xml(name, size, source.path())))
    copy = timed(lambda name: pool.createXMLFrom(volume_xml(name, size), source))
    source.delete()
    return layer, copy


def main() -> None:
    """Measure, print, clean up."""
    sizes = [int(argument) for argument in sys.argv[1:]] or [1, 2, 4]
    connection = libvirt.open("qemu:///system")
    with tempfile.TemporaryDirectory(dir="/var/lib/libvirt/images") as folder:
        target = f"<target><path>{folder}/pool</path></target>"
        pool = connection.storagePoolDefineXML(
            f"<pool type='dir'><name>{POOL}</name>{target}</pool>"
        )
        try:
            pool.build()
            pool.create()
            print("| data | a layer | a copy | copy / layer |\n|---|---|---|---|")
            for gib in sizes:
                layer, copy = measure(pool, Path(folder), gib)
                print(f"| {gib} GiB | {layer:.2f} s | {copy:.1f} s | {copy / layer:.0f} |")
        finally:
            if pool.isActive():
                for volume in pool.listAllVolumes():
                    volume.delete()
                pool.destroy()
                pool.delete()
            pool.undefine()


if __name__ == "__main__":
    main()
