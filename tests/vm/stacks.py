"""Stacks other than this checkout's: changed copies of it, and their boxes."""

import hashlib
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import yaml

from devvm.adapters.image.box_store import FolderBoxStore
from devvm.adapters.release_store import FolderReleaseStore
from devvm.domain.box import Box
from devvm.domain.release.identity import new_release, release_hash
from devvm.stack.folder import StackFolder
from devvm.system.state import State

REPOSITORY = Path(__file__).parent.parent.parent
_NGINX = "roles/nginx/templates/etc/nginx/nginx.conf.j2"
_SITE = "roles/site/files/about"
_MIGRATION = '''"""Let people say their pronouns."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    op.add_column("people", sa.Column("pronouns", sa.String(32), nullable=True))


def downgrade():
    op.drop_column("people", "pronouns")
'''


def checkout(folder: Path) -> Path:
    """A copy of this checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    return folder


def keep_alive(folder: Path, old: str, new: str) -> None:
    """Change a setting of nginx, and production to match."""
    old, new = f"keepalive_timeout {old};", f"keepalive_timeout {new};"
    _edit(folder / _NGINX, old, new)
    manifest = folder / "production" / "manifest.yml"
    text = manifest.read_text()
    areas = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["areas"]
    for item in (areas["file"]["/etc/nginx/nginx.conf"], areas["setting"]["nginx/config"]):
        for content in (item["content"], item["content"].replace(old, new)):
            was = hashlib.sha256(item["content"].encode()).hexdigest()
            text = text.replace(was, hashlib.sha256(content.encode()).hexdigest())
    manifest.write_text(text.replace(old, new))


def migration(folder: Path, *, broken: bool = False) -> None:
    """Add a column to the site's database, and change production to match.

    If broken, the migration fails half way.
    """
    _edit(folder / "production/manifest.yml", "schema: {value: '0001'}", "schema: {value: '0002'}")
    _edit(folder / _SITE / "about" / "people.py", 'REVISION = "0001"', 'REVISION = "0002"')
    text = _MIGRATION.replace("=True))", '=True))\n    op.execute("nonsense")')
    path = folder / _SITE / "migrations" / "versions" / "0002_add_pronouns.py"
    path.write_text(text if broken else _MIGRATION)


def give_box(state: Path, folder: Path, first_release: str) -> Box:
    """Register an existing box's image as the box of a checkout's stack.

    For a stack whose own box can't be built because it fails its checks. Nothing may look at the
    image's contents.
    """
    there = State(state)
    stack = StackFolder(folder, overlay=folder / "devvm/overlay")
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
    copy = folder / "devvm.box"
    shutil.copy2(first.path, copy)
    return boxes.register(replace(first, release=facts["release"], path=copy), facts)


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, (path, old)
    path.write_text(text.replace(old, new))
