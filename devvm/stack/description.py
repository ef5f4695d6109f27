"""`stack.yml`: what devvm has to know about a stack and can't see in its roles.

Everything is optional. Packages, state paths and secrets are declared where they are used, in the
roles (docs/contracts.md).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo

from devvm.domain import known_hosts, origin
from devvm.domain.errors import UsageError
from devvm.domain.package_set import ARCHIVES
from devvm.stack.folder import PARTS

#: The inventory group that every VM is in, and no host of production.
DEVELOPMENT = "development"

#: What a VM can have beside production's stack, each with the roles of devvm's that bring it.
FEATURES: Mapping[str, tuple[str, ...]] = {
    "mail": ("vm_pages", "mail_catcher"),
    "pages": ("vm_pages",),
}

_LOGIN = r"^[a-z_][a-z0-9_-]{0,30}$"
_GROUP = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$"
_UNIT = r"^[A-Za-z0-9:_.@-]+\.(service|socket|target|timer|path)$"
_PATH = re.compile(r"(/(?!\.\.?(/|$))[A-Za-z0-9._@+-]+)+")
_NAME = r"^[a-z][a-z0-9-]{0,30}$"
_URI = re.compile(r"https?://[A-Za-z0-9\[][^\s'\"\\<>?#]*")
_SUITE = r"^(\./|/|[A-Za-z0-9][A-Za-z0-9._+-]*(/[A-Za-z0-9][A-Za-z0-9._+-]*)*/?)$"
_COMPONENT = r"^[A-Za-z0-9][A-Za-z0-9._+-]*(/[A-Za-z0-9][A-Za-z0-9._+-]*)*$"
_FILE = re.compile(rf"({'|'.join(PARTS)})(/(?!\.)[A-Za-z0-9._@+-]+)+")


def _command(value: object) -> object:
    if isinstance(value, str):
        raise ValueError(f"write it as a list of arguments: {value.split()}")  # noqa: TRY004
    return value


def _absolute(value: str) -> str:
    if not _PATH.fullmatch(value):
        raise ValueError(f"{value!r} is not an absolute path without special characters")
    return value


def _uri(value: str) -> str:
    if not _URI.fullmatch(value):
        raise ValueError(f"{value!r} is not the address of a repository: https://HOST/PATH")
    if "@" in value:
        raise ValueError(
            "a login doesn't belong into stack.yml: set box.repository_mirrors on the hosts"
        )
    return value.rstrip("/")


def _file(value: str) -> str:
    if not _FILE.fullmatch(value):
        raise ValueError(f"{value!r} is not the path of a file below {', '.join(PARTS)}")
    return value


def _demand_unique(what: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two {what} have the name {twice[0]}")


def _feature(value: str) -> str:
    if value not in FEATURES:
        near = difflib.get_close_matches(value, FEATURES, n=1)
        what = f"did you mean {near[0]}?" if near else f"there are: {', '.join(FEATURES)}"
        raise ValueError(f"{value!r} is not a feature; {what}")
    return value


_Path = Annotated[str, AfterValidator(_absolute)]
_Login = Annotated[str, Field(pattern=_LOGIN)]
_KnownHost = Annotated[str, AfterValidator(known_hosts.check)]
_Argv = Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_command)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Program(_Strict):
    """A command. It is run again whenever it may be needed, so a second run must do no harm."""

    argv: _Argv = Field(description="the program and its arguments; there is no shell")
    account: _Login = Field("root", description="the account that runs it")
    chdir: _Path = Field("/tmp", description="the directory to run it in")  # noqa: S108
    changed: str = Field(
        "", description="text in its output that says that it changed something; empty: none does"
    )


class Checkout(_Strict):
    """Where engineers work on an application, instead of the code that the stack deployed."""

    path: _Path = Field(description="the checkout; a state path of a role, to survive rebuilds")
    origin: str | None = Field(
        None,
        description="the repository to clone: git@HOST:PATH, ssh://, https:// or file://; "
        "unset: one that is made from `code`",
    )
    branch: str = Field("main", description="the branch to check out")
    code: _Path | None = Field(
        None,
        description="the directory of the deployed code; with `origin`, a box gets the branch's "
        "newest commit there before roles are applied",
    )
    serve: _Path | None = Field(
        None, description="the link that says which code runs; it is made to lead to the checkout"
    )
    home: str | None = Field(
        None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="name of a link to the checkout in the engineer's home directory",
    )  # fmt: skip

    @model_validator(mode="after")
    def _source(self) -> Checkout:
        if self.origin is None and self.code is None:
            raise ValueError(
                "say where it comes from: `origin`, a repository, or `code`, a directory"
            )
        if self.origin is not None:
            origin.parse(self.origin)
        origin.check_branch(self.branch)
        return self


class Application(_Strict):
    """An application that the stack runs."""

    name: str = Field(pattern=_NAME, description="its name")
    checkout: Checkout | None = Field(None, description="where engineers work on it")
    units: tuple[Annotated[str, Field(pattern=_UNIT)], ...] = Field(
        (), description="its systemd units, restarted if other code is served"
    )
    migrate: Program | None = Field(
        None, description="brings its data to the deployed code; run if the data may be older"
    )


class Database(_Strict):
    """A server whose files an older version of it can't use, and how its data gets in and out."""

    name: str = Field(description="its name, for people and for `devvm db --database`")
    package: str = Field(
        pattern=r"^[a-z0-9][a-z0-9+.-]+$", description="the Debian package whose version decides"
    )
    upgrade: Program | None = Field(
        None, description="brings its files to the installed version; run if they may be older"
    )
    export: Program | None = Field(None, description="writes all of its data to standard output")
    import_: Program | None = Field(
        None, alias="import",
        description="replaces all of its data by what `export` wrote, on standard input",
    )  # fmt: skip
    sanitize: Program | None = Field(
        None, description="takes personal data out of what was imported"
    )
    shell: Program | None = Field(None, description="opens a shell of the database")

    @model_validator(mode="after")
    def _can_be_undone(self) -> Database:
        if self.import_ and not self.export:
            raise ValueError("`import` needs `export`, which saves the data before an import")
        if self.sanitize and not self.import_:
            raise ValueError("`sanitize` needs `import`: it runs after it")
        return self


