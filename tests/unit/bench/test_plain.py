"""The Vagrantfile of the VM without devvm: the size and place of a VM of devvm's."""

from bench.command import Runner
from bench.plain import NAME, Plain
from devvm.config import Config


def test_the_vm_is_as_large_as_devvms_and_gets_the_same_roles(tmp_path):
    config = Config.model_validate(
        {"uri": "test:///default", "vm": {"cpus": 3, "memory_mib": 1536, "driver": "qemu"}}
    )
    text = Plain(config, Runner(tmp_path / "log"), tmp_path).vagrantfile()
    lines = [line.strip() for line in text.splitlines()]
    assert {
        f'config.vm.define "{NAME}"', "libvirt.cpus = 3", "libvirt.memory = 1536",
        'libvirt.driver = "qemu"', 'libvirt.cpu_mode = "maximum"',
        'libvirt.storage_pool_name = "devvm"', 'libvirt.management_network_name = "devvm"',
        f'ansible.raw_arguments = ["--extra-vars", "@{tmp_path}/variables.json"]',
    } <= {*lines}  # fmt: skip
    (playbook,) = [line for line in lines if line.startswith("ansible.playbook")]
    assert playbook.endswith('playbooks/site.yml"')
    assert text.count("do |") == text.count("end\n")
