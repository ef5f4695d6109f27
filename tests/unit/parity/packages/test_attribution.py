"""Attribution: what is proven to come with a package that moved, and what isn't."""

from __future__ import annotations

import pytest

from devvm.domain.check import MovedPackage
from devvm.parity.differences.compare import Tokens
from devvm.parity.packages import attribution
from devvm.parity.packages.attribution import Attribution
from devvm.parity.packages.moved import in_a_line, is_newer
from devvm.parity.production.manifest import Layers, Manifest

FILE = {"mode": "0644", "owner": "root:root"}
PROGRAM = {"mode": "0755", "owner": "root:root"}
UNIT = "/usr/lib/systemd/system"
#: What dpkg reports about `p`, which moved from 1 to 2.
P = {
    "paths": [
        "/etc/p", "/etc/p/new.conf", "/etc/p/known.conf", "/etc/cron.d/p", "/usr/sbin/server",
        f"{UNIT}/new.service", f"{UNIT}/known.service", f"{UNIT}/pulled.service",
        f"{UNIT}/multi-user.target.wants/pulled.service", f"{UNIT}/at@.service",
        f"{UNIT}/known.service.d/p.conf", "/usr/lib/modprobe.d/p.conf", "/usr/lib/sysctl.d/p.conf",
        "/usr/lib/python3/dist-packages/My_Lib-2.1.egg-info", "/boot/vmlinuz-6.1-2",
        "/usr/share/ca-certificates/mozilla/New.crt",
    ],
    "unchanged": [
        "/etc/p/new.conf", "/etc/p/known.conf", "/etc/cron.d/p", f"{UNIT}/new.service",
        f"{UNIT}/known.service", f"{UNIT}/pulled.service", f"{UNIT}/known.service.d/p.conf",
        "/usr/lib/modprobe.d/p.conf", "/usr/lib/sysctl.d/p.conf",
        "/usr/share/ca-certificates/mozilla/New.crt",
    ],
    "obsolete": ["/etc/p/left.conf"],
    "enabled": ["new.service"],
    "users": {"p": {"uid": None, "group": "p", "groups": [], "home": "/", "password": "locked",
                    "shell": "/usr/sbin/nologin"}},
    "groups": ["p"],
}  # fmt: skip
STARTED = {"enabled": "enabled", "state": "active (running)", "file": "as packaged: p"}
SERVERS = {
    "mariadb": {
        "programs": ["/usr/sbin/server"], "unset": ["fresh", "default"], "compiled": ["default"],
        "plugins": ["audit"],
    },
    "redis": {"programs": ["/usr/bin/link", "/usr/sbin/server"], "untouched": True},
    "memcached": {"programs": ["/usr/sbin/server"]},
    "nginx": {"programs": ["/usr/sbin/server"]},
}  # fmt: skip
EVIDENCE = {
    "packages": {"p": P},
    "listening": {"tcp/1": ["new.service"], "tcp/2": ["new.service", "session-1.scope"],
                  "tcp/3": ["known.service"]},
    "said_by": {
        "module": {"m": ["/usr/lib/modprobe.d/p.conf"],
                   "mine": ["/usr/lib/modprobe.d/p.conf", "/etc/modprobe.d/mine.conf"]},
        "sysctl": {"k": ["/usr/lib/sysctl.d/p.conf"], "l": ["/etc/sysctl.d/mine.conf"]},
    },
    "servers": SERVERS,
}  # fmt: skip


def explain(area, item, expected, found, *, evidence=EVIDENCE, others=(), release=None):
    """The package that explains a difference on a machine on which only `p` moved.

    `others`: `(area, item, expected, found)` of other items there.
    """
    production, machine = {}, {}
    every = [(area, item, expected, found), *others]
    if not any(name == "p" and of == "package" for of, name, *_ in every):
        every.append(("package", "p", {"version": "1"}, {"version": "2"}))
    for of, name, wanted, seen in every:
        production.setdefault(of, {})
        machine.setdefault(of, {})
        if wanted is not None:
            production[of][name] = wanted
        if seen is not None:
            machine[of][name] = seen
    return Attribution(
        expected=Manifest(areas=production), found=machine, tokens=Tokens(host="a.b", engineer=""),
        release={"p": "2", "q": "1"} if release is None else release, evidence=evidence,
    ).package_of(area, item)  # fmt: skip


# Packages


