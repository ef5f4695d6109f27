"""The parity suite: is this machine what production is?"""
