"""Drifts of files: configuration, permissions, trust, cron jobs."""

from __future__ import annotations

from tests.container.drifts_form import Drift, added, chmod, edited, folder, kept, locked

_MAKE_CA = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9"
    " -subj /CN=Drift -keyout /dev/null -out"
)
_SITE_CRT = "/etc/ssl/certs/site.crt"

RIGHTS = (
    chmod("tls-key-readable", "/etc/ssl/private/site.key", "0644", "0600"),
    chmod(
        "ssh-host-key-readable",
        "/etc/ssh/ssh_host_ed25519_key",
        "0644",
        "0600",
        "config/ssh/parses",
    ),
    chmod("sudoers-writable", "/etc/sudoers.d/base", "0660", "0440", "config/sudo/parses"),
    chmod("passwords-readable", "/etc/shadow", "0644", "0640"),
    chmod("accounts-writable", "/etc/passwd", "0666", "0644"),
    chmod("hosts-writable", "/etc/hosts", "0666", "0644"),
    chmod("folder-writable", "/etc/nginx/conf.d/", "0777", "0755"),
    chmod("vendors-file-writable", "/usr/lib/sysctl.d/50-pid-max.conf", "0666", "0644"),
    Drift(
        "secret-key-of-another-owner",
        "chown root: /var/lib/about/secret_key",
        "chown about: /var/lib/about/secret_key",
        ("file/var/lib/about/secret_key",),
    ),
    Drift(
        "redis-may-change-its-configuration",
        "chown redis /etc/redis/redis.conf",
        "chown root /etc/redis/redis.conf",
        ("file/etc/redis/redis.conf",),
    ),
    chmod("etc-writable-for-a-group", "/etc/", "0775", "0755"),
    Drift(
        "passwords-readable-by-a-list",
        "setfacl -m u:www-data:r /etc/shadow",
        "setfacl -b /etc/shadow",
        ("file/etc/shadow",),
    ),
    chmod("program-runs-as-root", "/usr/bin/lsof", "4755", "0755"),
)

CONTENT = (
    edited(
        "site-config-edited",
        "/etc/about/about.toml",
        "s/^list_cache_seconds = .*/list_cache_seconds = 5/",
    ),
    edited("name-of-another-address", "/etc/hosts", "$a 192.0.2.1 deb.debian.org"),
    edited("comment-added", "/etc/chrony/chrony.conf", "$a # drift"),
    edited("packaged-file-edited", "/etc/nginx/fastcgi_params", "$a # drift"),
    added("new-file", "/etc/drift.conf", "drift = yes"),
    added("library-preloaded", "/etc/ld.so.preload", ""),
    added("program-of-nobodys", "/usr/local/bin/drift", "#!/bin/sh", mode="0755"),
    added("script-that-runs-as-root", "/usr/local/bin/drift", "#!/bin/sh", mode="4755"),
    added(
        "root-may-log-in-with-a-key",
        "/root/.ssh/authorized_keys",
        "ssh-ed25519 AAAA drift",
        ("user/root",),
    ),
    added("package-pinned", "/etc/apt/preferences.d/drift", "Package: drift"),
    added("another-archive", "/etc/apt/sources.list.d/drift.list", "# deb http://drift/ ./"),
    kept(
        "logs-of-nginx-not-rotated",
        "/etc/logrotate.d/nginx",
        "rm /etc/logrotate.d/nginx",
        ("file/etc/logrotate.d/nginx",),
    ),
    kept(
        "file-replaced-by-a-link",
        "/etc/motd",
        "ln -sf /etc/issue /etc/motd",
        ("file/etc/motd",),
    ),
    kept(
        "folder-gone",
        "/etc/nginx/conf.d",
        "rmdir /etc/nginx/conf.d",
        ("file/etc/nginx/conf.d/",),
    ),
    kept(
        "certificate-gone",
        _SITE_CRT,
        f"rm {_SITE_CRT}",
        (f"file{_SITE_CRT}", "config/nginx/parses", "setting/nginx/*"),
    ),
    Drift(
        "another-awk",
        "update-alternatives --quiet --set awk /usr/bin/mawk",
        "update-alternatives --quiet --auto awk",
        ("file/etc/alternatives/*awk*",),
    ),
    added("vendors-file-of-nobodys", "/usr/lib/tmpfiles.d/zz-drift.conf", "# drift"),
    kept(
        "vendors-file-gone",
        "/usr/lib/tmpfiles.d/x11.conf",
        "rm /usr/lib/tmpfiles.d/x11.conf",
        ("file/usr/lib/tmpfiles.d/x11.conf",),
    ),
    Drift(
        "link-among-the-vendors-files",
        "ln -s /srv/drift.conf /usr/lib/tmpfiles.d/zz-drift.conf",
        "rm /usr/lib/tmpfiles.d/zz-drift.conf",
        ("file/usr/lib/tmpfiles.d/zz-drift.conf",),
    ),
    added("name-ends-in-a-dash", "/etc/apt/apt.conf.d/99drift-", 'APT::Get::Assume-Yes "1";'),
    folder(
        "journal-not-kept-until-the-next-boot",
        "/run/systemd/journald.conf.d",
        "drift.conf",
        "[Journal]\\nStorage=none",
        ("file/run/systemd/journald.conf.d/", "file/run/systemd/journald.conf.d/drift.conf"),
    ),
    folder(
        "service-may-log-in-with-a-key",
        "/var/lib/about/.ssh",
        "authorized_keys",
        "ssh-ed25519 AAAA drift",
        ("user/about",),
    ),
)

