"""The shared library of the internals, built by the meson option `testing`."""

import ctypes
import importlib.util
import os


def load():
    """Open the library: TINYWEAVE_TESTING_LIBRARY, else _testing.so beside the installed package."""
    path = os.environ.get("TINYWEAVE_TESTING_LIBRARY")
    if not path:
        package = importlib.util.find_spec("tinyweave")
        path = package.submodule_search_locations[0] + "/_testing.so"
    return ctypes.PyDLL(path)
