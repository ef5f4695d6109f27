"""This machine: its packages, accounts, devices and daemons."""