TRUST = (
    Drift(
        "authority-added",
        f"{_MAKE_CA} /usr/local/share/ca-certificates/drift.crt; update-ca-certificates",
        "rm /usr/local/share/ca-certificates/drift.crt; update-ca-certificates",
        ("certificate/Drift", "file/usr/local/share/ca-certificates/drift.crt"),
    ),
    edited(
        "authority-distrusted",
        "/etc/ca-certificates.conf",
        "s/^mozilla.ISRG_Root_X1.crt/!&/",
        ("certificate/ca-certificates", "certificate/ISRG_Root_X1.crt"),
        then="update-ca-certificates",
    ),
    Drift(
        "authority-added-without-the-bundle",
        f"{_MAKE_CA} $kept;mv $kept /etc/ssl/certs/$(openssl x509 -noout -hash -in $kept).0",
        "rm $(grep -L Mozilla $(find /etc/ssl/certs -name '*.0' -type f))",
        ("file/etc/ssl/certs/*.0",),
    ),
)

JOBS = (
    added(
        "job-added",
        "/etc/cron.d/drift",
        "0 4 * * * root true",
        ("cron/etc/cron.d/drift",),
    ),
    Drift(
        "job-of-roots-own",
        "mkdir -p /var/spool/cron/crontabs; echo '@daily true' >/var/spool/cron/crontabs/root",
        "rm -r /var/spool/cron",
        ("cron/var/spool/cron/crontabs/root",),
    ),
    added(
        "job-every-day",
        "/etc/cron.daily/drift",
        "#!/bin/sh",
        ("cron/etc/cron.daily/drift",),
        mode="0755",
    ),
    chmod("job-not-executable", "/etc/cron.daily/dpkg", "0644", "0755", "cron/etc/cron.daily/dpkg"),
    edited("job-does-something-else", "/etc/cron.daily/dpkg", "$a true"),
)

ATTRIBUTES = (
    locked("file-that-cannot-be-changed", "/etc/login.defs", "i"),
    locked("folder-that-only-grows", "/etc/skel/", "a"),
    locked("unit-that-cannot-be-changed", "/usr/lib/systemd/system/fstrim.service", "i"),
    locked("program-that-cannot-be-changed", "/usr/bin/last", "i", "package/util-linux"),
)

FILES = (*RIGHTS, *CONTENT, *TRUST, *JOBS, *ATTRIBUTES)
