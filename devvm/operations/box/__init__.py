"""Boxes: built, checked, registered, removed."""
