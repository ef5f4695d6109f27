"""Drifts of servers: their configuration, how they run, what they answer."""

from __future__ import annotations

from tests.container.drifts_form import (
    REDIS_CLI,
    RELOAD,
    Drift,
    added,
    edited,
    folder,
    nginx,
    redis,
    sql,
)
from tests.container.drifts_units import MARIADB, MEMCACHED

MIME = "/etc/nginx/mime.types"
RELOAD_NGINX = "systemctl reload nginx"
SUDO = "/etc/sudoers.d/zz-drift"

BROKEN = (
    edited(
        "nginx-config-broken",
        "/etc/nginx/nginx.conf",
        "$a nonsense on;",
        ("config/nginx/parses", "setting/nginx/*"),
    ),
    added(
        "sshd-config-broken",
        "/etc/ssh/sshd_config.d/99-drift.conf",
        "Nonsense yes",
        ("config/ssh/parses",),
    ),
    added("sudoers-broken", SUDO, "nonsense", ("config/sudo/parses", "sudo/*", "extra/sudo")),
    edited(
        "chrony-config-broken",
        "/etc/chrony/chrony.conf",
        "$a nonsense",
        ("config/chrony/parses",),
    ),
    edited("mariadb-config-broken", MARIADB, "$a nonsense = 1", ("config/mariadb/parses",)),
)

SETTINGS = (
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
    edited(
        "mariadb-setting-at-the-next-start",
        MARIADB,
        "s/^max_connections .*/max_connections = 50/",
    ),
    sql(
        "mariadb-account-for-everybody",
        "CREATE USER drift@'%'; GRANT ALL ON *.* TO drift@'%'",
        "DROP USER drift@'%'",
        "setting/mariadb/account drift@%",
        "database/mariadb/account drift@%",
    ),
    sql(
        "mariadb-account-without-a-password",
        "UPDATE mysql.global_priv SET priv = JSON_SET(priv, '$.authentication_string', '')"
        " WHERE user = 'mysql'",
        "UPDATE mysql.global_priv SET priv = JSON_SET(priv, '$.authentication_string', 'invalid')"
        " WHERE user = 'mysql'",
        "database/mariadb/account mysql@localhost",
    ),
    sql(
        "mariadb-account-may-read-a-table",
        "GRANT SELECT ON about.people TO prometheus@localhost",
        "REVOKE SELECT ON about.people FROM prometheus@localhost",
        "database/mariadb/rights of prometheus@localhost",
    ),
    sql(
        "table-among-the-servers-own",
        "CREATE TABLE mysql.drift (a INT)",
        "DROP TABLE mysql.drift",
        "database/mariadb/tables mysql",
    ),
    sql(
        "routine-among-the-servers-own",
        "CREATE PROCEDURE sys.drift() SELECT 1",
        "DROP PROCEDURE sys.drift",
        "database/mariadb/routines sys",
    ),
    sql(
        "job-of-the-database-server",
        "CREATE EVENT mysql.drift ON SCHEDULE EVERY 1 YEAR DO DELETE FROM mysql.drift",
        "DROP EVENT mysql.drift",
        "database/mariadb/events mysql",
    ),
    sql(
        "plugin-of-the-database-server",
        "INSTALL SONAME 'auth_ed25519'",
        "UNINSTALL SONAME 'auth_ed25519'",
        "database/mariadb/plugins",
        "database/mariadb/plugins at start",
    ),
    redis("redis-evicts-jobs", "maxmemory-policy", "allkeys-lru", "noeviction"),
    redis("redis-does-not-keep-jobs", "appendonly", "no", "yes"),
    redis("redis-takes-more-memory", "maxmemory", "268435456", "134217728"),
    Drift(
        "redis-user-for-everybody",
        f"{REDIS_CLI} acl setuser drift on nopass allkeys allcommands | grep -qx OK",
        f"{REDIS_CLI} acl deluser drift | grep -qx 1",
        ("setting/redis/acl",),
    ),
    edited(
        "memcached-smaller",
        MEMCACHED,
        "s/^-m .*/-m 32/",
        ("setting/memcached/maxbytes",),
        then="systemctl restart memcached",
    ),
    edited(
        "memcached-may-be-shut-down-by-clients",
        MEMCACHED,
        "$a -A",
        ("setting/memcached/shutdown_command",),
        then="systemctl restart memcached",
    ),
    nginx("nginx-takes-fewer-connections", "s/worker_connections .*/worker_connections 256;/"),
    nginx("nginx-takes-larger-uploads", "s/client_max_body_size .*/client_max_body_size 1g;/"),
    added(
        "nginx-reads-another-file",
        "/etc/nginx/modules-enabled/drift.conf",
        "worker_shutdown_timeout 10s;",
        ("setting/nginx/config",),
        then=RELOAD_NGINX,
    ),
    edited(
        "nginx-knows-another-type",
        MIME,
        "$i application/x-drift drift;",
        ("setting/nginx/config",),
        then=RELOAD_NGINX,
    ),
    Drift(
        "nginx-has-not-read-its-file-again",
        "cp --preserve=all /etc/nginx/nginx.conf $kept;"
        "sed -i 's/worker_connections .*/worker_connections 256;/' /etc/nginx/nginx.conf;"
        f"{RELOAD_NGINX}; sleep 3; mv $kept /etc/nginx/nginx.conf;"
        "touch /etc/nginx/nginx.conf",
        RELOAD_NGINX,
        ("setting/nginx/config",),
    ),
    Drift(
        "site-with-a-worker-more",
        "systemctl kill --kill-whom=main --signal=TTIN about; sleep 1",
        "systemctl kill --kill-whom=main --signal=TTOU about; sleep 1",
        ("setting/gunicorn/about.wsgi:app",),
    ),
    folder(
        "site-with-another-time-limit",
        "/etc/systemd/system/about.service.d",
        "drift.conf",
        "[Service]\\nExecStart=\\nExecStart=/usr/bin/gunicorn --workers 2 --timeout 300"
        " about.wsgi:app",
        (
            "setting/gunicorn/about.wsgi:app",
            "unit/about.service",
            "file/etc/systemd/system/about.service.d/",
            "file/etc/systemd/system/about.service.d/drift.conf",
        ),
        then=f"{RELOAD}; systemctl restart about",
    ),
)

