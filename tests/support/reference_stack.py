"""The stack of this checkout."""

from devvm.stack.folder import StackFolder
from devvm.system import assets

REFERENCE = StackFolder(assets.reference_stack(), overlay=assets.overlay())
