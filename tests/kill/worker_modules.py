"""Imports all of devvm's modules once, in the process from which workers are forked."""

import importlib
import pkgutil

import devvm

for _module in pkgutil.walk_packages(devvm.__path__, "devvm."):
    if not _module.name.endswith("__main__"):
        importlib.import_module(_module.name)
