"""The operations that keep a journal, by the names that the journal has for them."""

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
