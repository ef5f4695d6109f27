"""Recorded releases."""
