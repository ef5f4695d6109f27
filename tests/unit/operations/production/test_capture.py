"""`production capture`: all hosts or nothing, the previous file, the key."""

import datetime
import threading
from pathlib import Path

import pytest

from devvm.domain.errors import OperationError, UsageError
from devvm.operations.core.progress import Run
from devvm.operations.production.capture import Plan, capture
from devvm.parity.collect.capture import Seen
from devvm.parity.differences.compare import Tokens
from devvm.parity.production import manifest
from devvm.stack.description import Application, Checkout, Description, Tls

DAY = datetime.date(2026, 11, 25)


class Reporter:
    def __init__(self):
        self.details = []

    def phase_started(self, name, title): ...
    def phase_finished(self, record): ...
    def note(self, text): ...

    def detail(self, text):
        self.details.append(text)


class Hosts:
    """Hosts as the adapter returns them; those in `failing` can't be observed."""

    def __init__(self, areas, failing=(), together=1):
        self.areas, self.failing = areas, failing
        self.barrier = threading.Barrier(together, timeout=10)

    def names(self, patterns):
        return tuple(patterns)

    def look(self, host, *, timeout):
        self.barrier.wait()
        if host in self.failing:
            raise OperationError(
                f"{host} could not be inspected", details="no sudo", resolution=f"ssh {host}"
            )
        conditions = dict.fromkeys(manifest.CONDITIONS, False)
        return Seen(host=host, areas=self.areas[host], tokens=Tokens(), conditions=conditions)


def do(hosts, output, *names, **more):
    reporter = Reporter()
    plan = Plan(hosts=names, output=output, **more)
    return capture(hosts, plan, Run("production capture", reporter), DAY), reporter


ONE = {"package": {"a": {"version": "1"}}, "file": {"/k": {"mode": "0600", "secret": "ab"}}}
TWO = {"package": {"a": {"version": "2"}}, "file": {"/k": {"mode": "0600", "secret": "cd"}}}


def test_hosts_are_looked_at_together_and_a_bar_shows_it(tmp_path):
    hosts = Hosts({"web1": ONE, "web2": ONE}, together=2)
    done, reporter = do(hosts, tmp_path / "m.yml", "web1", "web2", parallel=2)
    assert done.manifest.hosts == ("web1", "web2")
    assert manifest.load(tmp_path / "m.yml") == done.manifest
    assert reporter.details[0].startswith("[....................] 0 of 2; waiting for web1, web2")
    assert done.changed is None


def test_one_that_fails_leaves_what_is_there(tmp_path):
    file = tmp_path / "m.yml"
    file.write_text("format: 1\n")
    hosts = Hosts({"web1": ONE}, failing=("web2", "web3"))
    with pytest.raises(OperationError) as caught:
        do(hosts, file, "web1", "web2", "web3")
    assert caught.value.brief.startswith("2 of 3 hosts could not be inspected, and no manifest")
    assert "web2: no sudo\nweb3: no sudo" in caught.value.details
    assert caught.value.resolution == "ssh web2"
    assert file.read_text() == "format: 1\n"


def test_capturing_again_says_what_is_otherwise(tmp_path):
    file = tmp_path / "m.yml"
    do(Hosts({"web1": ONE}), file, "web1")
    done, _ = do(Hosts({"web1": TWO, "web2": ONE}), file, "web1", "web2")
    assert done.new_varies == ("file/k: secret", "package/a: version")
    assert done.changed == 0  # what varies is not compared
    again, _ = do(Hosts({"web1": TWO, "web2": ONE}), file, "web1", "web2")
    assert again.new_varies == ()
    added, _ = do(Hosts({"web1": {**TWO, "user": {"x": {}}}}), file, "web1")
    assert added.changed == 1


def test_the_folder_is_made_as_a_new_stack_has_none(tmp_path):
    file = tmp_path / "production/manifest.yml"
    done, _ = do(Hosts({"web1": ONE}), file, "web1")
    do(Hosts({"web1": TWO}), tmp_path / "production/overlay/10-dev.yml", "web1", over=(file,))
    assert manifest.load(file) == done.manifest
    with pytest.raises(UsageError, match=r"none/x can't be read or written"):
        do(Hosts({"web1": ONE}), tmp_path / "none/x/m.yml", "web1")


def test_without_a_key_nothing_of_secrets_is_kept_but_that_they_differ(tmp_path):
    done, _ = do(Hosts({"web1": ONE}), tmp_path / "one.yml", "web1")
    assert done.manifest.areas["file"]["/k"]["secret"] is None
    both, _ = do(Hosts({"web1": ONE, "web2": TWO}), tmp_path / "both.yml", "web1", "web2")
    assert both.manifest.varies["file"]["/k"] == ["secret"]


