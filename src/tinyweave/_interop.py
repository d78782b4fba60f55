"""Functions for others: the types of ctypes, SciPy's low-level callables, shared libraries with a header.

The core describes what C passes by tuples (src/call/export.c); here they become what the others want.
"""

import ctypes
import errno
import functools
import os
import re
import shlex
import tempfile

import numpy as np

from . import _core

# ---- The types of ctypes ----


class _Complex(ctypes.Structure):
    """A complex number by value, as two real ones."""

    @classmethod
    def from_param(cls, value):
        if isinstance(value, cls):
            return value
        number = complex(value)
        return cls(number.real, number.imag)

    def __complex__(self):
        return complex(self.real, self.imag)

    def __repr__(self):
        return f"{type(self).__name__}({self.real}, {self.imag})"


class c_complex(_Complex):
    _fields_ = (("real", ctypes.c_double), ("imag", ctypes.c_double))


class c_complexf(_Complex):
    _fields_ = (("real", ctypes.c_float), ("imag", ctypes.c_float))


# By NumPy's characters.
_NUMBERS = {
    "?": ctypes.c_bool, "b": ctypes.c_byte, "B": ctypes.c_ubyte, "h": ctypes.c_short, "H": ctypes.c_ushort,
    "i": ctypes.c_int, "I": ctypes.c_uint, "l": ctypes.c_long, "L": ctypes.c_ulong, "q": ctypes.c_longlong,
    "Q": ctypes.c_ulonglong, "f": ctypes.c_float, "d": ctypes.c_double, "F": c_complexf, "D": c_complex,
}  # fmt: skip


def _place(element):
    """A pointer to a number, by NumPy's character, or to a struct, by its dtype."""
    if isinstance(element, str):
        return ctypes.POINTER(_NUMBERS[element])
    try:
        return ctypes.POINTER(np.ctypeslib.as_ctypes_type(element))
    except NotImplementedError:  # complex members
        return ctypes.c_void_p


@functools.lru_cache
def _struct(dtype):
    """A ctypes.Structure with the fields of a dtype, the same one each time; bytes are arrays of c_char."""
    fields = []
    for name in dtype.names:
        base, shape = dtype[name].base, dtype[name].shape
        member = (
            _struct(base)
            if base.names is not None
            else ctypes.c_char * base.itemsize
            if base.char == "S"
            else _NUMBERS[base.char]
        )
        for length in reversed(shape):
            member = member * length
        fields.append((name, member))
    return type("struct", (ctypes.Structure,), {"_fields_": fields})


def _array(element, dimensions, writeable):
    flags = ["C_CONTIGUOUS", "ALIGNED", "WRITEABLE"] if writeable else ["C_CONTIGUOUS", "ALIGNED"]
    return np.ctypeslib.ndpointer(np.dtype(element), dimensions if dimensions >= 0 else None, flags=flags)


_TYPES = {
    "number": _NUMBERS.__getitem__,
    "place": _place,
    "array": _array,
    "struct": _struct,
    "string": lambda: ctypes.c_char_p,
    "object": lambda: ctypes.py_object,
    "address": lambda: ctypes.c_void_p,
    "callback": lambda description: _prototype(ctypes.CFUNCTYPE, description, _CALLBACK_TYPES),
}

# What C gives has to be read: a pointer has items, an ndpointer has none.
_CALLBACK_TYPES = {**_TYPES, "array": lambda element, dimensions, writeable: _place(element)}


def _prototype(factory, description, types=_TYPES):
    result, parameters = description
    restype = None if result is None else types[result[0]](*result[1:])
    return factory(restype, *(types[kind](*details) for kind, *details in parameters))


def make_function(name, address, description, needs_gil, library):
    """The C function as a ctypes object, which keeps the Library alive."""
    factory = ctypes.PYFUNCTYPE if needs_gil else ctypes.CFUNCTYPE
    function = _prototype(factory, description)(address)
    function.__name__ = name
    function.library = library
    return function


# ---- SciPy ----

_Function = ctypes.CFUNCTYPE(None).__bases__[0]
_POINTERS = (ctypes._Pointer, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_wchar_p, _Function)
_Capsule = type(np._core._multiarray_umath._ARRAY_API)
_ADDRESSES = 1 << 8 * ctypes.sizeof(ctypes.c_void_p)


def _buffer_address(data):
    """The address of a buffer's first byte, and what keeps it there."""
    view = memoryview(data)
    if not view.c_contiguous:
        raise ValueError("low_level_callable(): 'user_data' is not C-contiguous")
    return np.frombuffer(view, np.uint8).ctypes.data if view.nbytes else 0, view


def _address(data):
    """The address that user_data stands for, and what keeps it valid."""
    if isinstance(data, (int, np.integer)) and not isinstance(data, bool):
        if not 0 <= data < _ADDRESSES:
            raise ValueError(f"low_level_callable(): 'user_data' is no address: {data}")
        return int(data), None
    if isinstance(data, _POINTERS):
        return ctypes.cast(data, ctypes.c_void_p).value, data
    try:
        return _buffer_address(data)
    except TypeError:
        raise TypeError(
            "low_level_callable(): 'user_data' must be None, an address, a ctypes pointer or array, a buffer "
            f"or a capsule, not {type(data).__name__}"
        ) from None


