"""The `Drift` type, and helpers to write drifts."""

from __future__ import annotations

from dataclasses import dataclass

NGINX = "/etc/nginx/nginx.conf"
RELOAD = "systemctl daemon-reload"
REDIS_CLI = "redis-cli -s /run/redis/redis-server.sock"

#: What visitors and a monitor get from the site, through the web server.
SITE = ("site/healthz/*", "site/revision")


#: What commands may affect beyond the checks that must fail: a restarted server reads all its
#: files, a list of accounts is restored as a whole.
_THINGS = (
    "about", "apt", "chrony", "dpkg", "group", "issue", "mariadb", "memcached", "motd", "nginx",
    "passwd", "redis", "shadow", "ssh", "sudo", "/mnt",
)  # fmt: skip


@dataclass(frozen=True)
class Drift:
    """One way to depart from production.

    Attributes:
        name: Its name.
        apply: Shell commands that cause it; `$kept` is a path they may use to save something.
        undo: Shell commands that undo it.
        expected: The checks that must fail: names, or shell patterns.
        alone: Whether it affects too much to be applied together with another one.
    """

    name: str
    apply: str
    undo: str
    expected: tuple[str, ...]
    alone: bool = False

    @property
    def things(self) -> frozenset[str]:
        """What its commands mention; drifts that share one of these are not applied together."""
        return frozenset(thing for thing in _THINGS if thing in f"{self.apply};{self.undo}")


def kept(name: str, paths: str, command: str, expected: tuple[str, ...], then: str = ":") -> Drift:
    """Files or folders changed or removed by a command; `then` makes their program notice."""
    return Drift(
        name,
        apply=f"tar -cf $kept -P {paths}; {command}; {then}",
        undo=f"rm -rf {paths}; tar -xf $kept -P; rm $kept; {then}",
        expected=expected,
    )


def edited(
    name: str, path: str, script: str, expected: tuple[str, ...] = (), then: str = ":"
) -> Drift:
    """A file edited by a sed script."""
    return Drift(
        name,
        apply=f"cp --preserve=all {path} $kept; sed -i '{script}' {path}; {then}",
        undo=f"mv $kept {path}; {then}",
        expected=(f"file{path}", *expected),
    )


def nginx(name: str, script: str, *expected: str) -> Drift:
    """The web server's configuration edited by a sed script, and reloaded."""
    also = ("setting/nginx/config", *expected)
    return edited(name, NGINX, script, also, then="systemctl reload nginx")


def added(
    name: str,
    path: str,
    line: str,
    expected: tuple[str, ...] = (),
    then: str = ":",
    mode: str = "0440",
) -> Drift:
    """An unexpected file in an existing folder."""
    return Drift(
        name,
        apply=f"install -m {mode} /dev/null {path}; printf '{line}\\n' >{path}; {then}",
        undo=f"rm {path}; {then}",
        expected=(f"file{path}", *expected),
    )


def folder(
    name: str, path: str, file: str, line: str, expected: tuple[str, ...], then: str = ":"
) -> Drift:
    """A file in a new folder."""
    return Drift(
        name,
        apply=f"mkdir {path}; printf '{line}\\n' >{path}/{file}; {then}",
        undo=f"rm -r {path}; {then}",
        expected=expected,
    )


def chmod(name: str, path: str, mode: str, good: str, *also: str) -> Drift:
    """Other permissions. A folder's path ends in a slash."""
    return Drift(name, f"chmod {mode} {path}", f"chmod {good} {path}", (f"file{path}", *also))


def locked(name: str, path: str, attribute: str, check: str = "") -> Drift:
    """A file or folder with an attribute that keeps even root from changing it."""
    undo = f"chattr -{attribute} {path}"
    return Drift(name, f"chattr +{attribute} {path}", undo, (check or f"file{path}",))


def sql(name: str, statement: str, undo: str, *expected: str) -> Drift:
    """A statement executed in the running database server."""
    return Drift(name, f'mariadb -e "{statement}"', f'mariadb -e "{undo}"', expected)


def redis(name: str, key: str, value: str, good: str, *also: str) -> Drift:
    """A setting of the running server; its configuration file is unchanged."""
    command = f"{REDIS_CLI} config set {key} {{}} | grep -qx OK"
    return Drift(name, command.format(value), command.format(good), (f"setting/redis/{key}", *also))


def accounts(name: str, command: str, *expected: str) -> Drift:
    """A change to the files of users and groups."""
    names = "passwd shadow group gshadow subuid subgid"
    return Drift(
        name,
        apply=f"tar -cf $kept -C /etc {names}; {command}",
        undo="tar -xf $kept -C /etc; rm $kept",
        expected=expected,
    )
