"""Debian packages: versions, where they come from, whether they are held."""

AREAS = ("package",)

_FORMAT = "${Package}\\t${Architecture}\\t${Version}\\t${db:Status-Want}\\t${db:Status-Status}\\n"


def collect(wanted, run):
    """By name: `version`, `origin` (of the archive), `hold`, `status` unless it is installed."""
    code, out, err = run(["dpkg-query", "--show", f"--showformat={_FORMAT}"])
    if code:
        raise RuntimeError(err.strip())
    _, native, _ = run(["dpkg", "--print-architecture"])
    found = {}
    for line in out.splitlines():
        name, architecture, version, want, status = line.split("\t")
        if architecture not in ("all", native.strip()):
            name = f"{name}:{architecture}"
        if status == "not-installed":
            continue
        facts = {"version": version, "origin": None}
        if want == "hold":
            facts["hold"] = True
        if status != "installed":
            facts["status"] = status
        found[name] = facts
    for name, origin in _origins(found, run):
        found[name]["origin"] = origin
    return {"package": found}


def _origins(packages, run):
    """Where the installed version comes from; nothing where the machine keeps no lists."""
    _, releases, _ = run(["apt-cache", "policy"])
    if " release " not in releases.replace("\n", " "):
        return
    labels = _labels(releases)
    if set(labels) <= {"/var/lib/dpkg/status"}:
        return
    _, out, _ = run(["apt-cache", "policy", *packages])
    name, installed = None, False
    for line in out.splitlines():
        if not line.startswith(" "):
            name, installed = line.rstrip(":"), False
        elif line.startswith(" *** "):
            installed = True
            if name in packages:
                packages[name]["origin"] = "local"  # unless an archive has it
        elif line.startswith("     ") and not line.startswith("        "):
            installed = False
        elif installed:
            source = line.split(None, 1)[1]
            if source in labels and name in packages:
                yield name, labels[source]
                installed = False


def _labels(policy):
    """`{source as apt-cache names it: origin and archive}`."""
    found, source = {}, None
    for line in policy.splitlines():
        text = line.strip()
        if text[:1].isdigit() or text.startswith("-"):
            source = text.split(None, 1)[1]
        elif text.startswith("release ") and source:
            parts = dict(part.partition("=")[::2] for part in text[8:].split(","))
            if "o" in parts:
                found[source] = f"{parts['o']} {parts.get('n', parts.get('a', ''))}".strip()
    return found
