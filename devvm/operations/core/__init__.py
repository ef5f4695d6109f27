"""What every operation uses: names, progress, work side by side."""
