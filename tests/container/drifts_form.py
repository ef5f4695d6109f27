"""The `Drift` type, and helpers to write drifts."""

from __future__ import annotations

from dataclasses import dataclass

NGINX = "/etc/nginx/nginx.conf"
RELOAD = "systemctl daemon-reload"

#: What a visitor and a monitor of the site get, all of it through the web server.
SITE = ("site/healthz/*", "site/revision")


#: What commands may meddle with beyond the checks that must tell: a server started again has read
#: all its files, a list of accounts is taken back as a whole.
_THINGS = (
    "about", "apt", "chrony", "dpkg", "group", "issue", "mariadb", "memcached", "motd", "nginx",
    "passwd", "redis", "shadow", "ssh", "sudo", "/mnt",
)  # fmt: skip


@dataclass(frozen=True)
class Drift:
    """One way to be wrong.

    Attributes:
        name: What it is called.
        apply: Shell commands that make it so; `$kept` is a path for what they keep.
        undo: Those that take it back.
        expected: The checks that must tell: names, or patterns as in a shell.
        alone: It meddles with too much to be applied together with another one.
    """

    name: str
    apply: str
    undo: str
    expected: tuple[str, ...]
    alone: bool = False

    @property
    def things(self) -> frozenset[str]:
        """What its commands name: drifts that share one of these are not applied together."""
        return frozenset(thing for thing in _THINGS if thing in f"{self.apply};{self.undo}")


def kept(name: str, paths: str, command: str, expected: tuple[str, ...], then: str = ":") -> Drift:
    """Files (or folders) that a command changes or removes; `then` makes their program see it."""
    return Drift(
        name,
        apply=f"tar -cf $kept -P {paths}; {command}; {then}",
        undo=f"rm -rf {paths}; tar -xf $kept -P; rm $kept; {then}",
        expected=expected,
    )


def edited(
    name: str, path: str, script: str, expected: tuple[str, ...] = (), then: str = ":"
) -> Drift:
    """A file changed by a sed script."""
    return Drift(
        name,
        apply=f"cp --preserve=all {path} $kept; sed -i '{script}' {path}; {then}",
        undo=f"mv $kept {path}; {then}",
        expected=(f"file{path}", *expected),
    )


def nginx(name: str, script: str, *expected: str) -> Drift:
    """The web server's configuration changed by a sed script, and in force."""
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
    """A file that nobody asked for, in a folder that is there."""
    return Drift(
        name,
        apply=f"install -m {mode} /dev/null {path}; printf '{line}\\n' >{path}; {then}",
        undo=f"rm {path}; {then}",
        expected=(f"file{path}", *expected),
    )


def folder(
    name: str, path: str, file: str, line: str, expected: tuple[str, ...], then: str = ":"
) -> Drift:
    """A file in a folder that was not there either."""
    return Drift(
        name,
        apply=f"mkdir {path}; printf '{line}\\n' >{path}/{file}; {then}",
        undo=f"rm -r {path}; {then}",
        expected=expected,
    )


def chmod(name: str, path: str, mode: str, good: str, *also: str) -> Drift:
    """Other rights; of a folder, the path ends in a slash."""
    return Drift(name, f"chmod {mode} {path}", f"chmod {good} {path}", (f"file{path}", *also))


def sql(name: str, statement: str, undo: str, *expected: str) -> Drift:
    """Something done to the running database server."""
    return Drift(name, f'mariadb -e "{statement}"', f'mariadb -e "{undo}"', expected)


def redis(name: str, key: str, value: str, good: str, *also: str) -> Drift:
    """A setting of the running server; its file says what it always said."""
    command = f"redis-cli config set {key} {{}} | grep -qx OK"
    return Drift(name, command.format(value), command.format(good), (f"setting/redis/{key}", *also))


def accounts(name: str, command: str, *expected: str) -> Drift:
    """Something done to the files of users and groups."""
    names = "passwd shadow group gshadow subuid subgid"
    return Drift(
        name,
        apply=f"tar -cf $kept -C /etc {names}; {command}",
        undo="tar -xf $kept -C /etc; rm $kept",
        expected=expected,
    )
