"""PostgreSQL: settings, roles, databases and access rules of every running cluster."""

from __future__ import annotations

import json

from devvm.parity.collect.collectors import common

TYPE_CHECKING = False  # importing typing is slow in a guest
if TYPE_CHECKING:
    from typing import Any

    from devvm.parity.collect.interface import Errors, Found, Items, Run, Wanted

AREAS = ("postgresql",)

#: One row of JSON. Left out are settings that nobody can set, and those of a session. Of a password
#: only whether there is one.
_QUERY = """
SELECT json_build_object(
  'settings', (SELECT json_object_agg(name, reset_val) FROM pg_settings
    WHERE context <> 'internal' AND name NOT LIKE 'transaction\\_%'
      AND name NOT IN ('application_name', 'client_encoding')),
  'roles', (SELECT json_object_agg(rolname, json_build_object(
      'superuser', rolsuper, 'login', rolcanlogin, 'createdb', rolcreatedb,
      'createrole', rolcreaterole, 'replication', rolreplication, 'bypassrls', rolbypassrls,
      'password', CASE WHEN rolpassword IS NULL THEN 'none' ELSE 'set' END,
      'member of', (SELECT coalesce(json_agg(g.rolname ORDER BY g.rolname), '[]')
        FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = a.oid)))
    FROM pg_authid a WHERE rolname !~ '^pg_'),
  'databases', (SELECT json_object_agg(datname, json_build_object(
      'owner', pg_get_userbyid(datdba), 'encoding', pg_encoding_to_char(encoding),
      'collate', datcollate, 'access', coalesce(datacl::text, '')))
    FROM pg_database WHERE NOT datistemplate),
  'rules', (SELECT json_agg(concat_ws(' ', type, array_to_string(database, ','),
      array_to_string(user_name, ','), address, netmask, auth_method) ORDER BY line_number)
    FROM pg_hba_file_rules))
"""


def collect(wanted: Wanted, run: Run) -> Found:
    """By `VERSION/CLUSTER/...`: settings, `access rules`, `role NAME` and `database NAME`."""
    found: Items = {}
    errors: Errors = {}
    code, out, _ = run(["pg_lsclusters", "--no-header"])
    for line in out.splitlines() if code == 0 else ():
        version, cluster, port, status, owner = line.split()[:5]
        name = f"{version}/{cluster}"
        if not status.startswith("online"):
            errors[f"postgresql/{name}/"] = f"PostgreSQL {name} is {status}"
            continue
        try:
            said = _ask(run, owner, port)
        except (RuntimeError, ValueError) as error:
            errors[f"postgresql/{name}/"] = f"PostgreSQL {name} does not answer: {error}"
            continue
        for key, value in said["settings"].items():
            found[f"{name}/{key}"] = common.setting(key, value or "")
        found[f"{name}/access rules"] = {"rules": said["rules"] or []}
        for kind, items in (("role", said["roles"]), ("database", said["databases"])):
            found |= {f"{name}/{kind} {key}": facts for key, facts in (items or {}).items()}
    return {"postgresql": found, "errors": errors}


def _ask(run: Run, owner: str, port: str) -> dict[str, Any]:
    client = ["psql", "--no-psqlrc", "--tuples-only", "--no-align", "--no-password"]
    target = ["--port", port, "--dbname", "postgres", "--command", _QUERY]
    code, out, err = run(["runuser", "-u", owner, "--", *client, *target], cwd="/")
    if code:
        raise RuntimeError(" ".join(err.split()) or f"exit code {code}")
    found = json.loads(out)
    return found if isinstance(found, dict) else {}
