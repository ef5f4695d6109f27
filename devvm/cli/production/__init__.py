"""Commands on what production is."""
