"""The conversions of values as tests call them."""

import ctypes

import native_library
import numpy as np

library = native_library.load()
FUNCTION = "smooth"
PARAMETER = "a"


class Conversion(ctypes.Structure):
    """struct conversion of conversion.h."""

    _fields_ = [
        ("function", ctypes.c_char_p),
        ("parameter", ctypes.c_char_p),
        ("declaration", ctypes.c_char_p),
        ("type", ctypes.c_int),
    ]


target = ctypes.POINTER(Conversion)
for name, result, arguments in (
    ("conversion_import", ctypes.c_int, ()),
    ("convert_number", ctypes.c_int, (target, ctypes.py_object, ctypes.c_char_p)),
    ("number_object", ctypes.py_object, (ctypes.c_int, ctypes.c_char_p)),
    ("convert_array", ctypes.py_object, (target, ctypes.py_object)),
    (
        "conversion_inout",
        ctypes.py_object,
        (target, ctypes.py_object, ctypes.py_object, ctypes.c_int, ctypes.c_int),
    ),
    ("conversion_common_type", ctypes.c_int, (ctypes.c_char_p, ctypes.py_object, ctypes.c_char_p)),
    ("arrays_overlap", ctypes.c_int, (ctypes.py_object, ctypes.py_object)),
    ("convert_string", ctypes.c_char_p, (target, ctypes.py_object)),
    ("conversion_pointer", ctypes.py_object, (target, ctypes.py_object, ctypes.c_int)),
    ("same_type", ctypes.c_int, (ctypes.c_int, ctypes.c_int)),
):
    function = getattr(library, name)
    function.restype = result
    function.argtypes = arguments
library.conversion_import()


def conversion(letter, declaration="T a"):
    """What a message says of a parameter of the dtype of that letter."""
    return Conversion(FUNCTION.encode(), PARAMETER.encode(), declaration.encode(), np.dtype(letter).num)


TARGETS = {letter: conversion(letter) for letter in "?bBhHiIlLqQfdFD"}


def number_bytes(letter, value):
    """The memory that C's number has after the conversion, and what follows it."""
    slot = ctypes.create_string_buffer(b"\xaa" * 24, 24)
    library.convert_number(TARGETS[letter], value, slot)
    return slot.raw


def number(letter, value):
    """The value as C has it, as a NumPy scalar. What lies behind it must be untouched."""
    size = np.dtype(letter).itemsize
    raw = number_bytes(letter, value)
    assert raw[size:] == b"\xaa" * (24 - size)
    return np.frombuffer(raw, letter, 1)[0]


def number_object(letter, raw):
    return library.number_object(np.dtype(letter).num, raw)


def array(letter, value):
    return library.convert_array(TARGETS[letter], value)


def inout(letter, value, write=lambda array: None, keep=True, raising=False):
    """Lets `write` have the array that C would write to."""
    library.conversion_inout(TARGETS[letter], value, write, keep, raising)


def common_type(letters, *values):
    """The type letter that T stands for."""
    number = library.conversion_common_type(FUNCTION.encode(), list(values), letters.encode())
    return next(letter for letter in "?bBhHiIlLqQfdFDe" if np.dtype(letter).num == number)


def overlap(a, b):
    return library.arrays_overlap(a, b)


def string(value):
    return library.convert_string(TARGETS["b"], value)


def pointer(value, readonly=False):
    """(address, whether a buffer is held)"""
    return library.conversion_pointer(TARGETS["b"], value, readonly)