def test_a_key_is_made_once_and_for_its_owner(tmp_path):
    key = tmp_path / "key"
    first, _ = do(Hosts({"web1": ONE}), tmp_path / "m.yml", "web1", key=key)
    again, _ = do(Hosts({"web1": ONE}), tmp_path / "n.yml", "web1", key=key)
    assert first.manifest == again.manifest
    assert key.stat().st_mode & 0o777 == 0o600
    (tmp_path / "short").write_text("x\n")
    with pytest.raises(UsageError, match="is not a key"):
        do(Hosts({"web1": ONE}), tmp_path / "m.yml", "web1", key=tmp_path / "short")


def test_a_layer_is_what_is_beyond_what_is_below(tmp_path):
    base, layer = tmp_path / "base.yml", tmp_path / "layer.yml"
    do(Hosts({"web1": ONE}), base, "web1")
    more = {**ONE, "package": {"a": {"version": "1"}, "b": {"version": "1"}}}
    done, _ = do(Hosts({"dev1": more}), layer, "dev1", over=(base,), only_if=("engineer",))
    assert done.manifest.areas == {"package": {"b": {"version": "1"}}}
    assert done.manifest.only_if == ("engineer",)
    again, _ = do(Hosts({"dev1": more}), layer, "dev1", over=(base,))
    assert again.manifest.only_if == ("engineer",)  # unchanged


#: A VM: the engineer's account, what differs from VM to VM, and what all VMs have.
VM = {
    **ONE,
    "certificate": {"devvm CA 1a2b": {"sha256": "1"}},
    "file": {
        **ONE["file"],
        "/etc/devvm/stamp.json": {"content": "{}", "mode": "0644", "sha256": "1"},
        "/etc/ssl/certs/acme.pem": {"content": "x", "mode": "0644", "sha256": "1"},
        "/etc/sudoers.d/engineer": {"content": "{engineer} ALL", "mode": "0440"},
        "/srv/shop/current": {"link": "/srv/shop/checkout"},
    },
    "package": {"a": {"version": "1"}, "qemu-guest-agent": {"version": "7"}},
    "user": {
        "{engineer}": {"uid": 2000},
        "vagrant": {"home": "/var/lib/vagrant", "ssh-keys": ["k"]},
    },
}
CHECKOUT = Checkout(path="/srv/shop/checkout", code="/srv/shop/app", serve="/srv/shop/current")
ACME = Description(
    tls=Tls(certificate="/etc/ssl/certs/acme.pem"),
    applications=(Application(name="shop", checkout=CHECKOUT),),
)


def test_a_layer_of_a_vm_is_true_of_every_vm(tmp_path):
    base, layer = tmp_path / "base.yml", tmp_path / "layer.yml"
    do(Hosts({"web1": ONE}), base, "web1")
    done, _ = do(
        Hosts({"dev1": VM}), layer, "dev1", over=(base,), unless=("container",), description=ACME
    )
    assert done.left_out == (
        "file/etc/devvm/stamp.json", "file/etc/sudoers.d/engineer", "file/srv/shop/current",
        "user/{engineer}",
    )  # fmt: skip
    assert done.manifest.areas["file"] == {"/etc/ssl/certs/acme.pem": {"mode": "0644"}}
    assert done.manifest.areas["user"] == {"vagrant": {"home": "/var/lib/vagrant"}}
    assert done.manifest.areas["package"] == {"qemu-guest-agent": {"version": "7"}}
    assert done.manifest.varies["certificate"] == {"devvm CA *": ["present"]}
    assert not done.manifest.areas.get("certificate")


def test_what_is_the_engineers_is_a_layer_of_its_own(tmp_path):
    base, layer, own = (tmp_path / f"{name}.yml" for name in ("base", "layer", "own"))
    do(Hosts({"web1": ONE}), base, "web1")
    do(Hosts({"dev1": VM}), layer, "dev1", over=(base,), description=ACME)
    done, _ = do(
        Hosts({"dev1": VM}), own, "dev1", over=(base, layer), only_if=("engineer",),
        description=ACME,
    )  # fmt: skip
    assert done.left_out == ()
    assert {*done.manifest.areas} == {"file", "user"}
    assert {*done.manifest.areas["user"]} == {"{engineer}"}
    assert done.manifest.areas["file"]["/etc/devvm/stamp.json"] == {"mode": "0644"}


@pytest.mark.parametrize("text", ["[", "format: 7\n"])
def test_a_broken_file_is_said_before_any_host_is_bothered(tmp_path, text):
    file = tmp_path / "m.yml"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"m\.yml"):
        do(Hosts({}), file, "web1")


def test_a_file_that_can_not_be_written_is_said():
    with pytest.raises(UsageError, match=r"/proc/none can't be"):
        do(Hosts({"web1": ONE}), Path("/proc/none/m.yml"), "web1")
