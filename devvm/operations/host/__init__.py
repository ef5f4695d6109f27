"""Host set-up."""
