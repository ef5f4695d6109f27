"""Creates the file that becomes a VM's data disk: a sparse qcow2 with one labelled ext4.

It only writes to files: no loop devices, no mounts, no root.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from devvm.system import process, tempdir

LABEL = "devvm-data"
IDENTITY = "identity"


class Ext4DataDisks:
    """Implements `DataDisks` with mke2fs, debugfs, qemu-img and ssh-keygen."""

    def make(self, destination: Path, size_gib: int, identity: Mapping[str, str]) -> None:
        """Write a qcow2 with a labelled ext4 that has `/identity/NAME`, root only, by item.

        Files and image are staged beside `destination`, in a folder that only this user can enter,
        because some of the files are private keys.

        Args:
            destination: The file to create, in a folder that only this user can enter.
            size_gib: What the guest sees; the file is as large as its content.
            identity: Contents of files, by name.
        """
        with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".data-disk-") as private:
            staging = Path(private) / "staging"
            folder = staging / IDENTITY
            folder.mkdir(parents=True)
            for name, content in identity.items():
                (folder / name).touch(mode=0o600)
                (folder / name).write_text(content, encoding="utf-8")
            image = Path(private) / "disk.raw"
            _format(image, size_gib, staging)
            _give_to_root(image, staging)
            process.run(["qemu-img", "convert", "-q", "-O", "qcow2", image, destination])
            destination.chmod(0o600)

    def new_host_key(self, comment: str) -> tuple[str, str]:
        """Generate an ed25519 key pair: private and public, in OpenSSH's format."""
        with tempdir.folder("host-key") as private:
            key = private / "key"
            process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", key])
            return key.read_text(encoding="utf-8"), key.with_suffix(".pub").read_text("utf-8")


def _format(image: Path, size_gib: int, content: Path) -> None:
    with image.open("wb") as file:
        file.truncate(size_gib * 1024**3)
    process.run(
        ["mke2fs", "-q", "-t", "ext4", "-L", LABEL, "-m", "1", "-d", content,
         # the guest's kernel initializes the inode tables later, and discards freed blocks
         "-E", "root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1,nodiscard", image]
    )  # fmt: skip


def _give_to_root(image: Path, staging: Path) -> None:
    """Make root own the files, because mke2fs copied their owner from the staging folder."""
    commands = [
        command
        for path, is_folder in _inodes(staging)
        for command in (
            f"sif {path} uid 0",
            f"sif {path} gid 0",
            f"sif {path} mode {'0040700' if is_folder else '0100600'}",
        )
    ]
    process.run(["debugfs", "-w", "-f", "-", image], stdin="\n".join(commands) + "\n")


def _inodes(staging: Path) -> Iterator[tuple[str, bool]]:
    for path in sorted(staging.rglob("*")):
        yield f"/{path.relative_to(staging)}", path.is_dir()
