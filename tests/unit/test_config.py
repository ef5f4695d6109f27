"""Configuration: precedence, and messages that name file and key."""

import pytest

from devvm import config
from devvm.errors import UsageError


@pytest.fixture
def config_file(tmp_path, monkeypatch):
    path = tmp_path / "config.toml"
    path.write_text("")
    monkeypatch.setenv("DEVVM_CONFIG", str(path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    return path


def test_defaults_are_valid(config_file):
    loaded = config.load()
    assert loaded.uri == "qemu:///system"
    assert loaded.vm.memory_mib >= 1024


def test_precedence_user_then_named_file_then_options(config_file, tmp_path):
    user = tmp_path / "xdg" / "devvm" / "config.toml"
    user.parent.mkdir(parents=True)
    user.write_text("[vm]\ncpus = 3\nmemory_mib = 3000\ndata_gib = 30\n")
    config_file.write_text("[vm]\ncpus = 4\nmemory_mib = 4000\n")
    vm = config.load({"vm": {"cpus": 5, "memory_mib": None}}).vm
    assert (vm.cpus, vm.memory_mib, vm.data_gib) == (5, 4000, 30)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("cpu = 2", "cpu"),
        ("[vm]\nmemory = 2", "vm.memory"),
        ("[vm]\ncpus = 0", "vm.cpus"),
        ("[vm]\ncpus = '2'", "vm.cpus"),
        ("[vm]\nmemory_mib = -5", "vm.memory_mib"),
        ("[vm]\ndriver = 'xen'", "vm.driver"),
        ("[vm]\nextra_disks = [{name = '../x', size_gib = 1}]", "vm.extra_disks"),
        ("[network]\naddress = '8.8.8.0/24'", "network.address"),
        ("[network]\naddress = 'nonsense'", "network.address"),
        ("[network]\ndomain = 'a b'", "network.domain"),
        ("state_dir = 'relative'", "state_dir"),
        ("[box]\nmirror = 'file:///etc'", "box.mirror"),
        ("vm = 3", "vm"),
    ],
)
def test_bad_values_name_file_and_key(config_file, text, key):
    config_file.write_text(text)
    with pytest.raises(UsageError) as caught:
        config.load()
    assert str(config_file) in caught.value.brief
    assert key in caught.value.brief
    assert "\n" not in caught.value.brief


def test_an_unknown_key_lists_the_known_ones(config_file):
    config_file.write_text("[vm]\nmemory = 2048")
    with pytest.raises(UsageError) as caught:
        config.load()
    assert "memory_mib" in caught.value.details


def test_not_toml(config_file):
    config_file.write_text("vm: {cpus: 2}")
    with pytest.raises(UsageError, match="not valid TOML"):
        config.load()


def test_a_named_file_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("DEVVM_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(UsageError, match="no configuration file"):
        config.load()


def test_a_bad_option_says_that_it_came_from_the_command_line(config_file):
    with pytest.raises(UsageError, match="command line"):
        config.load({"vm": {"cpus": 1000}})
