"""The keys that docs/json.md documents, and operations that return what a test wants."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
RELEASE = "2026.11.23-1a2b3c4d5e6f"
DOCUMENT = (REPOSITORY / "docs" / "json.md").read_text()


def documented(section):
    """The keys in the table of a section."""
    text = DOCUMENT.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))


def documented_for(command):
    """The keys of a command's own section."""
    row = next(
        line for line in DOCUMENT.splitlines() if line.startswith("| `") and f"`{command}`" in line
    )
    return set(re.findall(r"`(\w+)`", row.split("|")[2]))


def fake(monkeypatch, module, name, result):
    """Replace an operation; return the list of its calls."""
    calls = []

    def operation(*args, **kwargs):
        calls.append((args[1:], kwargs))
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(module, name, operation)
    return calls
