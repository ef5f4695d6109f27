"""How two machines differ, or two manifests, or two texts."""
