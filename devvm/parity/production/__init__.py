"""The files that define production: the manifest and its layers, roles, waivers."""
