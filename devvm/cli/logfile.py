"""Log files in the user's home, for commands that have no state folder yet."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path


def personal_log(command: str) -> Path:
    """A new, empty log file in the user's home, or in the temporary folder if that fails."""
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    folder = Path(home) / "devvm" / "logs"
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{command}-"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:  # a home that can't be written
        folder = Path(tempfile.gettempdir())
    descriptor, path = tempfile.mkstemp(prefix=name, suffix=".log", dir=folder)
    os.close(descriptor)
    return Path(path)
