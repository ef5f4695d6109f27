"""A stack: what a company runs, as a folder that devvm builds boxes from."""
