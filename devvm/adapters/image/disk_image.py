"""Turns a root file system into a bootable disk, without loop devices or partition scanning.

The partition table is written to a file, the file system is created from the directory at its
offset in that file, and the boot loader is installed by booting the disk once.
"""

from __future__ import annotations

from pathlib import Path

from devvm.domain.errors import OperationError
from devvm.domain.vm import Driver
from devvm.ports.services import Detail
from devvm.system import process, trees

ROOT_LABEL = "devvm-root"
_SECTOR = 512
_MIB = 1024 * 1024
_ROOT_START = 2 * _MIB
#: GPT keeps a copy of itself at the end of the disk.
_TAIL = _MIB
_BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
_LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"

#: What the kernel runs once, instead of systemd. It is on a separate disk, so that none of it gets
#: into the image. The machine powers off before sh reads past the end of the script.
_INSTALLER = """\
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mount -o remount,rw /
exec >/dev/ttyS0 2>&1
if grub-install --target=i386-pc /dev/vda && update-grub; then echo devvm: boot loader ready; fi
sync
mount -o remount,ro /
echo o >/proc/sysrq-trigger
while :; do :; done
"""
_READY = "devvm: boot loader ready"
#: With emulation, on two busy processors, it takes half a minute.
_INSTALL_SECONDS = 600.0


class DiskImages:
    """Implements `DiskImages` with sfdisk, mke2fs, qemu-img and QEMU."""

    def assemble(self, root: Path, destination: Path, *, size_gib: int, log: Path) -> None:
        """Write a raw disk image, all or nothing: a GPT whose only file system holds `root`.

        Raises:
            OperationError: a tool failed.
        """
        unfinished = destination.with_suffix(".part")
        unfinished.unlink(missing_ok=True)
        # Only now, because the container in which Ansible configured the root has no such disk.
        (root / "etc/fstab").write_text(f"LABEL={ROOT_LABEL} / ext4 errors=remount-ro 0 1\n")
        size = size_gib * 1024 * _MIB
        root_size = size - _ROOT_START - _TAIL
        with unfinished.open("wb") as file:
            file.truncate(size)  # sparse
        table = (
            "label: gpt\nunit: sectors\n"
            f"start={_MIB // _SECTOR}, size={_MIB // _SECTOR}, type={_BIOS_BOOT}\n"
            f"start={_ROOT_START // _SECTOR}, size={root_size // _SECTOR}, type={_LINUX}\n"
        )
        process.run(["sfdisk", "--quiet", unfinished], stdin=table, log=log)
        process.run(
            [
                "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-L", ROOT_LABEL, "-m", "1",
                # The guest's boot loader must support all features, whatever the host's mke2fs.
                "-O", "^metadata_csum_seed,^orphan_file",
                # Otherwise every clone would write these tables to its own overlay.
                "-E", f"offset={_ROOT_START},lazy_itable_init=0,lazy_journal_init=0",
                "-d", root, unfinished, str(root_size // 4096),
            ],
            log=log,
        )  # fmt: skip
        unfinished.replace(destination)

    def install_bootloader(
        self,
        disk: Path,
        root: Path,
        destination: Path,
        *,
        driver: Driver,
        detail: Detail,
        log: Path,
    ) -> None:
        """Install a boot loader and write the disk as a compressed qcow2, all or nothing.

        Args:
            disk: The image from `assemble`; it isn't changed.
            root: The tree that it was made from, for its kernel.
            destination: The qcow2 file.
            driver: KVM or emulation.
            detail: Called with the current step.
            log: File to append the guest's console output to.

        Raises:
            OperationError: the boot loader was not installed.
        """
        unfinished = destination.with_suffix(".part")
        folder = destination.with_name("boot")
        trees.remove(folder)  # left by a killed run
        folder.mkdir()
        try:
            overlay = folder / "overlay.qcow2"
            process.run(
                ["qemu-img", "create", "-q", "-f", "qcow2", "-b", disk, "-F", "raw", overlay],
                log=log,
            )
            script = folder / "installer"
            script.write_bytes(_INSTALLER.encode().ljust(64 * 1024, b"\n"))
            detail("booting the disk once to install its boot loader")
            self._boot(overlay, script, root, driver=driver, log=log)
            detail("compressing")
            process.run(
                [
                    "qemu-img", "convert", "-c", "-m", "4", "-W", "-O", "qcow2",
                    "-o", "compression_type=zstd", overlay, unfinished,
                ],
                log=log,
            )  # fmt: skip
        finally:
            trees.remove(folder)
        unfinished.replace(destination)

    def _boot(self, disk: Path, script: Path, root: Path, *, driver: Driver, log: Path) -> None:
        console = script.with_name("console")
        arguments = f"root=LABEL={ROOT_LABEL} rw console=ttyS0 panic=-1 init=/bin/sh -- /dev/vdb"
        argv = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
            "-machine", "pc", "-smp", "2", "-m", "1024", "-no-reboot", "-nic", "none",
            *(("-accel", "kvm", "-cpu", "host") if driver is Driver.KVM
              else ("-accel", "tcg", "-cpu", "max")),
            "-drive", f"file={disk},format=qcow2,if=virtio,cache=unsafe,discard=unmap",
            "-drive", f"file={script},format=raw,if=virtio,readonly=on",
            "-serial", f"file:{console}",
            "-kernel", str(_only(root, "vmlinuz-*")),
            "-initrd", str(_only(root, "initrd.img-*")),
            "-append", arguments,
        ]  # fmt: skip
        reason: str | None = None
        try:
            process.run(argv, timeout=_INSTALL_SECONDS, log=log)
        except process.ProcessError as error:
            reason = error.details
        printed = console.read_text(errors="replace") if console.exists() else ""
        with log.open("a", encoding="utf-8") as sink:
            sink.write(printed)
        if _READY not in printed:
            tail = "\n".join(printed.strip().splitlines()[-10:])
            raise OperationError(
                "the boot loader could not be installed on the box's disk",
                details=reason or tail or "the machine printed nothing",
                resolution="read the machine's console in the log; then: sudo devvm box build",
                log=log,
            )


def _only(root: Path, pattern: str) -> Path:
    found = sorted((root / "boot").glob(pattern))
    if len(found) != 1:
        raise OperationError(
            f"the box has {len(found)} files /boot/{pattern} instead of one",
            details="its kernel comes from one package of roles/guest/vars/main.yml",
            resolution="sudo devvm box build --force",
        )
    return found[0]
