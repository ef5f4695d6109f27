"""What a release changes, in words."""

from pathlib import Path

import pytest

from devvm.domain.release.changelog import words
from devvm.domain.release.stack import Stack
from tests.support.reference_stack import REFERENCE

NGINX = "roles/nginx/templates/etc/nginx/nginx.conf.j2"
CONF = """\
{{ ansible_managed | comment }}
user www-data;
events {
    worker_connections {{ nginx_worker_connections }};
}
http {
    gzip on; # text only
    gzip_static on;
    add_header X-Frame-Options DENY always;
    add_header X-Content-Type-Options nosniff;
{% if nginx_ipv6 %}
    listen [::]:443 ssl;
{% endif %}
}
"""
PACKAGES = {
    "mariadb-server": "1:10.11.6-0+deb12u1",
    "mariadb-client": "1:10.11.6-0+deb12u1",
    "mariadb-common": "1:10.11.6-0+deb12u1",
    "libmariadb3": "1:10.11.6-0+deb12u1",
    "nginx": "1.22.1-9",
    "nginx-common": "1.22.1-9",
    "linux-image-6.1.0-28-cloud-amd64": "6.1.119-1",
    "linux-image-cloud-amd64": "6.1.119-1",
    "openssl": "3.0.15-1~deb12u1",
    "libssl3": "3.0.15-1~deb12u1",
    "libxml2": "2.9.14+dfsg-1.3~deb12u1",
    "tzdata": "2024b-0+deb12u1",
}


def stack(files=None, packages=None):
    """A stack with these texts."""
    found = {"playbooks/site.yml": b"---\n- hosts: all\n"}
    for path, text in (files or {}).items():
        found[path] = text if isinstance(text, bytes) else text.encode()
    return Stack(files=found, packages=packages or {})


def told(old, new):
    """The changes between texts, by path."""
    return list(words(stack(old), stack(new)))


def upgraded(named=(), **versions):
    """The changes for upgraded packages; roles name those in `named`."""
    new = {name: v for name, v in {**PACKAGES, **versions}.items() if v}
    role = {"roles/x/vars/main.yml": f"x_packages: [{', '.join(named)}]"}
    return list(words(stack(role, PACKAGES), stack(role, new)))


def with_version(start, version):
    """All packages in PACKAGES with this prefix, in another version."""
    return {name: version for name in PACKAGES if name.startswith(start)}


def test_the_same_stack_has_nothing_to_tell():
    assert told({NGINX: CONF}, {NGINX: CONF}) == []


# Packages


def test_packages_of_one_thing_are_told_once_and_without_debians_numbers():
    new = {n: "1:10.11.11-0+deb12u1" for n in PACKAGES if "mariadb" in n}
    assert upgraded(named=["mariadb-server"], **new) == ["MariaDB 10.11.6 → 10.11.11"]


def test_debians_revision_is_told_where_nothing_else_changes():
    new = with_version("nginx", "1.22.1-9+deb12u3")
    assert upgraded(named=["nginx"], **new) == ["nginx 1.22.1-9 → 1.22.1-9+deb12u3"]


def test_an_epoch_is_told_where_nothing_else_changes():
    new = with_version("tzdata", "1:2024b-0+deb12u1")
    assert upgraded(named=["tzdata"], **new) == ["tzdata 2024b-0+deb12u1 → 1:2024b-0+deb12u1"]


def test_packages_that_roles_name_come_first_and_others_are_counted():
    new = {"htop": "3.2.2-2", "libxml2": "2.9.14+dfsg-1.3~deb12u2", "libnew1": "1.0-1"}
    new |= with_version("openssl", "3.0.17-1~deb12u2") | with_version("libssl", "3.0.17-1~deb12u2")
    assert upgraded(named=["htop", "tzdata"], tzdata="2025a-0+deb12u1", **new) == [
        "htop 3.2.2 added",
        "tzdata 2024b → 2025a",
        "OpenSSL 3.0.15 → 3.0.17",
        "and 2 other packages",
    ]


def test_packages_that_nobody_named_are_only_counted():
    assert upgraded(libxml2="2.9.15-1") == ["1 package changed"]
    assert upgraded(libxml2="2.9.15-1", libnew1="1") == ["2 packages changed"]


def test_a_package_that_goes_is_told():
    assert upgraded(named=["tzdata"], tzdata=None) == ["tzdata removed"]


def test_a_kernel_is_told_by_the_number_in_its_packages_name():
    new = {
        "linux-image-6.1.0-28-cloud-amd64": None,
        "linux-image-6.1.0-30-cloud-amd64": "6.1.124-1",
        "linux-image-cloud-amd64": "6.1.124-1",
    }
    assert upgraded(**new) == ["Linux kernel 6.1.0-28 → 6.1.0-30"]


