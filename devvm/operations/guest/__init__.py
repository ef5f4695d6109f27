"""In a VM: the connection, its journal, who works there, and what would be lost."""
