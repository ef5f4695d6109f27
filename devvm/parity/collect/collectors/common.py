"""What several collectors need: a file's rights, the package it is from, what is a secret."""

from __future__ import annotations

import fcntl
import fnmatch
import functools
import grp
import hashlib
import os
import pwd
import re
import stat
import struct

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from collections.abc import Callable

    from devvm.parity.collect.interface import Packaged, Run
    from devvm.parity.production.manifest import Facts

#: Files that are secret as a whole: at most a hash of them leaves the machine.
SECRET_PATHS = (
    "*.key",
    "*.keytab",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*_key",
    "*/.my.cnf",
    "*/.netrc",
    "*/.pgpass",
    "*/.ssh/id_*",
    "*/private/*",
    "*credentials*",
    "*htpasswd*",
    "*password*",
    "*secret*",
    "*token*",
    "/etc/mysql/debian.cnf",
)

_KEYS = (
    r"(?:(?<![a-z])des|access|account|api|app|auth|cipher|crypto?|encrypt(?:ion)?|hmac|jwt|licen[cs]e"
    r"|logged_in|master|nonce|private|secret|shared|sign(?:ing)?|storage)[_-]?key"
)
#: What a setting is called that is a secret, apart from `pass`, which also means "hand on".
_STRONG = (
    r"pass(?:word|wd|phrase)s?|pwd|[a-z]pw|(?<!server)(?<!server_)tokens?|secrets?"
    rf"|(?<!load)(?<!import)credentials?|{_KEYS}|[_-]salt|(?<![a-z])psk|snmp[_-]?community"
)
_NAME = rf"(?:{_STRONG}|pass(?:es)?)(?:[_-]\w++|\d++)?"
#: What may be around a name, between it and its value, and before the value.
_CLOSE = r"(?:\\?['\"])?(?:\](?=[ \t]*=))?"
_IS = r"[ \t]*[=:]+>?(?![=:>])[ \t]*"
_OPEN = r"(?:[bfru@]?\\?['\"])?"
#: A value in either quotes, and one in none: of a line, and where others may follow.
_QUOTED = r"(?<=')(?:\\.|[^'\\\n])+|(?<=\")(?:\\.|[^\"\\\n])+"
_VALUE = rf"{_QUOTED}|(?<!['\"])[^\s'\";]+"
_VALUE_OF_MANY = rf"{_QUOTED}|(?<!['\"])(?!\{{\{{)[^\s'\",;&#]+"


def _patterns(*patterns: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(pattern, re.IGNORECASE | re.MULTILINE) for pattern in patterns)


