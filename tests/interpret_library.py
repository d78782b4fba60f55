"""Array expressions, computed node by node, as tests call them."""

import ctypes

import native_library

library = native_library.load()
for name, result, arguments in (
    ("interpret_test_import", ctypes.c_int, ()),
    ("interpret_test_clear", None, ()),
    ("interpret_test_operand", ctypes.py_object, (ctypes.py_object, ctypes.py_object, ctypes.c_int)),
    ("interpret_test_time", ctypes.c_double, (ctypes.py_object, ctypes.py_object, ctypes.c_int)),
    ("interpret_test_evaluate", ctypes.py_object, (ctypes.py_object,) * 3),
    ("interpret_test_blitz", ctypes.py_object, (ctypes.py_object,) * 2),
    (
        "interpret_test_store",
        ctypes.py_object,
        (ctypes.py_object, ctypes.py_object, ctypes.c_int, ctypes.py_object),
    ),
):
    function = getattr(library, name)
    function.restype = result
    function.argtypes = arguments
library.interpret_test_import()


def operand(value, index=False):
    return library.interpret_test_operand(value, "x", index)


def operand_time(value, times=100_000):
    """In nanoseconds."""
    return library.interpret_test_time(value, "x", times)


def clear():
    """Forgets what the state holds; it is found again."""
    library.interpret_test_clear()


def evaluate(text, names=None, **options):
    return library.interpret_test_evaluate(text, names or {}, options)


def blitz(text, names):
    library.interpret_test_blitz(text, names)


def store(target, value, index=None, operation=-1):
    library.interpret_test_store(target, index, operation, value)
