"""Installed Debian packages."""


def collect(wanted, run):
    """`{package: version}` of every package that is installed whole."""
    code, out, err = run(
        ["dpkg-query", "--show", "--showformat=${Package}\\t${Version}\\t${db:Status-Status}\\n"]
    )
    if code:
        raise RuntimeError(err.strip())
    rows = (line.split("\t") for line in out.splitlines())
    return {name: version for name, version, status in rows if status == "installed"}
