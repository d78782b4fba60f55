"""The declaration reader as tests call it."""

import ctypes

import native_library

library = native_library.load()
library.declaration_read.argtypes = (ctypes.py_object, ctypes.c_ssize_t)
library.declaration_read.restype = ctypes.py_object

# enum expression_kind
OPERATORS = dict(
    zip(
        ["-1", "~", "!"]
        + ["*", "/", "%", "+", "-", "<<", ">>", "<", ">", "<=", ">=", "==", "!=", "&", "^", "|", "&&", "||"]
        + ["?"],
        range(4, 26),
        strict=True,
    )
)
CONST, VOLATILE, RESTRICT, ATOMIC = 1, 2, 4, 8


def parse(text, only=-1):
    """([declaration], type_variables), or (line, column, message). `only` so many tokens are read."""
    return library.declaration_read(text.encode() if isinstance(text, str) else text, only)


def read(text):
    """The declarations of a text without errors."""
    result = parse(text)
    assert isinstance(result[0], list), result
    return result[0]


def one(text):
    """The last declaration of the text."""
    return read(text)[-1]


def described(text):
    return [declaration["text"] for declaration in read(text)]


def variables(text):
    """A bit for each type variable in use: T, U."""
    read(text)
    return parse(text)[1]


def generic(text):
    return variables(text) == 1


def parameters(text):
    """Of the last declaration, a function: (name, word, type as C writes it)."""
    kind, _, (items, _, _), _, _ = one(text)["type"]
    assert kind == "function"
    return [(name, ("", "out", "inout")[word]) for name, word, *_ in items]


def refusal(text):
    """(line, message) of the error."""
    result = parse(text)
    assert isinstance(result[0], int), result
    return result[0], result[2]


def constant(expression, before=""):
    """What expression_constant says of it: a number or None."""
    _, _, (_, _, value), _, _ = one(f"{before}\nint a[{expression}];")["type"]
    return value