@pytest.mark.parametrize(
    ("expected", "found", "release", "moved"),
    [
        ({"version": "1"}, {"version": "2"}, {"p": "2"}, True),
        ({"version": "1"}, {"version": "2"}, {"p": "3"}, False),  # somebody upgraded it
        ({"version": "1"}, {"version": "2"}, {"q": "2"}, False),  # somebody installed it
        ({"version": "1"}, {"version": "2"}, {}, False),  # the release is unknown
        ({"version": "1", "origin": "A"}, {"version": "2", "origin": "B"}, {"p": "2"}, True),
        ({"version": "2", "origin": "A"}, {"version": "2", "origin": "B"}, {"p": "2"}, False),
        ({"version": "2", "origin": "A"}, {"version": "2", "origin": "B"}, {"q": "2"}, False),
        (None, {"version": "2"}, {"p": "2"}, True),
        (None, {"version": "2", "hold": True}, {"p": "2"}, False),
        (None, {"version": "2", "changed": ["/usr/bin/p"]}, {"p": "2"}, False),
        ({"version": "1"}, {"version": "2", "changed": ["/usr/bin/p"]}, {"p": "2"}, False),
        ({"version": "1"}, {"version": "2", "status": "unpacked"}, {"p": "2"}, False),
        ({"version": "1"}, None, {"q": "2"}, True),
        ({"version": "1"}, None, {"p": "1"}, False),  # somebody removed it
    ],
)
def test_a_package_has_moved_that_is_as_in_the_release(expected, found, release, moved):
    assert (explain("package", "p", expected, found, release=release) == "p") is moved


def test_a_label_names_the_version_that_is_here():
    found = {
        "package": {"p": {"version": "2"}},
        "file": {"/etc/p/new.conf": {**FILE, "package": "p"}},
    }
    seen = Attribution(
        expected=Manifest(areas={"package": {"gone": {"version": "1"}}, "file": {}}), found=found,
        tokens=Tokens(), release={"p": "2"}, evidence=EVIDENCE,
    )  # fmt: skip
    assert seen.label_of("file", "/etc/p/new.conf") == "p 2"
    assert seen.label_of("package", "gone") == "gone"
    assert seen.label_of("file", "/etc/other") is None


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ({}, {"package": {"p": {"version": "2"}}}),
        ({"package": {"gone": {"version": "1"}}}, {}),
    ],
    ids=["no word of packages", "packages could not be seen"],
)
def test_nothing_has_moved_where_one_side_tells_no_packages(expected, found):
    tokens, release = Tokens(), {"p": "2"}
    stated = Manifest(areas=expected)
    assert attribution.find_moved(stated, found, tokens, release) == {}


def test_only_packages_that_the_release_has_otherwise_are_asked_about():
    layers = Layers(
        [
            Manifest(areas={"package": {"same": {"version": "1"}, "moved": {"version": "1"}}}),
            Manifest(areas={"package": {"same": None, "both": {"version": "1"}}}),
            Manifest(areas={"package": {"both": {"version": "2"}}}),
        ]
    )
    release = {"same": "1", "moved": "2", "both": "2", "new": "1"}
    assert attribution.candidates(layers, release) == ["both", "moved", "new"]
    assert attribution.candidates(layers, {}) == []


# Areas: area, item, expected, found, and whether it is the package's


def packaged(**more):
    return {**FILE, "package": "p", **more}


