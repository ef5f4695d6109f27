"""Drifts of units and listening sockets."""

from __future__ import annotations

from tests.container.drifts_form import RELOAD, SITE, Drift, added, edited, folder, nginx, redis

MEMCACHED = "/etc/memcached.conf"
MARIADB = "/etc/mysql/mariadb.conf.d/60-site.cnf"

RUNNING = (
    Drift(
        "nginx-fails-to-start-because-of-a-drop-in",
        "mkdir /run/systemd/system/nginx.service.d;"
        "printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n'"
        " >/run/systemd/system/nginx.service.d/zz.conf;"
        f"{RELOAD}; systemctl restart nginx ||:",
        f"rm -r /run/systemd/system/nginx.service.d; {RELOAD}; systemctl restart nginx",
        (
            "unit/nginx.service", "file/run/systemd/system/nginx.service.d/",
            "file/run/systemd/system/nginx.service.d/zz.conf", "service/none-failed",
            "socket/tcp/80", "socket/tcp/443", "socket/tcp/8081", "http/*", "tls/443",
            "tls/site/version", "metrics/nginx/*", *SITE,
        ),
        alone=True,
    ),
    Drift(
        "mariadb-stopped",
        "systemctl stop mariadb; systemctl restart memcached",  # memcached has the list of people
        "systemctl start mariadb",
        (
            "unit/mariadb.service", "socket/tcp/3306", "setting/mariadb/*", "database/mariadb/*",
            "application/schema",
            "site/healthz/database", "site/healthz/schema", "http/home/status", "http/people/*",
            "metrics/mysqld/*",
        ),
        alone=True,
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
        ("unit/about-worker.service", "site/healthz/worker", "worker/job"),
    ),
    Drift(
        "exporter-stopped",
        "systemctl stop prometheus-node-exporter",
        "systemctl start prometheus-node-exporter",
        ("unit/prometheus-node-exporter.service", "socket/tcp/9100", "metrics/node/*"),
    ),
    Drift(
        "failed-unit-of-somebody-else",
        "systemd-run --quiet --unit=doomed --wait false ||:",
        "systemctl reset-failed doomed",
        ("service/none-failed", "unit/doomed.service"),
    ),
    Drift(
        "service-started-by-hand",
        "systemd-run --quiet --unit=rogue sleep 600",
        "systemctl stop rogue",
        ("unit/rogue.service",),
    ),
    Drift(
        "timer-started-by-hand",
        "systemd-run --quiet --unit=rogue --on-active=1d true",
        "systemctl stop rogue.timer",
        ("unit/rogue.timer",),
    ),
    Drift(
        "logs-are-not-rotated",
        "systemctl stop logrotate.timer",
        "systemctl start logrotate.timer",
        ("unit/logrotate.timer",),
    ),
)  # fmt: skip

AT_BOOT = (
    Drift(
        "nginx-disabled",
        "systemctl disable nginx",
        "systemctl enable nginx",
        ("unit/nginx.service",),
    ),
    Drift(
        "redis-masked-while-it-runs",
        "systemctl mask --runtime redis-server",
        "systemctl unmask --runtime redis-server",
        ("unit/redis-server.service",),
    ),
    Drift(
        "console-masked",
        "systemctl mask getty@tty1",
        "systemctl unmask getty@tty1",
        ("unit/getty@tty1.service",),
    ),
    Drift(
        "root-shell-on-a-console",
        "systemctl enable debug-shell",
        "systemctl disable debug-shell",
        ("unit/debug-shell.service",),
    ),
    Drift(
        "no-security-updates",
        "systemctl disable --now apt-daily-upgrade.timer",
        "systemctl enable --now apt-daily-upgrade.timer",
        ("unit/apt-daily-upgrade.timer",),
    ),
    Drift(
        "new-timer",
        "cd /etc/systemd/system; printf '[Service]\\nExecStart=true\\n' >drift.service;"
        "printf '[Timer]\\nOnCalendar=yearly\\n[Install]\\nWantedBy=timers.target\\n' >drift.timer;"
        "systemctl enable --now drift.timer",
        "systemctl disable --now drift.timer;"
        f"rm /etc/systemd/system/drift.service /etc/systemd/system/drift.timer; {RELOAD}",
        (
            "unit/drift.timer",
            "file/etc/systemd/system/drift.timer",
            "file/etc/systemd/system/drift.service",
        ),
    ),
    Drift(
        "unit-wanted-by-a-link-among-the-vendors",
        "ln -s ../rsync.service /usr/lib/systemd/system/multi-user.target.wants",
        "rm /usr/lib/systemd/system/multi-user.target.wants/rsync.service",
        ("file/usr/lib/systemd/system/multi-user.target.wants/rsync.service",),
    ),
)

