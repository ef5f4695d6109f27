"""Settings as the running servers report them, whatever their files say."""

import socket


def collect(wanted, run):
    """`{server: {"values": {setting: value}} or {"error": …}}` for the servers that are wanted."""
    readers = {"mariadb": _mariadb, "memcached": _memcached, "redis": _redis}
    found = {}
    for server in wanted["settings"]:
        try:
            found[server] = {"values": readers[server](run)}
        except KeyError:
            found[server] = {"error": f"no reader for {server}; there are: {', '.join(readers)}"}
        except (OSError, RuntimeError) as error:
            found[server] = {"error": f"{server} does not answer: {error}"}
    return found


def _mariadb(run):
    query = "SHOW GLOBAL VARIABLES"
    client = ["mariadb", "--no-defaults", "--protocol=socket", "--user=root"]
    code, out, err = run([*client, "--batch", "--skip-column-names", "--execute", query])
    if code:
        raise RuntimeError(err.strip())
    rows = (line.partition("\t") for line in out.splitlines())
    return {name: value for name, _, value in rows}


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
