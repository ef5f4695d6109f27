"""The checks of a machine, by name: from the manifest, expectations and waivers."""
