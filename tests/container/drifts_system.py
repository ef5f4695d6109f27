"""Drifts of the system: packages, accounts, kernel, mounts, and system-wide settings."""

from __future__ import annotations

from tests.container.drifts_form import Drift, accounts, added, edited, folder, kept

_STATUS = "/var/lib/dpkg/status"
_PYTHON = "/usr/lib/python3/dist-packages"
_LOCAL = "/usr/local/lib/python3.11/dist-packages"
#: Makes a table and a chain that drops what is forwarded, or deletes the table: netlink, because
#: there need be no program. The arguments: linux/netfilter/nf_tables.h.
NFTABLES = """
import socket, struct, sys
a = lambda n, v: struct.pack("=HH", len(v) + 4, n) + v + bytes(-len(v) % 4)
m = lambda t, f, v=b"", s=0: (
    struct.pack("=IHHIIBBH", 20 + len(v), t, f, 0, 0, s, 0, socket.htons(10)) + v)
table = a(1, b"drift\\0")
hook = a(0x8004, a(1, bytes([0, 0, 0, 2])) + a(2, bytes(4)))
chain = table + a(3, b"c\\0") + hook + a(5, bytes(4)) + a(7, b"filter\\0")
what = {0: table, 2: table, 3: chain}
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
b = [m(2560 + n, 0x405, what[n], 2) for n in map(int, sys.argv[1:])]
s.send(m(16, 1) + b"".join(b) + m(17, 1))
assert struct.unpack_from("=i", s.recv(65536), 16) == (0,)
"""
_LOGS_IN = "/var/lib/systemd/linger"


def status(name: str, package: str, script: str) -> Drift:
    """A package with another status in dpkg's database."""
    of_it = f"/^Package: {package}$/,/^$/"
    return Drift(
        name,
        f"cp --preserve=all {_STATUS} $kept; sed -i '{of_it} {script}' {_STATUS}",
        f"mv $kept {_STATUS}",
        (f"package/{package}",),
    )


PACKAGES = (
    Drift(
        "package-removed",
        f"tar -cf $kept --no-recursion -C / {_STATUS} /var/lib/dpkg/info/acl.*"
        " $(dpkg -L acl) 2>/dev/null; dpkg --remove acl",
        "tar -xf $kept -C /; rm $kept",
        ("package/acl",),
    ),
    Drift(
        "package-added",
        "mkdir -p $kept/DEBIAN;"
        "printf 'Package: drift\\nVersion: 1\\nArchitecture: all\\nMaintainer: d\\n"
        "Description: d\\n' >$kept/DEBIAN/control;"
        "dpkg-deb --build $kept /root/drift.deb; dpkg --install /root/drift.deb",
        "dpkg --purge drift; rm -r $kept /root/drift.deb",
        ("package/drift",),
    ),
    Drift(
        "package-held",
        "apt-mark hold lsof",
        "apt-mark unhold lsof",
        ("package/lsof",),
    ),
    status("package-gone", "lsof", "d"),
    status("package-older", "lsof", "s/^Version: .*/Version: 4.93.2+dfsg-1/"),
    status("package-newer", "openssl", "s/^Version: .*/&.1/"),
    status("package-half-configured", "lsof", "s/^Status: .*/Status: install ok half-configured/"),
    status("package-half-gone", "lsof", "s/^Status: .*/Status: deinstall ok config-files/"),
    kept(
        "program-of-a-package-replaced",
        "/usr/bin/lsof",
        "printf '#!/bin/sh\\n' >/usr/bin/lsof",
        ("package/lsof",),
    ),
    kept(
        "library-of-a-package-patched",
        f"{_PYTHON}/flask/app.py",
        f"echo '# patched' >>{_PYTHON}/flask/app.py",
        ("package/python3-flask",),
    ),
    kept(
        "program-replaced-and-its-time-set-back",
        "/usr/bin/dmesg",
        "printf '#!/bin/sh\\n' >/usr/bin/dmesg; touch --date=@0 /usr/bin/dmesg",
        ("package/util-linux",),
    ),
    kept(
        "program-changed-in-place-and-its-time-set-back",
        f"{_PYTHON}/jinja2/nodes.py",
        f"touch -r {_PYTHON}/jinja2/nodes.py $kept.time;"
        f"printf x | dd of={_PYTHON}/jinja2/nodes.py conv=notrunc status=none;"
        f"touch -r $kept.time {_PYTHON}/jinja2/nodes.py; rm $kept.time",
        ("package/python3-jinja2",),
    ),
)

