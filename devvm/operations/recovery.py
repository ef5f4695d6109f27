"""The function that finishes or undoes each operation, by the operation's name in the journal.

Each is defined next to its operation. Never change the names: an older devvm may have left a
journal.
"""

from __future__ import annotations

from collections.abc import Mapping

from devvm.operations.core import journal
from devvm.operations.transaction.transaction import Ending
from devvm.operations.vm import clone, create, dumps, rebuild, resize, restore, snapshots, trash

ENDINGS: Mapping[str, Ending] = {
    journal.CREATE: create.end,
    journal.DESTROY: trash.end_destroy,
    journal.REBUILD: rebuild.end,
    journal.RECOVER: trash.end_recover,
    journal.SNAPSHOT: snapshots.end,
    journal.RESTORE: restore.end,
    journal.CLONE: clone.end,
    journal.RESIZE: resize.end,
    journal.PURGE: trash.end_purge,
    journal.IMPORT: dumps.end,
}
