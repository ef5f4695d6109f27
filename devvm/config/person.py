"""Settings that belong to the person: their account in VMs, their repositories, their keys."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from devvm.config.base import OptionalPath, Section, absolute
from devvm.domain.origin import check_branch


class EngineerConfig(Section):
    """Your account in new VMs."""

    shell: str | None = Field(
        None,
        pattern=r"^(/[A-Za-z0-9._-]+)+$",
        description="your login shell, such as /usr/bin/zsh, in VMs that have it; unset: the "
        "stack's",
    )
    dotfiles: OptionalPath = Field(
        None, description="folder whose files are copied to your home directory in new VMs"
    )
    branches: dict[str, str] = Field(
        {},
        description="branches to check out in new VMs, by application, instead of the stack's",
    )

    @field_validator("dotfiles")
    @classmethod
    def _dotfiles(cls, value: Path | None) -> Path | None:
        return value if value and value.parts[:1] == ("~",) else absolute(value)

    @field_validator("branches")
    @classmethod
    def _branches(cls, value: dict[str, str]) -> dict[str, str]:
        for branch in value.values():
            check_branch(branch)
        return value


class GitConfig(Section):
    """How this host reads the applications' repositories."""

    key_file: OptionalPath = Field(
        None,
        description="private SSH key to read repositories with, such as a deploy key; unset: "
        "your agent and your own SSH configuration",
    )

    @field_validator("key_file")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return absolute(value)


class SshConfig(Section):
    """How you log in to VMs."""

    forward_agent: bool = Field(
        default=False,
        description="let VMs use your SSH agent while you are logged in with devvm ssh or exec; "
        "whoever is root there can use your keys meanwhile",
    )
