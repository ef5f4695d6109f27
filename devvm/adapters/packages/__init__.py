"""Debian packages: resolved, kept, and given to a build."""
