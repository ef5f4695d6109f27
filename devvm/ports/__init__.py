"""What operations need of the outside: interfaces, which adapters implement."""
