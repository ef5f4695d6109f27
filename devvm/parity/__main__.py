"""What devvm runs as a child of its own: names of checks, hosts of an inventory, a look at one."""

import argparse
import json
import sys
from pathlib import Path

import testinfra
from testinfra.utils import ansible_runner

from devvm.parity.checks import catalogue, expectations
from devvm.parity.collect import observe
from devvm.parity.production import manifest, production, waivers

_CAREFUL = (
    "-o BatchMode=yes -o StrictHostKeyChecking=yes -o ServerAliveInterval=10"
    " -o ServerAliveCountMax=3 -o ConnectTimeout=20"
)


def main() -> int:
    """Run the command. Returns 2 if a file is invalid, 3 if the host can't be observed."""
    parser = argparse.ArgumentParser(prog="python -m devvm.parity", description=__doc__)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--overlay", choices=("dev", "none"), default="dev")
    common.add_argument("--expectations", type=Path, required=True)
    commands = parser.add_subparsers(required=True)
    names = commands.add_parser("names", parents=[common])
    names.add_argument("--production", type=Path, required=True)
    names.set_defaults(run=_names)
    look = commands.add_parser("observe", parents=[common])
    look.add_argument("--host", required=True, help="as testinfra's --hosts")
    look.add_argument("--ssh-config")
    look.set_defaults(run=_observe)
    hosts = commands.add_parser("hosts")
    hosts.add_argument("--inventory", required=True)
    hosts.add_argument("pattern", nargs="+")
    hosts.set_defaults(run=_hosts)
    options = parser.parse_args()
    try:
        options.run(options)
    except (expectations.ExpectationError, waivers.WaiverError, manifest.ManifestError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except observe.CannotObserveError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    return 0


def _names(options: argparse.Namespace) -> None:
    stated = production.load(options.production, options.overlay)
    every = catalogue.expand(expectations.load(options.expectations, overlay=options.overlay))
    every += catalogue.of_manifest(stated.layers, stated.roles)
    sys.stdout.writelines(f"{check.name}\n" for check in every)


def _observe(options: argparse.Namespace) -> None:
    """Print what the collectors find, as one line of JSON. Runs no probes."""
    wanted = catalogue.wanted(expectations.load(options.expectations, overlay=options.overlay))
    host = testinfra.get_host(options.host, ssh_config=options.ssh_config)
    _be_careful(host.backend)
    own = options.expectations / expectations.COLLECTORS
    seen = observe.observe(host, wanted, probes=False, collectors=own)
    json.dump(
        {
            "areas": seen.raw,
            "errors": seen.errors,
            "conditions": seen.conditions,
            "host": seen.tokens.host,
            "engineer": seen.tokens.engineer,
        },
        sys.stdout,
    )


def _be_careful(backend: object) -> None:
    """Never ask, and always check host keys; ssh uses the first value, so this wins."""
    if hasattr(backend, "ssh_extra_args"):
        more = f" {backend.ssh_extra_args}" if backend.ssh_extra_args else ""
        backend.ssh_extra_args = f"{_CAREFUL}{more}"


def _hosts(options: argparse.Namespace) -> None:
    """Print the hosts that names, groups or patterns of an inventory stand for."""
    runner = ansible_runner.AnsibleRunner(options.inventory)
    for pattern in options.pattern:
        found = runner.get_hosts(pattern)
        if not found:
            raise observe.CannotObserveError(f"the inventory has no host or group {pattern}")
        sys.stdout.writelines(f"{name}\n" for name in found)


if __name__ == "__main__":
    sys.exit(main())
