"""The CA: real clients accept what it signs, and nothing else."""

from __future__ import annotations

import multiprocessing
import socket
import ssl
import stat
import subprocess
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from devvm.adapters import ca as module
from devvm.adapters.ca import LocalCa
from devvm.domain.errors import HostNotReadyError, OperationError, UsageError
from devvm.system.state import State

FQDN = "dev1.devvm.test"


@pytest.fixture
def state(tmp_path):
    state = State(tmp_path)
    state.ensure()
    return state


@pytest.fixture
def ca(state):
    return LocalCa(state, domain="devvm.test")


def test_files_and_modes(ca, state):
    assert ca.ensure() == state.ca / "ca.crt"
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in state.ca.iterdir()}
    assert modes == {"ca.crt": 0o644, "ca.key": 0o640}


def test_the_authority_is_narrow(ca):
    certificate = x509.load_pem_x509_certificate(ca.ensure().read_bytes())
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    names = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert basic.critical
    assert (basic.value.ca, basic.value.path_length) == (True, 0)
    assert names.critical
    assert [n.value for n in names.value.permitted_subtrees] == ["devvm.test"]
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert life == timedelta(days=3650)


def test_ensure_makes_it_once(ca):
    first = ca.ensure().read_bytes()
    assert ca.ensure().read_bytes() == first


def _ensure(root):
    LocalCa(State(root), domain="devvm.test").issue(FQDN)
    return (root / "ca" / "ca.crt").read_text()


def test_two_makers_at_once_end_with_one_authority(state):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert len(set(pool.map(_ensure, [state.root] * 4))) == 1


def test_openssl_verifies_it_for_a_server_of_that_name(ca, tmp_path):
    key, chain = ca.issue(FQDN)
    (tmp_path / "site.crt").write_text(chain)
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver"]
    command += ["-CAfile", str(ca.ensure())]
    good = [*command, "-verify_hostname", FQDN, str(tmp_path / "site.crt")]
    assert subprocess.run(good, check=False, capture_output=True).returncode == 0
    bad = [*command, "-verify_hostname", "dev2.devvm.test", str(tmp_path / "site.crt")]
    assert subprocess.run(bad, check=False, capture_output=True).returncode != 0
    assert "BEGIN PRIVATE KEY" in key


def test_life_of_a_server_certificate(ca):
    certificate = x509.load_pem_x509_certificate(ca.issue(FQDN)[1].encode())
    assert certificate.not_valid_before_utc < datetime.now(UTC)
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert life <= timedelta(days=825)


def test_every_key_and_serial_is_new(ca):
    (key1, chain1), (key2, chain2) = ca.issue(FQDN), ca.issue(FQDN)
    assert key1 != key2
    serials = {x509.load_pem_x509_certificate(c.encode()).serial_number for c in (chain1, chain2)}
    assert len(serials) == 2


def _handshake(ca, key, chain, name, tmp_path):
    """Serve one connection on loopback with the certificate, and connect to it as `name`."""
    (tmp_path / "key").write_text(key)
    (tmp_path / "chain").write_text(chain)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(tmp_path / "chain", tmp_path / "key")
    client_context = ssl.create_default_context(cafile=ca.ensure())
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection, suppress(OSError):  # the client may refuse
                server_context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with (
                socket.create_connection(listener.getsockname(), timeout=10) as plain,
                client_context.wrap_socket(plain, server_hostname=name) as secure,
            ):
                return secure.version()
        finally:
            thread.join()


def test_a_real_handshake(ca, tmp_path):
    key, chain = ca.issue(FQDN)
    assert _handshake(ca, key, chain, FQDN, tmp_path) == "TLSv1.3"


def test_another_name_is_refused(ca, tmp_path):
    key, chain = ca.issue(FQDN)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        _handshake(ca, key, chain, "dev2.devvm.test", tmp_path)


@pytest.mark.parametrize("name", ["www.example.com", "evildevvm.test", "10.0.0.1"])
def test_names_outside_the_domain_are_not_signed(ca, name):
    with pytest.raises(UsageError, match="can't sign") as caught:
        ca.issue(name)
    assert "devvm.test" in caught.value.details