FILES = [
    ("/etc/p/new.conf", None, packaged(), True),
    ("/etc/p/new.conf", None, packaged(mode="0755"), True),
    ("/etc/p/new.conf", None, packaged(mode="0666"), False),
    ("/etc/p/new.conf", None, packaged(owner="p:p"), False),
    ("/etc/p/new.conf", None, packaged(**{"beyond-mode": "acl"}), False),
    ("/etc/p/new.conf", None, {**FILE, "sha256": "aa"}, False),
    ("/etc/p/mine.conf", None, packaged(), False),
    ("/etc/p/", None, PROGRAM, True),
    ("/etc/p/", None, {**PROGRAM, "mode": "0777"}, False),
    ("/etc/mine/", None, PROGRAM, False),
    # dpkg records no rights, so unusual ones of a vendor's file may be somebody's change.
    (f"{UNIT}/known.service", None, packaged(mode="0755"), False),
    (f"{UNIT}/known.service", None, {"package": "p", "missing": True}, False),
    ("/usr/sbin/server", None, {"mode": "4755", "owner": "root:root"}, False),
    ("/etc/p/dropped.conf", packaged(), None, True),
    ("/etc/p/known.conf", packaged(), None, False),  # the package still has it: somebody removed it
    ("/etc/q.conf", {**FILE, "package": "q"}, None, False),
    ("/etc/p/written.conf", {**FILE, "sha256": "aa"}, None, False),
    ("/etc/p/left.conf", packaged(), {**FILE, "sha256": "aa"}, True),
    ("/etc/p/left.conf", packaged(), {**FILE, "mode": "0600", "sha256": "aa"}, False),
    ("/etc/p/edited.conf", packaged(), {**FILE, "sha256": "aa"}, False),
    ("/etc/p/known.conf", {**FILE, "sha256": "aa"}, packaged(), False),  # a role wrote it
    ("/etc/p/known.conf", {**FILE, "package": "q"}, packaged(), False),  # q did not move
    (f"{UNIT}/multi-user.target.wants/pulled.service", None, {"link": "../pulled.service"}, True),
    (f"{UNIT}/multi-user.target.wants/pulled.service", None, {"link": "../known.service"}, False),
    (f"{UNIT}/multi-user.target.wants/known.service", None, {"link": "../known.service"}, False),
    (f"{UNIT}/alias.service", None, {"link": "new.service"}, False),
    ("/etc/p/link", None, {"link": "/usr/share/p"}, False),
]
UNITS = [
    ("new.service", None, STARTED, True),
    ("new.service", None, {**STARTED, "state": "inactive (dead)"}, True),
    ("new.service", None, {**STARTED, "state": "failed (failed)"}, False),
    ("new.service", None, {**STARTED, "reload": "due"}, False),
    ("new.service", None, {**STARTED, "enabled": "disabled"}, False),
    ("new.service", None, {**STARTED, "enabled": "masked"}, False),
    ("new.service", None, {**STARTED, "file": "0123"}, False),
    ("new.service", None, {**STARTED, "drop-ins": {"/x": "as packaged: q"}}, True),
    ("new.service", None, {**STARTED, "drop-ins": {"/x": "0123"}}, False),
    ("known.service", None, STARTED, False),  # somebody enabled it; no script recorded that
    ("pulled.service", None, {**STARTED, "enabled": "static"}, True),
    ("known.service", None, {**STARTED, "enabled": "static"}, False),
    ("mine.service", None, {**STARTED, "file": "as packaged: q"}, False),
    ("gone.service", STARTED, None, True),
    ("gone.service", {**STARTED, "file": "as packaged: q"}, None, False),
    ("known.service", STARTED, None, False),  # somebody stopped and disabled it
    ("at@1.service", STARTED, None, False),  # its template exists
    ("of@1.service", STARTED, None, True),
    ("known.service", STARTED, {**STARTED, "enabled": "disabled"}, False),
    ("known.service", STARTED, {**STARTED, "file": "0123"}, False),
    ("known.service", STARTED,
     {**STARTED, "drop-ins": {f"{UNIT}/known.service.d/p.conf": "as packaged: p"}}, True),
    ("known.service", STARTED,
     {**STARTED, "enabled": "disabled",
      "drop-ins": {f"{UNIT}/known.service.d/p.conf": "as packaged: p"}}, False),
    ("known.service", STARTED, {**STARTED, "drop-ins": {"/etc/x.conf": "0123"}}, False),
    ("known.service", {**STARTED, "drop-ins": {"/usr/x": "as packaged: p"}}, STARTED, True),
    ("known.service", {**STARTED, "drop-ins": {"/etc/x": "0123"}}, STARTED, False),
]  # fmt: skip
SETTINGS = [
    ("mariadb/fresh", None, {"value": "1"}, True),
    ("mariadb/default", {"value": "1"}, {"value": "2"}, True),
    ("mariadb/fresh", {"value": "1"}, {"value": "2"}, False),  # because of another setting
    ("mariadb/set", {"value": "1"}, {"value": "2"}, False),
    ("mariadb/set", None, {"value": "2"}, False),
    ("mariadb/gone", {"value": "1"}, None, True),
    ("mariadb/audit_file", {"value": "1"}, None, False),  # somebody removed a plugin
    ("mariadb/account x@y", None, {"locked": False}, False),
    ("redis/hz", {"value": "1"}, {"value": "2"}, True),
    ("redis/fresh", None, {"value": "2"}, True),
    ("redis/module.x", None, {"value": "2"}, False),
    ("redis/acl", {"users": []}, {"users": ["u"]}, False),
    ("memcached/fresh", None, {"value": "1"}, True),
    ("memcached/gone", {"value": "1"}, None, True),
    ("memcached/maxbytes", {"value": "1"}, {"value": "2"}, False),
    ("nginx/modules", {"built": ["a"], "loaded": []}, {"built": ["b"], "loaded": []}, True),
    ("nginx/modules", {"built": ["a"], "loaded": []}, {"built": ["a"], "loaded": ["b"]}, False),
    ("nginx/config", {"content": "a\n"},
     {"content": "a\n# /etc/p/new.conf, as packaged: p\n"}, True),
    ("nginx/config", {"content": "server_name {host};\n# /etc/p/old, as packaged: p\n"},
     {"content": "server_name a.b;\n"}, True),
    ("nginx/config", {"content": "a\n"},
     {"content": "a\n# /etc/p/new.conf, as packaged: p\nmine\n"}, False),
    ("nginx/config", {"content": "a\n# /etc/p/known.conf, as packaged: p\n"},
     {"content": "a\n"}, False),
    ("gunicorn/x", {"workers": 1}, {"workers": 2}, False),
]  # fmt: skip
PYTHON = "in /usr/lib/python3/dist-packages"
OTHERS = [
    ("user", "p", None, P["users"]["p"], True),
    ("user", "p", None, {**P["users"]["p"], "shell": "/bin/sh"}, False),
    ("user", "p", None, {**P["users"]["p"], "groups": ["sudo"]}, False),
    ("user", "p", None, {**P["users"]["p"], "ssh-keys": ["aa"]}, False),
    ("user", "p", P["users"]["p"], {**P["users"]["p"], "home": "/x"}, False),
    ("user", "mine", None, P["users"]["p"], False),
    ("group", "p", None, {"gid": None}, True),
    ("group", "p", None, {"gid": 42}, False),
    ("group", "mine", None, {"gid": None}, False),
    ("module", "m", None, {"options": ["a=1"]}, True),
    ("module", "m", {"options": []}, {"options": ["a=1"]}, False),
    ("module", "mine", None, {"options": ["a=1", "b=2"]}, False),
    ("sysctl", "k", {"value": "1"}, {"value": "2", "configured": "2"}, True),
    ("sysctl", "k", {"value": "1"}, {"value": "3", "configured": "2"}, False),
    ("sysctl", "l", {"value": "1"}, {"value": "2", "configured": "2"}, False),
    ("sysctl", "m", {"value": "1"}, {"value": "2"}, False),
    ("sysctl", "m", None, {"value": "2"}, False),
    ("python", f"my-lib {PYTHON}", {"version": "2.0"}, {"version": "2.1"}, True),
    ("python", f"my-lib {PYTHON}", None, {"version": "2.1"}, True),
    ("python", f"my-lib {PYTHON}", {"version": "2.0"}, {"version": "2.1, 3"}, False),
    ("python", "my-lib in /usr/local/lib/python3.11/dist-packages", None,
     {"version": "2.1"}, False),
    ("python", f"mine {PYTHON}", None, {"version": "2.1"}, False),
    ("system", "kernel", {"release": "6.1-1"}, {"release": "6.1-2"}, True),
    ("system", "kernel", {"release": "6.1-1"}, {"release": "6.1-3"}, False),
    ("system", "kernel", {"release": "6.1-1", "machine": "a"},
     {"release": "6.1-2", "machine": "b"}, False),
    ("system", "locale", {"LANG": "a"}, {"LANG": "b"}, False),
    ("mount", "/x", None, {"type": "tmpfs"}, False),
    ("sudo", "p", None, {"rules": ["ALL"]}, False),
    ("tls", "443", {"ciphers": []}, {"ciphers": ["x"]}, False),
    ("ours", "x", {"value": "1"}, {"value": "2"}, False),
    ("file", "/etc/ca-certificates.conf", {**FILE, "content": "# x\n"},
     {**FILE, "content": "# x\nmozilla/New.crt\n"}, False),  # ca-certificates did not move
]  # fmt: skip
CASES = [
    *(("file", *case) for case in FILES),
    *(("unit", *case) for case in UNITS),
    *(("setting", *case) for case in SETTINGS),
    *OTHERS,
]


