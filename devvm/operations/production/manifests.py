"""`production show`, `diff`, `lint`, `propose`: read manifests and related files."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from devvm.domain.errors import NotFoundError, OperationError, UsageError
from devvm.parity.collect.collectors import common
from devvm.parity.production import layout
from devvm.parity.production import lint as linter
from devvm.parity.production import roles as roles_of
from devvm.parity.production.manifest import Facts, Manifest, ManifestError, check_name, load
from devvm.parity.proposal.propose import Proposal, Source, propose
from devvm.system.state import write_atomic

#: Names in a folder that describes production.
MANIFEST, LAYERS, ROLES = "manifest.yml", "overlay", "roles.yml"
#: What PyYAML raises on invalid tagged values, besides its own errors.
_BROKEN_VALUES = (ValueError, LookupError, AttributeError, RecursionError)


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item of a manifest.

    Attributes:
        facts: Its facts; None if it is absent, or on some hosts only.
        varies: Names of the facts that vary from host to host.
    """

    area: str
    item: str
    facts: Facts | None
    varies: tuple[str, ...] = ()

    @property
    def check(self) -> str:
        """The name of its check."""
        return check_name(self.area, self.item)


@dataclass(frozen=True, kw_only=True)
class FileFinding:
    """A lint finding, and its file."""

    file: Path
    finding: linter.Finding


def read(file: Path) -> Manifest:
    """Read a manifest.

    Raises:
        NotFoundError: the file doesn't exist.
        UsageError: it is not a manifest.
    """
    if not file.exists():
        raise NotFoundError(
            f"there is no manifest {file}",
            resolution=f"devvm production capture --host HOST --output {file}",
        )
    try:
        return load(file)
    except ManifestError as error:
        raise _refused(error) from None
    except _BROKEN_VALUES as error:
        what = "too deep" if isinstance(error, RecursionError) else f"a value in it: {error}"
        raise _refused(f"{file} is not a manifest: {what}") from None


def every_item(manifest: Manifest) -> list[Item]:
    """Every item of a manifest, including those that only some hosts have, by name."""
    found = {
        (area, item): Item(
            area=area, item=item, facts=facts,
            varies=tuple(manifest.varies.get(area, {}).get(item, ())),
        )
        for area, item, facts in manifest.items()
    }  # fmt: skip
    for area, items in manifest.varies.items():
        for item, names in items.items():
            found.setdefault(
                (area, item), Item(area=area, item=item, facts=None, varies=tuple(names))
            )
    return [found[key] for key in sorted(found)]


def find(manifest: Manifest, pattern: str, file: Path) -> list[Item]:
    """The items whose check has this name or matches this pattern; of an area, all its items.

    Raises:
        NotFoundError: there are none.
    """
    items = every_item(manifest)
    found = [one for one in items if pattern in (one.check, one.area)]
    found = found or [one for one in items if fnmatchcase(one.check, pattern)]
    if not found:
        names = [one.check for one in items]
        close = difflib.get_close_matches(pattern, names, n=3) or [
            name for name in names if pattern and pattern in name
        ]
        raise NotFoundError(
            f"there is no item {pattern} in {file}",
            details=f"did you mean {' or '.join(close[:3])}?" if close else None,
            resolution=f"devvm production show {shlex.quote(close[0]) + ' ' if close else ''}"
            f"--manifest {file}",
        )
    return found


def lint(path: Path, *, fix: bool = False) -> tuple[list[Path], list[FileFinding]]:
    """Lint a manifest, or a folder with a manifest, its layers and `roles.yml`.

    Args:
        path: A file, or the folder.
        fix: Whether to put the files in order first.

    Returns:
        The files that were checked, and the findings.

    Raises:
        UsageError: a file is not a manifest, or can't be put in order because it has comments
            inside.
    """
    files = [path]
    if path.is_dir():
        files = [path / MANIFEST, *sorted((path / LAYERS).glob("*.yml"))]
    secrets = linter.Secrets(redact=common.redact, paths=common.SECRET_PATHS)
    found, names = [], set()
    for file in files:
        manifest, text = _with_text(file)
        if fix and layout.first_out_of_order(text, manifest) is not None:
            text = _put_in_order(file, text, manifest)
        names |= {one.check for one in every_item(manifest)}
        found += [
            FileFinding(file=file, finding=finding)
            for finding in linter.lint(text, manifest, secrets)
        ]
    if path.is_dir():
        file = path / ROLES
        unused = linter.unused_patterns(_roles(file), names)
        found += [FileFinding(file=file, finding=finding) for finding in unused]
        files += [file] * file.exists()
    return files, found


