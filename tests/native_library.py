"""Finds the shared library of the package's internals that a build with -Dtesting=true installs."""

import ctypes
import importlib.util
import os
from pathlib import Path

import pytest


def path():
    """The library's path, or None. TINYWEAVE_TESTING_LIBRARY names another one."""
    named = os.environ.get("TINYWEAVE_TESTING_LIBRARY")
    if named:
        return Path(named)
    package = importlib.util.find_spec("tinyweave")
    for folder in package.submodule_search_locations if package else ():
        library = Path(folder) / "_testing.so"
        if library.exists():
            return library
    return None


def load():
    """Opens the library; without one, skips the module that asks."""
    library = path()
    if library is None:
        pytest.skip("built without -Dtesting=true", allow_module_level=True)
    return ctypes.PyDLL(str(library))