PYTHON = (
    Drift(
        "python-package-installed-by-pip",
        f"mkdir {_LOCAL}/drift-1.0.dist-info",
        f"rmdir {_LOCAL}/drift-1.0.dist-info",
        (f"python/drift in {_LOCAL}", f"file{_LOCAL}/drift-1.0.dist-info/"),
    ),
    Drift(
        "python-package-newer",
        f"mv {_PYTHON}/Flask-2.2.2.egg-info {_PYTHON}/Flask-2.3.0.egg-info",
        f"mv {_PYTHON}/Flask-2.3.0.egg-info {_PYTHON}/Flask-2.2.2.egg-info",
        (f"python/flask in {_PYTHON}",),
    ),
    Drift(
        "python-package-gone",
        f"mv {_PYTHON}/colorama-0.4.6.dist-info $kept",
        f"mv $kept {_PYTHON}/colorama-0.4.6.dist-info",
        (f"python/colorama in {_PYTHON}",),
    ),
    Drift(
        "python-package-twice",
        f"mkdir {_PYTHON}/Flask-1.0.dist-info",
        f"rmdir {_PYTHON}/Flask-1.0.dist-info",
        (f"python/flask in {_PYTHON}",),
    ),
    Drift(
        "python-package-of-a-users-own",
        "mkdir -p /var/lib/about/.local/lib/python3.11/site-packages/drift-1.0.dist-info",
        "rm -r /var/lib/about/.local",
        ("python/drift in /var/lib/about/.local/lib/python3.11/site-packages",),
    ),
)

ACCOUNTS = (
    accounts("user-may-have-a-shell", "usermod --shell /bin/bash www-data", "user/www-data"),
    accounts("user-added", "useradd --system drift", "user/drift", "group/drift"),
    accounts("user-in-another-group", "usermod -a -G shadow www-data", "user/www-data"),
    accounts("user-who-is-root", "useradd -o -u 0 -g 0 -M drift", "user/drift"),
    accounts("user-gone", "userdel games", "user/games", "group/games"),
    accounts("root-has-a-password", "echo root:drift | chpasswd", "user/root"),
    accounts("user-without-a-password", "passwd --delete vagrant", "user/vagrant"),
    accounts("group-added", "groupadd drift", "group/drift"),
    accounts("group-gone", "groupdel voice", "group/voice"),
    accounts("group-of-another-number", "groupmod --gid 98 voice", "group/voice"),
    accounts("user-expired", "usermod --expiredate 2001-01-01 about", "user/about"),
    Drift(
        "user-starts-services-at-boot",
        f"mkdir -p {_LOGS_IN}; touch {_LOGS_IN}/www-data",
        f"rm {_LOGS_IN}/www-data",
        ("user/www-data",),
    ),
    added(
        "sudo-for-the-web-server",
        "/etc/sudoers.d/zz-drift",
        "www-data ALL=(ALL) NOPASSWD: ALL",
        ("sudo/www-data",),
    ),
    edited(
        "sudo-without-a-password",
        "/etc/sudoers",
        "s/^%sudo.*/%sudo ALL=(ALL:ALL) NOPASSWD: ALL/",
        ("sudo/%sudo",),
    ),
    edited(
        "sudo-remembers-for-longer",
        "/etc/sudoers.d/base",
        "s/timestamp_timeout=5/timestamp_timeout=500/",
        ("sudo/Defaults",),
    ),
)

