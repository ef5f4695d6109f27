"""Resolving, downloading and caching Debian packages."""
