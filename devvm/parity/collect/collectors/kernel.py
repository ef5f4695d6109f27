"""The kernel: its current settings, and the configuration of its modules."""

from __future__ import annotations

import os

from devvm.parity.collect.collectors import common

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from devvm.parity.collect.interface import Found, Items, Run, Wanted

AREAS = ("sysctl", "module")

#: Counters, states, identities, and what depends on the size of the machine or on the time.
VOLATILE = (
    "abi.*",
    "debug.*",
    "dev.cdrom.*",
    "dev.parport.*",
    "dev.raid.*",
    "dev.tty.legacy_tiocsti",
    "fs.aio-nr",
    "fs.binfmt_misc.*",
    "fs.dentry-state",
    "fs.epoll.max_user_watches",
    "fs.fanotify.max_user_marks",
    "fs.file-max",
    "fs.file-nr",
    "fs.inode-nr",
    "fs.inode-state",
    "fs.quota.*",
    "kernel.acpi_video_flags",
    "kernel.bootloader_*",
    "kernel.core_modes",
    "kernel.core_pipe_limit",
    "kernel.cap_last_cap",
    "kernel.domainname",
    "kernel.firmware_config.*",
    "kernel.hostname",
    "kernel.hotplug",
    "kernel.keys.*",
    "kernel.max_lock_depth",
    "kernel.max_user_freq",
    "kernel.modprobe",
    "kernel.msgmni",
    "kernel.ngroups_max",
    "kernel.ns_last_pid",
    "kernel.osrelease",
    "kernel.pid_max",
    "kernel.pty.nr",
    "kernel.random.*",
    "kernel.sched_domain.*",
    "kernel.seccomp.*",
    "kernel.sem*",
    "kernel.spl.*",
    "kernel.tainted",
    "kernel.threads-max",
    "kernel.usermodehelper.*",
    "kernel.version",
    "kernel.watchdog_cpumask",
    "net.*.neigh.*",
    "net.core.bpf_*",
    "net.core.flow_limit_cpu_bitmap",
    "net.core.rps_*",
    "net.core.netdev_rss_key",
    "net.ipv4.route.gc_thresh",
    "net.ipv4.route.max_size",
    "net.ipv4.tcp_available_*",
    "net.ipv4.tcp_fastopen_key",
    "net.ipv4.tcp_ehash_entries",
    "net.ipv4.tcp_max_orphans",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_mem",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.udp_mem",
    "net.ipv4.udp_hash_entries",
    "net.ipv4.inet_peer_*",
    "net.ipv6.conf.*.stable_secret",
    "net.netfilter.*",
    "net.nf_conntrack_max",
    "sunrpc.*",
    "user.max_*",
    "vm.lowmem_reserve_ratio",
    "vm.min_free_kbytes",
    "vm.nr_pdflush_threads",
    "vm.stat_refresh",
    "vm.user_reserve_kbytes",
    "vm.admin_reserve_kbytes",
)
#: Settings of single network cards are specific to a machine; those for all and new ones are not.
_CARDS = ("net.ipv4.conf.", "net.ipv6.conf.")
_EVERY_CARD = ("all", "default", "lo")

_FOLDERS = ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib")


def collect(wanted: Wanted, run: Run) -> Found:
    """`sysctl`: `value`, and `configured` if a file sets it. `module`: as the files say.

    As evidence, `said_by`: the files that say so. A container has its host's kernel: only the
    settings of the network are its own, and only these are listed.
    """
    container = common.is_container(run)
    configured = _configured()
    modules, loading = _modules()
    return {
        "sysctl": _sysctls("/proc/sys/net" if container else "/proc/sys", configured),
        "module": modules,
        "evidence": {
            "said_by": {
                "sysctl": {key: [path] for key, (_, path) in configured.items()},
                "module": loading,
            }
        },
    }


def _sysctls(root: str, configured: dict[str, tuple[str, str]]) -> Items:
    found: Items = {}
    for folder, _, names in os.walk(root):
        for path in (f"{folder}/{name}" for name in names):
            key = path[len("/proc/sys/") :].replace("/", ".")
            # Even in a container the settings of bridges are the host's.
            hosts_own = root != "/proc/sys" and key.startswith("net.bridge.")
            if hosts_own or _foreign(key) or not _is_setting(path):
                continue
            content = common.read(path)
            if content is not None:
                found[key] = {"value": " ".join(content.decode("utf-8", "replace").split())}
    for key, (value, _) in configured.items():
        if root == "/proc/sys" or key in found:
            found.setdefault(key, {"value": "missing"})["configured"] = value
    return found


def _is_setting(path: str) -> bool:
    """Whether the file can be read and written: the others are counters and triggers."""
    mode = os.stat(path).st_mode
    return bool(mode & 0o400 and mode & 0o200)


def _foreign(key: str) -> bool:
    if key.startswith(_CARDS):
        return key.split(".")[3] not in _EVERY_CARD
    return common.matches(key, VOLATILE)


def _configured() -> dict[str, tuple[str, str]]:
    """`{key: (value, file)}`; the last file wins, as for systemd-sysctl."""
    found: dict[str, tuple[str, str]] = {}
    paths = common.files_in(*(f"{folder}/sysctl.d" for folder in _FOLDERS), suffix=".conf")
    for path in [*paths, "/etc/sysctl.conf"]:
        for line in common.lines(path):
            key, equals, value = line.partition("=")
            if equals and "*" not in key:
                name = key.strip().lstrip("-").strip().replace("/", ".")
                found[name] = " ".join(value.split()), path
    return found


def _modules() -> tuple[Items, dict[str, list[str]]]:
    """What is configured, and by which files."""
    found: Items = {}
    verbs: dict[str, dict[str, set[str]]] = {}
    files: dict[str, list[str]] = {}
    loaded = common.files_in(*(f"{folder}/modules-load.d" for folder in _FOLDERS), suffix=".conf")
    for path in [*loaded, "/etc/modules"]:
        for line in common.lines(path):
            found.setdefault(line, {})["load"] = True
            files.setdefault(line, []).append(path)
    folders = ("/etc/modprobe.d", "/run/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d")
    for path in common.files_in(*folders, suffix=".conf"):
        for line in common.lines(path):
            verb, _, rest = line.partition(" ")
            name, _, value = rest.strip().partition(" ")
            if verb and name:
                verbs.setdefault(name, {}).setdefault(verb, set()).add(value.strip())
                files.setdefault(name, []).append(path)
    for name, told in verbs.items():
        found.setdefault(name, {}).update({verb: sorted(told[verb]) for verb in told})
    return found, files
