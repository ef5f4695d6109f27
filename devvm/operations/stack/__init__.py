"""The stack in the working tree: what it is, and whether devvm can use it."""
