"""Packages whose versions are not production's, and what differs because of them."""
