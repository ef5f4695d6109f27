"""Transactions: operations that are finished or undone, even if they are killed."""
