"""Renew the TLS certificate of a VM before it expires, with the same key.

The certificate is on the data disk, so it outlives every root of the VM and would expire one day.
The VM's metadata says when, so that the VM need not be asked.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

from devvm.domain.errors import DevvmError
from devvm.domain.vm import Target, Vm
from devvm.operations.core import naming
from devvm.operations.core.machine import Machine
from devvm.operations.core.progress import Run
from devvm.operations.guest import ssh
from devvm.ports.services import Services

#: A VM that starts, or is updated, gets a new certificate if fewer days are left.
RENEW_DAYS = 90
#: A VM that keeps running is reported if fewer days are left.
WARN_DAYS = 30

_CHAIN = "/data/identity/site.crt"
#: Run as root in the VM: replaces each file atomically, the CA first. The files are then installed
#: as at boot, and the servers that use them reload them if they are running.
_INSTALL = """set -eu
umask 077
put() {
    cat >"/data/identity/$1.new"
    mv -T "/data/identity/$1.new" "/data/identity/$1"
}
put ca.crt <<'END'
@CA@
END
put site.crt <<'END'
@CHAIN@
END
sync -f /data
/usr/lib/devvm/identity
# a box of an older devvm has no such list
units=$(sed -n 's/^unit-[0-9]* //p' /usr/lib/devvm/tls 2>/dev/null || echo nginx.service)
[ -z "$units" ] || systemctl try-reload-or-restart $units
"""


def end_of(services: Services, chain: str) -> str:
    """The day on which a certificate expires, in the format of a VM's metadata."""
    return services.ca.ends(chain).astimezone(UTC).date().isoformat()


def days_left(vm: Vm, today: date) -> int | None:
    """For how many more days a VM's certificate is valid; None if unknown."""
    until = vm.metadata.certificate_until if vm.metadata else ""
    try:
        return (date.fromisoformat(until) - today).days
    except ValueError:
        return None


def ends_soon(vm: Vm, today: date) -> str | None:
    """When a VM's certificate expires or has expired, for people; None if not soon."""
    days = days_left(vm, today)
    if days is None or days >= WARN_DAYS:
        return None
    ends = "expires" if days >= 0 else "expired"
    return f"its certificate {ends} on {vm.known.certificate_until}"


def keep_valid(machine: Machine, run: Run, *, refused: bool = False) -> None:
    """Renew a running VM's certificate if it expires soon. The caller holds the lock.

    If that fails, the VM is as before, and a note says so.

    Args:
        machine: The VM.
        run: Reports the phase and the note.
        refused: Whether clients reject it, so that it is renewed in any case.
    """
    services = machine.services
    vm = machine.vm()
    if vm is None or vm.metadata is None:
        return
    try:
        if days_left(vm, _today()) is None:
            chain = _present(
                services,
                ssh.target(machine, login="vagrant"),
            )
            vm = _note_end(services, vm, chain)
        days = days_left(vm, _today())
        if refused or days is None or days < RENEW_DAYS:
            renew(services, vm, run)
    except DevvmError as error:
        run.note(f"The certificate of {machine} could not be renewed: {error}")


def renew(services: Services, vm: Vm, run: Run) -> None:
    """Give a running VM a new certificate for its key. The caller holds the lock.

    Raises:
        OperationError: the VM's certificate can't be read, or the VM can't be reached.
    """
    target = ssh.target(Machine(services, vm.name), login="vagrant")
    with run.phase("certificate", "Renewing its certificate"):
        chain = services.ca.renew(
            naming.fqdn_of(services.config, vm.name), _present(services, target)
        )
        authority = services.ca.ensure().read_text(encoding="utf-8")
        script = _INSTALL.replace("@CA@", authority.strip()).replace("@CHAIN@", chain.strip())
        services.shell.run(target, ["sudo", "sh", "-s"], stdin=script)
        _note_end(services, vm, chain)


def _present(services: Services, target: Target) -> str:
    _, chain, _ = services.shell.run(target, ["sudo", "cat", _CHAIN])
    return chain


def _note_end(services: Services, vm: Vm, chain: str) -> Vm:
    facts = replace(vm.known, certificate_until=end_of(services, chain))
    services.domains.set_metadata(vm.uuid, facts)
    return replace(vm, metadata=facts)


def _today() -> date:
    return datetime.now(UTC).date()
