"""`devvm config show`: the effective settings, and where each comes from."""

from __future__ import annotations

import json as json_module
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from devvm.cli import options, panels
from devvm.cli.session import Session

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One effective setting."""

    key: str
    value: Any
    source: str  # "default", or a file
    description: str


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = panels.group(app, "config", "Show the configuration.", panels.HOST)
    group.command(epilog="Example:  devvm config show --json")(show)


def show(context: typer.Context, json: options.Json = False) -> None:
    """Show every setting: its value, where it comes from and what it means."""
    from devvm import config

    session = Session.of(context)
    effective = session.config()
    files = [
        (str(path), tomllib.loads(path.read_text(encoding="utf-8"))) for path in config.files()
    ]
    found = settings(effective, files)
    data = {"files": [name for name, _ in files], "settings": found}
    session.output.result(data, lambda: _show(session, found))


def _show(session: Session, found: list[Setting]) -> None:
    session.output.table(
        ("KEY", "VALUE", "FROM", "MEANING"),
        [(s.key, _toml(s.value), s.source, s.description) for s in found],
    )


def settings(model: BaseModel, files: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Setting]:
    """Every setting of a configuration; its source is the last of `files` that sets it."""
    values = model.model_dump(mode="json")
    found = []
    for path, description in described(type(model)):
        value: Any = values
        for part in path:
            value = value[part]
        source = "default"
        for name, content in files:
            if _has(content, path):
                source = name
        found.append(
            Setting(key=".".join(path), value=value, source=source, description=description)
        )
    return found


def described(model: type[BaseModel]) -> Iterator[tuple[tuple[str, ...], str]]:
    """The path and description of every key of a configuration model."""
    from pydantic import BaseModel

    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            for path, description in described(field.annotation):
                yield (name, *path), description
        else:
            yield (name,), field.description or ""


def _has(content: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    value: Any = content
    for part in path:
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return True


def _toml(value: object) -> str:
    return json_module.dumps(value)
