"""Packages that moved since production was captured, and what they bring, are not failures.

Installs real packages: a newer version of one that production has, and one that production lacks.
What else a newer version may bring (a server variable, an authority, the kernel's own) is tested by
changing the description of production, as if it had been captured earlier.
"""

import shutil
from fnmatch import fnmatchcase

import pytest

from devvm.domain.check import Outcome
from devvm.parity.production import manifest
from tests.container.conftest import differences
from tests.container.drifts_form import REDIS_CLI

pytestmark = pytest.mark.container

#: `logrotate`, newer: a conffile changed, one dropped but left behind, one removed; a new unit.
#: `devvm-news`, new: a folder, a conffile, jobs, a user, a server, kernel settings.
_BUILD = r"""
mkdir -p /root/moved/old /root/moved/new/DEBIAN && cd /root/moved
dpkg -L logrotate | while read -r path; do [ -d "$path" ] || [ ! -e "$path" ] || echo ".$path"
done >files
tar -cf kept -C / -T files ./var/lib/dpkg/status $(cd / && ls ./var/lib/dpkg/info/logrotate.*)
tar -cf - -C / -T files | tar -xf - -C old
mkdir -p old/DEBIAN old/usr/lib/systemd/system
[ ! -d old/lib ] || { cp -a old/lib/. old/usr/lib/; rm -r old/lib; }
dpkg-query --show --showformat='Package: logrotate\nVersion: ${Version}+news1
Architecture: ${Architecture}\nMaintainer: n <n@localhost>\nDescription: newer\n' logrotate \
    >old/DEBIAN/control
echo '# a new default' >>old/etc/logrotate.d/btmp
rm old/etc/logrotate.d/wtmp old/etc/cron.daily/logrotate
printf 'compress\n' >old/etc/logrotate.d/news
(cd old && find etc -type f | sed s,^,/,) >old/DEBIAN/conffiles
printf '[Timer]\nOnCalendar=yearly\n[Install]\nWantedBy=timers.target\n' \
    >old/usr/lib/systemd/system/logrotate-news.timer
printf '[Service]\nExecStart=/bin/true\n' >old/usr/lib/systemd/system/logrotate-news.service

mkdir -p new/etc/devvm-news new/etc/cron.d new/etc/security/limits.d new/usr/lib/sysusers.d \
    new/usr/lib/systemd/system new/usr/lib/sysctl.d new/usr/lib/modprobe.d
printf 'Package: devvm-news\nVersion: 1.0\nArchitecture: all\nMaintainer: n <n@localhost>
Description: new\n' >new/DEBIAN/control
echo 'news = yes' >new/etc/devvm-news/news.conf
echo '7 7 7 7 * root true' >new/etc/cron.d/devvm-news
echo '@news hard nproc 77' >new/etc/security/limits.d/devvm-news.conf
(cd new && find etc -type f | sed s,^,/,) >new/DEBIAN/conffiles
printf 'u devvm-news - "News of devvm" /var/lib/news\n' >new/usr/lib/sysusers.d/devvm-news.conf
echo 'net.ipv4.ip_default_ttl = 65' >new/usr/lib/sysctl.d/devvm-news.conf
echo 'options devvm_news on=1' >new/usr/lib/modprobe.d/devvm-news.conf
cat >new/usr/lib/systemd/system/devvm-news.service <<'END'
[Service]
ExecStart=/usr/bin/python3 -m http.server --bind 127.0.0.1 --directory /etc/devvm-news 7707
[Install]
WantedBy=multi-user.target
END

script() {
    echo '#!/bin/sh -e'
    for unit; do
        printf 'deb-systemd-helper unmask %s >/dev/null
if deb-systemd-helper --quiet was-enabled %s; then deb-systemd-helper enable %s >/dev/null
else deb-systemd-helper update-state %s >/dev/null; fi
' $unit $unit $unit $unit
    done
    echo 'systemctl daemon-reload'
    for unit; do echo "deb-systemd-invoke start $unit"; done
}
script logrotate-news.timer >old/DEBIAN/postinst
echo 'rm -f /etc/logrotate.d/wtmp' >>old/DEBIAN/postinst
script devvm-news.service >new/DEBIAN/postinst
printf 'systemd-sysusers devvm-news.conf\nsysctl -q -p /usr/lib/sysctl.d/devvm-news.conf\n' \
    >>new/DEBIAN/postinst
for name in old new; do
    (cd $name && find . -type f ! -path './DEBIAN/*' -printf '%P\n' | xargs md5sum >DEBIAN/md5sums)
    chmod 755 $name/DEBIAN/postinst
    dpkg-deb --root-owner-group --build $name $name.deb
done
dpkg --install --force-confnew old.deb new.deb
"""
_UNDO = r"""
cd /root/moved
systemctl stop devvm-news.service logrotate-news.timer
dpkg --purge devvm-news
rm -f /etc/logrotate.d/news /usr/lib/systemd/system/logrotate-news.* \
    /etc/systemd/system/*.wants/logrotate-news.timer /etc/systemd/system/*.wants/devvm-news.service
find /var/lib/systemd -name '*devvm-news*' -delete
find /var/lib/systemd -name '*logrotate-news*' -delete
userdel devvm-news
sysctl -q net.ipv4.ip_default_ttl="$(cat ttl)"
tar -xf kept -C /
systemctl daemon-reload
cd / && rm -r /root/moved
"""
#: What the packages bring: the check and the package.
BROUGHT = {
    "cron/etc/cron.d/devvm-news": "devvm-news",
    "file/etc/cron.d/devvm-news": "devvm-news",
    "file/etc/cron.daily/logrotate": "logrotate",  # left behind
    "file/etc/devvm-news/": "devvm-news",
    "file/etc/devvm-news/news.conf": "devvm-news",
    "file/etc/logrotate.d/news": "logrotate",
    "file/etc/logrotate.d/wtmp": "logrotate",  # removed
    "file/etc/security/limits.d/devvm-news.conf": "devvm-news",
    "group/devvm-news": "devvm-news",
    "limit/@news hard nproc": "devvm-news",
    "module/devvm_news": "devvm-news",
    "package/devvm-news": "devvm-news",
    "package/logrotate": "logrotate",
    "socket/tcp/7707": "devvm-news",
    "sysctl/net.ipv4.ip_default_ttl": "devvm-news",
    "unit/devvm-news.service": "devvm-news",
    "unit/logrotate-news.timer": "logrotate",
    "user/devvm-news": "devvm-news",
}
#: What production is changed to have because of older packages: an item is missing (`None`), an
#: item that is gone now exists, or a fact has another value.
_OLDER = {
    "ca-certificates": {
        ("file", "/etc/ca-certificates.conf"): ("content", lambda text: text.replace(_ROOT, "")),
    },
    "mariadb-server-core": {
        ("setting", "mariadb/max_prepared_stmt_count"): ("value", lambda _: "1"),
        ("setting", "mariadb/updatable_views_with_limit"): None,
        ("setting", "mariadb/that_once_was"): ("value", lambda _: "1"),
    },
    "memcached": {("setting", "memcached/flush_enabled"): None},
    "nginx": {("setting", "nginx/modules"): ("built", lambda modules: modules[1:])},
    "python3-flask": {
        ("python", "flask in /usr/lib/python3/dist-packages"): ("version", lambda _: "1.0")
    },
    "redis-server": {
        ("setting", "redis/hz"): ("value", lambda _: "11"),
        ("setting", "redis/lua-time-limit"): None,
    },
}
_ROOT = "mozilla/ISRG_Root_X1.crt\n"
ALL = BROUGHT | {
    check: package
    for package, items in _OLDER.items()
    for check in (f"package/{package}", *(manifest.check_name(*key) for key in items))
}


