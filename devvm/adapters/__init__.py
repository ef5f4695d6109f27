"""One module per tool. Nothing else uses the tool, and the module translates its failures."""
