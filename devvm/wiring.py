"""Builds adapters from the configuration and passes them to operations.

The only module that imports both. Adapters are imported in the functions that need them, so that
`--help`, `version` and `config show` are fast, and work on a machine without the adapters' tools.
"""

from __future__ import annotations

import functools
import os
import pwd
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from devvm.config import Config
from devvm.system import assets
from devvm.system.state import State

if TYPE_CHECKING:
    from devvm.adapters.ansible import Ansible
    from devvm.adapters.ca import LocalCa
    from devvm.adapters.git import GitOrigins
    from devvm.adapters.host.invoker import Invoker
    from devvm.adapters.host.pool_timer import PoolTimer
    from devvm.adapters.image.box_store import FolderBoxStore
    from devvm.adapters.image.data_disk import Ext4DataDisks
    from devvm.adapters.openssh import OpenSsh
    from devvm.adapters.packages.apt import Apt
    from devvm.adapters.production_hosts import SshHosts
    from devvm.adapters.release_store import FolderReleaseStore
    from devvm.adapters.testinfra import Testinfra
    from devvm.adapters.vagrant import LibvirtVagrant
    from devvm.operations.rollout.notify import Messenger
    from devvm.operations.transaction.transaction import Ending
    from devvm.ports.box import BuildServices
    from devvm.ports.messenger import Sender
    from devvm.ports.services import Services
    from devvm.ports.setup import SetupStep
    from devvm.stack.folder import StackFolder

_LOCAL = "qemu:///system"

_Adapter = TypeVar("_Adapter")


def build_services(config: Config) -> Services:
    """The services for operations on VMs.

    Raises:
        HostNotReadyError: the state folder can't be written.
    """
    from devvm.adapters.libvirt import Libvirt
    from devvm.ports.services import Services

    state = State(config.state_dir)
    state.ensure()
    folder = stack(config)
    libvirt = Libvirt(config)
    store = _when_used(lambda: _release_store(config, state))
    return Services(
        config=config,
        stack=folder,
        state=state,
        host=libvirt.host,
        network=libvirt.network,
        domains=libvirt.domains,
        volumes=libvirt.volumes,
        disks=libvirt.disks,
        memory=libvirt.memory,
        vagrant=_when_used(_vagrant),
        shell=_when_used(_shell),
        provisioner=_when_used(lambda: _ansible(config, folder)),
        verifier=_when_used(lambda: _verifier(production(config))),
        ca=_when_used(lambda: _ca(config, state)),
        boxes=_when_used(lambda: _box_store(state)),
        origins=_when_used(lambda: _origins(config)),
        data_disks=_when_used(_data_disks),
        releases=store,
        stacks=_Stacks(config, store),
        endings=_when_used(_endings),
    )


class _WhenUsed:
    """Makes an adapter when it is first used.

    A command uses few of them, and to import them all takes longer than most commands do.
    """

    def __init__(self, make: Callable[[], object]) -> None:
        self._make = make

    @functools.cached_property
    def _made(self) -> object:
        return self._make()

    def __getattr__(self, name: str) -> object:
        return getattr(self._made, name)


def _when_used(make: Callable[[], _Adapter]) -> _Adapter:
    return cast("_Adapter", _WhenUsed(make))


def _vagrant() -> LibvirtVagrant:
    from devvm.adapters.vagrant import LibvirtVagrant

    return LibvirtVagrant()


def _shell() -> OpenSsh:
    from devvm.adapters.openssh import OpenSsh

    return OpenSsh()


def _ca(config: Config, state: State) -> LocalCa:
    from devvm.adapters.ca import LocalCa

    return LocalCa(state, domain=config.network.domain)


def _box_store(state: State) -> FolderBoxStore:
    from devvm.adapters.image.box_store import FolderBoxStore

    return FolderBoxStore(state)


def _origins(config: Config) -> GitOrigins:
    from devvm.adapters.git import GitOrigins

    cache = os.environ.get("XDG_CACHE_HOME")
    if not cache or "SUDO_USER" in os.environ:  # sudo may leave the person's: root keeps out of it
        cache = f"{pwd.getpwuid(os.geteuid()).pw_dir}/.cache"
    return GitOrigins(Path(cache) / "devvm/mirrors", key_file=config.git.key_file)


