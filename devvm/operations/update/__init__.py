"""Bringing a VM to another release."""
