"""`python -m devvm`, and the entry point of the installed command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run devvm on the process's arguments and exit with its code."""
    from devvm.cli.app import main as run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
