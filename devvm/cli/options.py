"""Options and arguments that commands share, each declared once."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from devvm.cli import completion
from devvm.cli.session import Session
from devvm.domain.errors import UsageError
from devvm.domain.origin import check_branch

_SIZE = re.compile(r"([0-9]+)\s*(?:([kmgt])(?:i?b)?)?", re.IGNORECASE)
_BYTES = {"k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


def parse_size(text: str, *, unit: Literal["m", "g"]) -> int:
    """A size such as `2048`, `4G`, `4096M`, `4GiB` in units of MiB (`m`) or GiB (`g`).

    Raises:
        typer.BadParameter: it isn't a size, or not a whole number of units.
    """
    match = _SIZE.fullmatch(text.strip())
    name = {"m": "MiB", "g": "GiB"}[unit]
    if not match:
        raise typer.BadParameter(
            f"{text!r} is not a size; use, for example, 4G (a plain number means {name})"
        )
    size = int(match[1]) * _BYTES[(match[2] or unit).lower()]
    count, rest = divmod(size, _BYTES[unit])
    if rest or not count:
        raise typer.BadParameter(f"{text!r} is not a whole number of {name}")
    return count


def _json_wanted(context: typer.Context, value: bool) -> bool:
    if value:
        Session.of(context).output.json = True
    return value


def _quiet_wanted(context: typer.Context, value: bool) -> bool:
    if value:
        Session.of(context).output.quiet = True
    return value


def _page_wanted(file: Path | None) -> Path | None:
    if file is not None:
        refuse_unwritable(file, file.parent, "--html ")
    return file


def _junit_wanted(file: Path | None) -> Path | None:
    if file is not None:  # pytest creates missing folders
        refuse_unwritable(file, next(p for p in file.absolute().parents if p.exists()), "--junit ")
    return file


def refuse_unwritable(file: Path, folder: Path, option: str = "") -> None:
    """Refuse a file that can't be written before spending minutes on its content.

    Raises:
        UsageError: it can't.
    """
    if not folder.is_dir():
        missing = not folder.exists()
        why = f"the folder {folder} doesn't exist" if missing else f"{folder} is not a folder"
    elif not os.access(file if file.exists() else folder, os.W_OK):
        why = "permission denied"
    else:
        return
    raise UsageError(
        f"{file} can't be written",
        details=why,
        resolution=f"use a file that you can write: {option}FILE",
    )


Name = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME", show_default=False, autocompletion=completion.vm_names,
        help="Name of the VM; defaults to your login.",
    ),
]  # fmt: skip

RequiredName = Annotated[
    str,
    typer.Argument(
        metavar="NAME", show_default=False, autocompletion=completion.vm_names,
        help="Name of the VM.",
    ),
]  # fmt: skip

NewName = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME", show_default=False,
        help="Name of the new VM; defaults to your login.",
    ),
]  # fmt: skip

Json = Annotated[
    bool,
    typer.Option(
        "--json", callback=_json_wanted, is_eager=True,
        help="Print the result as JSON (docs/json.md).",
    ),
]  # fmt: skip

Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", callback=_quiet_wanted, is_eager=True,
        help="Don't show progress.",
    ),
]  # fmt: skip

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Answer yes to every question.")]

Release = Annotated[
    str | None,
    typer.Option(
        "--release", metavar="RELEASE", show_default=False, autocompletion=completion.releases,
        help="A release that has a box on this host; defaults to that of the working tree.",
    ),
]  # fmt: skip

Newest = Annotated[
    bool,
    typer.Option(
        "--newest", help="Use the packages that the mirror has now; ignore packages.lock.",
    ),
]  # fmt: skip

Html = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="FILE", show_default=False, dir_okay=False, callback=_page_wanted,
        help="Also write the report to this file, as one self-contained HTML page.",
    ),
]  # fmt: skip

Junit = Annotated[
    Path | None,
    typer.Option(
        "--junit", metavar="FILE", show_default=False, dir_okay=False, callback=_junit_wanted,
        help="Also write the results to this file, as JUnit XML.",
    ),
]  # fmt: skip

_MACHINE = "Machine (defaults: devvm config show)"

Cpus = Annotated[
    int | None,
    typer.Option(
        "--cpus", min=1, max=64, metavar="N", show_default=False, rich_help_panel=_MACHINE,
        help="Number of virtual CPUs.",
    ),
]  # fmt: skip

Memory = Annotated[
    str | None,
    typer.Option(
        "--memory", metavar="SIZE", show_default=False, rich_help_panel=_MACHINE,
        help="Memory, such as 4G or 4096 (MiB).",
    ),
]  # fmt: skip

RootDisk = Annotated[
    str | None,
    typer.Option(
        "--root-disk", metavar="SIZE", show_default=False, rich_help_panel=_MACHINE,
        help="Root disk, such as 40G or 40 (GiB).",
    ),
]  # fmt: skip

DataDisk = Annotated[
    str | None,
    typer.Option(
        "--data-disk", metavar="SIZE", show_default=False, rich_help_panel=_MACHINE,
        help="Data disk, such as 40G or 40 (GiB).",
    ),
]  # fmt: skip

Driver = Annotated[
    Literal["auto", "kvm", "qemu"] | None,
    typer.Option(
        "--driver", show_default=False, rich_help_panel=_MACHINE,
        help="auto: KVM if it works on this host, otherwise emulation.",
    ),
]  # fmt: skip

Cold = Annotated[
    bool,
    typer.Option("--cold", help="Boot the VM, even if there is a warm box to restore it from."),
]

SshKeys = Annotated[
    list[Path] | None,
    typer.Option(
        "--ssh-key", metavar="FILE", show_default=False,
        help="A public key to authorize; repeatable. Defaults to your agent's keys and "
        "~/.ssh/*.pub.",
    ),
]  # fmt: skip


def machine_overrides(
    cpus: int | None,
    memory: str | None,
    root_disk: str | None,
    data_disk: str | None,
    driver: str | None,
    *,
    cold: bool = False,
) -> dict[str, dict[str, Any]]:
    """The machine's options as overrides for `devvm.config.load`.

    Raises:
        typer.BadParameter: a size can't be parsed.
    """
    return {
        "vm": {
            "cpus": cpus,
            "memory_mib": None if memory is None else sized("--memory", memory, "m"),
            "root_gib": None if root_disk is None else sized("--root-disk", root_disk, "g"),
            "data_gib": None if data_disk is None else sized("--data-disk", data_disk, "g"),
            "driver": driver,
            "warm": False if cold else None,
        }
    }


def branches(given: Sequence[str]) -> dict[str, str]:
    """The values of `--branch` by application.

    Raises:
        typer.BadParameter: one is not APPLICATION=BRANCH.
    """
    found = {}
    for one in given:
        application, _, branch = one.partition("=")
        try:
            found[application] = check_branch(branch)
        except ValueError:
            raise typer.BadParameter(
                f"{one!r} is not an application, = and a branch", param_hint="'--branch'"
            ) from None
    return found


def sized(option: str, value: str, unit: Literal["m", "g"]) -> int:
    """The value of an option as a size in MiB (`m`) or GiB (`g`).

    Raises:
        typer.BadParameter: it can't be parsed; the error names the option.
    """
    try:
        return parse_size(value, unit=unit)
    except typer.BadParameter as error:
        raise typer.BadParameter(error.message, param_hint=f"'{option}'") from None


def conditions(names: Sequence[str] | None) -> tuple[Any, ...]:
    """The conditions that were given for a layer, checked.

    Raises:
        typer.BadParameter: there is no such condition.
    """
    from devvm.parity.production.manifest import CONDITIONS

    for name in names or ():
        if name not in CONDITIONS:
            raise typer.BadParameter(
                f"{name!r} is not a condition; use one of: {', '.join(CONDITIONS)}"
            )
    return tuple(names or ())
