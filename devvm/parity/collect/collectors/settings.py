"""Settings as the running servers report them, whatever their configuration files say."""

from __future__ import annotations

import fnmatch
import os
import re
import socket

from devvm.parity.collect.collectors import common

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from devvm.parity.collect.interface import Errors, Evidence, Found, Items, Packaged, Run, Wanted
    from devvm.parity.production.manifest import Facts

AREAS = ("setting",)

#: Variables of MariaDB that belong to a session, count something, are specific to the machine or
#: are covered by another check.
VOLATILE = (
    "*_pos",
    "*_pos_*",
    "error_count",
    "external_user",
    "gtid_*",
    "hostname",
    "identity",
    "in_predicate*",
    "in_transaction",
    "innodb_version",
    "insert_id",
    "last_*",
    "pseudo_*",
    "proxy_user",
    "rand_seed*",
    "report_host",
    "server_uid",
    "skip_replication",
    "sql_log_bin",
    "thread_pool_size",
    "timestamp",
    "version*",
    "warning_count",
    "wsrep_node_*",
)
#: Seconds by which two of the kernel's clocks may differ.
_GRANULARITY = 2.0
_REDIS_CONF = "/etc/redis/redis.conf"
#: A program that exists if the server is installed.
_INSTALLED = {
    "gunicorn": "/usr/bin/gunicorn",
    "mariadb": "/usr/sbin/mariadbd",
    "memcached": "/usr/bin/memcached",
    "nginx": "/usr/sbin/nginx",
    "redis": "/usr/bin/redis-server",
}


def collect(wanted: Wanted, run: Run) -> Found:
    """By `SERVER/SETTING`: `value`. For nginx, the whole configuration that it reads, and modules.

    As evidence, for `servers` whose package differs from production's: which values are defaults.
    """
    readers: dict[str, Callable[[Run], Mapping[str, str | Facts]]] = {
        "gunicorn": _gunicorn,
        "mariadb": _mariadb,
        "memcached": _memcached,
        "nginx": _nginx,
        "redis": _redis,
    }
    found: Items = {}
    errors: Errors = {}
    evidence: Evidence = {}
    moved = wanted.get("moved", ())
    for server, reader in readers.items():
        if not os.path.exists(_INSTALLED[server]):
            continue
        try:
            for name, value in reader(run).items():
                found[f"{server}/{name}"] = _fact(name, value)
            if any(server in package for package in moved):
                program = _INSTALLED[server]
                evidence[server] = {"programs": [program, os.path.realpath(program)]}
                evidence[server] |= _OWN[server](run) if server in _OWN else {}
        except (OSError, RuntimeError) as error:
            errors[f"setting/{server}/"] = f"{server} does not answer: {error}"
    return {"setting": found, "errors": errors, "evidence": {"servers": evidence}}


def _fact(name: str, value: str | Facts) -> Facts:
    if isinstance(value, dict):  # it is facts already
        return value
    if value and name == "masterauth":
        return {"secret": common.digest(value.encode())}
    return common.setting(name, value)


def _mariadb(run: Run) -> dict[str, str | Facts]:
    own = f"{socket.gethostname().partition('.')[0]}."  # log files are named after the machine
    variables, accounts = common.ask_mariadb(run, "SHOW GLOBAL VARIABLES", _ACCOUNTS)
    found: dict[str, str | Facts] = {
        name: f"{{host}}.{value[len(own) :]}" if value.startswith(own) else value
        for name, value in variables
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in VOLATILE)
    }
    for account, plugin, access, locked, databases in accounts:
        found[f"account {account}"] = {
            "access": access,
            "databases": sorted(filter(None, databases.split(" "))),
            "locked": locked in ("1", "true"),
            "plugin": plugin,
        }
    return found


#: Accounts with their rights, on everything and on single databases, but never their credentials.
_ACCOUNTS = """
SELECT CONCAT(g.user, '@', g.host), IFNULL(JSON_VALUE(g.priv, '$.plugin'), ''),
  IFNULL(JSON_VALUE(g.priv, '$.access'), ''),
  IFNULL(JSON_VALUE(g.priv, '$.account_locked'), ''),
  IFNULL((SELECT GROUP_CONCAT(CONCAT(d.db, ':', CONCAT_WS('',
    d.select_priv, d.insert_priv, d.update_priv, d.delete_priv, d.create_priv, d.drop_priv,
    d.grant_priv, d.references_priv, d.index_priv, d.alter_priv, d.trigger_priv))
    ORDER BY d.db SEPARATOR ' ') FROM mysql.db d WHERE d.user = g.user AND d.host = g.host), '')
FROM mysql.global_priv g
"""


