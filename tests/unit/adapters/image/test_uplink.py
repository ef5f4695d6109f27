"""What a container with network gets: the host's proxies and CA, and nothing that it can't use."""

import base64
import json
import subprocess

import pytest

from devvm.adapters.image import uplink
from devvm.domain.errors import HostNotReadyError

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nacme\n-----END CERTIFICATE-----\n"
_PRINT = "import json, os; print(json.dumps(dict(os.environ)))"
DEBIANS = CERTIFICATE.replace("acme", "debian")


@pytest.fixture
def root(tmp_path):
    trusted = tmp_path / "root/etc/ssl/certs"
    trusted.mkdir(parents=True)
    (trusted / "ca-certificates.crt").write_text(DEBIANS)
    return tmp_path / "root"


@pytest.fixture
def prepared(tmp_path, root):
    """The options for nspawn, and the environment that Ansible's modules get."""

    def prepare(ca_file=None, **environ):
        made = uplink.prepare(tmp_path, root, ca_file=ca_file, environ=environ)
        folder, python = made.tmpfiles.splitlines()
        assert folder == "d /run/devvm-build 0755 root root"
        assert python.startswith(f"f+~ {uplink.PYTHON} 0755 root root - ")
        script = base64.b64decode(python.split()[-1]).decode()
        done = subprocess.run(
            ["/bin/sh", "-c", script, "python3", "-c", _PRINT],
            env={}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        found = json.loads(done.stdout)
        return made.options, {k: v for k, v in found.items() if k not in ("PWD", "LC_CTYPE")}

    return prepare


def test_without_proxies_and_ca_it_is_the_ordinary_python(prepared, tmp_path):
    options, environment = prepared()
    assert environment == {}
    (bound,) = options
    assert bound == (
        f"--bind-ro={tmp_path}/resolved.conf:/run/systemd/resolved.conf.d/devvm-build.conf"
    )
    assert (tmp_path / "resolved.conf").read_text() == "[Resolve]\nDNS=10.0.2.3\n"


def test_proxies_come_in_both_spellings_and_not_for_the_containers_own_services(prepared):
    url = 'http://jane:it\'s $a "secret"@proxy.test:3128'
    _, environment = prepared(https_proxy=url, HTTP_PROXY="proxy.test:80", NO_PROXY="a.test,.b")
    exceptions = "a.test,.b,localhost,127.0.0.1,::1"
    assert environment == {
        "https_proxy": url, "HTTPS_PROXY": url,
        "http_proxy": "proxy.test:80", "HTTP_PROXY": "proxy.test:80",
        "no_proxy": exceptions, "NO_PROXY": exceptions,
    }  # fmt: skip
    assert prepared(no_proxy="a.test")[1] == {}


@pytest.mark.parametrize(
    "proxy",
    [
        "http://jane:secret@127.0.0.1:3128",
        "localhost:3128",
        "http://[::1]:3128",
        "http://127.1.2.3/",
    ],
)
def test_a_proxy_on_the_hosts_loopback_is_refused(prepared, proxy):
    with pytest.raises(HostNotReadyError, match="can't reach the proxy on") as caught:
        prepared(HTTPS_PROXY=proxy)
    error = caught.value
    assert "secret" not in f"{error}{error.details}{error.resolution}"
    assert "another address of this host" in error.resolution


def test_the_companys_ca_is_trusted_besides_debians(prepared, tmp_path):
    file = tmp_path / "acme.crt"
    file.write_text(CERTIFICATE)
    options, environment = prepared(ca_file=file)
    assert options[1] == f"--bind-ro={tmp_path}/ca.crt:/run/devvm-build/ca.crt"
    assert (tmp_path / "ca.crt").read_text() == f"{DEBIANS}\n{CERTIFICATE}"
    assert environment == dict.fromkeys(
        ["SSL_CERT_FILE", "GIT_SSL_CAINFO", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT",
         "NODE_EXTRA_CA_CERTS"],
        "/run/devvm-build/ca.crt",
    )  # fmt: skip


def test_what_is_no_ca_is_said(prepared, tmp_path):
    file = tmp_path / "acme.crt"
    for content, problem in (
        (None, "No such file"),
        ("der", "no certificate in PEM"),
        (f"{CERTIFICATE}-----BEGIN PRIVATE KEY-----\n", "a private key"),
    ):
        if content is not None:
            file.write_text(content)
        with pytest.raises(HostNotReadyError, match="can't be used") as caught:
            prepared(ca_file=file)
        assert problem in caught.value.details
        assert "box.ca_file" in caught.value.resolution


def test_a_link_in_the_tree_does_not_lead_to_a_file_of_the_host(prepared, root, tmp_path):
    file = tmp_path / "acme.crt"
    file.write_text(CERTIFICATE)
    (tmp_path / "shadow").write_text("root:x")
    trusted = root / "etc/ssl/certs/ca-certificates.crt"
    trusted.unlink()
    trusted.symlink_to(tmp_path / "shadow")
    prepared(ca_file=file)
    assert (tmp_path / "ca.crt").read_text() == CERTIFICATE
    trusted.unlink()
    prepared(ca_file=file)
    assert (tmp_path / "ca.crt").read_text() == CERTIFICATE
