"""The description of production: captures, manifests, waivers."""
