"""The catalogue of drifts: ways in which a host departs from production, and what must notice.

A drift is one shell command, run as root; another one takes it back. `expected` names the checks
that must fail, exactly those and each of them at least once: names, or patterns as in a shell.
"""

from __future__ import annotations

from dataclasses import dataclass

NGINX = "/etc/nginx/nginx.conf"
MEMCACHED = "/etc/memcached.conf"
MARIADB = "/etc/mysql/mariadb.conf.d/60-site.cnf"
RELOAD_NGINX = "systemctl reload nginx"

#: What a visitor and a monitor of the site get, all of it through the web server.
SITE = ("site/healthz/*", "site/revision")


@dataclass(frozen=True)
class Drift:
    """One way to be wrong."""

    name: str
    apply: str
    undo: str
    expected: tuple[str, ...]


def edited(name: str, path: str, script: str, expected: tuple[str, ...], then: str = ":") -> Drift:
    """A file changed by a sed script; `then` makes its program read it."""
    return Drift(
        name,
        apply=f"cp --preserve=all {path} /root/kept; sed -i '{script}' {path}; {then}",
        undo=f"mv /root/kept {path}; {then}",
        expected=expected,
    )


def added(name: str, path: str, line: str, expected: tuple[str, ...], then: str = ":") -> Drift:
    """A file that nobody asked for."""
    return Drift(
        name,
        apply=f"install -m 0440 /dev/null {path}; echo '{line}' >{path}; {then}",
        undo=f"rm {path}; {then}",
        expected=expected,
    )


def chmod(name: str, path: str, mode: str, good: str, *also: str) -> Drift:
    return Drift(name, f"chmod {mode} {path}", f"chmod {good} {path}", (f"file{path}/mode", *also))


def sql(name: str, statement: str, undo: str, *expected: str) -> Drift:
    return Drift(name, f'mariadb -e "{statement}"', f'mariadb -e "{undo}"', expected)


def redis(name: str, key: str, value: str, good: str, *also: str) -> Drift:
    """A setting of the running server; its file says what it always said."""
    command = f"redis-cli config set {key} {{}} | grep -qx OK"
    return Drift(name, command.format(value), command.format(good), (f"setting/redis/{key}", *also))


SERVICES = (
    Drift(
        "nginx-fails-to-start-because-of-a-drop-in",
        "mkdir /run/systemd/system/nginx.service.d;"
        "printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n'"
        " >/run/systemd/system/nginx.service.d/zz.conf;"
        "systemctl daemon-reload; systemctl restart nginx ||:",
        "rm -r /run/systemd/system/nginx.service.d;"
        "systemctl daemon-reload; systemctl restart nginx",
        (
            "service/nginx/running", "service/none-failed", "socket/tcp/80/*", "socket/tcp/443/*",
            "socket/tcp/8081/*", "http/*", "tls/site/version", "metrics/nginx/*", *SITE,
        ),
    ),
    Drift(
        "nginx-disabled",
        "systemctl disable nginx",
        "systemctl enable nginx",
        ("service/nginx/enabled",),
    ),
    Drift(
        "redis-masked-while-it-runs",
        "systemctl mask --runtime redis-server",
        "systemctl unmask --runtime redis-server",
        ("service/redis-server/running", "service/redis-server/enabled"),
    ),
    Drift(
        "mariadb-stopped",
        "systemctl stop mariadb; systemctl restart memcached",  # which has the list of people
        "systemctl start mariadb",
        (
            "service/mariadb/running", "socket/tcp/3306/*", "setting/mariadb/*",
            "site/healthz/database", "site/healthz/schema", "http/home/status", "http/people/*",
            "metrics/mysqld/*",
        ),
    ),
    Drift(
        "memcached-frozen",
        "systemctl kill --kill-whom=main --signal=STOP memcached",
        "systemctl kill --kill-whom=main --signal=CONT memcached",
        ("setting/memcached/*", "site/healthz/cache"),
    ),
    Drift(
        "worker-dead",
        "systemctl stop about-worker",
        "systemctl start about-worker",
        ("service/about-worker/running", "site/healthz/worker", "worker/job"),
    ),
    Drift(
        "failed-unit-of-somebody-else",
        "systemd-run --quiet --unit=doomed --wait false ||:",
        "systemctl reset-failed doomed",
        ("service/none-failed",),
    ),
    Drift(
        "apt-upgrades-by-itself",
        "systemctl enable --now apt-daily-upgrade.timer",
        "systemctl disable --now apt-daily-upgrade.timer",
        ("service/apt-daily-upgrade.timer/inactive", "service/apt-daily-upgrade.timer/disabled"),
    ),
    Drift(
        "logs-are-not-rotated",
        "systemctl stop logrotate.timer",
        "systemctl start logrotate.timer",
        ("service/logrotate.timer/active",),
    ),
    Drift(
        "exporter-stopped",
        "systemctl stop prometheus-node-exporter",
        "systemctl start prometheus-node-exporter",
        ("service/prometheus-node-exporter/running", "socket/tcp/9100/*", "metrics/node/*"),
    ),
)  # fmt: skip

