"""Configuration: precedence, and errors that name file and key."""

import pytest

from devvm import config
from devvm.domain.errors import UsageError


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
        ("[engineer]\nshell = 'zsh'", "engineer.shell"),
        ("[engineer]\nshell = '/bin/sh -c x'", "engineer.shell"),
        ("[engineer]\ndotfiles = 'dotfiles'", "engineer.dotfiles"),
        ("[engineer.branches]\nshop = '-f'", "engineer.branches"),
        ("[engineer.branches]\nshop = 1", "engineer.branches.shop"),
        ("[git]\nkey_file = 'key'", "git.key_file"),
        ("[ssh]\nforward_agent = 'yes'", "ssh.forward_agent"),
        ("[rollout]\nquiet_hours = ['Mon-Fri']", "rollout.quiet_hours"),
        ("[rollout]\nquiet_hours = 'Mon-Fri 09:00-18:00'", "rollout.quiet_hours"),
        ("[rollout]\nquiet_hours = [9]", "rollout.quiet_hours"),
        ("[rollout.quiet_hours_of]\njane = ['never']", "rollout.quiet_hours_of"),
        ("[rollout]\nask_minutes = -1", "rollout.ask_minutes"),
        ("[rollout]\nactive_minutes = 0", "rollout.active_minutes"),
        ("[rollout.hooks]\ncommand = 'notify --all'", "rollout.hooks.command"),
        ("[rollout.hooks]\ncommand = ['']", "rollout.hooks.command"),
        ("[rollout.hooks]\nwebhook = 'file:///etc/passwd'", "rollout.hooks.webhook"),
        ("[rollout.hooks]\nwebhook = 'https://'", "rollout.hooks.webhook"),
        ("[rollout.hooks]\nwebhook = 'https://a:b/'", "rollout.hooks.webhook"),
        ('[rollout.hooks]\nwebhook = "https://a/\\r\\nX: y"', "rollout.hooks.webhook"),
        ("[rollout.hooks]\nwebhook_token_file = 'token'", "rollout.hooks.webhook_token_file"),
        ("[rollout.irc]\nserver = 'a b'", "rollout.irc.server"),
        ("[rollout.irc]\nport = 0", "rollout.irc.port"),
        ("[rollout.irc]\nnick = '1st'", "rollout.irc.nick"),
        ("[rollout.irc]\nchannel = 'ops'", "rollout.irc.channel"),
        ("[rollout.irc]\nchannel = '#ops,#all'", "rollout.irc.channel"),
        ("[rollout.irc]\npassword_file = 'password'", "rollout.irc.password_file"),
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
    assert caught.value.brief == f"{config_file}: vm.memory: unknown key"
    assert "memory_mib" in caught.value.details


def test_a_bad_value_is_no_unknown_key_whatever_it_says(config_file):
    config_file.write_text("[network]\ndomain = 'unknown key'")
    with pytest.raises(UsageError, match=r"network\.domain: bad value$") as caught:
        config.load()
    assert caught.value.details == "not a DNS domain (it is 'unknown key')"


def test_not_toml(config_file):
    config_file.write_text("vm: {cpus: 2}")
    with pytest.raises(UsageError, match="not valid TOML"):
        config.load()


def test_a_named_file_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("DEVVM_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(UsageError, match="no configuration file") as caught:
        config.load()
    assert caught.value.resolution == "make it (an empty file will do), or: unset DEVVM_CONFIG"


def test_all_settings_of_rollouts(config_file):
    config_file.write_text(
        """
        [rollout]
        quiet_hours = ["Mon-Fri 09:00-18:00"]
        canaries = ["dev1"]
        [rollout.quiet_hours_of]
        jane = ["Mon-Fri 10:00-19:00", "daily 22:00-06:00"]
        max = []
        [rollout.hooks]
        command = ["/usr/local/bin/notify", "--from", "devvm"]
        webhook = "https://chat.example.test:8443/hook?team=a@b"
        webhook_token_file = "/etc/devvm/hook-token"
        [rollout.irc]
        server = "irc.example.test"
        channel = "#platform"
        nick = "devvm[ops]"
        """
    )
    rollout = config.load().rollout
    assert rollout.quiet_hours == ("Mon-Fri 09:00-18:00",)
    assert rollout.quiet_hours_of == {
        "jane": ("Mon-Fri 10:00-19:00", "daily 22:00-06:00"),
        "max": (),
    }
    assert rollout.hooks.command == ("/usr/local/bin/notify", "--from", "devvm")
    assert rollout.irc.tls
    assert (rollout.irc.port, rollout.irc.nick) == (6697, "devvm[ops]")


def test_whose_quiet_hours_are_wrong_is_said(config_file):
    config_file.write_text("[rollout.quiet_hours_of]\njane = ['never']")
    with pytest.raises(UsageError) as caught:
        config.load()
    assert "jane: 'never' are not quiet hours" in caught.value.details


def test_the_address_of_a_webhook_is_never_shown(config_file):
    config_file.write_text("[rollout.hooks]\nwebhook = 'https://chat.test/T0P-SECRET'")
    loaded = config.load()
    assert loaded.rollout.hooks.webhook.get_secret_value() == "https://chat.test/T0P-SECRET"
    assert "T0P-SECRET" not in repr(loaded) + loaded.model_dump_json()
    config_file.write_text("[rollout.hooks]\nwebhook = 'https://me:T0P-SECRET@chat.test/'")
    with pytest.raises(UsageError) as caught:
        config.load()
    assert "webhook_token_file" in caught.value.details
    assert "T0P-SECRET" not in caught.value.details


def test_a_bad_option_says_that_it_came_from_the_command_line(config_file):
    with pytest.raises(UsageError, match="command line"):
        config.load({"vm": {"cpus": 1000}})