#: Secrets by their name, each as group 2. Yes, no, paths and numbers are none.
_NAMED = _patterns(
    # To the end of the line: name = value
    rf"(^[ \t]*(?:[\w.-]+\[)?['\"]?[\w.-]*{_NAME}['\"]?\]?{_IS})([^\s#][^\n]*)",
    # In quotes as a whole.
    rf"((?<=\")[\w.-]*{_NAME}=)((?:\\.|[^\"\\\n])+)",
    rf"((?<=')[\w.-]*{_NAME}=)((?:\\.|[^'\\\n])+)",
    # Anywhere: name=value, "name": "value", ['name'] => 'value', name="name" value="value"
    rf"({_NAME}{_CLOSE}(?:[ \t]+value)?{_IS}{_OPEN})({_VALUE_OF_MANY})",
    # As arguments: define('NAME', 'value')
    rf"((?:define|[gs]et\w*|env)\([ \t]*['\"][\w.-]*{_NAME}['\"][ \t]*,[ \t]*['\"])({_QUOTED})",
    # In XML: <name>value</name>
    rf"(<[\w:.-]*{_NAME}(?:[ \t][^<>\n]*)?>)([^<\n]+)(?=</)",
    # After a directive: SetEnv NAME value, proxy_set_header X-Name "value"
    r"(^[ \t]*[#;]?(?:[\w-]+[ \t]+)??[\w-]*(?:define|env|header|option|param|set|value)[ \t]+"
    rf"(?:(?:add|always|append|merge|set)[ \t]+)*['\"]?\$?[\w.-]*(?:{_NAME}|authorization)"
    rf"['\"]?[ \t]+{_OPEN})({_VALUE})",
    # Alone on a line, or in brackets: name value
    rf"((?:^|[;{{])[ \t]*[\w.-]*(?:{_STRONG})\d*[ \t]+(?![=:{{}}(|&]){_OPEN})({_VALUE})"
    r"(?=['\"]?[ \t\r]*(?:[;}#]|$))",
    # As an option: --name value
    rf"(--(?!ask-|no-|skip-)[\w.-]*(?:{_STRONG}|pass)[ \t]+{_OPEN}(?!-))({_VALUE})",
)
#: Secrets by their place, each as group 2.
_PLACED = _patterns(
    rf"(^[ \t]*(?:requirepass|masterauth|auth-pass|sentinel[ \t]+auth-pass[ \t]+\S+)[ \t]+{_OPEN})"
    rf"({_VALUE})",
    r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)([^\s@/]+)(?=@)",
    # A login without a password is a token, except that of git's servers.
    r"(\bhttps?://(?!git@))([^\s:/@?#'\"]+)(?=:?@)",
    # curl -u name:value
    *(
        rf"(\bcurl\b[^\n|]*?[ \t](?:-[a-z]*u[ \t=]*|--(?:proxy-)?user[ \t=]+)"
        rf"{quote}[^\s:'\"]*:)({value})"
        for quote, value in (("'", r"[^'\n]+"), ('"', r"[^\"\n]+"), ("", r"[^\s'\"]+"))
    ),
    # mysql -pvalue, sshpass -p value
    rf"(\b(?:mysql|mariadb)[\w-]*[ \t](?:[^\n|;]*?[ \t])?(?-i:-p){_OPEN})({_VALUE})",
    rf"(\bsshpass[ \t]+(?-i:-p)[ \t]*{_OPEN})({_VALUE})",
    # In netrc's format, which apt reads too.
    rf"(\bmachine[ \t]+\S+[ \t]+login[ \t]+\S+[ \t]+password[ \t]+{_OPEN})({_VALUE})",
    # As snmpd.conf(5) has them.
    r"(^[ \t]*(?:r[ow]community6?|trapcommunity|authcommunity[ \t]+\S+|(?:trap2?|inform)sink"
    rf"[ \t]+\S+|com2sec6?[ \t]+(?:-Cn[ \t]+\S+[ \t]+)?\S+[ \t]+\S+)[ \t]+{_OPEN})({_VALUE})",
    r"(^[ \t]*createuser[ \t][^\n]*?[ \t](?:md5|sha(?:-?\d+)?)[ \t]+)([^\n]+)",
)
#: Secrets that may stand in a later line than what begins them, each as group 2.
_FOLDED = _patterns(
    r"(\bidentified\s+by\s+)('[^']*'|\"[^\"]*\")",
    r"(\b(?:authorization|proxy-authorization)['\"]?\s*[:=]\s*['\"]?(?:basic|bearer|token)\s+)"
    r"([^\s'\"]+)",
)
_VARIABLE = r"\{secret\}|\{\{[^{}]*\}\}|%\w+|%\{\w+\}\w?|\$\{?\w+\}?"
#: Values that stand for others, or for none.
_STANDS_FOR = re.compile(rf"['\"]*(?:(?:basic|bearer)\s+)?(?:{_VARIABLE})?['\"]*[,;)]*")
#: Values that look like a secret's but are harmless.
_HARMLESS = re.compile(
    r"['\"]?(yes|no|on|off|true|false|none|null|required|sufficient|optional|[\d.]*(?:/(?:tcp|udp))?"
    r"|(?:(?:btree|cdb|exec|file|hash|lmdb|texthash|unix):)?/[^\s:]*"
    r"|files.*|compat.*|without-password|prohibit-password)['\"]?[,;)]*"
)
#: The tag in a sudo rule that says whether sudo asks for a password.
_SUDO_TAG = re.compile(r"(^|\W)(NO)?PASSWD:\s*$")
#: A line without any of these has no secret: words are found far more quickly than patterns.
_SUSPECT = (
    "pass", "pw", "secret", "token", "key", "credential", "masterauth", "authorization", "://",
    "salt", "psk", "community", "com2sec", "sink", "createuser", "curl", "mysql", "mariadb",
)  # fmt: skip
#: The same for `_FOLDED`, whose secrets may stand in a line without any.
_SUSPECT_FOLDED = ("identified", "authorization")
_PEM_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*-----|\Z)", re.DOTALL)


