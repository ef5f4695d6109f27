"""The variables that a stack's description gives to devvm's own roles."""

from __future__ import annotations

from typing import Any

from devvm.stack.description import Application, Description, Program


def of(description: Description) -> dict[str, Any]:
    """The variables, by name."""
    upgrades = [
        _program(f"Upgrade the files of {server.name}", server.upgrade)
        for server in description.databases
        if server.upgrade
    ] + [
        _program(f"Migrate the data of {application.name}", application.migrate)
        for application in description.applications
        if application.migrate
    ]
    return {
        "engineer_checkouts": checkouts(description),
        "engineer_data_upgrades": upgrades,
        "engineer_known_hosts": list(description.known_hosts),
        "engineer_reserved_logins": list(description.reserved_logins),
        "devvm_features": list(description.feature_roles),
        "vm_pages_mails": "mail_catcher" in description.feature_roles,
        "vm_pages_stack": _shown(description),
        "guest_tls_key": description.tls.key,
        "guest_tls_certificate": description.tls.certificate,
        "guest_tls_units": list(description.tls.units),
    }


def checkouts(description: Description) -> list[dict[str, Any]]:
    """What the role `engineer` has to know of each checkout."""
    return [_checkout(one) for one in description.applications if one.checkout]


def _shown(description: Description) -> dict[str, Any]:
    """What the pages show of a stack."""
    return {
        "name": description.name,
        "applications": [
            {
                "name": one.name,
                "units": list(one.units),
                "checkout": one.checkout.path if one.checkout else None,
            }
            for one in description.applications
        ],
        "databases": [one.name for one in description.databases if one.shell],
        "welcome": list(description.welcome),
    }


def _checkout(application: Application) -> dict[str, Any]:
    assert application.checkout is not None
    return {
        "name": application.name,
        **application.checkout.model_dump(),
        "units": list(application.units),
    }


def _program(name: str, program: Program) -> dict[str, Any]:
    return {"name": name, **program.model_dump(mode="json")}
