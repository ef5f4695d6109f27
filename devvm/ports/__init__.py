"""The protocols through which operations use the outside world. Adapters implement them."""