def digest(content: bytes) -> str:
    """The SHA-256 of these bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def redact(text: str) -> tuple[str, list[str]]:
    """The text without its secrets, and the secrets: `("password = {secret}", ["hunter2"])`."""
    found: list[str] = []

    def hide(match: re.Match[str]) -> str:
        value = match[2].strip()
        if _STANDS_FOR.fullmatch(value.lower()):
            return match[0]
        found.append(value)
        return match[1] + "{secret}"

    def hide_named(match: re.Match[str]) -> str:
        if _HARMLESS.fullmatch(match[2].strip().lower()) or _SUDO_TAG.search(match[1]):
            return match[0]
        return hide(match)

    def hide_key(match: re.Match[str]) -> str:
        found.append(match[0])
        return "{secret}"

    text = _PEM_KEY.sub(hide_key, text)
    lower = text.lower()
    # Patterns ignore case as Unicode has it, which lower() does not.
    if not text.isascii() or any(word in lower for word in _SUSPECT_FOLDED):
        for pattern in _FOLDED:
            text = pattern.sub(hide, text)
        lower = text.lower()
    ascii_only = text.isascii()
    words = [word for word in _SUSPECT if word in lower]
    if ascii_only and not words:
        return text, found
    lines = text.split("\n")
    suspect = [
        number
        for number, line in enumerate(lower.split("\n"))
        if any(word in line for word in words) or not (ascii_only or lines[number].isascii())
    ]
    shown = "\n".join(lines[number] for number in suspect)
    for pattern in _NAMED:
        shown = pattern.sub(hide_named, shown)
    for pattern in _PLACED:
        shown = pattern.sub(hide, shown)
    for number, line in zip(suspect, shown.split("\n"), strict=True):
        lines[number] = line
    return "\n".join(lines), found


def matches(path: str, patterns: tuple[str, ...]) -> bool:
    """Whether a path is like one of these patterns, as the shell's are."""
    return _any_of(patterns).match(path) is not None


@functools.cache
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(fnmatch.translate, patterns)))


def mode_of(status: os.stat_result) -> str:
    """A file's mode as chmod takes it: `0644`."""
    return f"{stat.S_IMODE(status.st_mode):04o}"


def owner_of(status: os.stat_result) -> str:
    """`USER:GROUP`; an ID if there is no such user or group."""
    return f"{_user(status.st_uid)}:{_group(status.st_gid)}"


@functools.cache
def _user(number: int) -> str:
    return _name(pwd.getpwuid, number)


@functools.cache
def _group(number: int) -> str:
    return _name(grp.getgrgid, number)


def _name(lookup: Callable[[int], pwd.struct_passwd | grp.struct_group], number: int) -> str:
    try:
        return lookup(number)[0]
    except KeyError:
        return str(number)


#: ioctl_iflags(2): the request, and the flags that keep even root from changing a file.
_GETFLAGS = 0x80086601
_LOCKS = {0x20: "append only", 0x10: "immutable"}


