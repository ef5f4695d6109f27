"""Releases on record."""
