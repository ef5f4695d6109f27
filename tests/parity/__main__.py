"""`python -m parity`: the names of all checks, one a line."""

import argparse
import sys
from pathlib import Path

from parity import checks, schema, waivers

_SUITE = Path(__file__).parent


def main() -> int:
    """List the checks; 2 where a file can't be accepted."""
    parser = argparse.ArgumentParser(prog="python -m parity", description=__doc__)
    parser.add_argument("--overlay", choices=("dev", "none"), default="dev")
    parser.add_argument("--expectations", type=Path, default=_SUITE / "expectations")
    parser.add_argument("--waivers", type=Path)
    options = parser.parse_args()
    try:
        if options.waivers:
            waivers.load(options.waivers)
        every = checks.expand(schema.load(options.expectations, overlay=options.overlay))
    except (schema.ExpectationError, waivers.WaiverError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.writelines(f"{check.name}\n" for check in every)
    return 0


if __name__ == "__main__":
    sys.exit(main())
