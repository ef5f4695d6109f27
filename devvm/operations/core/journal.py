"""The operations that keep a journal, by their names in it."""

from __future__ import annotations

CREATE = "create"
DESTROY = "destroy"
REBUILD = "rebuild"
RECOVER = "recover"
SNAPSHOT = "snapshot"
RESTORE = "restore"
CLONE = "clone"
RESIZE = "resize"
PURGE = "purge"
IMPORT = "import"
