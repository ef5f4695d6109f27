"""Inside a VM: SSH, the journal, active users, and work that would be lost."""
