"""A world in memory for operations: what they may see of libvirt, Vagrant, SSH and Ansible.

Each part does what its adapter promises and notes what it was asked; `fail_at` makes one step
fail, with whatever exception a test wants.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from devvm.config import Config
from devvm.model import (
    AnsibleResult,
    Box,
    CheckResult,
    Driver,
    Lease,
    Outcome,
    Target,
    Vm,
    VmState,
)
from devvm.operations.ports import Services
from devvm.operations.progress import Run
from devvm.state import State

GIB = 1024**3
RELEASE = "2026.11.23-1a2b3c4d5e6f"


@dataclass
class Host:
    """Everything that outlives a command: what a crash leaves."""

    domains: dict[str, str] = field(default_factory=dict)  # FQDN: UUID
    states: dict[str, VmState] = field(default_factory=dict)
    metadata: dict[str, object] = field(default_factory=dict)  # by UUID
    volumes: set[str] = field(default_factory=set)
    leases: dict[str, Lease] = field(default_factory=dict)
    registered: bool = False
    memory: tuple[int, int] = (16384, 8192)
    free: int = 100 * GIB
    calls: list[str] = field(default_factory=list)
    fail_at: str = ""
    failure: BaseException | None = None

    def step(self, name):
        self.calls.append(name)
        if name == self.fail_at:
            raise self.failure


class Hypervisor:
    def __init__(self, host, domain):
        self.host = host
        self.domain = domain

    def check(self):
        self.host.step("check")

    def driver(self, wanted):
        return Driver.QEMU, "emulation, as always here"

    def memory_mib(self):
        return self.host.memory

    def ensure_pool(self):
        self.host.step("ensure_pool")

    def ensure_network(self):
        self.host.step("ensure_network")

    def free_bytes(self):
        return self.host.free

    def vms(self):
        names = [fqdn.split(".")[0] for fqdn in sorted(self.host.domains)]
        return [vm for name in names if (vm := self.vm(name))]

    def vm(self, name):
        fqdn = f"{name}.{self.domain}"
        uuid = self.host.domains.get(fqdn)
        if uuid is None or uuid not in self.host.metadata:
            return None
        return Vm(
            name=name, fqdn=fqdn, uuid=uuid, state=self.host.states[fqdn], driver=Driver.QEMU,
            memory_mib=2048, cpus=2, metadata=self.host.metadata[uuid],
            lease=self.host.leases.get(name),
        )  # fmt: skip

    def domain_exists(self, fqdn):
        return fqdn in self.host.domains

    def domain_uuid(self, fqdn):
        return self.host.domains.get(fqdn)

    def disks(self, fqdn):
        return []

    def reserve_lease(self, name):
        self.host.step("reserve_lease")
        lease = Lease(mac="52:54:00:00:00:01", address="10.1.2.3", fqdn=f"{name}.{self.domain}")
        return self.host.leases.setdefault(name, lease)

    def release_lease(self, name):
        self.host.leases.pop(name, None)

    def set_metadata(self, uuid, metadata):
        self.host.step("set_metadata_ready" if metadata.ready else "set_metadata")
        self.host.metadata[uuid] = metadata

    def start(self, vm):
        self.host.step("start")
        self.host.states[vm.fqdn] = VmState.RUNNING

    def shutdown(self, vm, *, timeout, force):
        self.host.step("shutdown_force" if force else "shutdown")
        self.host.states[vm.fqdn] = VmState.SHUTOFF

    def remove_domain(self, fqdn):
        self.host.step("remove_domain")
        self.host.metadata.pop(self.host.domains.pop(fqdn, None), None)
        self.host.volumes.discard(f"{fqdn}.img")

    def upload_volume(self, name, source, detail):
        self.host.step("upload_data" if name.endswith("-data.qcow2") else "upload_box")
        self.host.volumes.add(name)
        return Path("/pool") / name

    def volume_exists(self, name):
        return name in self.host.volumes

    def volumes_of(self, fqdn):
        return sorted(v for v in self.host.volumes if v.startswith((f"{fqdn}.img", f"{fqdn}-")))

    def remove_volume(self, name):
        self.host.step("remove_volume")
        self.host.volumes.discard(name)

    def users_of_volume(self, name):
        return []

    def console(self, fqdn):
        return 0


class Vagrant:
    def __init__(self, host, domain):
        self.host = host
        self.domain = domain

    def box_registered(self, box):
        return self.host.registered

    def add_box(self, box, detail):
        self.host.step("add_box")
        self.host.registered = True

    def remove_box(self, box):
        self.host.registered = False

    def volume_name(self, box):
        return f"box-{box.release}.img"

    def image(self, box):
        return Path("/boxes/box.img")

    def up(self, folder, detail, log):
        fqdn = f"{folder.name}.{self.domain}"
        text = (folder / "Vagrantfile").read_text()
        uuid = text.split('libvirt.uuid = "')[1].split('"')[0]
        self.host.volumes.add(f"{fqdn}.img")
        self.host.step("define")
        self.host.domains[fqdn] = uuid
        self.host.states[fqdn] = VmState.RUNNING
        self.host.step("boot")


class Shell:
    def __init__(self, host):
        self.host = host
        self.asked = []

    def wait(self, target, *, timeout, detail):
        self.host.step("wait")

    def run(self, target, argv, *, check=True, timeout=300, stdin=None):
        self.asked.append((target.alias, list(argv)))
        return 0, "journal\n", ""

    def interactive(self, target, argv):
        self.asked.append((target.alias, list(argv)))
        return 7

    def disconnect(self, target):
        self.host.calls.append(f"disconnect {target.alias}")

    def new_key(self, path, comment):
        path.write_text("PRIVATE")
        path.chmod(0o600)
        path.with_name(f"{path.name}.pub").write_text(f"ecdsa-sha2-nistp256 AAAA {comment}\n")
        return f"ecdsa-sha2-nistp256 AAAA {comment}"


class Provisioner:
    def __init__(self, host):
        self.host = host
        self.variables = None

    def apply(self, playbook, target, *, variables, detail, log, tags=()):
        self.host.step("personalise")
        self.variables = variables
        return AnsibleResult(ok=1, changed=1)


class Verifier:
    def __init__(self, host):
        self.host = host
        self.outcome = Outcome.PASSED

    def check(self, target, *, detail, log, junit=None):
        self.host.step("verify")
        return (CheckResult(name="service/nginx/running", role="nginx", outcome=self.outcome),)


class Ca:
    def __init__(self, folder):
        self.path = folder / "ca.crt"

    def ensure(self):
        self.path.write_text("CA\n")
        return self.path

    def issue(self, fqdn):
        return "SITE KEY\n", "SITE CHAIN\n"


class Boxes:
    def __init__(self, box):
        self.box = box

    def list(self):
        return [self.box] if self.box else []

    def find(self, release):
        return self.box

    def remove(self, box):
        self.box = None


class DataDisks:
    def __init__(self, host):
        self.host = host
        self.identity = {}
        self.folder_mode = 0

    def make(self, destination, size_gib, identity):
        self.host.step("make_data_disk")
        self.identity = dict(identity)
        self.folder_mode = destination.parent.stat().st_mode & 0o777
        destination.write_text("disk")

    def new_host_key(self, comment):
        return "HOST KEY\n", f"ssh-ed25519 HOST {comment}\n"


class Reporter:
    """Remembers what a person was told."""

    def __init__(self):
        self.notes = []
        self.phases = []

    def phase_started(self, name, title):
        self.phases.append(name)

    def detail(self, text):
        pass

    def phase_finished(self, record):
        pass

    def note(self, text):
        self.notes.append(text)


class World:
    """A host, and devvm on it. `again()` is the next command, after whatever became of the last."""

    def __init__(self, tmp_path):
        self.host = Host()
        self.config = Config.model_validate({"state_dir": str(tmp_path / "state")})
        self.state = State(self.config.state_dir)
        self.state.ensure()
        self.box = Box(
            release=RELEASE, path=Path("/boxes/devvm.box"), sha256="0" * 64, built_at="",
            size_bytes=GIB, verified=True, debian="12",
        )  # fmt: skip
        domain = self.config.network.domain
        self.shell, self.provisioner = Shell(self.host), Provisioner(self.host)
        self.verifier, self.data_disks = Verifier(self.host), DataDisks(self.host)
        self.boxes = Boxes(self.box)
        self.services = Services(
            config=self.config,
            state=self.state,
            hypervisor=Hypervisor(self.host, domain),
            vagrant=Vagrant(self.host, domain),
            shell=self.shell,
            provisioner=self.provisioner,
            verifier=self.verifier,
            ca=Ca(tmp_path),
            boxes=self.boxes,
            data_disks=self.data_disks,
        )
        self.reporter = Reporter()

    def configured(self, **vm):
        """The services with other settings of `[vm]`."""
        return replace(
            self.services,
            config=self.config.model_copy(update={"vm": self.config.vm.model_copy(update=vm)}),
        )

    def run(self, command):
        return Run(command, self.reporter)

    def remnants(self, name):
        """Whatever is there of a VM."""
        fqdn = f"{name}.{self.config.network.domain}"
        found = [*self.services.hypervisor.volumes_of(fqdn)]
        found += [fqdn] if fqdn in self.host.domains else []
        found += [f"lease of {name}"] if name in self.host.leases else []
        found += [str(self.state.vm(name))] if self.state.vm(name).exists() else []
        return found

    def target(self, name, alias):
        return Target(ssh_config=self.state.vm(name) / "ssh_config", alias=alias)