class Tls(_Strict):
    """Where a VM's own TLS key and certificate belong."""

    key: _Path = Field("/etc/ssl/private/site.key", description="the private key; root:root, 0600")
    certificate: _Path = Field(
        "/etc/ssl/certs/site.crt", description="the certificate, followed by its chain"
    )
    units: tuple[Annotated[str, Field(pattern=_UNIT)], ...] = Field(
        (), description="units that use them; reloaded when the certificate is renewed"
    )


class Repository(_Strict):
    """An apt repository besides Debian's archive."""

    name: str = Field(pattern=_NAME, description="its name: for people, and in packages.lock")
    uri: Annotated[str, AfterValidator(_uri)] = Field(description="its address, http or https")
    suite: str = Field(
        pattern=_SUITE, description="its suite; of a flat repository the path, such as `./`"
    )
    components: tuple[Annotated[str, Field(pattern=_COMPONENT)], ...] = Field(
        (), description="its components; a flat repository has none"
    )
    key: Annotated[str, AfterValidator(_file)] = Field(
        description="the file with the OpenPGP public key that its lists are signed with, relative "
        "to the stack's folder: `roles/ROLE/files/NAME.asc`"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Repository:
        if self.name in ARCHIVES:
            raise ValueError(f"{self.name} is the name of an archive of Debian's")
        if self.suite.endswith("/") and self.components:
            raise ValueError(f"{self.name} is a flat repository, which has no components")
        if not self.suite.endswith("/") and not self.components:
            raise ValueError(f"name the components of {self.name}, such as [main]")
        return self


class Apt(_Strict):
    """Where packages come from."""

    components: tuple[Literal["main", "contrib", "non-free", "non-free-firmware"], ...] = Field(
        ("main",), description="the components of Debian's archive"
    )
    repositories: tuple[Repository, ...] = Field((), description="other repositories")

    @model_validator(mode="after")
    def _known(self) -> Apt:
        if "main" not in self.components:
            raise ValueError("there is no Debian without the component main")
        _demand_unique("repositories", [one.name for one in self.repositories])
        return self


class Box(_Strict):
    """How a box of the stack is built."""

    network: bool = Field(
        default=False, description="whether roles reach the network while a box is built"
    )


class Description(_Strict):
    """A stack's description."""

    format: Literal[1] = Field(1, description="the version of this format")
    name: str = Field(
        "stack", pattern=_NAME, description="the stack's name, which tells it from others"
    )
    groups: tuple[Annotated[str, Field(pattern=_GROUP)], ...] = Field(
        (), description=f"inventory groups that a VM is in, besides `{DEVELOPMENT}`"
    )
    applications: tuple[Application, ...] = Field((), description="the applications")
    databases: tuple[Database, ...] = Field(
        (), description="servers whose files can't go back a version"
    )
    apt: Apt = Field(Apt(), description="where packages come from")
    features: tuple[Annotated[str, AfterValidator(_feature)], ...] = Field(
        (), description="what VMs have beside production's stack: " + ", ".join(FEATURES)
    )
    box: Box = Field(Box(), description="how a box is built")
    tls: Tls = Field(Tls(), description="where a VM's own TLS key and certificate belong")
    reserved_logins: tuple[_Login, ...] = Field(
        (), description="accounts of the stack, which no engineer's login can be"
    )
    known_hosts: tuple[_KnownHost, ...] = Field(
        (), description="SSH host keys of the repositories' servers, as lines of known_hosts"
    )
    welcome: tuple[str, ...] = Field(
        (),
        description="lines to show after `devvm create`; `{host}` is the VM's name, `{login}` the "
        "engineer's",
    )

    @property
    def feature_roles(self) -> tuple[str, ...]:
        """The roles of devvm's that the features bring, in their order."""
        return tuple(dict.fromkeys(role for one in self.features for role in FEATURES[one]))

    @property
    def roles_off(self) -> frozenset[str]:
        """The roles of features that are off: they take no part in the stack."""
        every = {role for roles in FEATURES.values() for role in roles}
        return frozenset(every - {*self.feature_roles})

    @model_validator(mode="after")
    def _unique(self) -> Description:
        _demand_unique("applications", [one.name for one in self.applications])
        _demand_unique("databases", [one.name.casefold() for one in self.databases])
        return self


def load(file: Path) -> Description:
    """Read a `stack.yml`; without one, everything has its default.

    Raises:
        UsageError: it can't be read, is not YAML, or has an unknown key or a bad value.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Description()
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(file, "it can't be read", str(error)) from None
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _bad(file, "it is not YAML", " ".join(str(error).split())) from None
    if data is None:
        return Description()
    if not isinstance(data, dict):
        raise _bad(file, "it must be a mapping", "it begins, for example, with `name: acme`")
    try:
        return Description.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _bad(file, *_reason(where, first)) from None


def schema() -> dict[str, Any]:
    """The format as a JSON schema."""
    return Description.model_json_schema()


def _reason(where: str, error: Mapping[str, Any]) -> tuple[str, str]:
    if error["type"] == "extra_forbidden":
        known = _keys(error["loc"][:-1])
        near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        what = f"did you mean {near[0]}?" if near else f"the keys here are: {', '.join(known)}"
        return f"{where}: unknown key", what
    if error["type"] == "missing":
        return f"{where}: missing", "this key is required"
    if error["type"] == "value_error":
        return f"{where}: bad value" if where else "bad value", str(error["ctx"]["error"])
    return f"{where}: bad value", f"{error['msg']} (it is {error['input']!r})"


def _keys(location: tuple[int | str, ...]) -> list[str]:
    """The keys of the mapping at a place."""
    model: type[BaseModel] = Description
    for part in location:
        field = _fields(model).get(str(part))
        if field is not None:
            model = _model_in(field.annotation) or model
    return list(_fields(model))


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """A model's fields, by their keys in the file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _model_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - any type
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, BaseModel) else None
    found = (_model_in(part) for part in getattr(annotation, "__args__", ()))
    return next((model for model in found if model), None)


def _bad(file: Path, what: str, details: str) -> UsageError:
    return UsageError(f"{file}: {what}", details=details, resolution=f"fix {file}")
