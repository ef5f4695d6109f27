"""The pool: spares, VMs that are created in advance for whoever creates one next."""
