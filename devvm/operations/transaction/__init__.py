"""An operation that is done or undone, whenever it is killed."""
