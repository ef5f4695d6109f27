"""What all operations use: names, progress, parallel work."""