def test_a_kernel_that_keeps_its_number_is_told_by_its_version():
    new = with_version("linux-image", "6.1.123-1")
    assert upgraded(**new) == ["Linux kernel 6.1.119 → 6.1.123"]


@pytest.mark.parametrize("version", ["", ":", "-", "1:-", "latest", "→"])
def test_a_version_that_is_none_is_shown(version):
    lines = words(
        stack({"roles/x/vars/main.yml": "x_packages: [a]"}, {"a": version}),
        stack({"roles/x/vars/main.yml": "x_packages: [a]"}, {"a": f"{version}2"}),
    )
    assert len(lines) == 1
    assert lines[0].startswith("a ")


# Settings


@pytest.mark.parametrize(
    ("was", "becomes", "phrase"),
    [
        ("gzip on;", "gzip off;", "gzip on → off"),
        ("    gzip_static on;\n", "", "removed gzip_static"),
        ("user www-data;", "user www-data;\nhttp2 on;", "http2 on"),
        ("DENY always", "SAMEORIGIN", "add_header X-Frame-Options DENY always → SAMEORIGIN"),
        ("    add_header X-Content-Type-Options nosniff;\n", "",
         "removed add_header X-Content-Type-Options nosniff"),
        ("user www-data;", "user www-data;\ninclude /etc/nginx/x.conf;",
         "include /etc/nginx/x.conf"),
        ("{{ nginx_worker_connections }}", "4096",
         "worker_connections {{ nginx_worker_connections }} → 4096"),
    ],
)  # fmt: skip
def test_a_directive_is_told_as_it_is_written(was, becomes, phrase):
    new = CONF.replace(was, becomes)
    assert new != CONF
    assert told({NGINX: CONF}, {NGINX: new}) == [f"nginx: {phrase}"]


def test_a_variable_is_told_once_though_a_template_has_it():
    defaults = "roles/nginx/defaults/main.yml"
    fixed = CONF.replace("{{ nginx_worker_connections }}", "1024")
    lines = told(
        {NGINX: fixed, defaults: "nginx_ipv6: true\n"},
        {NGINX: CONF, defaults: "nginx_ipv6: true\nnginx_worker_connections: 2048\n"},
    )
    assert lines == ["nginx: worker_connections 2048", "nginx: worker_connections 1024 → 2048"]
    moved = told(
        {NGINX: CONF, defaults: "nginx_worker_connections: 1024\n"},
        {NGINX: CONF + "# more\n", defaults: "nginx_worker_connections: 2048\n"},
    )
    assert moved == ["nginx: worker_connections 1024 → 2048"]


@pytest.mark.parametrize(
    ("old", "new", "phrase"),
    [
        ("max_connections = 100", "max_connections = 200", "max_connections 100 → 200"),
        ("[mariadbd]", "[mariadbd]\nport=3307", "port 3307"),
        ("ExecStart=/bin/a --x", "ExecStart=/bin/b --x", "ExecStart /bin/a --x → /bin/b --x"),
        ("daemonize", "", "removed daemonize"),
        ("daemonize", "daemonize yes", "daemonize yes"),
        ("daemonize yes", "daemonize", "daemonize yes → nothing"),
        ("net.core.somaxconn = 128", "net.core.somaxconn = 1024", "net.core.somaxconn 128 → 1024"),
    ],
)  # fmt: skip
def test_other_forms_of_configuration_are_read_too(old, new, phrase):
    path = "roles/db/templates/etc/db.cnf.j2"
    rest = "\nother = 1\n"
    assert told({path: old + rest}, {path: new + rest}) == [f"db: {phrase}"]


def test_a_long_value_is_cut():
    old, new = f"ssl_ciphers {'A:' * 200};\n", f"ssl_ciphers {'B:' * 200};\n"
    line = told({NGINX: old}, {NGINX: new})[0]
    assert line.startswith("nginx: ssl_ciphers A:A:")
    assert len(line) < 160


@pytest.mark.parametrize(
    ("old", "new", "phrases"),
    [
        ("a_size: 1024", "a_size: 2048", ["size 1024 → 2048"]),
        ("a_size: 1024", "", ["removed size"]),
        ("a_x: 1", "a_x: 1\na_on: true", ["on true"]),
        ("a_x: yes", "a_x: no", ["x true → false"]),
        ("a_l: [p, q]", "a_l: [q, r]", ["l: r added", "l: p removed"]),
        ("a_l: [p, q]", "a_l: [q, p]", ["l reordered"]),
        ("a_d: {x: 1, y: 2}", "a_d: {x: 1, y: 3, z: 4}", ["d.y 2 → 3", "d.z 4"]),
        ("a_x: !vault |\n  abc", "a_x: !vault |\n  abd", ["x abc → abd"]),
        ("__a_user: about", "__a_user: www", ["user about → www"]),
    ],
)
def test_variables_are_told_without_the_roles_name(old, new, phrases):
    path = "roles/a/defaults/main.yml"
    assert told({path: f"{old}\n"}, {path: f"{new}\n"}) == [f"a: {phrase}" for phrase in phrases]


