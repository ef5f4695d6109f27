"""Kernel settings as they are now."""


def collect(wanted, run):
    """`{key: value}` for the keys that are wanted; null where the kernel has no such key."""
    return {key: _read(key) for key in wanted["sysctls"]}


def _read(key):
    try:
        with open(f"/proc/sys/{key.replace('.', '/')}") as file:
            return " ".join(file.read().split())
    except FileNotFoundError:
        return None
