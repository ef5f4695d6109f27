"""What the roles must change to match a newer manifest."""

import pytest

from devvm.parity.packages.debian import is_older
from devvm.parity.production.manifest import Manifest
from devvm.parity.production.roles import Roles
from devvm.parity.proposal.propose import Source, propose

ROLES = Roles(default="base", patterns={"nginx": ("*nginx*",), "mariadb": ("*mariadb*",)})
SOURCES = {
    "/etc/nginx/nginx.conf": [
        Source("nginx", "roles/nginx/templates/etc/nginx/nginx.conf.j2"),
    ],
    "/etc/odd.conf": [Source("site", "roles/site/files/etc/odd.conf")],
}
AREAS = ("package", "python", "file", "unit", "setting", "socket", "sudo", "cron", "user", "group")


def manifest(areas, **more):
    return Manifest(areas={area: {} for area in AREAS} | areas, **more)


def proposed(old, new, **more):
    return propose(manifest(old), manifest(new, **more), ROLES, SOURCES)


def lines(area, item, old, new):
    """The tasks for one item; `...` if it doesn't exist."""
    was, now = ({area: {item: facts}} if facts is not ... else {} for facts in (old, new))
    return [task.words() for task in proposed(was, now).tasks]


def test_nothing_to_do():
    areas = {"package": {"a": {"version": "1"}}}
    assert proposed(areas, areas).tasks == ()
    assert proposed(areas, areas).notes == ()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"version": "3.0.9"}, {"version": "3.0.13"}, ["upgrade package x 3.0.9 -> 3.0.13"]),
        ({"version": "1:1"}, {"version": "2"}, ["downgrade package x 1:1 -> 2"]),
        (..., {"version": "1", "origin": "Debian bookworm"},
         ["install package x 1 from Debian bookworm"]),
        (..., {"version": "1", "origin": None, "hold": True},
         ["install package x 1", "hold package x"]),
        ({"version": "1"}, ..., ["remove package x"]),
        ({"version": "1"}, {"version": "1", "status": "config-files"},
         ["remove package x (its configuration stays)"]),
        ({"version": "1", "status": "config-files"}, {"version": "1"}, ["install package x 1"]),
        (..., {"version": "1", "status": "config-files"},
         ["have only the configuration of package x"]),
        ({"version": "1", "status": "config-files"}, ..., ["purge package x"]),
        ({"version": "1"}, {"version": "1", "hold": True}, ["hold package x"]),
        ({"version": "1", "hold": True}, {"version": "2"},
         ["upgrade package x 1 -> 2", "no longer hold package x"]),
        ({"version": "1", "origin": "A"}, {"version": "1", "origin": "B"},
         ["take package x from B, not from A"]),
        ({"version": "1", "origin": None}, {"version": "1", "origin": "B"}, []),
        ({"version": "1"}, {"version": "1", "status": "unpacked"},
         ["look at package x in production: it is unpacked"]),
    ],
)  # fmt: skip
def test_packages(old, new, said):
    assert lines("package", "x", old, new) == said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"enabled": "enabled"}, {"enabled": "disabled"},
         ["disable unit x.service (enabled -> disabled)"]),
        ({"enabled": "disabled"}, {"enabled": "enabled"},
         ["enable unit x.service (disabled -> enabled)"]),
        ({"enabled": "enabled"}, {"enabled": "masked"},
         ["mask unit x.service (enabled -> masked)"]),
        ({"enabled": "masked"}, {"enabled": "static"},
         ["unmask unit x.service (masked -> static)"]),
        (..., {"enabled": "enabled", "state": "active (running)"},
         ["enable unit x.service", "start unit x.service"]),
        (..., {"enabled": "disabled", "state": "inactive (dead)"}, ["disable unit x.service"]),
        ({"enabled": "enabled"}, ..., ["stop and disable unit x.service"]),
        ({"enabled": "masked"}, ..., ["unmask unit x.service"]),
        ({"state": "active (running)"}, {"state": "inactive (dead)"},
         ["stop unit x.service (active (running) -> inactive (dead))"]),
        ({"state": "active (running)"}, {"state": None}, []),
        ({"state": "active (running)"}, {"state": "failed (failed)"},
         ["look at unit x.service in production: it has failed there"]),
        ({"file": "as packaged: x"}, {"file": "ab" * 32},
         ["change the file of unit x.service: as packaged: x -> abababababab…"]),
        ({"drop-ins": {"/a": "1", "/b": "1"}}, {"drop-ins": {"/b": "2", "/c": "1"}},
         ["remove drop-in /a of unit x.service", "change drop-in /b of unit x.service",
          "add drop-in /c of unit x.service"]),
    ],
)  # fmt: skip
def test_units(old, new, said):
    assert lines("unit", "x.service", old, new) == said


