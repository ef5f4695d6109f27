"""What docs/json.md promises, and operations that return what a test wants."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
RELEASE = "2026.11.23-1a2b3c4d5e6f"
DOCUMENT = (REPOSITORY / "docs" / "json.md").read_text()


def documented(section):
    """The keys in a section's table."""
    text = DOCUMENT.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))


def documented_for(command):
    """A command's own keys."""
    row = next(
        line for line in DOCUMENT.splitlines() if line.startswith("| `") and f"`{command}`" in line
    )
    return set(re.findall(r"`(\w+)`", row.split("|")[2]))


def fake(monkeypatch, module, name, result):
    """Replace an operation; the list of its calls."""
    calls = []

    def operation(*args, **kwargs):
        calls.append((args[1:], kwargs))
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(module, name, operation)
    return calls
