"""One module per tool; each the only importer of its tool, translating its failures."""
