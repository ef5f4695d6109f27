"""This host: set up."""
