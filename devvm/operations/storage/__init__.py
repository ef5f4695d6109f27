"""Saved states of VMs, and the images below them."""
