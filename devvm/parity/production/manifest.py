"""The production manifest: what production's hosts are, as captured.

A YAML file that people review as code. `areas` has the facts that all hosts share, by area and
item; `varies` names the facts in which hosts differ, which aren't compared. A *layer* is a manifest
of how some machines differ from the one below it: development machines from production. Its items
replace those below; an item that is null doesn't exist.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    StringConstraints,
    ValidationError,
)

#: A fact in `varies`: the item exists on some hosts only.
PRESENT = "present"
#: What a machine can be; found by the probe `facts`.
Condition = Literal["container", "data_disk", "identity", "engineer"]
CONDITIONS: tuple[str, ...] = get_args(Condition)

Scalar = StrictStr | StrictBool | StrictInt | StrictFloat | None
Value = Scalar | list[StrictStr] | dict[str, StrictStr]
Facts = dict[str, Value]
Areas = dict[str, dict[str, Facts]]
AreaName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z-]*$")]


class ManifestError(Exception):
    """A manifest is invalid; the message names the file, the key and the reason."""


def _sorted(facts: list[str]) -> list[str]:
    return sorted(set(facts))


class Manifest(BaseModel):
    """What machines are."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="devvm production manifest")

    format: Literal[1] = Field(1, description="version of this format")
    captured: datetime.date | None = Field(None, description="day of the capture")
    hosts: tuple[str, ...] = Field((), description="hosts it was captured from")
    only_if: tuple[Condition, ...] = Field(
        (), description="layers only: applies if all of these hold for the machine"
    )
    unless: tuple[Condition, ...] = Field(
        (), description="layers only: applies if none of these hold for the machine"
    )
    varies: dict[AreaName, dict[str, Annotated[list[str], AfterValidator(_sorted)]]] = Field(
        {},
        description="by area and item (a name, or a pattern as in a shell): facts that differ from "
        "host to host and are not compared; `present`: the item itself",
    )
    areas: dict[AreaName, dict[str, Facts | None]] = Field(
        {}, description="by area and item: facts; null in a layer: the item does not exist"
    )

    def applies(self, conditions: Mapping[str, bool]) -> bool:
        """Whether a layer applies to a machine with these conditions."""
        return all(conditions[name] for name in self.only_if) and not any(
            conditions[name] for name in self.unless
        )

    def varying(self, area: str, item: str) -> tuple[str, ...]:
        """The facts of an item that aren't compared."""
        known = self.varies.get(area, {})
        patterns = (name for name in known if "*" in name and fnmatchcase(item, name))
        return tuple(fact for name in {item, *patterns} for fact in known.get(name, ()))

    def items(self) -> Iterator[tuple[str, str, Facts | None]]:
        """Every item: area, name, facts."""
        for area, items in self.areas.items():
            for item, facts in items.items():
                yield area, item, facts


class Layers:
    """A manifest and its layers, applied to a machine.

    Args:
        manifests: The lowest first.
    """

    def __init__(self, manifests: Sequence[Manifest]) -> None:
        self._manifests = tuple(manifests)

    def names(self) -> list[tuple[str, str]]:
        """Area and name of every item that some machine has."""
        return sorted({(area, item) for m in self._manifests for area, item, _ in m.items()})

    def areas(self) -> list[str]:
        """Every area that is covered."""
        return sorted({area for m in self._manifests for area in m.areas})

    def items_of(self, area: str) -> Iterator[tuple[str, Facts]]:
        """Name and facts of the items of an area, in every layer."""
        for manifest in self._manifests:
            for item, facts in manifest.areas.get(area, {}).items():
                if facts is not None:
                    yield item, facts

    def of(self, conditions: Mapping[str, bool]) -> Manifest:
        """What a machine with these conditions is expected to be."""
        areas: dict[str, dict[str, Facts | None]] = {}
        varies: dict[str, dict[str, list[str]]] = {}
        for manifest in self._manifests:
            if manifest.applies(conditions):
                for area, items in manifest.areas.items():
                    areas.setdefault(area, {}).update(items)
                for area, facts in manifest.varies.items():
                    for item, names in facts.items():
                        varies.setdefault(area, {}).setdefault(item, []).extend(names)
        there = {
            area: {item: facts for item, facts in items.items() if facts is not None}
            for area, items in areas.items()
        }
        return Manifest(areas=there, varies=varies)


def check_name(area: str, item: str) -> str:
    """The name of an item's check: `package/nginx`, `file/etc/fstab`."""
    return f"{area}{item}" if item.startswith("/") else f"{area}/{item}"


def load(file: Path) -> Manifest:
    """Read a manifest.

    Raises:
        ManifestError: it can't be read, is not YAML or has the wrong format.
    """
    try:
        data = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (safe)
        return Manifest.model_validate(data)
    except OSError as error:
        raise ManifestError(f"{file} can't be read: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ManifestError(f"{file} is not YAML: {error}") from None
    except (KeyError, RecursionError) as error:  # raised by PyYAML for invalid values
        raise ManifestError(f"{file} is not YAML: {error!r}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ManifestError(f"{file}: {key or 'the file'}: {first['msg']}") from None
    except ValueError as error:  # raised by PyYAML for dates that don't exist
        raise ManifestError(f"{file} is not YAML: {error}") from None


def load_all(files: Iterable[Path]) -> Layers:
    """Read a manifest and its layers, the lowest first.

    Raises:
        ManifestError: as `load`.
    """
    return Layers([load(file) for file in files])


def dump(manifest: Manifest, comment: str = "") -> str:
    """The text of a manifest: sorted, one item per line, for readable diffs."""
    data = manifest.model_dump(exclude_defaults=True)
    head: dict[str, object] = {"format": manifest.format}
    for key in ("captured", "hosts", "only_if", "unless"):
        if data.get(key):
            head[key] = _plain(data[key])
    for key in ("varies", "areas"):
        if data.get(key):
            head[key] = {
                area: {item: _Line(data[key][area][item]) for item in sorted(data[key][area])}
                for area in sorted(data[key])
            }
    text = yaml.dump(
        head, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000_000,
        default_flow_style=None,
    )  # fmt: skip
    return "".join(f"# {line}\n" for line in comment.splitlines()) + text


def schema() -> dict[str, Any]:
    """The format as a JSON schema, as published in `docs/manifest.schema.json`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Manifest.model_json_schema(),
    }


def _plain(value: object) -> object:
    """A value as plain types, with sorted keys."""
    if isinstance(value, Mapping):
        return {key: _plain(value[key]) for key in sorted(value)}
    return list(value) if isinstance(value, (list, tuple)) else value


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster, if available


@dataclass(frozen=True)
class _Line:
    """Facts, or names of facts, written on one line unless one is a text of several lines."""

    value: object


class _Dumper(yaml.SafeDumper):
    pass


def _line(dumper: yaml.SafeDumper, line: _Line) -> yaml.Node:
    node = dumper.represent_data(_plain(line.value))
    if isinstance(node, yaml.CollectionNode):
        _set_flow(node, flow=True)
        if isinstance(node, yaml.MappingNode):
            node.flow_style = not any(_is_text(value) for _, value in node.value)
    return node


def _set_flow(node: yaml.CollectionNode, *, flow: bool) -> None:
    node.flow_style = flow
    for child in node.value:
        for one in child if isinstance(child, tuple) else (child,):
            if isinstance(one, yaml.CollectionNode):
                _set_flow(one, flow=flow)


def _is_text(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style == "|"


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(_Line, _line)
