"""Nothing in devvm knows the reference application: it must work for any stack."""

import re
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "devvm"

#: Its name as a path, an account, a unit, a database; the word itself is English.
_APPLICATION = re.compile(
    r"/about\b|\babout[.-](service|socket|worker)|['\"\[ ]about['\"\]]|\babout@|about\.toml|~about"
)


def test_nothing_names_the_reference_application():
    found = []
    for path in sorted(PACKAGE.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            lines = path.read_text(encoding="utf-8").splitlines()
            found += [
                f"{path.relative_to(PACKAGE)}:{number}: {line}"
                for number, line in enumerate(lines, 1)
                if _APPLICATION.search(line)
            ]
    assert found == []