def test_clients_refuse_a_name_outside_the_domain_even_if_signed(ca, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_permitted_domain", lambda _: "com")
    key, chain = ca.issue("www.example.com")
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        _handshake(ca, key, chain, "www.example.com", tmp_path)


def test_a_long_name_fits(state):
    domain = ".".join(["a" * 40] * 2 + ["test"])
    fqdn = f"{'b' * 32}.{domain}"
    certificate = x509.load_pem_x509_certificate(
        LocalCa(state, domain=domain).issue(fqdn)[1].encode()
    )
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == [fqdn]


def test_a_killed_maker_left_a_key(ca, state):
    (state.ca / "ca.key").write_text("")
    _, chain = ca.issue(FQDN)
    authority = x509.load_pem_x509_certificate((state.ca / "ca.crt").read_bytes())
    x509.load_pem_x509_certificate(chain.encode()).verify_directly_issued_by(authority)
    assert (state.ca / "ca.key").read_text()


def test_a_missing_key_is_said(ca, state):
    ca.ensure()
    (state.ca / "ca.key").unlink()
    with pytest.raises(OperationError, match="can't be used") as caught:
        ca.ensure()
    assert "ca.key is missing" in caught.value.details
    assert "rm -f" in caught.value.resolution


@pytest.mark.parametrize("file", ["ca.key", "ca.crt"])
def test_damaged_files_are_said(ca, state, file):
    ca.ensure()
    (state.ca / file).write_text("nonsense")
    with pytest.raises(OperationError, match="can't be used"):
        ca.issue(FQDN)


def test_another_authoritys_key_is_said(ca, state, tmp_path):
    ca.ensure()
    other = State(tmp_path / "other")
    other.ensure()
    LocalCa(other, domain="devvm.test").ensure()
    (state.ca / "ca.key").write_bytes((other.ca / "ca.key").read_bytes())
    with pytest.raises(OperationError) as caught:
        ca.ensure()
    assert "is not the key of" in caught.value.details


def test_a_folder_that_is_gone_points_to_setup(tmp_path):
    state = State(tmp_path)
    state.ensure()
    state.ca.rmdir()
    state.ca.touch()  # not a folder: even root can't write into it
    with pytest.raises(HostNotReadyError) as caught:
        LocalCa(state, domain="devvm.test").ensure()
    assert caught.value.resolution == "devvm setup"


class Time:
    """The time, set by the test."""

    def __init__(self):
        self.now = datetime.now(UTC)

    def __call__(self):
        return self.now

    def passes(self, days):
        self.now += timedelta(days=days)


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def aging(state, time):
    """A CA that uses the test's time."""
    return LocalCa(state, domain="devvm.test", now=time)


def _judged(authority, chain, time, tmp_path):
    """openssl's reason not to accept the chain for the site at some time; empty if it does."""
    (tmp_path / "authority").write_bytes(authority)
    (tmp_path / "chain").write_text(chain)
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-attime"]
    command += [f"{time.now.timestamp():.0f}", "-verify_hostname", FQDN]
    command += ["-CAfile", str(tmp_path / "authority"), str(tmp_path / "chain")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stderr


def test_a_certificate_is_good_for_two_years_and_then_renewed_with_its_key(aging, time, tmp_path):
    _, chain = aging.issue(FQDN)
    authority = aging.ensure().read_bytes()
    time.passes(400)
    assert _judged(authority, chain, time, tmp_path) == ""
    assert (aging.ends(chain) - time.now).days == 423
    time.passes(425)
    assert "certificate has expired" in _judged(authority, chain, time, tmp_path)
    renewed = aging.renew(FQDN, chain)
    assert _judged(authority, renewed, time, tmp_path) == ""
    assert (aging.ends(renewed) - time.now).days == 823
    old, new = (x509.load_pem_x509_certificate(c.encode()) for c in (chain, renewed))
    assert new.public_key() == old.public_key()
    assert new.serial_number != old.serial_number


def test_one_that_another_authority_signed_is_renewed_by_this_one(aging, time, tmp_path):
    other = State(tmp_path / "other")
    other.ensure()
    chain = LocalCa(other, domain="devvm.test").issue(FQDN)[1]
    authority = aging.ensure().read_bytes()
    assert "unable to get local issuer" in _judged(authority, chain, time, tmp_path)
    assert _judged(authority, aging.renew(FQDN, chain), time, tmp_path) == ""


def test_only_names_of_the_domain_are_renewed(ca):
    with pytest.raises(UsageError, match="can't sign"):
        ca.renew("www.example.com", ca.issue(FQDN)[1])


def test_what_is_no_certificate_is_said(ca):
    for ask in (ca.ends, lambda chain: ca.renew(FQDN, chain)):
        with pytest.raises(OperationError, match="a certificate can't be read"):
            ask("nonsense")


def test_the_authority_renews_itself_before_it_is_in_anyones_way(aging, time, tmp_path):
    """Old certificates are valid under the new CA, and new ones under the old CA."""
    before = aging.ensure().read_bytes()
    time.passes(3650 - 827)
    _, old_chain = aging.issue(FQDN)
    assert aging.ensure().read_bytes() == before
    time.passes(2)
    _, new_chain = aging.issue(FQDN)
    after = aging.ensure().read_bytes()
    assert after != before
    time.passes(820)
    for authority in (before, after):
        for chain in (old_chain, new_chain):
            assert _judged(authority, chain, time, tmp_path) == ""
    time.passes(400)  # the first CA has expired
    assert _judged(after, aging.renew(FQDN, new_chain), time, tmp_path) == ""


def test_an_authority_that_has_ended_is_renewed(aging, time, tmp_path):
    _, chain = aging.issue(FQDN)
    time.passes(4000)
    assert _judged(aging.ensure().read_bytes(), aging.renew(FQDN, chain), time, tmp_path) == ""


@pytest.mark.parametrize("days", [5000, -5000])
def test_a_clock_that_was_wrong_for_a_while_spoils_no_authority(aging, time, tmp_path, days):
    aging.ensure()
    time.passes(days)
    aging.ensure()
    time.passes(-days)
    _, chain = aging.issue(FQDN)
    assert _judged(aging.ensure().read_bytes(), chain, time, tmp_path) == ""


def test_an_authority_made_by_a_clock_that_was_wrong_becomes_good(aging, time, tmp_path):
    time.passes(5000)
    aging.ensure()
    time.passes(-5000)
    _, chain = aging.issue(FQDN)
    assert _judged(aging.ensure().read_bytes(), chain, time, tmp_path) == ""
