"""The connection to libvirt, and the translation of libvirt's errors into devvm's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import libvirt

from devvm.domain.errors import DevvmError, HostNotReadyError, OperationError

#: libvirt's codes for "not found", for all kinds of objects.
NOT_FOUND = frozenset(
    {
        libvirt.VIR_ERR_NO_DOMAIN,
        libvirt.VIR_ERR_NO_NETWORK,
        libvirt.VIR_ERR_NO_STORAGE_POOL,
        libvirt.VIR_ERR_NO_STORAGE_VOL,
        libvirt.VIR_ERR_NO_DOMAIN_METADATA,
    }
)

_NO_RIGHTS = frozenset({libvirt.VIR_ERR_AUTH_FAILED, libvirt.VIR_ERR_AUTH_CANCELLED,
                        libvirt.VIR_ERR_AUTH_UNAVAILABLE, libvirt.VIR_ERR_ACCESS_DENIED,
                        libvirt.VIR_ERR_OPERATION_DENIED})  # fmt: skip

_Found = TypeVar("_Found")


class Connection:
    """One connection to a libvirt host, opened on first use and reopened if it breaks.

    Args:
        uri: libvirt's connection URI.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._open: libvirt.virConnect | None = None

    def get(self) -> libvirt.virConnect:
        """Return the open connection.

        Raises:
            HostNotReadyError: libvirt doesn't answer, or denies this user access.
        """
        if self._open is not None and _alive(self._open):
            return self._open
        libvirt.registerErrorHandler(_be_silent, None)
        try:
            self._open = libvirt.open(self.uri)
        except libvirt.libvirtError as error:
            raise _unreachable(self.uri, error) from None
        return self._open


def if_exists(get: Callable[[], _Found]) -> _Found | None:
    """What `get` looks up in libvirt; None if it doesn't exist."""
    try:
        return get()
    except libvirt.libvirtError as error:
        if error.get_error_code() in NOT_FOUND:
            return None
        raise


@contextmanager
def translated(brief: str, *, resolution: str | None = None) -> Iterator[None]:
    """Raise libvirt's errors as devvm's: `brief` says what failed, libvirt's message says why."""
    try:
        yield
    except libvirt.libvirtError as error:
        raise _translate(error, brief, resolution) from None


def _translate(error: libvirt.libvirtError, brief: str, resolution: str | None) -> DevvmError:
    code = error.get_error_code()
    if code in _NO_RIGHTS:
        return HostNotReadyError(
            f"{brief}: libvirt does not allow it",
            details=error.get_error_message(),
            resolution="devvm setup",
        )
    if code in {libvirt.VIR_ERR_RPC, libvirt.VIR_ERR_SYSTEM_ERROR} and _broken(error):
        return HostNotReadyError(
            f"{brief}: the connection to libvirt broke",
            details=error.get_error_message(),
            resolution="devvm setup, then the same command again",
        )
    return OperationError(brief, details=error.get_error_message(), resolution=resolution)


def _broken(error: libvirt.libvirtError) -> bool:
    return bool(error.get_error_domain() == libvirt.VIR_FROM_RPC)


def _unreachable(uri: str, error: libvirt.libvirtError) -> HostNotReadyError:
    reason = error.get_error_message() or str(error)
    refused = error.get_error_code() in _NO_RIGHTS or "Permission denied" in reason
    if refused:
        return HostNotReadyError(
            f"libvirt ({uri}) denies you access",
            details=f"{reason}\nonly members of the group libvirt may use it",
            resolution="devvm setup, then log in again so that the new group takes effect",
        )
    return HostNotReadyError(
        f"libvirt ({uri}) does not answer", details=reason, resolution="devvm setup"
    )


def _alive(connection: libvirt.virConnect) -> bool:
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False


def _be_silent(_context: object, _error: object) -> None:
    """Replace libvirt's own handler, which prints every error to stderr."""
