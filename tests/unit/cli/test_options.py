import pytest
import typer

from devvm.cli import options


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("2048", "m", 2048), ("4G", "m", 4096), ("4096M", "m", 4096), ("4GiB", "m", 4096),
        ("4 gb", "m", 4096), ("40", "g", 40), ("40G", "g", 40), ("1T", "g", 1024),
        ("2048M", "g", 2),
    ],
)  # fmt: skip
def test_sizes(text, unit, expected):
    assert options.parse_size(text, unit=unit) == expected


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5G", "4GG", "0", "1k", "4 apples", "٤"])
def test_what_is_no_size(text):
    with pytest.raises(typer.BadParameter):
        options.parse_size(text, unit="m")


def test_a_bad_size_names_its_option(cli, services):
    result = cli("create", "dev1", "--memory", "lots")
    assert result.code == 2
    assert result.stderr == (
        "Error: Invalid value for '--memory': 'lots' is not a size; use, for example, 4G (a "
        "plain number means MiB)\nNext: devvm create --help\n"
    )


def test_what_is_not_given_overrides_nothing():
    assert options.machine_overrides(None, None, None, None, None) == {
        "vm": dict.fromkeys(("cpus", "memory_mib", "root_gib", "data_gib", "driver", "warm"))
    }
