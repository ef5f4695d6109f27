"""One VM: made, changed, and back."""