@pytest.mark.parametrize(
    ("item", "old", "new", "said"),
    [
        ("/etc/nginx/nginx.conf", {"content": "a\n"}, {"content": "b\n"},
         ["change file /etc/nginx/nginx.conf (roles/nginx/templates/etc/nginx/nginx.conf.j2)"]),
        ("/x", {"mode": "0644", "owner": "a:a"}, {"mode": "0600", "owner": "b:b"},
         ["set mode of file /x: 0644 -> 0600", "set owner of file /x: a:a -> b:b"]),
        ("/x/", ..., {"mode": "0755"}, ["add directory /x/ (mode: 0755)"]),
        ("/x", ..., {"link": "/y"}, ["add link /x (link: /y)"]),
        ("/x", {"link": "/y"}, {"link": "/z"}, ["point link /x at /z (/y -> /z)"]),
        ("/x", {"link": "/y"}, ..., ["remove link /x"]),
        ("/x", {"sha256": "a"}, {"sha256": "b"},
         ["change file /x: its new text is not in the manifest"]),
        ("/x", {"secret": "ab" * 16}, {"secret": "cd" * 16}, ["change the secret in file /x"]),
        ("/x", {"secret": None}, {"secret": "cd" * 16}, []),
        ("/x", {"sha256": "a"}, {"package": "p"}, ["have file /x as package p brings it"]),
        ("/x", {"package": "p"}, {"content": "own\n", "sha256": "a"}, ["change file /x"]),
        ("/etc/../../x", ..., {"mode": "0644"}, ["add file /etc/../../x (mode: 0644)"]),
    ],
)  # fmt: skip
def test_files(item, old, new, said):
    assert lines("file", item, old, new) == said


def test_a_text_comes_with_its_diff():
    (task,) = proposed(
        {"file": {"/x": {"content": "a\n"}}}, {"file": {"/x": {"content": "b\n"}}}
    ).tasks
    assert task.diff.splitlines() == ["--- a/x", "+++ b/x", "@@ -1 +1 @@", "-a", "+b"]
    (task,) = proposed({}, {"file": {"/x": {"content": "a\n", "mode": "0644"}}}).tasks
    assert task.diff.splitlines()[-1] == "+a"
    (task,) = proposed({}, {"file": {"/x": {"content": "", "mode": "0644"}}}).tasks
    assert task.diff is None


def test_settings_of_servers():
    assert lines(
        "setting", "mariadb/max_connections", {"value": "100"}, {"value": "200"}
    ) == ["set setting mariadb/max_connections 100 -> 200"]  # fmt: skip
    assert lines("setting", "redis/requirepass", {"secret": "a"}, {"secret": "b"}) == [
        "change the secret of setting redis/requirepass"
    ]
    assert lines("setting", "gunicorn/app", {"workers": 2}, {"workers": 4}) == [
        "set setting gunicorn/app workers 2 -> 4"
    ]


def test_nginx_is_told_by_directive_where_that_is_short():
    old = "# /etc/nginx/nginx.conf\nssl_protocols TLSv1.2;\ngzip on;\nhttp {\n}\n"
    new = "ssl_protocols TLSv1.3;\nhttp {\nserver_tokens off;\n}\n"
    assert lines("setting", "nginx/config", {"content": old}, {"content": new}) == [
        "nginx: set ssl_protocols TLSv1.2 -> TLSv1.3",
        "nginx: add server_tokens off;",
        "nginx: remove gzip on;",
    ]


@pytest.mark.parametrize(
    "new", ["a 1;\nserver {\nb 2;\n}\n", "".join(f"d{n};\n" for n in range(20))]
)
def test_other_configurations_of_nginx_are_told_as_a_text(new):
    (task,) = proposed(
        {"setting": {"nginx/config": {"content": "a 1;\n"}}},
        {"setting": {"nginx/config": {"content": new}}},
    ).tasks
    assert task.text == "change the configuration of nginx"
    assert task.diff.startswith("--- a/nginx -T\n")


@pytest.mark.parametrize(
    ("area", "item", "old", "new", "said"),
    [
        ("sudo", "%ops", ..., {"rules": ["ALL"]}, ["add sudo rules of %ops (rules: ALL)"]),
        ("sudo", "%ops", {"rules": ["A"]}, {"rules": ["A", "B"]},
         ["change sudo rules of %ops, rules: add B"]),
        ("sudo", "%ops", {"rules": ["A" * 90]}, {"rules": ["B" * 90]},
         ["change sudo rules of %ops, rules: add " + "B" * 90,
          "change sudo rules of %ops, rules: remove " + "A" * 90]),
        ("cron", "/etc/cron.d/x", {"jobs": ["a", "b"]}, {"jobs": ["b", "a"]},
         ["change cron jobs of /etc/cron.d/x, jobs: put in order: b, a"]),
        ("user", "x", {"shell": "/a"}, {"shell": "/b"}, ["set user x shell /a -> /b"]),
        ("user", "x", {"shell": "/a"}, ..., ["remove user x"]),
        ("group", "x", ..., {"gid": None}, ["add group x"]),
        ("socket", "tcp/1", ..., {"bind": ["::1"]}, ["listen on socket tcp/1 (bind: ::1)"]),
        ("python", "x in /opt", {"version": "1"}, {"version": "2"},
         ["change Python package x in /opt 1 -> 2"]),
    ],
)  # fmt: skip
def test_the_rest(area, item, old, new, said):
    assert lines(area, item, old, new) == said


