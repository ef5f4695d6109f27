"""Reads all of devvm's modules: the process that workers are forked from does it, once."""

import importlib
import pkgutil

import devvm

for _module in pkgutil.walk_packages(devvm.__path__, "devvm."):
    if not _module.name.endswith("__main__"):
        importlib.import_module(_module.name)
