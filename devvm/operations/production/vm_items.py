"""What devvm itself puts on a VM, in a layer that is captured from one.

Some of it is different on each VM, and some is there only where an engineer is. A layer for all VMs
must have neither: a box is checked in a VM without an engineer.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from devvm.parity.production.manifest import PRESENT, Facts, Manifest
from devvm.stack.description import Description

_TEXT = ("content", "sha256")
#: Facts that differ from VM to VM, by area and item; `*` stands for a part of a name.
_VARIES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "certificate": {"devvm CA *": (PRESENT,)},
    "file": {
        "/etc/devvm/stamp.json": _TEXT,
        "/etc/ssl/certs/ssl-cert-snakeoil.pem": _TEXT,
        "/usr/local/share/ca-certificates/devvm*": _TEXT,
    },
    "user": {"vagrant": ("ssh-keys",)},
}
_ENGINEER = "{engineer}"
_ENGINEERS_FILES = frozenset({"/etc/devvm/stamp.json", "/etc/sudoers.d/engineer"})


def with_varying(layer: Manifest, description: Description) -> Manifest:
    """The layer, in which what differs from VM to VM varies.

    Args:
        layer: The layer.
        description: That of the VM's stack; it says where its certificate is.
    """
    expected = {**_VARIES, "file": {**_VARIES["file"], description.tls.certificate: _TEXT}}
    areas = {area: dict(items) for area, items in layer.areas.items()}
    varies = {area: dict(items) for area, items in layer.varies.items()}
    for area, patterns in expected.items():
        for pattern, names in patterns.items():
            found = [item for item in areas.get(area, {}) if fnmatchcase(item, pattern)]
            for item in found:
                facts = areas[area][item]
                if PRESENT in names:
                    del areas[area][item]
                elif facts is not None:
                    areas[area][item] = {k: v for k, v in facts.items() if k not in names}
            if found:
                known = varies.setdefault(area, {}).get(pattern, [])
                varies[area][pattern] = [*known, *(name for name in names if name not in known)]
    return layer.model_copy(update={"areas": areas, "varies": varies})


def engineers(layer: Manifest, description: Description) -> list[tuple[str, str]]:
    """Area and name of the items that are there only where an engineer is."""
    served = {one.checkout.serve for one in description.applications if one.checkout}
    return [
        (area, item)
        for area, items in layer.areas.items()
        for item, facts in items.items()
        if _names_engineer(item, facts) or (area == "file" and item in {*_ENGINEERS_FILES, *served})
    ]


def without(layer: Manifest, left_out: list[tuple[str, str]]) -> Manifest:
    """The layer without some items."""
    areas = {
        area: {item: facts for item, facts in items.items() if (area, item) not in left_out}
        for area, items in layer.areas.items()
    }
    return layer.model_copy(update={"areas": {area: kept for area, kept in areas.items() if kept}})


def _names_engineer(item: str, facts: Facts | None) -> bool:
    return any(_ENGINEER in text for text in (item, *map(str, (facts or {}).values())))
