"""Settings as the running servers report them, whatever their files say."""

import fnmatch
import os
import re
import socket

import common

AREAS = ("setting",)

#: MariaDB's variables that are a session's, a counter, the machine's own or another check's.
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
#: Written by an installed server's package.
_INSTALLED = {
    "gunicorn": "/usr/bin/gunicorn",
    "mariadb": "/usr/sbin/mariadbd",
    "memcached": "/usr/bin/memcached",
    "nginx": "/usr/sbin/nginx",
    "redis": "/usr/bin/redis-server",
}


def collect(wanted, run):
    """By `SERVER/SETTING`: `value`. Of nginx the whole configuration that it reads, and modules."""
    readers = {
        "gunicorn": _gunicorn,
        "mariadb": _mariadb,
        "memcached": _memcached,
        "nginx": _nginx,
        "redis": _redis,
    }
    found, errors = {}, {}
    for server, reader in readers.items():
        if not os.path.exists(_INSTALLED[server]):
            continue
        try:
            for name, value in reader(run).items():
                found[f"{server}/{name}"] = _fact(name, value)
        except (OSError, RuntimeError) as error:
            errors[f"setting/{server}/"] = f"{server} does not answer: {error}"
    return {"setting": found, "errors": errors}


def _fact(name, value):
    if isinstance(value, dict):
        return value
    text, secrets = common.redact(f"{name}={value}")
    if secrets or (value and name == "masterauth"):
        return {"secret": common.digest(str(value).encode())}
    return {"value": text.partition("=")[2]}


def _mariadb(run):
    query = "SHOW GLOBAL VARIABLES"
    client = ["mariadb", "--no-defaults", "--protocol=socket", "--user=root"]
    code, out, err = run([*client, "--batch", "--skip-column-names", "--execute", query])
    if code:
        raise RuntimeError(err.strip())
    rows = (line.partition("\t") for line in out.splitlines())
    own = f"{socket.gethostname().partition('.')[0]}."  # log files are named after the machine
    return {
        name: f"{{host}}.{value[len(own) :]}" if value.startswith(own) else value
        for name, _, value in rows
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in VOLATILE)
    }


def _memcached(run):
    text = _ask(("127.0.0.1", 11211), b"stats settings\r\n", b"END\r\n").decode()
    rows = (line.split(" ", 2) for line in text.splitlines() if line.startswith("STAT "))
    return {row[1]: row[2] if len(row) > 2 else "" for row in rows}


def _redis(run):
    # RESP: an array of bulk strings, name and value in turn; QUIT answers +OK after it.
    answer = _ask(("127.0.0.1", 6379), b"CONFIG GET *\r\nQUIT\r\n", b"+OK\r\n")
    if not answer.startswith(b"*"):
        raise RuntimeError(answer.decode("utf-8", "replace").strip())
    _, _, rest = answer.partition(b"\r\n")
    words = []
    while rest.startswith(b"$"):
        length, _, rest = rest[1:].partition(b"\r\n")
        words.append(rest[: int(length)].decode("utf-8", "replace"))
        rest = rest[int(length) + 2 :]
    return dict(zip(words[::2], words[1::2], strict=False))


def _nginx(run):
    code, out, err = run(["nginx", "-T", "-q"])
    if code:
        raise RuntimeError(err.strip().splitlines()[-1] if err.strip() else f"exit code {code}")
    effective = list(_effective(out, common.packaged(run)))
    _, _, built = run(["nginx", "-V"])
    modules = re.findall(r"--with-((?:http|mail|stream)\w*(?:=dynamic)?)", built)
    loaded = [line.split("/")[-1].rstrip(";") for line in effective if "load_module" in line]
    text = common.redact("\n".join(effective) + "\n")[0]
    return {
        "config": {"sha256": common.digest(text.encode()), "content": text},
        "modules": {"built": sorted(modules), "loaded": sorted(loaded)},
    }


def _effective(dump, known):
    """The lines of a dump that mean something; a file as its package brought it is one line."""
    package = None
    for line in map(str.strip, dump.splitlines()):
        if line.startswith("# configuration file "):
            path = line[len("# configuration file ") :].rstrip(":")
            package = common.origin_of(path, common.read(path) or b"", known)
            yield f"# {path}" + (f", as packaged: {package}" if package else "")
        elif line and not line.startswith("#") and not package:
            yield line


def _gunicorn(run):
    """The workers that each server of this kind has, by what it serves."""
    parents, commands = {}, {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        words = (common.read(f"/proc/{pid}/cmdline") or b"").decode("utf-8", "replace").split("\0")
        if any(os.path.basename(word) == "gunicorn" for word in words[:2]):
            status = (common.read(f"/proc/{pid}/stat") or b"").decode("utf-8", "replace")
            parents[pid] = status.rpartition(")")[2].split()[1]
            commands[pid] = [word for word in words[1:] if word][1:]
    found = {}
    for pid, words in commands.items():
        if parents[pid] not in commands and words:
            workers = sum(1 for parent in parents.values() if parent == pid)
            arguments = common.redact(" ".join(words[:-1]))[0]
            found[words[-1]] = {"workers": workers, "arguments": arguments}
    return found


def _ask(address, question, end):
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(question)
        answer = b""
        while not answer.endswith(end):
            part = connection.recv(65536)
            if not part:
                break
            answer += part
    return answer
