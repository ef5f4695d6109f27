"""Build, check, register and remove boxes."""
