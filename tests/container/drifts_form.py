"""What a drift is, and the ways to write one down."""

from __future__ import annotations

from dataclasses import dataclass

NGINX = "/etc/nginx/nginx.conf"
RELOAD = "systemctl daemon-reload"

#: What a visitor and a monitor of the site get, all of it through the web server.
SITE = ("site/healthz/*", "site/revision")


@dataclass(frozen=True)
class Drift:
    """One way to be wrong."""

    name: str
    apply: str
    undo: str
    expected: tuple[str, ...]


def kept(name: str, paths: str, command: str, expected: tuple[str, ...], then: str = ":") -> Drift:
    """Files (or folders) that a command changes or removes; `then` makes their program see it."""
    return Drift(
        name,
        apply=f"tar -cf /root/kept -P {paths}; {command}; {then}",
        undo=f"rm -rf {paths}; tar -xf /root/kept -P; rm /root/kept; {then}",
        expected=expected,
    )


def edited(
    name: str, path: str, script: str, expected: tuple[str, ...] = (), then: str = ":"
) -> Drift:
    """A file changed by a sed script."""
    return Drift(
        name,
        apply=f"cp --preserve=all {path} /root/kept; sed -i '{script}' {path}; {then}",
        undo=f"mv /root/kept {path}; {then}",
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
        apply=f"tar -cf /root/kept -C /etc {names}; {command}",
        undo="tar -xf /root/kept -C /etc; rm /root/kept",
        expected=expected,
    )
