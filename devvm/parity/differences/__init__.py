"""How two machines, two manifests or two texts differ."""