WEB = (
    nginx(
        "hsts-lost", "/Strict-Transport-Security/d", "http/home/header/strict-transport-security"
    ),
    nginx(
        "newest-tls-refused",
        "s/ssl_protocols .*/ssl_protocols TLSv1.2;/",
        "tls/site/version",
        "tls/443",
    ),
    nginx(
        "old-tls-accepted",
        "s/ssl_protocols .*/ssl_protocols TLSv1.1 TLSv1.2 TLSv1.3;/;"
        "s/ssl_ciphers .*/ssl_ciphers ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:@SECLEVEL=0;/",
        "tls/443",
    ),
    nginx("cipher-lost", "s/:ECDHE-ECDSA-CHACHA20-POLY1305//", "tls/443"),
    nginx("redirect-forgets-the-method", "s/return 308/return 302/", "http/redirect/status"),
    nginx(
        "web-server-not-measured",
        "s/stub_status;/return 404;/",
        "http/status/*",
        "metrics/nginx/*",
    ),
    sql(
        "database-not-measured",
        "ALTER USER prometheus@localhost ACCOUNT LOCK",
        "ALTER USER prometheus@localhost ACCOUNT UNLOCK",
        "setting/mariadb/account prometheus@localhost",
        "metrics/mysqld/*",
    ),
    edited(
        "styles-of-an-unknown-type",
        MIME,
        "/text.css/d",
        ("setting/nginx/config", "http/static/header/content-type"),
        then=RELOAD_NGINX,
    ),
    Drift(
        "uploads-not-writable",
        "chown root: /var/lib/about/media/photos",
        "chown about: /var/lib/about/media/photos",
        ("site/healthz/media",),
    ),
)

_VIEWS = "/srv/about/current/about/views.py"
_INDEX = "/srv/about/current/about/templates/index.html"

APPLICATION = (
    Drift(
        "code-patched-under-the-running-site",
        f"cp --preserve=all {_VIEWS} $kept; echo '# patched' >>{_VIEWS}",
        f"mv $kept {_VIEWS}",
        ("site/revision", "application/revision"),
    ),
    Drift(
        "page-broken",
        f"cp --preserve=all {_INDEX} $kept; echo '{{% nonsense %}}' >>{_INDEX};"
        "systemctl restart about",
        f"mv $kept {_INDEX}; systemctl restart about",
        ("http/home/status", "application/revision"),
        alone=True,
    ),
    Drift(
        "another-release-is-served",
        "ln -sfn $(readlink -f /srv/about/app) /srv/about/current",
        "ln -sfn /srv/about/app /srv/about/current",
        ("file/srv/about/current",),
    ),
    sql(
        "schema-of-another-release",
        "UPDATE about.alembic_version SET version_num = CONCAT('old-', version_num)",
        "UPDATE about.alembic_version SET version_num = SUBSTRING(version_num, 5)",
        "application/schema",
    ),
)

SERVERS = (*BROKEN, *SETTINGS, *WEB, *APPLICATION)
