"""Commands on production."""
