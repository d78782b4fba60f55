"""Finds the shared library of the package's internals that a build with -Dtesting=true installs."""

import ctypes
import importlib.util
import os
from pathlib import Path

import pytest

# A build with AddressSanitizer runs with its library loaded first; RTLD_DEEPBIND would abort it, and what it
# keeps of freed memory is no leak of ours.
SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")
LIBTCC_MODE = os.RTLD_NOW | os.RTLD_LOCAL | (0 if SANITIZED else os.RTLD_DEEPBIND)


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


class Object(ctypes.Structure):
    """struct object of loader.h."""

    _fields_ = [("bytes", ctypes.c_char_p), ("size", ctypes.c_size_t)]


class Problem(ctypes.Structure):
    """struct problem of problem.h."""

    _fields_ = [("kind", ctypes.c_int), ("text", ctypes.c_char * 1000)]


class Offer(ctypes.Structure):
    """What the tests' resolver offers: struct offer of native/loader.c."""

    _fields_ = [
        ("names", ctypes.POINTER(ctypes.c_char_p)),
        ("addresses", ctypes.POINTER(ctypes.c_void_p)),
        ("count", ctypes.c_size_t),
        ("calls", ctypes.c_size_t),
    ]


class Buffer(ctypes.Structure):
    """struct buffer of buffer.h."""

    _fields_ = [
        ("data", ctypes.c_char_p),
        ("size", ctypes.c_size_t),
        ("capacity", ctypes.c_size_t),
        ("failed", ctypes.c_bool),
    ]
