"""The production manifest: what production's hosts are, as they were captured.

A file of YAML that people review as code: `areas` has, by subject and item, the facts that all
hosts share; `varies` names what hosts differ in, which is not compared. A *layer* is a manifest
that says what some machines are beyond or other than the one below it: a development machine than
production. Its items replace those below; an item that is null is not there.
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

#: A fact in `varies`: the item is there on some hosts and not on others.
PRESENT = "present"
#: What a machine can be; the probe `facts` finds out.
Condition = Literal["container", "data_disk", "identity", "engineer"]
CONDITIONS: tuple[str, ...] = get_args(Condition)

Scalar = StrictStr | StrictBool | StrictInt | StrictFloat | None
Value = Scalar | list[StrictStr] | dict[str, StrictStr]
Facts = dict[str, Value]
Areas = dict[str, dict[str, Facts]]
AreaName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z-]*$")]


class ManifestError(Exception):
    """A manifest can't be accepted; the text names the file, the key and the reason."""


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
        """Whether a layer is for a machine of which these conditions hold."""
        return all(conditions[name] for name in self.only_if) and not any(
            conditions[name] for name in self.unless
        )

    def varying(self, area: str, item: str) -> tuple[str, ...]:
        """Facts of an item that are not compared."""
        known = self.varies.get(area, {})
        patterns = (name for name in known if "*" in name and fnmatchcase(item, name))
        return tuple(fact for name in {item, *patterns} for fact in known.get(name, ()))

    def items(self) -> Iterator[tuple[str, str, Facts | None]]:
        """Every item: area, name, facts."""
        for area, items in self.areas.items():
            for item, facts in items.items():
                yield area, item, facts


class Layers:
    """A manifest and the layers on it, as they concern one machine.

    Args:
        manifests: The lowest first.
    """

    def __init__(self, manifests: Sequence[Manifest]) -> None:
        self._manifests = tuple(manifests)

    def names(self) -> list[tuple[str, str]]:
        """Every item that some machine has: area and name."""
        return sorted({(area, item) for m in self._manifests for area, item, _ in m.items()})

    def areas(self) -> list[str]:
        """Every area that is spoken of."""
        return sorted({area for m in self._manifests for area in m.areas})

    def items_of(self, area: str) -> Iterator[tuple[str, Facts]]:
        """Every item of an area, of every layer: name and facts."""
        for manifest in self._manifests:
            for item, facts in manifest.areas.get(area, {}).items():
                if facts is not None:
                    yield item, facts

    def of(self, conditions: Mapping[str, bool]) -> Manifest:
        """What a machine is expected to be of which these conditions hold."""
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
    """The name of the check of an item: `package/nginx`, `file/etc/fstab`."""
    return f"{area}{item}" if item.startswith("/") else f"{area}/{item}"


def load(file: Path) -> Manifest:
    """Read a manifest.

    Raises:
        ManifestError: it can't be read, is not YAML or does not have the form.
    """
    try:
        data = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (safe)
        return Manifest.model_validate(data)
    except OSError as error:
        raise ManifestError(f"{file} can't be read: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ManifestError(f"{file} is not YAML: {error}") from None
    except (KeyError, RecursionError) as error:  # PyYAML's own, for a value that is none
        raise ManifestError(f"{file} is not YAML: {error!r}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ManifestError(f"{file}: {key or 'the file'}: {first['msg']}") from None
    except ValueError as error:  # PyYAML's own, for a day that there is not
        raise ManifestError(f"{file} is not YAML: {error}") from None


def load_all(files: Iterable[Path]) -> Layers:
    """Read a manifest and its layers, the lowest first.

    Raises:
        ManifestError: as `load`.
    """
    return Layers([load(file) for file in files])


def dump(manifest: Manifest, comment: str = "") -> str:
    """The text of a manifest: sorted, an item a line, so that a change is a line as well."""
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
    """Of plain types, and sorted."""
    if isinstance(value, Mapping):
        return {key: _plain(value[key]) for key in sorted(value)}
    return list(value) if isinstance(value, (list, tuple)) else value


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster, where it is built in


@dataclass(frozen=True)
class _Line:
    """What is to be one line, but for a text of several: facts, or names of facts."""

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
