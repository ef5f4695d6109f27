"""Releases of the second stack: changed copies of it, and their boxes."""

import shutil
from dataclasses import replace
from pathlib import Path

from devvm.adapters.image.box_store import FolderBoxStore
from devvm.adapters.release_store import FolderReleaseStore
from devvm.domain.box import Box
from devvm.domain.release.identity import new_release, release_hash
from devvm.stack.folder import StackFolder
from devvm.system import assets
from devvm.system.state import State

_POOL = "roles/shop/files/pool.conf"
_MIGRATE = "roles/shop/files/shop/migrate.php"
_COLUMN = """\
$asked = "SELECT 1 FROM information_schema.columns WHERE column_name = 'note'";
if (database()->query($asked)->fetchColumn() === false) {
    database()->exec('ALTER TABLE orders ADD COLUMN note text');
    echo "migrated\\n";
}
"""
_BROKEN = "database()->exec('nonsense');\n"


def children(folder: Path, old: int, new: int) -> None:
    """Change a setting of PHP-FPM."""
    path = folder / _POOL
    before, after = f"pm.max_children = {old}\n", f"pm.max_children = {new}\n"
    text = path.read_text()
    assert before in text, (path, before)
    path.write_text(text.replace(before, after))


def migration(folder: Path, *, broken: bool = False) -> None:
    """Add a column to the shop's database. If broken, the migration fails half way."""
    with (folder / _MIGRATE).open("a") as file:
        file.write(_COLUMN + (_BROKEN if broken else ""))


def give_box(state: Path, folder: Path, first_release: str) -> Box:
    """Register an existing box's image as the box of another stack.

    For a stack whose own box can't be built because it fails its checks. Nothing may look at the
    image's contents.
    """
    there = State(state)
    stack = StackFolder(folder, overlay=assets.overlay())
    content = stack.content()
    boxes = FolderBoxStore(there)
    releases = FolderReleaseStore(there, stack=stack, production=stack.production)
    first = boxes.find(first_release)
    facts = {
        **boxes.details(first),
        "content": content,
        "release": new_release(release_hash(content, boxes.package_set(first))),
        "production_sha256": releases.configured_production_sha256(),
    }
    copy = folder.parent / "devvm.box"
    shutil.copy2(first.path, copy)
    return boxes.register(replace(first, release=facts["release"], path=copy), facts)
