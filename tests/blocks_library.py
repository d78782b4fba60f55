"""The block primitives and vector functions of every CPU level, as tests call them."""

import ctypes

import native_library
import numpy as np

POINTER = ctypes.c_void_p
library = native_library.load()
library.blocks_list.argtypes = (ctypes.c_char_p,)
library.blocks_list.restype = ctypes.py_object
library.blocks_run.argtypes = (POINTER, ctypes.c_long) + (POINTER,) * 5
library.blocks_gather.argtypes = (POINTER, ctypes.c_long, POINTER, POINTER, ctypes.c_long)
library.blocks_scatter.argtypes = (POINTER, ctypes.c_long, POINTER, ctypes.c_long, POINTER)
library.vectormath_entry.argtypes = (ctypes.c_char_p,) * 3
library.vectormath_entry.restype = ctypes.py_object

# The primitives' addresses by level and name.
LEVELS = {}
for _level in ("x86-64-v2", "x86-64-v3", "x86-64-v4", "generic"):
    _table = library.blocks_list(_level.encode())
    if _table is not None:
        LEVELS[_level] = dict(_table)
NAMES = sorted(set().union(*LEVELS.values()))

# NumPy's floating-point flags.
DIVIDE, OVERFLOW, UNDERFLOW, INVALID = 1, 2, 4, 8

COUNTS = [*range(71), 511, 512, 513, 1000]
GUARD = 40


class Block:
    """Memory for `count` elements, off 64-byte alignment by some, with a guard after its end."""

    def __init__(self, count, dtype, offset=0):
        size = np.dtype(dtype).itemsize
        self.bytes = np.full((count + offset) * size + 64 + GUARD, 0xA5, np.uint8)
        start = -self.bytes.ctypes.data % 64 + offset * size
        self.end = start + count * size
        self.array = self.bytes[start : self.end].view(dtype)

    def intact(self):
        return bool((self.bytes[self.end :] == 0xA5).all())


def run(address, count, out, *operands):
    """Calls a function on blocks; returns the flags it raised."""
    pointers = [operand.ctypes.data for operand in operands] + [None] * (4 - len(operands))
    return library.blocks_run(address, count, out.array.ctypes.data, *pointers)


def same(actual, wanted):
    """Equal bits, a NaN's aside."""
    if wanted.dtype.kind == "f":
        both_nan = np.isnan(actual) & np.isnan(wanted)
        kind = f"i{wanted.dtype.itemsize}"
        return bool((both_nan | (actual.view(kind) == wanted.view(kind))).all())
    return actual.tobytes() == wanted.tobytes()
