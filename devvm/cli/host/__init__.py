"""Commands on this host and on devvm itself."""
