"""What the shop is called."""

AREAS = ("shop",)


def collect(wanted, run):
    """`name`: `value`."""
    with open("/etc/shop.ini", encoding="utf-8") as file:
        settings = dict(line.rstrip("\n").split(" = ", 1) for line in file)
    return {"shop": {"name": {"value": settings["name"].strip('"')}}}
