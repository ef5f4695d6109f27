"""`devvm pool ...`, and the pool in `devvm list`."""