def attributes(path: str) -> list[str]:
    """What `chattr` set on a file or folder that keeps it from being changed; mostly nothing.

    Do not call it for other kinds of files: opening a device may have an effect.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return []
    try:
        (flags,) = struct.unpack_from("i", fcntl.ioctl(file, _GETFLAGS, bytes(8)))
    except OSError:  # the file system has no attributes
        return []
    finally:
        os.close(file)
    return [name for flag, name in _LOCKS.items() if flags & flag]


def read(path: str, limit: int | None = None) -> bytes | None:
    """A file's bytes; None if it is gone or can't be read."""
    try:
        with open(path, "rb") as file:
            return file.read() if limit is None else file.read(limit)
    except OSError:
        return None


def lines(path: str) -> list[str]:
    """The lines of a configuration file that are neither empty nor comments."""
    text = (read(path) or b"").decode("utf-8", "replace")
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if line and line[0] not in "#;"]


def files_in(*folders: str, suffix: str = "") -> list[str]:
    """Paths of files, sorted by name; of several with one name the first, as in systemd."""
    found: dict[str, str] = {}
    for folder in folders:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            if name.endswith(suffix) and name not in found:
                found[name] = f"{folder}/{name}"
    return [found[name] for name in sorted(found)]


#: Folders of files that packages install, nobody should edit, and that decide what runs.
VENDOR = (
    "/usr/lib/environment.d",
    "/usr/lib/modprobe.d",
    "/usr/lib/modules-load.d",
    "/usr/lib/sysctl.d",
    "/usr/lib/systemd/network",
    "/usr/lib/systemd/system",
    "/usr/lib/sysusers.d",
    "/usr/lib/tmpfiles.d",
    "/usr/lib/udev/rules.d",
    "/usr/share/ca-certificates/mozilla",
)


@functools.cache
def packaged(run: Run) -> Packaged:
    """`{path: (md5, package)}` of what packages installed: conffiles, and files in `VENDOR`."""
    found: dict[str, tuple[str, str]] = {}
    code, out, err = run(["dpkg-query", "--show", "--showformat=${Package}\\n${Conffiles}\\n"])
    if code:
        raise RuntimeError(err.strip())
    package = ""
    for line in out.splitlines():
        if line.startswith(" "):
            words = line.split()
            if len(words) == 2:  # more: obsolete, or to be removed
                found[words[0]] = (words[1], package)
        elif line:
            package = line
    # Packages may list a file under /lib or /usr/lib, which are the same folder.
    names = "|".join(folder.removeprefix("/usr/") for folder in VENDOR)
    pattern = f"  (usr/)?({names})/"
    folder = "/var/lib/dpkg/info"
    sums = [f"{folder}/{name}" for name in os.listdir(folder) if name.endswith(".md5sums")]
    _, out, _ = run(["grep", "-E", "-H", "--", pattern, "/dev/null", *sums])
    for line in out.splitlines():
        file, _, rest = line.partition(":")
        name = os.path.basename(file)[: -len(".md5sums")].partition(":")[0]
        md5, _, path = rest.partition("  ")
        found[canonical(f"/{path}")] = (md5, name)
    return found


def setting(name: str, value: str) -> Facts:
    """The fact of a server's setting: its value, or a digest if the name or text is of a secret."""
    text, secrets = redact(f"{name}={value}")
    if secrets:
        return {"secret": digest(value.encode())}
    return {"value": text.partition("=")[2]}


def ask_mariadb(run: Run, *queries: str) -> list[list[list[str]]]:
    """The rows that each query returns; one start of the client for all.

    Raises:
        RuntimeError: the server does not answer, or refuses.
    """
    end = "--- end of an answer"
    client = ["mariadb", "--no-defaults", "--protocol=socket", "--user=root"]
    text = "".join(f"{query};\nSELECT '{end}';\n" for query in queries)
    code, out, err = run([*client, "--batch", "--skip-column-names", "--execute", text])
    if code:
        raise RuntimeError(err.strip())
    answers: list[list[list[str]]] = [[]]
    for line in out.split("\n"):
        if line == end:
            answers.append([])
        elif line:
            answers[-1].append(line.split("\t"))
    return answers[:-1]


@functools.cache
def is_container(run: Run) -> bool:
    """Whether this is a container, which has its host's kernel."""
    code, out, _ = run(["systemd-detect-virt", "--container"])
    return code == 0 and out.strip() != "none"


def canonical(path: str) -> str:
    """The path under /usr of a file that a package may list without it."""
    return f"/usr{path}" if path.startswith("/lib/") else path


def origin_of(path: str, content: bytes, known: Packaged) -> str | None:
    """The package that installed this file; None if no package did, or it was changed since."""
    md5, package = known.get(canonical(path), (None, None))
    return package if md5 == hashlib.md5(content, usedforsecurity=False).hexdigest() else None
