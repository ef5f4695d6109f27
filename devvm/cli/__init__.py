"""The command line: parses arguments, calls operations, shows results; makes no decisions."""
