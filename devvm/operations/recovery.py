"""How what an operation has begun is ended, by the operation's name in the journal.

Each of these stands beside what it ends. Names stay as they are: an older devvm may have left one.
"""

from __future__ import annotations

from collections.abc import Mapping

from devvm.operations.core import journal
from devvm.operations.transaction.transaction import Ending
from devvm.operations.vm import clone, create, rebuild, resize, restore, snapshots, trash

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
}