#: Where each variable's value comes from, and whether it is the compiled-in default.
_VALUES = """
SELECT LOWER(variable_name), global_value_origin, global_value <=> default_value
FROM information_schema.system_variables
"""
#: Plugins, whose variables come and go with them.
_PLUGINS = """
SELECT DISTINCT LOWER(plugin_name) FROM information_schema.all_plugins
WHERE plugin_library IS NOT NULL
"""


def _own_of_mariadb(run: Run) -> dict[str, list[str]]:
    """`unset`: variables that nobody has set, except those of plugins. `plugins`: their names.

    `compiled`: the unset variables that have their compiled-in default.
    """
    names, rows = common.ask_mariadb(run, _PLUGINS, _VALUES)
    plugins = [name for (name,) in names]
    values = [row for row in rows if not row[0].startswith(tuple(f"{p}_" for p in plugins))]
    return {
        "unset": [name for name, origin, _ in values if origin in ("COMPILE-TIME", "AUTO")],
        "compiled": [n for n, origin, same in values if origin == "COMPILE-TIME" and same == "1"],
        "plugins": plugins,
    }


#: Commands that change settings of a running Redis, or reset the statistics that show it.
_CHANGES = re.compile(
    r"^cmdstat_(config(\|(set|resetstat))?|module\|.*|slaveof|replicaof|debug.*):", re.MULTILINE
)


def _own_of_redis(run: Run) -> dict[str, bool]:
    """`untouched`: since it started nobody has set anything, or changed the files that it read."""
    question = b"INFO server\r\nINFO commandstats\r\nQUIT\r\n"
    answer = _ask(_address_of_redis(), question, b"+OK\r\n").decode("utf-8", "replace")
    facts = dict(re.findall(r"^(\w+):(.*?)\r?$", answer, re.MULTILINE))
    folder = os.path.dirname(facts.get("config_file", ""))
    files = common.files_in(folder)
    began = _start(facts["process_id"]) if "process_id" in facts else None
    older = files and began is not None and max(os.stat(p).st_ctime for p in files) < began
    return {"untouched": bool(older) and not _CHANGES.search(answer)}


def _address_of_redis() -> tuple[str, int] | str:
    """The Unix socket that its configuration names, or its port."""
    text = (common.read(_REDIS_CONF) or b"").decode("utf-8", "replace")
    said = dict(re.findall(r"^\s*(unixsocket|port)\s+\"?([^\s\"]+)", text, re.MULTILINE))
    return said.get("unixsocket") or ("127.0.0.1", int(said.get("port", "6379")))


def _memcached(run: Run) -> dict[str, str]:
    text = _ask(("127.0.0.1", 11211), b"stats settings\r\n", b"END\r\n").decode()
    rows = (line.split(" ", 2) for line in text.splitlines() if line.startswith("STAT "))
    return {row[1]: row[2] if len(row) > 2 else "" for row in rows}


def _redis(run: Run) -> Mapping[str, str | Facts]:
    # RESP: arrays of bulk strings; QUIT answers +OK after them.
    answer = _ask(_address_of_redis(), b"CONFIG GET *\r\nACL LIST\r\nQUIT\r\n", b"+OK\r\n")
    if not answer.startswith(b"*"):
        raise RuntimeError(answer.decode("utf-8", "replace").strip())
    words, rest = _array(answer)
    users, _ = _array(rest)
    found = dict(zip(words[::2], words[1::2], strict=False))
    # Password hashes begin with `#`.
    rules = [re.sub(r"#[0-9a-f]{64}", "{secret}", user) for user in users]
    return {**found, "acl": {"users": sorted(rules)}}


_OWN: dict[str, Callable[[Run], Mapping[str, Any]]] = {
    "mariadb": _own_of_mariadb,
    "redis": _own_of_redis,
}


