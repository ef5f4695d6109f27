"""What to change in roles or in the manifest, so that both say the same."""