@pytest.fixture(scope="module")
def older(production, tmp_path_factory):
    """Production as if captured before servers and other packages moved."""
    folder = tmp_path_factory.mktemp("older") / "production"
    shutil.copytree(production, folder)
    stated = manifest.load(folder / "manifest.yml")
    areas = {area: dict(items) for area, items in stated.areas.items()}
    for package, items in _OLDER.items():
        areas["package"][package] = {**areas["package"][package], "version": "0.1"}
        for (area, item), change in items.items():
            facts = areas[area].pop(item, {})
            if change:
                fact, other = change
                areas[area][item] = {**facts, fact: other(facts.get(fact))}
    text = manifest.dump(stated.model_copy(update={"areas": areas}))
    (folder / "manifest.yml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def newer(converged, older):
    """The machine with the packages of its release, which production doesn't have."""
    machine = converged.machine
    machine.sh("mkdir -p /root/moved; cat /proc/sys/net/ipv4/ip_default_ttl >/root/moved/ttl")
    try:
        machine.sh(_BUILD)
        # Redis forgets what earlier tests set.
        machine.sh("systemctl restart redis-server about-worker")
        yield machine
    finally:
        machine.sh(_UNDO)


def ahead(report):
    return {c.name: c.package for c in report if c.outcome is Outcome.AHEAD}


def labels(names, release):
    return {check: f"{name} {release[name]}" for check, name in names.items()}


def test_what_packages_bring_is_told_with_them_and_fails_nothing(newer, older):
    release = newer.packages()
    report = newer.check(older, packages=release)
    assert differences(report) == {}
    assert ahead(report) == labels(ALL, release)


@pytest.mark.parametrize("known", [False, True], ids=["unknown", "another one"])
def test_of_another_release_every_package_is_a_difference(newer, older, known):
    """A package that somebody installs has not moved."""
    release = newer.packages() | {"logrotate": "1", "devvm-news": "0"} if known else None
    report = newer.check(older, packages=release)
    mine = {name for name, package in ALL.items() if package in ("logrotate", "devvm-news")}
    expected = mine if known else ALL.keys()
    assert differences(report).keys() == expected
    assert ahead(report).keys() == ALL.keys() - expected


_RECORDS = "/var/lib/systemd/deb-systemd-helper-enabled"
_PROGRAM = "/usr/bin/memcached"
_DROP_INS = "/etc/systemd/system/devvm-news.service.d"
_LINK = "timers.target.wants/logrotate-news.timer"
#: What somebody changes, how to undo it, and what no longer counts as a package's.
_BY_HAND = {
    "edits a new file": (
        "echo 'news = no' >>/etc/devvm-news/news.conf",
        "sed -i '$d' /etc/devvm-news/news.conf",
        ("file/etc/devvm-news/news.conf",),
    ),
    "lets all write to a new file": (
        "chmod 666 /etc/security/limits.d/devvm-news.conf",
        "chmod 644 /etc/security/limits.d/devvm-news.conf",
        ("file/etc/security/limits.d/devvm-news.conf",),
    ),
    "adds a file of their own to a new folder": (
        "echo mine >/etc/devvm-news/mine.conf",
        "rm /etc/devvm-news/mine.conf",
        ("file/etc/devvm-news/mine.conf",),
    ),
    "has a new unit do something else": (
        f"mkdir {_DROP_INS}; echo [Unit] >{_DROP_INS}/mine.conf; systemctl daemon-reload",
        f"rm -r {_DROP_INS}; systemctl daemon-reload",
        # and therefore what it listens on
        ("unit/devvm-news.service", "socket/tcp/7707", f"file{_DROP_INS}/*"),
    ),
    "gives a new user a shell": (
        "usermod --shell /bin/sh devvm-news",
        "usermod --shell /usr/sbin/nologin devvm-news",
        ("user/devvm-news",),
    ),
    "sets what a new file configures": (
        "sysctl -q net.ipv4.ip_default_ttl=66",
        "sysctl -q net.ipv4.ip_default_ttl=65",
        ("sysctl/net.ipv4.ip_default_ttl",),
    ),
    "enables a unit that was turned off": (
        "systemctl disable logrotate-news.timer; sleep 2.1; systemctl enable logrotate-news.timer",
        f"touch -h -r {_RECORDS}/{_LINK} /etc/systemd/system/{_LINK}",
        ("unit/logrotate-news.timer",),
    ),
    "brings back a file that a package dropped": (
        "echo missingok >/etc/logrotate.d/wtmp",
        "rm /etc/logrotate.d/wtmp",
        ("file/etc/logrotate.d/wtmp",),
    ),
    "sets a variable": (
        'mariadb -e "SET GLOBAL max_prepared_stmt_count = 99"',
        'mariadb -e "SET GLOBAL max_prepared_stmt_count = DEFAULT"',
        ("setting/mariadb/max_prepared_stmt_count",),
    ),
    "sets a setting": (
        f"{REDIS_CLI} config set hz 12",
        f"{REDIS_CLI} config set hz 10",
        ("setting/redis/hz", "setting/redis/lua-time-limit"),
    ),
    "takes out an authority": (
        "sed -i s,^mozilla/ISRG_Root_X2,!\\&, /etc/ca-certificates.conf",
        "sed -i s,^.mozilla/ISRG_Root_X2,mozilla/ISRG_Root_X2, /etc/ca-certificates.conf",
        ("file/etc/ca-certificates.conf",),
    ),
    "holds a package": (
        "apt-mark hold python3-flask",
        "apt-mark unhold python3-flask",
        ("package/python3-flask", "python/flask in *"),
    ),
    "changes a program": (
        f"cd /root/moved; cp -a {_PROGRAM} .; (cat memcached; echo) >x; install x {_PROGRAM}",
        f"mv /root/moved/memcached {_PROGRAM}",
        ("package/memcached", "setting/memcached/flush_enabled"),
    ),
}


def test_what_somebody_changes_is_a_difference_all_the_same(newer, older):
    for command, _, _ in _BY_HAND.values():
        newer.sh(command)
    try:
        release = newer.packages()
        report = newer.check(older, packages=release)
    finally:
        for _, undo, _ in _BY_HAND.values():
            newer.sh(undo)
    failed = [c.name for c in report if c.outcome not in (Outcome.PASSED, Outcome.AHEAD)]
    patterns = [pattern for _, _, expected in _BY_HAND.values() for pattern in expected]
    assert [name for name in failed if not matched(name, patterns)] == []
    assert [pattern for pattern in patterns if not any(matched(n, [pattern]) for n in failed)] == []
    left = {check: name for check, name in ALL.items() if not matched(check, patterns)}
    assert ahead(report) == labels(left, release)


def matched(name, patterns):
    return any(fnmatchcase(name, pattern) for pattern in patterns)