def _array(answer: bytes) -> tuple[list[str], bytes]:
    """The bulk strings of an array, and what follows it."""
    count, _, rest = answer[1:].partition(b"\r\n")
    words = []
    for _ in range(int(count) if answer[:1] == b"*" else 0):
        length, _, rest = rest[1:].partition(b"\r\n")
        words.append(rest[: int(length)].decode("utf-8", "replace"))
        rest = rest[int(length) + 2 :]
    return words, rest


def _nginx(run: Run) -> Items:
    code, out, err = run(["nginx", "-T", "-q"])
    if code:
        raise RuntimeError(err.strip().splitlines()[-1] if err.strip() else f"exit code {code}")
    effective = list(_effective(out, common.packaged(run)))
    _, _, built = run(["nginx", "-V"])
    modules = re.findall(r"--with-((?:http|mail|stream)\w*(?:=dynamic)?)", built)
    loaded = [line.split("/")[-1].rstrip(";") for line in effective if "load_module" in line]
    text = common.redact("\n".join(effective) + "\n")[0]
    facts: Facts = {"sha256": common.digest(text.encode()), "content": text}
    if _older_than_its_files(out):
        facts["reload"] = "due"
    return {
        "config": facts,
        "modules": {"built": sorted(modules), "loaded": sorted(loaded)},
    }


def _older_than_its_files(dump: str) -> bool:
    """Whether a file was changed after nginx read it, which is when its current workers started."""
    began = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        title = common.read(f"/proc/{pid}/cmdline") or b""
        if title.startswith(b"nginx: worker process") and b"shutting down" not in title:
            start = _start(pid)
            began += [] if start is None else [start]
    paths = re.findall(r"^# configuration file (.*):$", dump, re.MULTILINE)
    changed = [os.stat(path).st_mtime for path in paths if os.path.exists(path)]
    return bool(began and changed and max(changed) > max(began) + _GRANULARITY)


def _start(pid: str) -> float | None:
    """When a process started, in seconds since the epoch; None if it has ended."""
    words = _status(pid)
    boot = re.search(rb"^btime (\d+)", common.read("/proc/stat") or b"", re.MULTILINE)
    if not words or not boot:
        return None
    return int(boot[1]) + int(words[19]) / os.sysconf("SC_CLK_TCK")  # proc(5): starttime


def _status(pid: str) -> list[str]:
    """The fields of /proc/PID/stat after the name (proc(5)); empty if the process has ended."""
    text = (common.read(f"/proc/{pid}/stat") or b"").decode("utf-8", "replace")
    return text.rpartition(")")[2].split()


def _effective(dump: str, known: Packaged) -> Iterator[str]:
    """The lines of a dump that have an effect; a file as its package installed it is one line."""
    package = None
    for line in map(str.strip, dump.splitlines()):
        if line.startswith("# configuration file "):
            path = line[len("# configuration file ") :].rstrip(":")
            package = common.origin_of(path, common.read(path) or b"", known)
            yield f"# {path}" + (f", as packaged: {package}" if package else "")
        elif line and not line.startswith("#") and not package:
            yield line


def _gunicorn(run: Run) -> Items:
    """The number of workers and the arguments of each running gunicorn, by application."""
    parents: dict[str, str] = {}
    commands: dict[str, list[str]] = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        words = (common.read(f"/proc/{pid}/cmdline") or b"").decode("utf-8", "replace").split("\0")
        if any(os.path.basename(word) == "gunicorn" for word in words[:2]):
            status = _status(pid)
            if status:  # else it has ended
                parents[pid] = status[1]
                commands[pid] = [word for word in words[1:] if word][1:]
    found: Items = {}
    for pid, words in commands.items():
        if parents[pid] not in commands and words:
            workers = sum(1 for parent in parents.values() if parent == pid)
            arguments = common.redact(" ".join(words[:-1]))[0]
            found[words[-1]] = {"workers": workers, "arguments": arguments}
    return found


def _ask(address: tuple[str, int] | str, question: bytes, end: bytes) -> bytes:
    """What a server answers at a port or, by its path, at a Unix socket."""
    with _connect(address) as connection:
        connection.sendall(question)
        answer = b""
        while not answer.endswith(end):
            part = connection.recv(65536)
            if not part:
                break
            answer += part
    return answer


def _connect(address: tuple[str, int] | str) -> socket.socket:
    if not isinstance(address, str):
        return socket.create_connection(address, timeout=10)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(10)
    try:
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection
