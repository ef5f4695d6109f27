"""What to change in the roles, so that the stack matches production."""
