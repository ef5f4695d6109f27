"""What MariaDB keeps about itself: accounts, code, plugins, its own tables; never any data.

Its settings, and what an account may do to whole databases, are in `settings.py`.
"""

from __future__ import annotations

import json
import os

from devvm.parity.collect.collectors import common

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from devvm.parity.collect.interface import Found, Items, Run, Wanted
    from devvm.parity.production.manifest import Facts

AREAS = ("database",)

_SERVER = "/usr/sbin/mariadbd"
_ACCOUNTS = "SELECT CONCAT(user, '@', host), priv FROM mysql.global_priv"
#: Item, fact, value. Code is compared by a hash of what it does.
_THINGS = (
    """
SELECT CONCAT('tables ', table_schema), table_name, 'table'
FROM information_schema.tables WHERE table_schema IN ('mysql', 'sys')
""",
    """
SELECT CONCAT('routines ', db), name, CONCAT_WS(', ', LOWER(type), definer, LOWER(security_type),
  LEFT(SHA2(CONCAT(param_list, `returns`, body), 256), 16))
FROM mysql.proc
""",
    """
SELECT CONCAT('events ', db), name, CONCAT_WS(', ', definer, LOWER(status), execute_at,
  interval_value, LOWER(interval_field), LEFT(SHA2(body, 256), 16))
FROM mysql.event
""",
    """
SELECT 'plugins', plugin_name, CONCAT_WS(', ', plugin_library, LOWER(plugin_status))
FROM information_schema.plugins WHERE plugin_library IS NOT NULL
""",
    "SELECT 'plugins at start', name, dl FROM mysql.plugin",
    "SELECT 'functions', name, dl FROM mysql.func",
    """
SELECT 'servers', server_name, CONCAT_WS(', ', wrapper, username, host, port, db)
FROM mysql.servers
""",
    """
SELECT CONCAT('rights of ', user, '@', host), CONCAT(db, '.', table_name),
  CONCAT_WS(', ', NULLIF(table_priv, ''), CONCAT('columns: ', NULLIF(column_priv, '')))
FROM mysql.tables_priv
""",
    """
SELECT CONCAT('rights of ', user, '@', host), CONCAT(db, '.', table_name, '.', column_name),
  column_priv
FROM mysql.columns_priv
""",
    """
SELECT CONCAT('rights of ', user, '@', host), CONCAT(LOWER(routine_type), ' ', db, '.',
  routine_name), proc_priv
FROM mysql.procs_priv
""",
    """
SELECT CONCAT('rights of ', user, '@', host), CONCAT('proxy of ', proxied_user, '@', proxied_host),
  IF(with_grant, 'yes, and may grant it', 'yes')
FROM mysql.proxies_priv
""",
    """
SELECT CONCAT('rights of ', user, '@', host), CONCAT('role ', role),
  IF(admin_option = 'Y', 'yes, and may grant it', 'yes')
FROM mysql.roles_mapping
""",
)
#: Routines that the server's package brings.
_BROUGHT = frozenset({"mariadb/routines mysql", "mariadb/routines sys"})
#: Of an account, what is secret, belongs to one server, or is listed as a setting.
_LEFT_OUT = (
    "access",
    "account_locked",
    "auth_or",
    "authentication_string",
    "password_last_changed",
    "plugin",
    "version_id",
)


def collect(wanted: Wanted, run: Run) -> Found:
    """By `mariadb/account NAME`: `login`, the ways to log in, and other properties it has.

    `mariadb/tables mysql`, `mariadb/plugins` and the like have a fact for each thing, by its name.
    """
    found: Items = {}
    if not os.path.exists(_SERVER):
        return {"database": found}
    try:
        accounts, *things = common.ask_mariadb(run, _ACCOUNTS, *_THINGS)
    except RuntimeError as error:
        return {"database": found, "errors": {"database/mariadb/": f"mariadb: {error}"}}
    for account, properties in accounts:
        unescaped = properties.replace("\\\\", "\\")  # as the client writes it
        found[f"mariadb/account {account}"] = _account(json.loads(unescaped))
    for item, name, value in (row for rows in things for row in rows):
        found.setdefault(f"mariadb/{item}", {})[name] = common.redact(value)[0]
    if any("mariadb" in package for package in wanted.get("moved", ())):
        for item in _BROUGHT & found.keys():  # its texts may be others, so they aren't compared
            found[item] = dict.fromkeys(found[item])
    return {"database": found}


def _account(properties: Mapping[str, Any]) -> Facts:
    """An account's facts; of its password, only whether it has one."""
    facts: Facts = {name: str(value) for name, value in properties.items() if name not in _LEFT_OUT}
    # If there are several ways, each overrides the first one's properties.
    ways = [{**properties, **other} for other in properties.get("auth_or", ({},))]
    facts["login"] = sorted(map(_way, ways))
    return facts


def _way(properties: Mapping[str, Any]) -> str:
    plugin = str(properties.get("plugin", ""))
    secret = properties.get("authentication_string")
    if secret is None or plugin == "unix_socket":
        return plugin
    password = {"": "no password", "invalid": "no password fits"}.get(secret, "password")
    return f"{plugin}, {password}"