@pytest.mark.parametrize(("area", "item", "expected", "found", "explained"), CASES)
def test_what_is_proven_is_the_packages_and_nothing_else(area, item, expected, found, explained):
    assert explain(area, item, expected, found) == ("p" if explained else None)


@pytest.mark.parametrize(
    ("area", "item", "expected", "found"),
    [(area, item, expected, found) for area, item, expected, found, yes in CASES if yes],
)
@pytest.mark.parametrize(
    "p",
    [
        ("package", "p", {"version": "2"}, {"version": "2"}),
        ("package", "p", {"version": "1"}, {"version": "1"}),
        ("package", "p", {"version": "1"}, {"version": "2", "changed": ["/usr/bin/p"]}),
        ("package", "p", {"version": "1"}, {"version": "2", "hold": True}),
    ],
    ids=["did not move", "is not the release's", "was changed", "is held"],
)
def test_a_package_that_did_not_move_or_was_changed_explains_nothing(
    area, item, expected, found, p
):
    assert explain(area, item, expected, found, others=[p]) is None


def test_a_package_of_which_the_machine_tells_nothing_explains_nothing():
    """That a file isn't in its list proves nothing if the list could not be read."""
    for area, item, expected, found, _ in CASES:
        evidence = {**EVIDENCE, "packages": {}}
        assert explain(area, item, expected, found, evidence=evidence) is None


