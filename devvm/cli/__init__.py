"""What a person types and sees. Parses, calls an operation, renders its result; decides nothing."""