SOCKETS = (
    Drift(
        "rogue-tcp-socket",
        "systemd-run --quiet --unit=rogue --socket-property=ListenStream=127.0.0.1:8888 true",
        "systemctl stop rogue.socket",
        ("socket/unexpected",),
    ),
    Drift(
        "rogue-udp-socket",
        "systemd-run --quiet --unit=rogue --socket-property=ListenDatagram=127.0.0.1:5353 true",
        "systemctl stop rogue.socket",
        ("socket/unexpected",),
    ),
    Drift(
        "another-program-on-the-exporters-port",
        "systemctl stop prometheus-nginx-exporter;"
        "systemd-run --quiet --collect --unit=rogue"
        " python3 -m http.server --directory=/usr/share/zoneinfo --bind 127.0.0.1 9113;"
        "timeout 30 sh -c 'until ss -Hltn sport = 9113 | grep -q .; do sleep 0.1; done'",
        "systemctl stop rogue; systemctl start prometheus-nginx-exporter",
        (
            "service/prometheus-nginx-exporter/running",
            "service/none-failed",  # an exporter that is told to stop does not end well
            "socket/tcp/9113/process",
            "metrics/nginx/*",
        ),
    ),
    edited(
        "memcached-open-to-everybody",
        MEMCACHED,
        "s/^-l .*/-l 0.0.0.0/",
        ("socket/tcp/11211/bind", "setting/memcached/inter"),
        then="systemctl restart memcached",
    ),
    edited(
        "memcached-on-udp",
        MEMCACHED,
        "s/^-U .*/-U 11211/",
        ("socket/unexpected", "setting/memcached/udpport"),
        then="systemctl restart memcached",
    ),
    edited(
        "mariadb-open-to-everybody",
        MARIADB,
        "s/^bind_address .*/bind_address = 0.0.0.0/",
        ("socket/tcp/3306/bind", "setting/mariadb/bind_address"),
        then="systemctl restart mariadb",
    ),
    redis("redis-open-to-everybody", "bind", "0.0.0.0", "127.0.0.1", "socket/tcp/6379/bind"),
    edited(
        "nginx-without-ipv6",
        NGINX,
        "/listen \\[::\\]/d",
        ("socket/tcp/80/bind", "socket/tcp/443/bind"),
        then=RELOAD_NGINX,
    ),
    added(
        "sshd-on-the-loopback-only",
        "/etc/ssh/sshd_config.d/00-drift.conf",
        "ListenAddress 127.0.0.1",
        ("socket/tcp/22/bind",),
        then="systemctl reload ssh",
    ),
)

CONFIGURATION = (
    edited("nginx-config-broken", NGINX, "$a nonsense on;", ("config/nginx/parses",)),
    added(
        "sshd-config-broken",
        "/etc/ssh/sshd_config.d/99-drift.conf",
        "Nonsense yes",
        ("config/ssh/parses",),
    ),
    added("sudoers-broken", "/etc/sudoers.d/zz-drift", "nonsense", ("config/sudo/parses",)),
    edited(
        "chrony-config-broken", "/etc/chrony/chrony.conf", "$a nonsense", ("config/chrony/parses",)
    ),
    edited("mariadb-config-broken", MARIADB, "$a nonsense = 1", ("config/mariadb/parses",)),
    sql(
        "mariadb-takes-fewer-connections",
        "SET GLOBAL max_connections = 50",
        "SET GLOBAL max_connections = 100",
        "setting/mariadb/max_connections",
    ),
    sql(
        "mariadb-may-lose-commits",
        "SET GLOBAL innodb_flush_log_at_trx_commit = 2",
        "SET GLOBAL innodb_flush_log_at_trx_commit = 1",
        "setting/mariadb/innodb_flush_log_at_trx_commit",
    ),
    redis("redis-evicts-jobs", "maxmemory-policy", "allkeys-lru", "noeviction"),
    redis("redis-does-not-keep-jobs", "appendonly", "no", "yes"),
    edited(
        "memcached-smaller",
        MEMCACHED,
        "s/^-m .*/-m 32/",
        ("setting/memcached/maxbytes",),
        then="systemctl restart memcached",
    ),
)

