"""What a release of a stack is, and how two of them differ."""