def test_a_sysctl_that_is_configured_is_said_once():
    old, new = ({"sysctl": {"a.b": {"value": v, "configured": v}}} for v in "12")
    (task,) = propose(Manifest(areas=old), Manifest(areas=new), ROLES, {}).tasks
    assert task.text == "set sysctl a.b 1 -> 2"


def test_areas_that_nobody_here_knows():
    old, new = ({"vpn": {"peer": {"key": v, "ports": [v]}}} for v in "12")
    found = propose(Manifest(areas=old), Manifest(areas=new), ROLES, {})
    assert [task.text for task in found.tasks] == [
        "set vpn peer key 1 -> 2", "change vpn peer, ports: add 2; remove 1",
    ]  # fmt: skip


def test_by_role_and_in_the_order_of_doing():
    new = {
        "unit": {"nginx.service": {"enabled": "enabled"}},
        "package": {"nginx": {"version": "1"}, "zip": {"version": "1"}},
        "setting": {"mariadb/x": {"value": "1"}},
        "file": {"/etc/odd.conf": {"mode": "0644"}},
    }
    found = proposed({}, new).by_role()
    assert list(found) == ["base", "nginx", "mariadb", "site"]  # the file belongs to site
    assert [task.area for task in found["nginx"]] == ["package", "unit"]
    assert found["site"][0].source == "roles/site/files/etc/odd.conf"


def test_what_varies_is_nothing_to_do():
    old = {"package": {"a": {"version": "1"}, "b": {"version": "1"}}}
    new = {"package": {"b": {}}}
    varies = {"package": {"a": ["present"], "b": ["version"]}}
    assert proposed(old, new, varies=varies).tasks == ()


def test_what_a_package_brings_along_is_left_out():
    old = {
        "package": {"libx:amd64": {"version": "1"}, "python3-click": {"version": "8"}},
        "python": {"click in /usr/lib/python3/dist-packages": {"version": "8"}},
        "file": {"/etc/old": {"package": "libx"}, "/etc/own": {"package": "libx"}},
    }
    new = {
        "package": {"libx:amd64": {"version": "2"}, "python3-click": {"version": "9"}},
        "python": {"click in /usr/lib/python3/dist-packages": {"version": "9"}},
        "file": {
            "/etc/new": {"package": "libx"},
            "/etc/other": {"package": "elsewhere"},
            "/etc/own": {"content": "by hand\n", "sha256": "a"},
        },
    }
    found = proposed(old, new)
    assert [task.check for task in found.tasks] == [
        "package/libx:amd64", "package/python3-click", "file/etc/other", "file/etc/own",
    ]  # fmt: skip
    assert found.notes == ("left out: 3 changes that come with packages that change anyway",)


def test_files_of_units_are_told_once():
    path = "/etc/systemd/system/x.service"
    drop = "/etc/systemd/system/x.service.d/a.conf"
    old, new = (
        {
            "unit": {"x.service": {"file": v, "drop-ins": {drop: v}}},
            "file": {path: {"content": f"{v}\n"}, drop: {"content": f"{v}\n"}},
        }
        for v in "12"
    )
    assert [task.area for task in proposed(old, new).tasks] == ["file", "file"]


def test_areas_that_one_does_not_speak_of():
    old = Manifest(areas={"tls": {"443": {"protocols": []}}, "unit": {}})
    new = Manifest(areas={"limit": {"a": {}, "b": {}}, "unit": {}})
    found = propose(old, new, ROLES, {})
    assert found.tasks == ()
    assert found.notes == (
        "left out: area limit (items: 2), which the stack's manifest does not have",
        "left out: area tls (items: 1), which the new manifest does not have",
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.0~rc1", "1.0"), ("1.0", "1.0-1"), ("1.0-1~bpo12+1", "1.0-1"), ("1.0", "1:0.5"),
        ("9", "10"), ("1.0a", "1.0+"), ("2.36-9+deb12u9", "2.36-9+deb12u10"), ("1.0~~", "1.0~"),
        ("3.0.11-1~deb12u2", "3.0.13-1~deb12u1"), ("", "1"), ("1", "9" * 5000),
    ],
)  # fmt: skip
def test_debian_s_order_of_versions(one, other):
    assert is_older(one, other)
    assert not is_older(other, one)
    assert not is_older(one, one)