WEB = (
    edited(
        "hsts-lost",
        NGINX,
        "/Strict-Transport-Security/d",
        ("http/home/header/strict-transport-security",),
        then=RELOAD_NGINX,
    ),
    edited(
        "old-tls",
        NGINX,
        "s/ssl_protocols .*/ssl_protocols TLSv1.2;/",
        ("tls/site/version",),
        then=RELOAD_NGINX,
    ),
    edited(
        "redirect-forgets-the-method",
        NGINX,
        "s/return 308/return 302/",
        ("http/redirect/status",),
        then=RELOAD_NGINX,
    ),
    edited(
        "web-server-not-measured",
        NGINX,
        "s/stub_status;/return 404;/",
        ("http/status/*", "metrics/nginx/*"),
        then=RELOAD_NGINX,
    ),
    sql(
        "database-not-measured",
        "ALTER USER prometheus@localhost ACCOUNT LOCK",
        "ALTER USER prometheus@localhost ACCOUNT UNLOCK",
        "metrics/mysqld/*",
    ),
    edited(
        "code-patched-under-the-running-site",
        "/srv/about/current/about/views.py",
        "$a # patched",
        ("site/revision",),
    ),
    edited(
        "page-broken",
        "/srv/about/current/about/templates/index.html",
        "$a {% nonsense %}",
        ("http/home/status",),
        then="systemctl restart about",
    ),
    Drift(
        "uploads-not-writable",
        "chown root: /var/lib/about/media/photos",
        "chown about: /var/lib/about/media/photos",
        ("site/healthz/media",),
    ),
)

FILES = (
    chmod("tls-key-readable", "/etc/ssl/private/site.key", "0644", "0600"),
    chmod(
        "ssh-host-key-readable",
        "/etc/ssh/ssh_host_ed25519_key",
        "0644",
        "0600",
        "config/ssh/parses",
    ),
    chmod("sudoers-writable", "/etc/sudoers.d/base", "0660", "0440", "config/sudo/parses"),
    Drift(
        "secret-key-of-another-owner",
        "chown root: /var/lib/about/secret_key",
        "chown about: /var/lib/about/secret_key",
        ("file/var/lib/about/secret_key/owner",),
    ),
    Drift(
        "certificate-gone",
        "mv /etc/ssl/certs/site.crt /root/kept",
        "mv /root/kept /etc/ssl/certs/site.crt",
        ("file/etc/ssl/certs/site.crt/*", "config/nginx/parses"),
    ),
    Drift(
        "another-release-is-served",
        "ln -sfn $(readlink -f /srv/about/app) /srv/about/current",
        "ln -sfn /srv/about/app /srv/about/current",
        ("file/srv/about/current/link",),
    ),
    Drift(
        "another-time-zone",
        "ln -sfn /usr/share/zoneinfo/Europe/Berlin /etc/localtime",
        "ln -sfn /usr/share/zoneinfo/Etc/UTC /etc/localtime",
        ("file/etc/localtime/link",),
    ),
    Drift(
        "package-removed",
        "tar -cf /root/kept --no-recursion -C / /var/lib/dpkg/status /var/lib/dpkg/info/acl.*"
        " $(dpkg -L acl) 2>/dev/null; dpkg --remove acl",
        "tar -xf /root/kept -C /; rm /root/kept",
        ("package/acl/installed",),
    ),
)

DRIFTS = (*SERVICES, *SOCKETS, *CONFIGURATION, *WEB, *FILES)