def _data_disks() -> Ext4DataDisks:
    from devvm.adapters.image.data_disk import Ext4DataDisks

    return Ext4DataDisks()


def _endings() -> Mapping[str, Ending]:
    from devvm.operations.recovery import ENDINGS

    return ENDINGS


@dataclass(frozen=True)
class _Stacks:
    """Implements `Stacks`: tools that use a recorded release's own folders."""

    config: Config
    store: FolderReleaseStore

    def provisioner(self, release: str) -> Ansible:
        return _ansible(self.config, self.store.folders(release)[0])

    def verifier(self, release: str) -> Testinfra:
        return _verifier(self.store.folders(release)[1])


def _release_store(config: Config, state: State) -> FolderReleaseStore:
    from devvm.adapters.release_store import FolderReleaseStore

    return FolderReleaseStore(state, stack=stack(config), production=production(config))


def _ansible(config: Config, folder: StackFolder) -> Ansible:
    from devvm.adapters.ansible import Ansible

    return Ansible(
        folder,
        vault_identities=config.ansible.vault_identities,
        callback_plugins=assets.callback_plugins(),
    )


def _verifier(production_dir: Path) -> Testinfra:
    from devvm.adapters.testinfra import Testinfra

    return Testinfra(suite=assets.parity_suite(), production=production_dir)


def production(config: Config) -> Path:
    """The folder that describes production: the configured one, or the stack's."""
    return config.production_dir or stack(config).production


def stack(config: Config) -> StackFolder:
    """The stack that devvm works with: the configured one, or the reference stack.

    Raises:
        UsageError: the configured folder is not a stack's.
    """
    from devvm.stack import folder

    if config.stack_dir is None:
        root, fixed = assets.reference_stack(), assets.is_packaged()
    else:
        root, fixed = folder.demand(config.stack_dir, assets.overlay()), False
    return folder.StackFolder(root, overlay=assets.overlay(), fixed=fixed)


def production_hosts(
    config: Config, *, overlay: str, ssh_config: Path | None, inventory: Path | None
) -> SshHosts:
    """Production's hosts, by SSH names or from an Ansible inventory."""
    from devvm.adapters.production_hosts import SshHosts

    return SshHosts(
        checks=stack(config).checks, overlay=overlay, ssh_config=ssh_config, inventory=inventory
    )


def checks_of_the_suite(config: Config) -> tuple[str, ...]:
    """The names of all checks in the shipped suite.

    Raises:
        OperationError: a file of expectations or waivers is invalid.
    """
    return _verifier(production(config)).names(stack(config).checks)


def build_box_services(config: Config) -> BuildServices:
    """The additional services for building boxes."""
    from devvm.adapters.image.disk_image import DiskImages
    from devvm.adapters.image.mmdebstrap import Mmdebstrap
    from devvm.adapters.image.nspawn import Nspawn
    from devvm.adapters.image.root_tree import RootTrees
    from devvm.adapters.packages.flat_repository import FlatRepositories
    from devvm.adapters.packages.package_cache import PackageCache
    from devvm.adapters.role_declarations import RoleDeclarations
    from devvm.ports.box import BuildServices

    return BuildServices(
        declarations=RoleDeclarations.of(stack(config)),
        archive=_when_used(lambda: archive(config, stack(config))),
        cache=PackageCache(State(config.state_dir)),
        repositories=FlatRepositories(),
        roots=Mmdebstrap(),
        trees=RootTrees(),
        containers=Nspawn(config.box.ca_file),
        images=DiskImages(),
        writer=_box_store(State(config.state_dir)),
    )


def archive(config: Config, folder: StackFolder) -> Apt:
    """Debian's archive and the other repositories of a stack.

    Raises:
        UsageError: `stack.yml` is invalid.
    """
    from devvm.adapters.packages.apt import Apt, Repository

    box, described = config.box, folder.description().apt
    return Apt(
        {"main": box.mirror, "security": box.security_mirror},
        box.keyring,
        components=described.components,
        repositories=[
            Repository(
                name=one.name,
                mirrors=box.repository_mirrors.get(one.name, (one.uri,)),
                suite=one.suite,
                components=one.components,
                key=folder.root / one.key,
            )
            for one in described.repositories
        ],
    )


