"""What roles declare: taken literally, refused if devvm could not act on it."""

import pytest

from devvm.adapters.role_declarations import RoleDeclarations
from devvm.domain.errors import OperationError
from devvm.stack.folder import StackFolder
from devvm.system import assets
from tests.support.reference_stack import REFERENCE


@pytest.fixture
def declare(tmp_path):
    def write(**roles):
        for name, text in roles.items():
            path = tmp_path / name / "vars" / "main.yml"
            path.parent.mkdir(parents=True)
            path.write_text(text)
        return RoleDeclarations(tmp_path)

    return write


def test_packages_of_all_roles_are_joined(declare):
    declarations = declare(
        web="web_packages: [nginx, openssl]", base="base_packages: [openssl, sudo]", other="a: 1"
    )
    assert declarations.packages() == ("nginx", "openssl", "sudo")


def test_only_the_role_s_own_list_counts(declare):
    assert declare(web="db_packages: [mariadb-server]").packages() == ()


def test_the_name_of_a_role_may_be_none_of_a_variable(declare):
    declarations = declare(**{
        "php-fpm": "php_fpm_packages: [php-fpm]", "geerlingguy.redis": "redis_packages: [redis]",
    })  # fmt: skip
    assert declarations.packages() == ("php-fpm", "redis")


def test_secrets_may_be_patterns_and_must_be_absolute(declare):
    declarations = declare(a="a_secret_paths: [{path: /var/lib/a/*.key}, {path: /etc/a}]")
    assert declarations.secret_paths() == ("/etc/a", "/var/lib/a/*.key")


@pytest.mark.parametrize("path", ["key", "/a/../b", "", "/"])
def test_a_secret_that_could_mean_something_else_is_refused(declare, path):
    with pytest.raises(OperationError, match="declaration"):
        declare(a=f"a_secret_paths: [{{path: {path!r}}}]").secret_paths()


def test_state_paths_are_sorted_and_each_there_once(declare):
    declarations = declare(
        db="db_state_paths: [{path: /var/lib/mysql}]",
        guest="guest_state_paths: [{path: /home}, {path: /var/lib/mysql}]",
    )
    assert declarations.state_paths() == ("/home", "/var/lib/mysql")


@pytest.mark.parametrize(
    "path", ["relative", "/", "/a/../b", "/a/", "//a", "/{{ name }}", "/a b", "/.", "", "1"]
)
def test_a_state_path_that_could_mean_something_else_is_refused(declare, path):
    with pytest.raises(OperationError, match="declaration"):
        declare(db=f"db_state_paths: [{{path: {path!r}}}]").state_paths()


def test_one_state_path_may_not_lie_in_another(declare):
    declarations = declare(a="a_state_paths: [{path: /srv}]", b="b_state_paths: [{path: /srv/x/y}]")
    with pytest.raises(OperationError, match=r"/srv/x/y lies inside /srv"):
        declarations.state_paths()


@pytest.mark.parametrize(
    "text",
    ["a_packages: nginx", "a_packages: ['{{ x }}']", "a_packages: [1]", "a: [", "- list"],
    ids=["text", "template", "number", "not YAML", "not a mapping"],
)
def test_what_is_no_plain_list_of_packages_is_refused(declare, text):
    with pytest.raises(OperationError) as caught:
        declare(a=text).packages()
    assert "vars/main.yml" in caught.value.brief


def test_the_shipped_roles_declare_what_the_box_needs():
    declarations = RoleDeclarations.of(REFERENCE)
    assert {"linux-image-cloud-amd64", "mariadb-server", "nginx"} <= set(declarations.packages())
    assert {"/home", "/var/lib/mysql", "/var/lib/redis"} <= set(declarations.state_paths())


def test_roles_of_features_count_only_if_they_are_on(tmp_path):
    (tmp_path / "stack.yml").write_text("features: []\n")
    declared = RoleDeclarations.of(StackFolder(tmp_path, overlay=assets.overlay()))
    assert "python3-aiosmtpd" not in declared.packages()
    assert "/var/lib/devvm-mail" not in declared.state_paths()
    (tmp_path / "stack.yml").write_text("features: [mail]\n")
    assert "python3-aiosmtpd" in declared.packages()
    assert "/var/lib/devvm-mail" in declared.state_paths()