# What hangs on other items


def test_a_folder_goes_with_the_last_file_in_it():
    file = ("file", "/etc/old/a.conf", packaged(), None)
    assert explain("file", "/etc/old/", PROGRAM, None, others=[file]) == "p"
    kept = ("file", "/etc/old/b.conf", {**FILE, "sha256": "aa"}, {**FILE, "sha256": "aa"})
    taken = ("file", "/etc/old/b.conf", {**FILE, "sha256": "aa"}, None)
    for other in (kept, taken):
        assert explain("file", "/etc/old/", PROGRAM, None, others=[file, other]) is None
    assert explain("file", "/etc/old/", PROGRAM, None) is None


@pytest.mark.parametrize(("file", "found", "explained"), [
    (packaged(), {"jobs": ["x"]}, True),
    (packaged(mode="0666"), {"jobs": ["x"]}, False),
    (None, {"jobs": ["x"]}, False),
])  # fmt: skip
def test_jobs_come_with_their_file(file, found, explained):
    others = [("file", "/etc/cron.d/p", None, file)]
    assert explain("cron", "/etc/cron.d/p", None, found, others=others) == (
        "p" if explained else None
    )


def test_jobs_change_and_go_with_their_file():
    both = ("file", "/etc/cron.d/p", packaged(), packaged())
    case = ("cron", "/etc/cron.d/p", {"jobs": ["x"]}, {"jobs": ["y"]})
    assert explain(*case, others=[both]) == "p"
    gone = ("file", "/etc/cron.d/old", packaged(), None)
    assert explain("cron", "/etc/cron.d/old", {"jobs": ["x"]}, None, others=[gone]) == "p"
    off = ("file", "/etc/cron.daily/old", packaged(), {**FILE, "package": "p"})
    assert explain("cron", "/etc/cron.daily/old", {"jobs": ["x"]}, None, others=[off]) is None


@pytest.mark.parametrize(
    ("port", "explained"), [("tcp/1", True), ("tcp/2", False), ("tcp/3", False), ("tcp/4", False)]
)
def test_a_socket_comes_with_the_new_unit_that_holds_it(port, explained):
    units = [("unit", "new.service", None, STARTED), ("unit", "known.service", STARTED, STARTED)]
    found = {"bind": ["0.0.0.0"], "process": ["p"]}
    assert explain("socket", port, None, found, others=units) == ("p" if explained else None)
    assert explain("socket", port, None, found) is None
    assert explain("socket", port, {**found, "bind": ["::"]}, found, others=units) is None


def test_a_drop_in_of_productions_own_is_nobodys_change():
    path = "/etc/systemd/system/new-.service.d/x.conf"
    found = {**STARTED, "drop-ins": {path: "0123"}}
    as_it_was = ("file", path, {**FILE, "sha256": "aa"}, {**FILE, "sha256": "aa"})
    edited = ("file", path, {**FILE, "sha256": "aa"}, {**FILE, "sha256": "bb"})
    assert explain("unit", "new.service", None, found, others=[as_it_was]) == "p"
    assert explain("unit", "new.service", None, found, others=[edited]) is None


def test_a_link_goes_with_its_unit():
    link = f"{UNIT}/timers.target.wants/gone.service"
    gone = ("unit", "gone.service", STARTED, None)
    assert explain("file", link, {"link": "../gone.service"}, None, others=[gone]) == "p"
    assert explain("file", link, {"link": "../gone.service"}, None) is None


