"""What production is, as files say it: the manifest and its layers, roles, waivers."""
