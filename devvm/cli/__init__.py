"""The command line: parses arguments, calls an operation, shows its result; decides nothing."""