def test_names_of_the_kernels_settings_come_and_go_with_another_kernel():
    kernel = ("system", "kernel", {"release": "6.1-1"}, {"release": "6.1-2"})
    assert explain("sysctl", "vm.new", None, {"value": "1"}, others=[kernel]) == "p"
    assert explain("sysctl", "vm.old", {"value": "1"}, None, others=[kernel]) == "p"
    assert explain("sysctl", "vm.x", {"value": "1"}, {"value": "2"}, others=[kernel]) is None
    set_by_file = {"value": "1", "configured": "1"}
    assert explain("sysctl", "vm.old", set_by_file, None, others=[kernel]) is None


def test_what_a_running_redis_was_told_is_somebodys():
    servers = {**SERVERS, "redis": {**SERVERS["redis"], "untouched": False}}
    evidence = {**EVIDENCE, "servers": servers}
    case = ("setting", "redis/hz", {"value": "1"}, {"value": "2"})
    assert explain(*case, evidence=evidence) is None
    assert explain("setting", "redis/fresh", None, {"value": "1"}, evidence=evidence) is None


def test_a_file_may_go_to_another_package_that_moved_too():
    q = {"paths": ["/etc/shared", f"{UNIT}/s.service"],
         "unchanged": ["/etc/shared", f"{UNIT}/s.service"]}  # fmt: skip
    evidence = {**EVIDENCE, "packages": {"p": P, "q": q}}
    moved = ("package", "q", None, {"version": "1"})
    file = ("file", "/etc/shared", packaged(), {**FILE, "package": "q"})
    unit = ("unit", "s.service", STARTED, {**STARTED, "file": "as packaged: q"})
    for case in (file, unit):
        assert explain(*case, evidence=evidence, others=[moved]) == "q"
        assert explain(*case, evidence=evidence) is None


def authorities(*lines, **more):
    return {**FILE, "content": "".join(f"{line}\n" for line in ("# list", *lines)), **more}


@pytest.mark.parametrize(
    ("expected", "found", "explained"),
    [
        (authorities("mozilla/Old.crt"), authorities("mozilla/New.crt"), True),
        (authorities("mozilla/Old.crt"), authorities("mozilla/Other.crt"), False),
        (authorities("mozilla/New.crt"), authorities(), False),  # the package has it
        (authorities("mozilla/Old.crt"), authorities("!mozilla/Old.crt"), False),
        (authorities("mozilla/Old.crt"), authorities("mozilla/New.crt", mode="0666"), False),
        (authorities("a.crt"), {**FILE, "sha256": "aa"}, False),
    ],
)
def test_the_list_of_authorities_is_that_of_their_files(expected, found, explained):
    evidence = {"packages": {"ca-certificates": P}}
    moved = ("package", "ca-certificates", {"version": "1"}, {"version": "2"})
    name = explain(
        "file", "/etc/ca-certificates.conf", expected, found, evidence=evidence, others=[moved],
        release={"ca-certificates": "2"},
    )  # fmt: skip
    assert name == ("ca-certificates" if explained else None)


# In words


def package(name, production, found):
    return MovedPackage(name=name, production=production, found=found)


def test_what_is_newer_is_by_debians_order_of_versions():
    assert is_newer(package("p", "1.5.2-6+deb12u9", "1.5.2-6+deb12u10"))
    assert not is_newer(package("p", "2", "2~rc1"))
    assert not is_newer(package("p", None, "1"))
    assert not is_newer(package("p", "1", None))


_PAM = [f"libpam-module{number}" for number in range(9)]


@pytest.mark.parametrize(
    ("packages", "line"),
    [
        ([], ""),
        ([package("a", "1", "2")], "1 package is newer than in production: a"),
        (
            [package(name, "1", "2") for name in _PAM],
            f"9 packages are newer than in production: {_PAM[0]} and 8 more",
        ),
        (
            [package("a", "1", "2"), package("b", "2", "1")],
            "2 packages are not as in production (1 newer, 1 older): a, b",
        ),
        ([package("a", None, "2")], "1 package is not as in production (1 added): a"),
        (
            [*(package(name, "1", "2") for name in _PAM), package("z", "1", None)],
            f"10 packages are not as in production (9 newer, 1 removed): {_PAM[0]} and 9 more",
        ),
        ([package("a" * 70, "1", "2")], f"1 package is newer than in production: {'a' * 70}"),
    ],
)
def test_packages_that_moved_are_one_line(packages, line):
    assert in_a_line(packages) == line