def proposal(old: Path, new: Path, production: Path, roles: Path) -> Proposal:
    """Propose how to change the roles so that machines match a manifest.

    Args:
        old: A manifest that the stack matches.
        new: The manifest of production now.
        production: The folder with `roles.yml`.
        roles: The folder of roles.

    Raises:
        UsageError: a file is not a manifest, or they are not for the same machines.
    """
    if old.exists() and new.exists() and old.samefile(new):
        raise UsageError(
            f"{new} can't be compared with itself",
            details="the manifest of the stack and the new one of production must be "
            "different files",
            resolution=f"devvm production propose {new} "
            f"--from <(git show HEAD:production/{MANIFEST})",
        )
    was, now = read(old), read(new)
    for name in ("only_if", "unless"):
        if set(getattr(was, name)) != set(getattr(now, name)):
            raise UsageError(
                f"{old} and {new} are not for the same machines",
                details=f"their {name} differ: one of them is a layer",
                resolution=f"devvm production propose {new} --from OLD, with two manifests of one "
                "kind",
            )
    return propose(was, now, _roles(production / ROLES), _sources(roles))


def _sources(roles: Path) -> dict[str, list[Source]]:
    """The files in roles that become a file on a machine, by its path there."""
    found: dict[str, list[Source]] = {}
    for kind, ending in (("templates", ".j2"), ("files", "")):
        for folder in sorted(roles.glob(f"*/{kind}")):
            for file in sorted(one for one in folder.rglob("*") if one.is_file()):
                path = f"/{file.relative_to(folder).as_posix().removesuffix(ending)}"
                source = Source(folder.parent.name, f"roles/{file.relative_to(roles).as_posix()}")
                found.setdefault(path, []).append(source)
    return found


def _with_text(file: Path) -> tuple[Manifest, str]:
    manifest = read(file)
    if not file.is_file():
        raise UsageError(
            f"{file} can't be read twice",
            resolution="devvm production lint FILE, with a file on disk",
        )
    return manifest, file.read_bytes().decode("utf-8")


def _put_in_order(file: Path, text: str, manifest: Manifest) -> str:
    lines = layout.comments_inside(text)
    if lines:
        raise UsageError(
            f"{file} has comments that would be lost: line {', '.join(map(str, lines[:5]))}",
            details="a capture keeps only the comment at the top",
            resolution="move them to the top, then: devvm production lint --fix " + str(file),
        )
    better = layout.rewritten(text, manifest)
    try:
        write_atomic(file, better, mode=file.stat().st_mode & 0o777)
    except OSError as error:
        raise OperationError(
            f"{file} can't be written", details=str(error), resolution=f"ls -l {file}"
        ) from None
    return better


def _roles(file: Path) -> roles_of.Roles:
    try:
        return roles_of.load(file)
    except ManifestError as error:
        raise UsageError(
            next(_lines(error)),
            details="\n".join(list(_lines(error))[1:]) or None,
            resolution=f"fix {file}: it says which role is responsible for what",
        ) from None


def _refused(error: object) -> UsageError:
    first, *rest = _lines(error)
    return UsageError(
        first,
        details="\n".join(rest) or None,
        resolution="to write one: devvm production capture --host HOST --output FILE",
    )


def _lines(error: object) -> Iterator[str]:
    lines: Sequence[str] = str(error).splitlines() or ("it is not a manifest",)
    yield from (line.strip() for line in lines)