UNIT_FILES = (
    folder(
        "nginx-overridden",
        "/etc/systemd/system/nginx.service.d",
        "override.conf",
        "[Service]\\nNice=5",
        (
            "unit/nginx.service",
            "file/etc/systemd/system/nginx.service.d/",
            "file/etc/systemd/system/nginx.service.d/override.conf",
        ),
        then=RELOAD,
    ),
    folder(
        "worker-overridden-until-the-next-boot",
        "/run/systemd/system/about-worker.service.d",
        "override.conf",
        "[Service]\\nNice=5",
        (
            "unit/about-worker.service",
            "file/run/systemd/system/about-worker.service.d/",
            "file/run/systemd/system/about-worker.service.d/override.conf",
        ),
        then=RELOAD,
    ),
    folder(
        "every-service-overridden",
        "/etc/systemd/system/service.d",
        "drift.conf",
        "[Service]\\nOOMScoreAdjust=1",
        (
            "unit/*.service",
            "file/etc/systemd/system/service.d/",
            "file/etc/systemd/system/service.d/drift.conf",
        ),
        then=RELOAD,
    ),
    Drift(
        "memory-limited-by-hand",
        "systemctl set-property --runtime memcached MemoryMax=512M",
        f"rm -r /run/systemd/system.control/memcached.service.d; {RELOAD};"
        "rmdir /run/systemd/system.control",
        (
            "unit/memcached.service",
            "file/run/systemd/system.control/",
            "file/run/systemd/system.control/memcached.service.d/",
            "file/run/systemd/system.control/memcached.service.d/50-MemoryMax.conf",
        ),
    ),
    edited(
        "unit-of-a-package-edited",
        "/usr/lib/systemd/system/redis-server.service",
        "s/^LimitNOFILE=.*/LimitNOFILE=1024/",
        ("unit/redis-server.service",),
        then=RELOAD,
    ),
    edited(
        "unit-of-a-role-edited",
        "/etc/systemd/system/about-worker.service",
        "s/^Restart=.*/Restart=no/",
        ("unit/about-worker.service",),
        then=RELOAD,
    ),
    Drift(
        "systemd-has-not-read-a-unit",
        "touch /etc/systemd/system/about.service",
        RELOAD,
        ("unit/about.service",),
        alone=True,
    ),
    Drift(
        "timer-starts-something-else",
        "printf '[Service]\\nType=oneshot\\nExecStart=true\\n' >/srv/drift.service;"
        f"ln -s /srv/drift.service /etc/systemd/system/logrotate.service; {RELOAD}",
        f"rm /etc/systemd/system/logrotate.service /srv/drift.service; {RELOAD}",
        ("file/etc/systemd/system/logrotate.service",),
    ),
)

SOCKETS = (
    Drift(
        "rogue-tcp-socket",
        "systemd-run --quiet --unit=rogue --socket-property=ListenStream=127.0.0.1:8888 true",
        "systemctl stop rogue.socket",
        ("socket/tcp/8888", "unit/rogue.socket"),
    ),
    Drift(
        "rogue-udp-socket",
        "systemd-run --quiet --unit=rogue --socket-property=ListenDatagram=127.0.0.1:5353 true",
        "systemctl stop rogue.socket",
        ("socket/udp/5353", "unit/rogue.socket"),
    ),
    Drift(
        "another-program-on-the-exporters-port",
        # The exporter exits on the signal, sometimes soon enough to count as failed.
        "systemctl stop prometheus-nginx-exporter;"
        "systemctl reset-failed prometheus-nginx-exporter ||:;"
        "systemd-run --quiet --collect --unit=rogue"
        " python3 -m http.server --directory=/usr/share/zoneinfo --bind 127.0.0.1 9113;"
        "timeout 30 sh -c 'until ss -Hltn sport = 9113 | grep -q .; do sleep 0.1; done'",
        "systemctl stop rogue; systemctl start prometheus-nginx-exporter",
        (
            "unit/prometheus-nginx-exporter.service",
            "unit/rogue.service",
            "socket/tcp/9113",
            "metrics/nginx/*",
        ),
    ),
    edited(
        "memcached-open-to-everybody",
        MEMCACHED,
        "s/^-l .*/-l 0.0.0.0/",
        ("socket/tcp/11211", "setting/memcached/inter"),
        then="systemctl restart memcached",
    ),
    edited(
        "memcached-on-udp",
        MEMCACHED,
        "s/^-U .*/-U 11211/",
        ("socket/udp/11211", "setting/memcached/udpport"),
        then="systemctl restart memcached",
    ),
    edited(
        "mariadb-open-to-everybody",
        MARIADB,
        "s/^bind_address .*/bind_address = 0.0.0.0/",
        ("socket/tcp/3306", "setting/mariadb/bind_address"),
        then="systemctl restart mariadb",
    ),
    redis("redis-open-to-everybody", "port", "6379", "0", "socket/tcp/6379"),
    nginx("nginx-without-ipv6", "/listen \\[::\\]/d", "socket/tcp/80", "socket/tcp/443"),
    added(
        "sshd-on-the-loopback-only",
        "/etc/ssh/sshd_config.d/00-drift.conf",
        "ListenAddress 127.0.0.1",
        ("socket/tcp/22",),
        then="systemctl reload ssh",
    ),
    added(
        "sshd-on-another-port-as-well",
        "/etc/ssh/sshd_config.d/00-drift.conf",
        "Port 22\\nPort 2222",
        ("socket/tcp/2222",),
        then="systemctl reload ssh",
    ),
)

UNITS = (*RUNNING, *AT_BOOT, *UNIT_FILES, *SOCKETS)