KERNEL = (
    Drift(
        "shorter-queue-until-the-next-boot",
        "sysctl --quiet --write net.core.somaxconn=128",
        "sysctl --quiet --write net.core.somaxconn=4096",
        ("sysctl/net.core.somaxconn",),
    ),
    Drift(
        "no-cookies-against-floods",
        "sysctl --quiet --write net.ipv4.tcp_syncookies=0",
        "sysctl --quiet --write net.ipv4.tcp_syncookies=1",
        ("sysctl/net.ipv4.tcp_syncookies",),
    ),
    added(
        "shorter-queue-at-the-next-boot",
        "/etc/sysctl.d/99-drift.conf",
        "net.core.somaxconn = 128",
        ("sysctl/net.core.somaxconn",),
    ),
    folder(
        "shorter-queue-in-run",
        "/run/sysctl.d",
        "99-drift.conf",
        "net.core.somaxconn = 128",
        ("sysctl/net.core.somaxconn", "file/run/sysctl.d/", "file/run/sysctl.d/99-drift.conf"),
    ),
    folder(
        "module-forbidden",
        "/etc/modprobe.d",
        "drift.conf",
        "blacklist usb-storage",
        ("module/usb-storage", "file/etc/modprobe.d/", "file/etc/modprobe.d/drift.conf"),
    ),
    added(
        "module-loaded-at-boot",
        "/etc/modules-load.d/drift.conf",
        "br_netfilter",
        ("module/br_netfilter",),
    ),
    edited(
        "module-without-its-options",
        "/usr/lib/modprobe.d/systemd.conf",
        "/^options dummy/d",
        ("module/dummy",),
    ),
    added(
        "limit-of-a-users-own",
        "/etc/security/limits.d/99-drift.conf",
        "www-data soft nofile 65536",
        ("limit/www-data soft nofile",),
    ),
    edited(
        "limit-lowered",
        "/etc/security/limits.d/60-base.conf",
        "s/^root soft nofile .*/root soft nofile 1024/",
        ("limit/root soft nofile",),
    ),
    added(
        "services-do-not-dump",
        "/etc/systemd/system.conf.d/99-drift.conf",
        "[Manager]\\nDefaultLimitCORE=0",
        ("limit/systemd DefaultLimitCORE",),
        then="systemctl daemon-reexec",
    ),
)

SYSTEM = (
    Drift("mounted-by-hand", "mount -t tmpfs drift /mnt", "umount /mnt", ("mount/mnt",)),
    Drift("bound-by-hand", "mount --bind /srv /mnt", "umount /mnt", ("mount/mnt",)),
    Drift(
        "file-covered-by-a-mount",
        "mount --bind /etc/issue /etc/motd",
        "umount /etc/motd",
        ("mount/etc/motd", "file/etc/motd"),
    ),
    Drift(
        "nothing-may-run-in-tmp",
        "mount -o remount,noexec /tmp",
        "mount -o remount,exec /tmp",
        ("mount/tmp",),
    ),
    Drift(
        "programs-of-other-users-in-shared-memory",
        "mount -o remount,suid,dev /dev/shm",
        "mount -o remount,nosuid,nodev /dev/shm",
        ("api-mount/dev/shm",),
    ),
    Drift(
        "processes-of-others-are-hidden",
        "mount -o remount,hidepid=2 /proc",
        "mount -o remount,hidepid=0 /proc",
        ("api-mount/proc",),
    ),
    Drift(
        "services-get-another-variable",
        "systemctl set-environment DRIFT=yes",
        "systemctl unset-environment DRIFT",
        ("manager/environment/DRIFT",),
    ),
    Drift(
        "systemd-logs-less",
        "systemctl log-level err",
        "systemctl log-level info",
        ("manager/LogLevel",),
    ),
    Drift(
        "packets-are-not-forwarded",
        f"python3 -c '{NFTABLES}' 0 3",
        f"python3 -c '{NFTABLES}' 2",
        ("firewall/nft/ip drift",),
    ),
    Drift(
        "another-time-zone",
        "ln -sfn /usr/share/zoneinfo/Europe/Berlin /etc/localtime",
        "ln -sfn /usr/share/zoneinfo/Etc/UTC /etc/localtime",
        ("file/etc/localtime", "system/time"),
        alone=True,
    ),
    edited(
        "another-language",
        "/etc/default/locale",
        "s/^LANG=.*/LANG=de_DE.UTF-8/",
        ("system/locale",),
    ),
    added(
        "another-keyboard",
        "/etc/default/keyboard",
        "XKBLAYOUT=de",
        ("system/locale",),
    ),
    Drift(
        "boots-into-another-target",
        "systemctl set-default multi-user.target",
        "rm /etc/systemd/system/default.target; systemctl daemon-reload",
        ("system/boot",),
    ),
    kept(
        "another-release-of-debian",
        "/usr/lib/os-release",
        "sed -i s/^VERSION_ID=.*/VERSION_ID=13/ /usr/lib/os-release",
        ("system/os", "package/base-files"),
    ),
)

HOST = (*PACKAGES, *PYTHON, *ACCOUNTS, *KERNEL, *SYSTEM)