def messenger(config: Config) -> Messenger:
    """The messenger for rollouts, with all configured channels."""
    from devvm.adapters.notify.hook_command import HookCommand
    from devvm.adapters.notify.irc import Irc
    from devvm.adapters.notify.webhook import Webhook
    from devvm.operations.rollout.notify import Messenger

    hooks, irc = config.rollout.hooks, config.rollout.irc
    senders: list[Sender] = []
    if hooks.command:
        senders.append(HookCommand(hooks.command))
    if hooks.webhook is not None:
        url = hooks.webhook.get_secret_value()
        senders.append(Webhook(url, token_file=hooks.webhook_token_file))
    if irc.server is not None:
        senders.append(
            Irc(
                server=irc.server, port=irc.port, tls=irc.tls, nick=irc.nick, channel=irc.channel,
                ca_file=irc.ca_file, password_file=irc.password_file,
            )
        )  # fmt: skip
    return Messenger(senders)


def local_zone() -> tzinfo:
    """The host's time zone."""
    from devvm.adapters.host.local_zone import local_zone as zone

    return zone()


def releases(config: Config) -> list[str]:
    """The releases that have a box on this host. Reads files only."""
    return [box.release for box in _box_store(State(config.state_dir)).list()]


def recorded_releases(config: Config) -> list[str]:
    """The recorded releases. Reads files only."""
    return [record.release for record in _release_store(config, State(config.state_dir)).list()]


def vm_names(config: Config) -> list[str]:
    """The names of the VMs on this host, or of their remnants. Reads a folder only."""
    return State(config.state_dir).names()


def invoker() -> Invoker:
    """The person who typed the command."""
    from devvm.adapters.host.invoker import Invoker

    return Invoker()


def setup_steps(config: Config) -> list[SetupStep]:
    """The steps that set up a host, in order."""
    from devvm.adapters.host.debian_host import DebianPackages, read_list
    from devvm.adapters.host.host_access import Groups, NameResolution, PathLink, StateFolder
    from devvm.adapters.host.kvm_device import KvmDevice
    from devvm.adapters.host.libvirt_daemons import LibvirtDaemons

    launcher = assets.launcher()
    steps: list[SetupStep] = [DebianPackages(read_list(assets.host_packages()))]
    if config.uri == _LOCAL:  # daemons and groups of a remote host aren't set up from here
        steps += [Groups(_login()), KvmDevice(), LibvirtDaemons()]
    steps += [StateFolder(config.state_dir), NameResolution()]
    if launcher is not None:
        steps.append(PathLink(launcher))
    return steps


def pool_timer() -> PoolTimer:
    """The timer that fills the pool, with this devvm, this user and this configuration."""
    from devvm.adapters.host.pool_timer import PoolTimer

    launcher = assets.launcher()
    devvm = [str(launcher)] if launcher else [sys.executable, "-m", "devvm"]
    named = {
        key: os.environ[key] for key in ("DEVVM_CONFIG", "XDG_CONFIG_HOME") if key in os.environ
    }
    return PoolTimer(
        [*devvm, "pool", "fill", "--quiet"],
        login=pwd.getpwuid(os.geteuid()).pw_name,
        environment={key: str(Path(value).absolute()) for key, value in named.items()},
    )


def groups_not_yet_in_force(config: Config) -> list[str]:
    """Groups that the user was added to after login, so that this process lacks them."""
    from devvm.adapters.host.host_access import Groups

    return Groups(_login()).not_yet_in_force() if config.uri == _LOCAL else []


def with_groups(argv: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Wrap `argv` so that it runs with these groups."""
    from devvm.adapters.host.host_access import with_groups as wrap

    return wrap(argv, groups)


def _login() -> str:
    """The person to give access to libvirt; under sudo, the one who ran it."""
    if os.geteuid() == 0:
        return os.environ.get("SUDO_USER", "root")
    return pwd.getpwuid(os.getuid()).pw_name
