"""Commands on one VM."""
