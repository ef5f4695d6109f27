"""The checks of a machine, from manifest, expectations and waivers."""