def test_a_package_that_a_role_names_anew_is_told_by_its_version_only():
    path = "roles/tools/vars/main.yml"
    old = stack({path: "tools_packages: [git]"}, {"git": "1"})
    new = stack({path: "tools_packages: [git, htop]"}, {"git": "1", "htop": "3.2.2-2"})
    assert words(old, new) == ("htop 3.2.2 added",)
    there = stack({path: "tools_packages: [git, htop]"}, {"git": "1"})
    assert words(old, there) == ("tools: packages: htop added",)


# Tasks and files


def test_tasks_are_told_by_their_names():
    path = "roles/nginx/tasks/main.yml"
    old = "- name: Configure\n  template: {src: a}\n- name: Old\n  debug: {}\n"
    new = (
        "- name: Configure\n  template: {src: b}\n"
        "- name: Both\n  block:\n    - name: Enable the status page\n      debug: {}\n"
    )
    assert told({path: old}, {path: new}) == [
        "nginx: new task: Both",
        "nginx: new task: Enable the status page",
        "nginx: removed task: Old",
        "nginx: task changed: Configure",
    ]


def test_handlers_and_whole_files_of_tasks_are_told_by_names():
    main = {"roles/a/tasks/main.yml": "[]\n"}
    new = {"roles/a/handlers/main.yml": "- name: Restart\n  debug: {}\n"}
    assert told(main, main | new) == ["a: new handler: Restart"]
    assert told(main | new, main) == ["a: removed handler: Restart"]


def test_a_migration_is_told_by_its_name():
    role = {"roles/site/files/about/app.py": "x\n"}
    path = "roles/site/files/about/migrations/versions/0003_add_nickname.py"
    assert told(role, role | {path: "y"}) == ["site: migration 0003 add nickname"]
    assert told(role | {path: "y"}, role) == ["site: removed migration 0003 add nickname"]
    assert told(role | {path: "y"}, role | {path: "z"}) == [
        "site: migration 0003 add nickname changed"
    ]


def test_code_is_told_by_the_number_of_lines():
    path = "roles/site/files/about/app.py"
    old = "".join(f"line {number}\n" for number in range(50))
    new = old.replace("line 1", "Line 1")
    assert told({path: old}, {path: new}) == ["site: 11 lines in files/about/app.py changed"]
    assert told({path: "a\nb\n"}, {path: "b\na\n"}) == [
        "site: lines in files/about/app.py reordered"
    ]


def test_much_code_is_told_as_one():
    old = {f"roles/site/files/about/{n}.py": "a\n" for n in range(9)}
    new = dict.fromkeys(old, "b\nc\n")
    assert told(old, new) == ["site: 18 lines in 9 files changed"]


def test_files_that_come_and_go_are_told():
    old, new = {"roles/a/files/x.png": b"\0", "roles/a/x": "1"}, {"roles/a/x": "1"}
    assert told(new, old) == ["a: new file files/x.png"]
    assert told(old, new) == ["a: removed file files/x.png"]


def test_what_is_no_text_is_only_said_to_change():
    path = "roles/a/files/photo.jpg"
    assert told({path: b"\xff\xd8\0"}, {path: b"\xff\xd8\1"}) == ["a: files/photo.jpg changed"]


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        (NGINX, CONF, CONF.replace("user", "# who\nuser").replace(" # text only", "")),
        (NGINX, CONF, CONF.replace("    gzip", "  gzip").replace("\n", "\n\n")),
        ("roles/nginx/tasks/main.yml", "- name: A\n", "---\n# first\n- name:   A\n"),
        ("roles/nginx/defaults/main.yml", "nginx_a: 1\n", "nginx_a: 1 # one\n"),
        ("roles/nginx/files/run.py", "a = 1\n", "# what\na = 1   \n\n"),
    ],
)  # fmt: skip
def test_comments_and_spaces_are_said_to_be_no_more_than_that(path, old, new):
    assert told({path: old}, {path: new}) == ["nginx: comments only"]


def test_indentation_of_code_and_colours_are_no_comments():
    code, style = "roles/a/files/a.py", "roles/a/files/a.css"
    assert told({code: "if a:\n  b\n"}, {code: "if a:\nb\n"}) == ["a: 1 line in files/a.py changed"]
    assert told({style: "#x {}\n"}, {style: "#y {}\n"}) == ["a: 1 line in files/a.css changed"]


