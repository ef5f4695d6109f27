"""The rules for every role (roles/README.md), checked without running one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
OVERLAY = ROOT / "devvm/overlay"
ROLES = sorted(
    path.parent.parent for root in (ROOT, OVERLAY) for path in root.glob("roles/*/tasks/main.yml")
)
# Read line by line by a program: no place for a header
PLAIN_LISTS = {"guest/templates/etc/devvm/state-paths.j2"}
PACKAGE_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")  # Debian policy 5.6.1


@pytest.fixture(params=ROLES, ids=lambda role: role.name)
def role(request: pytest.FixtureRequest) -> Path:
    return request.param


def load(path: Path) -> Any:
    """The document in a file, or nothing where there is none."""
    return (yaml.safe_load(path.read_text()) if path.exists() else None) or {}


def defaults_of(role: Path) -> dict[str, Any]:
    return load(role / "defaults/main.yml")


def options_of(role: Path) -> dict[str, dict[str, Any]]:
    return load(role / "meta/argument_specs.yml")["argument_specs"]["main"].get("options", {})


def sources_of(role: Path) -> str:
    """All that may name a template: the role's tasks, handlers and other templates."""
    files = [
        path
        for part in ("tasks", "handlers", "templates", "vars")
        for path in sorted((role / part).rglob("*"))
        if path.is_file()
    ]
    return "\n".join(path.read_text() for path in files)


def test_there_are_roles() -> None:
    assert {"base", "nginx"} <= {role.name for role in ROLES}


def test_every_default_is_specified_with_the_same_value(role: Path) -> None:
    specified = {name: option.get("default") for name, option in options_of(role).items()}
    assert defaults_of(role).items() <= specified.items()


def test_every_option_has_a_default_or_is_required(role: Path) -> None:
    required = {name for name, option in options_of(role).items() if option.get("required")}
    assert options_of(role).keys() - defaults_of(role).keys() == required


def test_every_option_has_a_type_and_a_description(role: Path) -> None:
    for name, option in options_of(role).items():
        assert {"type", "description"} <= option.keys(), name


def test_variables_carry_the_name_of_their_role(role: Path) -> None:
    names = [*defaults_of(role), *load(role / "vars/main.yml"), *options_of(role)]
    strangers = [name for name in names if not re.match(rf"(__)?{role.name}_", name)]
    assert strangers == []


def test_the_readme_names_every_variable(role: Path) -> None:
    readme = (role / "README.md").read_text()
    assert [name for name in options_of(role) if f"`{name}`" not in readme] == []


def test_the_index_names_the_role(role: Path) -> None:
    index = (ROOT / "roles/README.md").read_text()
    where = role.name if role.parent.parent == ROOT else f"../{role.relative_to(ROOT).as_posix()}"
    assert f"[{role.name}]({where}/README.md)" in index


def test_packages_are_literal_names(role: Path) -> None:
    declared = {
        key: value
        for key, value in load(role / "vars/main.yml").items()
        if key == f"{role.name}_packages"
    }
    for key, packages in declared.items():
        assert packages, f"{key} is empty"
        assert [name for name in packages if not PACKAGE_NAME.fullmatch(name)] == []
        assert packages == sorted(set(packages)), f"{key} is neither sorted nor free of doubles"


def test_a_role_that_installs_declares_what(role: Path) -> None:
    if "ansible.builtin.apt:" in sources_of(role):
        assert f"{role.name}_packages" in load(role / "vars/main.yml")


def test_state_paths_are_literal_and_absolute(role: Path) -> None:
    for entry in load(role / "vars/main.yml").get(f"{role.name}_state_paths", []):
        assert re.fullmatch(r"(/[A-Za-z0-9._-]+)+", entry["path"]), entry


def test_every_template_is_used(role: Path) -> None:
    """By its path, by its path without `.j2` (a list of targets), or by the name of a package."""
    templates = role / "templates"
    sources = sources_of(role)
    unused = []
    for template in sorted(path for path in templates.rglob("*") if path.is_file()):
        path = template.relative_to(templates).as_posix()
        names = {path, path.removesuffix(".j2")}
        if f"{Path(path).parent.as_posix()}/{{{{ item }}}}.j2" in sources:
            names.add(Path(path).name.removesuffix(".j2"))
        if not any(
            re.search(rf"(?<![\w/.-]){re.escape(name)}(?![\w/-])", sources) for name in names
        ):
            unused.append(path)
    assert unused == []


def test_a_configuration_file_says_who_manages_it(role: Path) -> None:
    """And never when: a file that differs on every run is changed on every run."""
    for template in (role / "templates").rglob("etc/**/*.j2"):
        text = template.read_text()
        if template.relative_to(role.parent).as_posix() not in PLAIN_LISTS:
            assert "ansible_managed" in text, template
        assert "ansible_date_time" not in text, template
        assert "now(" not in text, template


def test_only_the_modules_of_ansible_core(role: Path) -> None:
    modules = re.findall(r"^\s+(?:- )?([a-z_]+\.[a-z_]+\.[a-z_]+):", sources_of(role), re.MULTILINE)
    assert [name for name in modules if not name.startswith("ansible.builtin.")] == []


@pytest.mark.parametrize(
    "role",
    [r for r in ROLES if r.parent.parent != OVERLAY or r.name == "devtools"],
    ids=lambda role: role.name,
)
def test_roles_know_nothing_of_virtual_machines(role: Path) -> None:
    """Production runs them as they are; only the dev overlay knows where it is."""
    text = sources_of(role) + yaml.safe_dump(defaults_of(role))
    assert re.findall(r"(?i)devvm|vagrant|libvirt|qemu", text) == []


def test_the_stack_is_one_list_in_a_fixed_order() -> None:
    play, development = load(ROOT / "playbooks/site.yml")
    names = [entry["role"] for entry in play["roles"]]
    stack = [
        "base",
        "mariadb",
        "memcached",
        "redis",
        "nginx",
        "site",
        "worker",
        "metrics",
        "backup",
    ]
    assert names == stack
    assert [entry["tags"] for entry in play["roles"]] == names
    conditions = {entry["role"]: entry["when"] for entry in play["roles"] if "when" in entry}
    assert conditions == {
        role: f"inventory_hostname in groups.{group} | default(groups.all)"
        for group, roles in {"database": stack[1:2], "web": stack[2:7]}.items()
        for role in roles
    }
    assert development["hosts"] == "development"
    assert development["roles"] == [{"role": "site_checkout", "tags": "site_checkout"}]