def _is_foreign(data):
    """SciPy takes capsules and cffi's pointers itself."""
    return data is None or isinstance(data, _Capsule) or type(data).__module__ == "_cffi_backend"


def make_low_level_callable(capsule, user_data):
    try:
        from scipy import LowLevelCallable
    except ImportError as error:
        raise ImportError("low_level_callable() needs SciPy: pip install scipy") from error
    if not _is_foreign(user_data):
        address, owner = _address(user_data)
        user_data = ctypes.c_void_p(address)
        user_data.owner = owner
    return LowLevelCallable(capsule, user_data)


# ---- Shared libraries ----

# The Library's own results: libtcc neither contracts nor takes overflow or aliasing for impossible.
_ALWAYS = ("-std=gnu11", "-w", "-fwrapv", "-fno-strict-aliasing", "-ffp-contract=off",
           "-fno-semantic-interposition", "-ffunction-sections")  # fmt: skip
_LINK = ("-Wl,--gc-sections", "-Wl,-z,defs", "-Wl,-Bsymbolic")
# What libtcc has no use for (src/call/options.c): the others stand in the text.
_NATIVE = re.compile(r"-O|-W|-g|-f|-m|-std=|-w|-pedantic|-pipe")
_SYSTEM = re.compile(r"(/usr)?/lib(32|64)?(/[^/]*-linux-[^/]*)?$")


def _split_flags(flags):
    if flags is None:
        return []
    try:
        words = shlex.split(flags) if isinstance(flags, str) else list(flags)
    except ValueError as error:
        raise ValueError(f"save(): 'flags': {error}: {flags!r}") from None
    except TypeError:
        raise TypeError(
            f"save(): 'flags' must be a str or a list of str, not {type(flags).__name__}"
        ) from None
    for word in words:
        if not isinstance(word, str):
            raise TypeError(f"save(): 'flags' must be a list of str, not of {type(word).__name__}")
    return words


def _header(name, includes, declarations):
    guard = re.sub(r"\W", "_", os.path.basename(name), flags=re.ASCII).upper()
    guard = guard if not guard[0].isdigit() else "H_" + guard
    return b"".join([
        f"#ifndef {guard}\n#define {guard}\n\n".encode(),
        includes, b"\n" if includes else b"",
        b'#ifdef __cplusplus\nextern "C" {\n#endif\n\n',
        declarations,
        b"\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n",
    ])  # fmt: skip


def _write(path, data):
    with open(path, "wb") as file:
        file.write(data)
    return path


def complex_source():
    """The C text that, where TW_FUNCTION is defined, has the functions behind tw_add and its kin."""
    path = os.path.join(os.path.dirname(__file__), "include", "tinyweave", "complex.h")
    with open(path, encoding="utf-8") as file:
        return file.read()


def _point_at_source(error, units):
    """A compiler's message about a label of ours shows the line of the text that has it."""
    mark = f'#line 1 "{error.filename}"\n'.encode()
    texts = [text.split(mark, 1)[1].split(b"\n") for text in units if mark in text]
    if texts and error.lineno and error.lineno <= len(texts[0]):
        error.text = texts[0][error.lineno - 1].decode(errors="replace")
    error.filename = f"<{error.filename.removeprefix('tw:')}>"


def _build(units, library, **options):
    with tempfile.TemporaryDirectory(prefix="tinyweave-") as folder:
        sources = [_write(os.path.join(folder, f"unit{i}.c"), text) for i, text in enumerate(units)]
        try:
            _core._native_build(sources, library, **options)
        except _core.CompileError as error:
            if str(error.filename).startswith("tw:"):
                _point_at_source(error, units)
            raise


def _libraries(paths):
    """Linker arguments for libraries; those of other folders are found again by their folder."""
    folders = dict.fromkeys(os.path.dirname(path) for path in paths)
    rpaths = [["-Xlinker", "-rpath", "-Xlinker", folder] for folder in folders if not _SYSTEM.match(folder)]
    return [*paths, *sum(rpaths, []), "-lm"]


def save(description, path, flags):
    """Write a shared library, and a header beside it, from C text. Return their paths."""
    units, exports, includes, declarations, include_dirs, libraries, own_flags = description
    library = os.fsdecode(path)
    header = os.path.splitext(library)[0] + ".h"
    if header == library or os.path.basename(header) == ".h":
        raise ValueError(f"save(): {library!r} is no name for a library: the header is to be {header!r}")
    folder = os.path.dirname(header) or "."
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "save(): no such folder", folder)
    own = [f"-fno-builtin-{name}" for name in exports]  # an `abs` of the source is that one
    arguments = [*_ALWAYS, *own, *filter(_NATIVE.match, own_flags), *_split_flags(flags)]
    with tempfile.TemporaryDirectory(prefix=".", dir=folder) as beside:
        symbols = "{ global: " + "".join(f'"{name}"; ' for name in exports) + "local: *; };\n"
        script = _write(os.path.join(beside, "exports"), symbols.encode())
        whole = _write(os.path.join(beside, "header"), _header(header, includes, declarations))
        _build(
            [*units, f"#define TW_FUNCTION\n{complex_source()}".encode()],
            library,
            include_dirs=include_dirs,
            extra_compile_args=arguments,
            extra_link_args=[*_LINK, "-Xlinker", f"--version-script={script}", *_libraries(libraries)],
        )
        os.replace(whole, header)
    return library, header
