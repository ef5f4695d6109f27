"""What releases of the stack and rollouts of them are. Pure: no I/O, no tool."""
