"""The host: its packages, accounts, devices and daemons."""