def test_documentation_is_said_to_be_no_more_than_that():
    path = "roles/a/meta/argument_specs.yml"
    assert told({path: "a: 1\n"}, {path: "a: 2\n"}) == ["a: documentation only"]


def test_a_role_gets_a_few_lines_and_the_rest_is_counted():
    path = "roles/a/defaults/main.yml"
    old = "".join(f"a_v{n}: 1\n" for n in range(30))
    lines = told({path: old}, {path: old.replace(": 1", ": 2")})
    assert len(lines) == 7
    assert lines[-1] == "a: and 24 more changes"


def test_roles_and_playbooks_that_come_and_go_are_told():
    old = {"roles/php/tasks/main.yml": "[]", "playbooks/a.yml": "- hosts: all"}
    new = {"roles/varnish/tasks/main.yml": "[]", "playbooks/b.yml": "- hosts: all"}
    assert told(old, new) == [
        "new role: varnish",
        "removed role: php",
        "removed playbook: a.yml",
        "new playbook: b.yml",
    ]
    assert told({"playbooks/a.yml": "- hosts: x"}, {"playbooks/a.yml": "- hosts: y"}) == [
        "playbook a.yml changed"
    ]
    assert told({"playbooks/a.yml": "- hosts: x"}, {"playbooks/a.yml": "# !\n- hosts: x"}) == [
        "playbook a.yml: comments only"
    ]


# What can't be read


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff\xfe", b"\0", b"{", b"- [", b"a: b: c", b"\t", b"--- !!python/object:os.x {}",
        b"a: &a [*a]", b"2024-99-99", b"a: 2024-99-99", b"? [x]\n: y", b"- 1\n- [2]\n- null",
        b"[" * 5000, b"- name: [a, b]\n", b"- name:\n", b"x: !x {a: b}\n", b"a_packages: {a: b}",
        b"a_packages: [1, null, {}]", "ä: ü".encode("latin-1"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "path",
    [
        "roles/a/defaults/main.yml", "roles/a/vars/main.yml", "roles/a/tasks/main.yml",
        "roles/a/handlers/main.yml", "roles/a/meta/main.yml", "roles/a/templates/etc/a.conf.j2",
        "roles/a/files/a.py", "roles/a/files/migrations/0001_x.py", "playbooks/a.yml",
    ],
)  # fmt: skip
def test_nothing_that_is_in_a_file_makes_it_fail(path, content):
    good = b"- name: A\n  debug: {}\n"
    for old, new in ((good, content), (content, good), (content, content + b"\n# x\n")):
        lines = words(stack({path: old}), stack({path: new}))
        assert all(line.startswith(("a: ", "playbook a.yml")) for line in lines)
        assert lines
    assert words(stack(), stack({path: content}))
    assert words(stack({path: content}), stack())


# The roles that ship


def shipped():
    return {name: path.read_bytes() for name, path in REFERENCE.files()}


def test_a_weekly_release_of_the_shipped_roles_reads_well():
    old, new = shipped(), shipped()

    def edit(path, was, becomes):
        assert was.encode() in new[path]
        new[path] = new[path].replace(was.encode(), becomes.encode())

    edit(NGINX, "    gzip on;\n", "    gzip off;\n    http2 on;\n")
    edit("roles/nginx/defaults/main.yml", "worker_connections: 1024", "worker_connections: 2048")
    edit("roles/redis/templates/etc/redis/redis.conf.j2", "loglevel notice", "loglevel warning")
    edit("roles/metrics/tasks/main.yml", "---\n", "---\n# For the graphs\n")
    edit("roles/devtools/vars/main.yml", "  - htop\n", "")
    new["roles/site/files/about/migrations/versions/0099_add_nickname.py"] = b"# \n"
    packages = {
        "mariadb-server": "1:10.11.11-0+deb12u1", "mariadb-client": "1:10.11.11-0+deb12u1",
        "libxml2": "2.9.14+dfsg-1.3~deb12u2",
    }  # fmt: skip
    before = {name: PACKAGES[name] for name in packages} | {"htop": "3.2.2-2"}
    assert words(Stack(files=old, packages=before), Stack(files=new, packages=packages)) == (
        "htop removed",
        "MariaDB 10.11.6 → 10.11.11",
        "and 1 other package",
        "metrics: comments only",
        "nginx: worker_connections 1024 → 2048",
        "nginx: gzip on → off",
        "nginx: http2 on",
        "redis: loglevel notice → warning",
        "site: migration 0099 add nickname",
    )


def test_every_file_that_ships_can_change_without_an_error():
    old = shipped()
    new = {path: content[: len(content) // 2] for path, content in old.items()}
    lines = words(Stack(files=old), Stack(files=new))
    roles = {Path(path).parts[1] for path in old if path.startswith("roles/")}
    assert roles <= {line.partition(":")[0] for line in lines}
