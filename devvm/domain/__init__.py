"""What devvm is about: pure values and rules; no I/O, no tool."""
