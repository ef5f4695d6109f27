"""The host's own certificate authority, for the TLS certificates of its VMs.

There is one per host, created when it is first needed. It is as limited as X.509 allows: it can
only sign server certificates for names under the VM domain, no other CAs and no addresses. So a
person who trusts it in a browser trusts it for nothing but their VMs.

It is renewed, with the same key, before a certificate that it signs could outlive it. So earlier
certificates are valid under the new CA certificate, and later ones under the old.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from devvm.domain.errors import HostNotReadyError, OperationError, UsageError
from devvm.system.state import State, write_atomic

_AUTHORITY_LIFE = timedelta(days=3650)
#: The longest lifetime of a server certificate that Apple's clients accept from any CA.
_SERVER_LIFE = timedelta(days=825)
#: Certificates start in the past, because the clock of a restored guest is behind.
_BACKDATED = timedelta(days=1)


class LocalCa:
    """Implements `CertificateAuthority`.

    Args:
        state: The host's state folder; the CA is in its `ca/`.
        domain: The VMs' DNS domain, the only one that the CA can sign for.
        now: Returns the current time.
    """

    def __init__(
        self,
        state: State,
        *,
        domain: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._state = state
        self._domain = domain
        self._now = now
        self._certificate = state.ca / "ca.crt"
        # Readable by the state folder's group: whoever may create VMs may issue certificates, and
        # can become root on this host anyway.
        self._key = state.ca / "ca.key"

    def ensure(self) -> Path:
        """Create the CA if there is none, renew it if it is due; returns its certificate's path.

        Raises:
            OperationError: the CA's files are damaged, or one is missing.
            HostNotReadyError: they can't be read or written.
        """
        self._load()
        return self._certificate

    def issue(self, fqdn: str) -> tuple[str, str]:
        """Issue a private key and a certificate chain for one host name, both PEM.

        The chain is just the certificate, because the CA signs it directly.

        Raises:
            UsageError: the name is not under the domain that the CA can sign for.
            OperationError, HostNotReadyError: as for `ensure`.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        return _key_pem(key), self._sign(fqdn, key.public_key())

    def renew(self, fqdn: str, chain: str) -> str:
        """Issue a new certificate chain for one host name, with the key of an old chain.

        Any CA may have signed the old chain: only its key is used.

        Raises:
            UsageError: as for `issue`.
            OperationError: as for `ensure`; or the old chain can't be read.
            HostNotReadyError: as for `ensure`.
        """
        key = _read(chain).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return self._sign(fqdn, key)

    def ends(self, chain: str) -> datetime:
        """When a certificate expires.

        Raises:
            OperationError: it can't be read.
        """
        return _read(chain).not_valid_after_utc

    def _sign(self, fqdn: str, key: ec.EllipticCurvePublicKey) -> str:
        authority, authority_key = self._load()
        permitted = _permitted_domain(authority)
        if not fqdn.endswith(f".{permitted}"):
            raise UsageError(
                f"devvm's CA can't sign for {fqdn}",
                details=f"it was made for names under {permitted}",
                resolution=f"set network.domain to {permitted}, or make a new CA: "
                f"rm {self._certificate} {self._key}",
            )
        start = self._now() - _BACKDATED
        certificate = (
            x509.CertificateBuilder()
            # Only the first label: the whole name may be too long for a common name.
            .subject_name(_common_name(fqdn.split(".", maxsplit=1)[0]))
            .issuer_name(authority.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(min(start + _SERVER_LIFE, authority.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(fqdn)]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
                critical=False,
            )
            .sign(authority_key, hashes.SHA256())
        )
        return _certificate_pem(certificate)

    def _load(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """The CA, created or renewed if needed, by one process at a time."""
        try:
            with self._state.wait_lock("ca"):
                if not self._certificate.exists():
                    # A key without a certificate was left by a killed process, and never used.
                    self._make()
                return self._renewed(*self._read())
        except FileNotFoundError as error:
            raise self._damaged(f"{error.filename} is missing") from None
        except OSError as error:
            raise HostNotReadyError(
                "devvm's CA can't be read or created",
                details=str(error),
                resolution="devvm setup",
            ) from None
        except ValueError as error:
            raise self._damaged(str(error)) from None

    def _read(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        certificate = x509.load_pem_x509_certificate(self._certificate.read_bytes())
        key = serialization.load_pem_private_key(self._key.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise self._damaged(f"{self._key} is not a key made by devvm")
        if certificate.public_key() != key.public_key():
            raise self._damaged(f"{self._key} is not the key of {self._certificate}")
        return certificate, key

    def _renewed(
        self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
    ) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        now, began = self._now(), certificate.not_valid_before_utc
        if began <= now < certificate.not_valid_after_utc - _SERVER_LIFE:
            return certificate, key
        # Keep the start date, unless a wrong clock put it in the future. So if the clock is wrong
        # now, correcting it later does no harm.
        start = min(began, now - _BACKDATED)
        domain = _permitted_domain(certificate)
        certificate = self._sign_itself(key, certificate.subject, domain, start)
        write_atomic(self._certificate, _certificate_pem(certificate), mode=0o644)
        return certificate, key

    def _make(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        # Unique among other hosts' CAs, and earlier ones, in a browser's list.
        name = _common_name(f"devvm CA {socket.gethostname()[:40]} {secrets.token_hex(4)}")
        certificate = self._sign_itself(key, name, self._domain, self._now() - _BACKDATED)
        # The certificate is written last, so that if it exists, the key does too.
        write_atomic(self._key, _key_pem(key), mode=0o640)
        write_atomic(self._certificate, _certificate_pem(certificate), mode=0o644)

    def _sign_itself(
        self, key: ec.EllipticCurvePrivateKey, name: x509.Name, domain: str, start: datetime
    ) -> x509.Certificate:
        everywhere = [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(self._now() - _BACKDATED + _AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.NameConstraints(
                    # Without a leading dot: the domain and all names below it (RFC 5280, 4.2.1.10).
                    permitted_subtrees=[x509.DNSName(domain)],
                    # IP addresses are another type of name, and are permitted unless excluded.
                    excluded_subtrees=[x509.IPAddress(network) for network in everywhere],
                ),
                critical=True,
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )

    def _damaged(self, reason: str) -> OperationError:
        return OperationError(
            "devvm's CA can't be used",
            details=reason,
            resolution=f"to make a new one: rm -f {self._certificate} {self._key} (the new "
            "CA has not signed the certificates of existing VMs)",
        )


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _permitted_domain(authority: x509.Certificate) -> str:
    constraints = authority.extensions.get_extension_for_class(x509.NameConstraints).value
    permitted = constraints.permitted_subtrees
    assert permitted, "devvm makes no CA without"
    return str(permitted[0].value)


def _read(chain: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(chain.encode())
    except ValueError as error:
        raise OperationError("a certificate can't be read", details=str(error)) from None


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _certificate_pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
