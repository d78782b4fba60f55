"""ext_tools: extension modules from snippets, built by the machine's C compiler or loaded by tinyweave."""

# ruff: noqa: F841 (values of locals declare types)

import contextlib
import importlib
import inspect
import itertools
import math
import os
import pickle
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from test_docs import run_doctest
from test_references import no_growth

import tinyweave as tw
from tinyweave import base_info, ext_tools

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
NUMBERS = itertools.count()

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler on this machine")


def hide_compilers(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(sys.modules, "ziglang", None)  # as good as not installed


@pytest.fixture(params=["native", "tinyweave"])
def way(request, monkeypatch):
    """With a C compiler, and without one."""
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("TINYWEAVE_CC", raising=False)
    if request.param == "tinyweave":
        hide_compilers(monkeypatch)
    elif COMPILER is None:
        pytest.skip("no C compiler on this machine")
    return request.param


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Compiles a module in a folder of the test's own and imports it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def load(module, **keywords):
        if COMPILER is not None and module.compiler == "":
            module.customize.add_extra_compile_arg("-O0")  # the quickest to build
        module.compile(location=tmp_path, **keywords)
        sys.modules.pop(module.name, None)  # an example of the documents may have that name
        imported = importlib.import_module(module.name)
        sys.modules.pop(module.name)
        return imported

    return load


def new_module(*functions):
    module = ext_tools.ext_module(f"ext_test_{next(NUMBERS)}")
    for function in functions:
        module.add_function(function)
    return module


def one(code, **values):
    """A function f over these arguments."""
    return ext_tools.ext_function("f", code, list(values), values)


# ---- weave's own examples ----


def test_increment(way, load):
    module = ext_tools.ext_module("increment_ext")
    a = 1  # effectively a type declaration for 'a' in the following functions
    ext_code = "return_val = a+1;"
    func = ext_tools.ext_function("increment", ext_code, ["a"])
    module.add_function(func)
    ext_code = "return_val = a+2;"
    func = ext_tools.ext_function("increment_by_2", ext_code, ["a"])
    module.add_function(func)
    increment_ext = load(module)
    assert (increment_ext.increment(1), increment_ext.increment_by_2(1)) == (2, 3)
    assert increment_ext.__name__ == "increment_ext"


def test_fibonacci(way, load):
    mod = ext_tools.ext_module("fibonacci_ext")
    a = 1
    fib_code = """
                   int fib1(int a)
                   {
                       if(a <= 2)
                           return 1;
                       else
                           return fib1(a-2) + fib1(a-1);
                   }
               """
    ext_code = """
                   return_val = fib1(a);
               """
    fib = ext_tools.ext_function("fib1", ext_code, ["a"])
    fib.customize.add_support_code(fib_code)
    mod.add_function(fib)
    fib_code = """
                    int fib2( int a )
                    {
                        int last, next_to_last, result;
                        if( a <= 2 )
                            return 1;
                        last = next_to_last = 1;
                        for(int i = 2; i < a; i++ )
                        {
                            result = last + next_to_last;
                            next_to_last = last;
                            last = result;
                        }
                        return result;
                    }
               """
    ext_code = """
                   return_val = fib2(a);
               """
    fib = ext_tools.ext_function("fib2", ext_code, ["a"])
    fib.customize.add_support_code(fib_code)
    mod.add_function(fib)
    fibonacci_ext = load(mod)
    assert [fibonacci_ext.fib1(n) for n in range(1, 9)] == [1, 1, 2, 3, 5, 8, 13, 21]
    assert fibonacci_ext.fib2(30) == 832040


def test_ramp(way, load):
    mod = ext_tools.ext_module("ramp_ext")
    result = np.array([0], np.float64)
    start, end = 0.0, 0.0
    code = """
           const int size = Nresult[0];
           const double step = (end-start)/(size-1);
           double val = start;
           for (int i = 0; i < size; i++)
           {
               *result++ = val;
               val += step;
           }
           """
    mod.add_function(ext_tools.ext_function("Ramp", code, ["result", "start", "end"]))
    array = np.zeros(11)
    assert load(mod).Ramp(array, 0.0, 1.0) is None
    assert np.allclose(array, np.linspace(0, 1, 11))


def test_several_types(way, load):
    """One function of each type, in one module."""
    values = {"i": 1, "f": 1.0, "c": 1j, "s": "a", "b": True, "o": None}
    module = new_module(
        ext_tools.ext_function("add_i", "return_val = i + 1;", "i", values),
        ext_tools.ext_function("add_f", "return_val = f + 0.5;", "f", values),
        ext_tools.ext_function("add_c", "return_val = tw_add(c, 1);", "c", values),
        ext_tools.ext_function("add_s", "return_val = s[Ns - 1];", "s", values),
        ext_tools.ext_function("add_b", "return_val = (_Bool)!b;", "b", values),
        ext_tools.ext_function("add_o", "return_val = PyNumber_Add(o, o);", "o", values),
    )
    m = load(module)
    assert (m.add_i(5), m.add_f(1.5), m.add_c(2j), m.add_s("ab"), m.add_b(True), m.add_o("x")) == (
        6, 2.0, 1 + 2j, ord("b"), False, "xx",
    )  # fmt: skip


def test_no_functions(way, load):
    assert load(new_module()).__doc__ is None


def test_from_specs(way, load):
    specs = ext_tools.assign_variable_types(["a"], {"a": 1})
    module = new_module(
        ext_tools.ext_function_from_specs("none", "", []),
        ext_tools.ext_function_from_specs("twice", "return_val = 2 * a;", specs),
    )
    m = load(module)
    assert (m.none(), m.twice(4)) == (None, 8)
    assert module.arg_specs() == specs


# ---- Arguments ----

DTYPES = "?bBhHiIlLqQfdFD"


def test_dtypes(way, load):
    code = "for (int i = 0; i < Na[0]; i++) for (int j = 0; j < Na[1]; j++) A2(i,j) = a[0];"
    a = np.arange(6).reshape(2, 3)
    m = load(
        new_module(
            *(
                ext_tools.ext_function(f"f{i}", code, ["a"], {"a": a.astype(letter)})
                for i, letter in enumerate(DTYPES)
            )
        )
    )
    for i, letter in enumerate(DTYPES):
        view = np.arange(1, 25).astype(letter).reshape(4, 6)[::-2, ::2]
        expected = np.full_like(view, view[0, 0])
        f = getattr(m, f"f{i}")
        f(view)
        assert np.array_equal(view, expected)
        for other in set(DTYPES) - {letter}:
            if np.dtype(other) == np.dtype(letter):
                continue
            with pytest.raises(TypeError) as caught:
                f(np.zeros((2, 2), other))
            must = f"f{i}(): 'a' must be a writable array of {np.dtype(letter)}"
            assert str(caught.value) == f"{must}, not an array of {np.dtype(other)}"


def test_names_of_an_array(way, load):
    x = np.zeros((2, 3))
    code = """
    if (a_array != (void *)py_a || Na != PyArray_DIMS(a_array) || A3(0,0,0) != a[0]) return;
    return_val = Na[0] * 1000 + Sa[1] * 10 + Da;
    """
    assert load(new_module(one(code, a=np.zeros((1, 1, 1))))).f(np.zeros((4, 5, 6))) == 4483


VALUES = {
    "int": (1, "int", [0, -(2**63), 2**63 - 1, np.int8(-3), np.uint64(7), True]),
    "bool": (True, "bool", [False, np.True_]),
    "float": (1.0, "float", [0.1, math.inf, np.float64(2)]),
    "float32": (np.float32(1), "numpy.float32", [np.float32(0.1)]),
    "complex": (1j, "complex", [0.1 + 2j, np.complex128(3)]),
    "complex64": (np.complex64(1), "numpy.complex64", [np.complex64(0.1 + 2j)]),
    "str": ("", "str or bytes", ["é", b"bytes", np.str_("text")]),
    "bytes": (b"", "str or bytes", ["é", b"bytes"]),
}
REFUSED = {
    "int": [1.0, np.float64(1), "a", None, np.timedelta64(1)],
    "bool": [1, 1.0, np.int8(1), None],
    "float": [1, np.float32(1), "a", True],
    "float32": [1.0, np.float64(1), 1],
    "complex": [1, 1.0, np.complex64(1)],
    "complex64": [1j, np.complex128(1)],
    "str": [1, None, bytearray(b"")],
    "bytes": [1],
}


def test_scalars(way, load):
    code = "return_val = a;"
    m = load(
        new_module(
            *(
                ext_tools.ext_function(f"f_{name}", code, ["a"], {"a": example})
                for name, (example, *_) in VALUES.items()
            )
        )
    )
    for name, (_, expected, fine) in VALUES.items():
        f = getattr(m, f"f_{name}")
        for value in fine:
            want = tw.inline(code, ["a"], {"a": value}) if name != "int" else int(value)
            assert f(value) == want and type(f(value)) is type(want)
        for value in REFUSED[name]:
            with pytest.raises(TypeError) as caught:
                f(value)
            got = type(value)
            full = got.__name__ if got.__module__ == "builtins" else f"{got.__module__}.{got.__name__}"
            assert str(caught.value) == f"f_{name}(): 'a' must be {expected}, not {full}"


def test_overflow(way, load):
    m = load(new_module(one("return_val = a;", a=1)))
    for value in (2**63, -(2**63) - 1, np.uint64(2**63)):
        with pytest.raises(
            OverflowError, match=r"f\(\): 'a' does not fit C's long: expected -9223372036854775808 to"
        ):
            m.f(value)


def test_arrays_that_are_refused(way, load):
    m = load(new_module(one("A2(0,0) = 1;", a=np.zeros((1, 1)))))
    readonly = np.zeros((2, 2))
    readonly.flags.writeable = False
    must = "f(): 'a' must be a writable array of float64, not "
    cases = [
        ([[1.0]], TypeError, must + "list"),
        (np.zeros((2, 2), ">f8"), TypeError, must + "one in the other byte order"),
        (np.zeros(33, "u1")[1:].view("f8").reshape(2, 2), TypeError, must + "a misaligned one"),
        (readonly, TypeError, must + "a read-only one: it was declared by one that C may write"),
        (np.zeros((2, 2), object), TypeError, must + "an array of object"),
        (np.zeros(2), ValueError, "f(): 'a' has 1 dimension, but the code indexes it with 2"),
        (np.zeros((1,) * 6), ValueError, "f(): 'a' has 6 dimensions, but the code indexes it with 2"),
    ]
    for value, error, message in cases:
        with pytest.raises(error) as caught:
            m.f(value)
        assert str(caught.value) == message


def test_a_read_only_declaration(way, load):
    readonly = np.arange(3.0)
    readonly.flags.writeable = False
    m = load(new_module(one("const double *first = a; return_val = first[1] + A1(2);", a=readonly)))
    assert m.f(readonly) == m.f(np.arange(3.0)) == 3.0
    if way == "native":  # libtcc only warns
        with pytest.raises(tw.CompileError):
            load(new_module(one("a[0] = 1;", a=readonly)))


def test_subclasses_and_equal_types(way, load):
    m = load(new_module(one("return_val = a[0];", a=np.zeros(1, "l"))))
    assert m.f(np.array([7], "q")) == 7  # as good as long here
    assert m.f(np.array([8]).view(np.matrix)) == 8
    with pytest.raises(TypeError):
        m.f(np.array([7], "L"))


def test_calls(way, load):
    values = {"a": 1, "b": 1.0, "local_dict": "x"}
    m = load(
        new_module(
            ext_tools.ext_function("f", "return_val = a + b;", "a b", values),
            ext_tools.ext_function("none", "return_val = 1;", ""),
            ext_tools.ext_function("own", "return_val = local_dict;", "local_dict", values),
        )
    )
    assert (
        m.f(1, 2.0)
        == m.f(1, b=2.0)
        == m.f(b=2.0, a=1)
        == m.f(1, 2.0, {})
        == m.f(1, 2.0, local_dict=None)
        == 3.0
    )
    assert m.none() == m.none(local_dict={}) == 1
    assert m.own(local_dict="y") == "y"
    cases = [
        ((), {}, "f() missing required argument: 'a'"),
        ((1,), {}, "f() missing required argument: 'b'"),
        ((1, 2.0, {}, 4), {}, "f() takes 2 arguments, but 4 were given"),
        ((1, 2.0), {"a": 1}, "f() got multiple values for argument 'a'"),
        ((1, 2.0), {"c": 1}, "f() got an unexpected keyword argument 'c'"),
        ((1,), {"b": "x"}, "f(): 'b' must be float, not str"),
    ]
    for arguments, keywords, message in cases:
        with pytest.raises(TypeError) as caught:
            m.f(*arguments, **keywords)
        assert str(caught.value) == message
    with pytest.raises(TypeError):
        m.f(1, **{"\udc80": 1})


def test_signature_and_docstring(way, load):
    m = load(new_module(ext_tools.ext_function("f", "", "a b", {"a": 1, "b": np.zeros(1)})))
    assert str(inspect.signature(m.f)) == "(a, b)"
    assert inspect.getdoc(m.f) == "f(a, b)\n\na : int\nb : a writable array of float64"


# ---- Results and errors ----


RESULTS = [
    ("(char)'a'", 97),
    ("(unsigned long long)-1", 2**64 - 1),
    ("(_Bool)7", True),
    ("0.1f", float(np.float32(0.1))),
    ("sqrt(2)", math.sqrt(2)),
    ("tw_make(1, 2)", 1 + 2j),
    ("tw_makef(1, 2)", 1 + 2j),
    ('"text"', "text"),
    ("(char *)NULL", None),
    ("Py_None", None),
    ("o", "the object"),
    ("py_o", "the object"),
    ("PyLong_FromLong(5)", 5),
    ("n > 0 ? Py_True : Py_False", True),
]


def test_results(way, load):
    values = {"n": 1, "o": None}
    functions = (
        ext_tools.ext_function(f"f{i}", f"return_val = {expression};", "n o", values)
        for i, (expression, _) in enumerate(RESULTS)
    )
    m = load(new_module(*functions))
    for i, (_, value) in enumerate(RESULTS):
        result = getattr(m, f"f{i}")(1, "the object")
        assert result == value and type(result) is type(value)


def test_the_last_result_counts(way, load):
    m = load(new_module(one('return_val = "no"; if (n) return; return_val = n;', n=1)))
    assert (m.f(1), m.f(0)) == ("no", 0)


def test_errors(way, load):
    code = """
    if (n == 1) tw_raise(PyExc_ValueError, "n is %ld, %.2f, %s", n, 0.5, "text");
    if (n == 2) { return_val = 1; PyErr_SetString(PyExc_KeyError, "mine"); return; }
    if (n == 3) { return_val = PyList_GetItem(o, 99); return; }
    if (n == 4) { return_val = (PyObject *)NULL; return; }
    if (n == 5) { return_val = "\\xff"; return; }
    if (n == 6) tw_raise(o, "x");
    if (n == 7) { PyErr_SetString(PyExc_KeyError, "first"); tw_raise(PyExc_ValueError, "second"); }
    if (n == 8) {
        char text[3000];
        memset(text, 'x', 2999);
        text[2999] = 0;
        tw_raise(PyExc_OSError, "%s", text);
    }
    """
    m = load(new_module(one(code, n=1, o=None)))
    cases = [
        (1, ValueError, "n is 1, 0.50, text"),
        (2, KeyError, "'mine'"),
        (3, IndexError, "list index out of range"),
        (4, SystemError, "f(): return_val is a NULL PyObject *, and no exception is set"),
        (5, UnicodeDecodeError, "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (6, TypeError, "tw_raise: expected an exception class, got []"),
        (7, KeyError, "'first'"),
        (8, OSError, "x" * 2999),
    ]
    for number, error, message in cases:
        with pytest.raises(error) as caught:
            m.f(number, [])
        assert str(caught.value) == message
    assert m.f(0, []) is None


def test_complex_arithmetic_is_that_of_inline(way, load):
    code = """
    A1(0) = tw_add(x, y); A1(1) = tw_sub(x, y); A1(2) = tw_mul(x, y); A1(3) = tw_div(x, y);
    A1(4) = tw_neg(x); A1(5) = tw_conj(x); A1(6) = tw_make(tw_abs(x), tw_real(y)); A1(7) = tw_mul(x, 2.5);
    A1(8) = tw_div(1, tw_add(tw_mul(x, x), y));
    """
    a, x, y = np.zeros(9, complex), 1j, np.complex64(1)
    m = load(new_module(one(code, a=a, x=x, y=y)))
    random = np.random.default_rng(5)
    numbers = [
        0,
        1e300 + 1e-300j,
        -0.0,
        complex(math.inf, 1),
        *(random.normal(size=40) * np.exp(1j * np.arange(40))),
    ]
    b = a.copy()
    for x in map(complex, numbers):
        for y in map(np.complex64, numbers[::7]):
            m.f(a, x, y)
            tw.inline(code, ["a", "x", "y"], {"a": b, "x": x, "y": y})
            assert a.tobytes() == b.tobytes()


FUNCTIONS = (
    "abs abs2 arg conj imag real neg sqrt exp log sin cos tan sinh cosh tanh asin acos atan asinh acosh atanh"
)
OPERATORS = "add sub mul div pow eq"


def number_expressions():
    """Each macro for numbers with each type of its operands."""
    types = ["double", "float", "int", "tw_complex", "tw_complexf"]
    plain, other = ["i", "d", "f", "c", "z"], ["(unsigned)i", "(short)i", "(const unsigned char)i"]
    for x in plain + other:
        yield from (f"tw_{name}({x})" for name in FUNCTIONS.split())
        yield from (f"tw_cast({kind}, {x})" for kind in types)
    for x, y in [*itertools.product(plain, repeat=2), *itertools.product(["i", "c"], other)]:
        yield from (f"tw_{name}({x}, {y})" for name in OPERATORS.split())
    for count in range(2, 9):
        yield from (f"tw_{name}({', '.join((plain * 2)[:count])})" for name in ("add", "mul"))
    yield "tw_add(tw_mul(z, tw_add(c, tw_div(d, z), i)), tw_neg(tw_sqrt(tw_sub(z, c))), tw_makef(1, 2))"


def test_numbers_of_any_type(way, load):
    """The same bits as inline's, and no warnings."""
    expressions = list(number_expressions())
    values = {"i": 3, "d": 2.5, "f": np.float32(1.5), "z": 1.5 - 2j, "c": np.complex64(0.5 + 1j)}
    code = "\n".join(f"A1({i}) = tw_cast(tw_complex, {text});" for i, text in enumerate(expressions))
    a, b = np.zeros((2, len(expressions)), complex)
    module = new_module(one(code, a=a, **values))
    strict = ["-std=c11", "-Wall", "-Wextra", "-Werror"] if way == "native" else []
    load(module, extra_compile_args=strict).f(a, *values.values())
    tw.inline(code, ["a", *values], {"a": b, **values})
    differ = np.flatnonzero(np.any(a.view("l").reshape(-1, 2) != b.view("l").reshape(-1, 2), axis=1))
    assert not [(expressions[i], a[i], b[i]) for i in differ]


def test_printf_is_c_s_own(way, load, tmp_path, capfd):
    load(new_module(one('printf("%ld\\n", n); fflush(stdout);', n=1))).f(5)
    assert capfd.readouterr().out == "5\n" or way == "tinyweave"


# ---- customize ----


def test_customize(way, load, tmp_path):
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "mine.h").write_text("#define MINE 1000\nlong other(void);\n")
    (tmp_path / "other.c").write_text("long other(void) { return 20000; }\n")
    f = one("return_val = helper(n) + MACRO + MINE + other() + GONE_OR_NOT + (long)cbrt(PRE);", n=1)
    info = f.customize
    for _ in range(2):  # what is there twice is there once
        info.add_support_code("static long helper(long n) { return 2 * n; }")
        info.add_header("mine.h")
        info.add_include_dir(tmp_path / "include")
        info.add_source(tmp_path / "other.c")
        info.add_define_macro(("MACRO", 300))
        info.add_define_macro("GONE")
        info.add_undefine_macro("GONE")
        info.add_preheader_define(("PRE", "27"))
        info.add_library("m")
        info.add_library_dir(tmp_path)
        info.add_extra_compile_arg("-O3")
        info.add_warning("disable: 4244")
    info.add_support_code("#ifdef GONE\n#define GONE_OR_NOT 1\n#else\n#define GONE_OR_NOT 0\n#endif")
    module = new_module(f)
    module.customize.add_header("<math.h>")
    module.customize.add_module_init_code('if (PyModule_AddIntConstant(module, "five", 5) < 0) return -1;')
    module.customize.add_module_init_code('#define SIX 6\nPyModule_AddIntConstant(module, "six", SIX);')
    m = load(module)
    assert m.f(5) == 21313
    assert (m.five, m.six) == (5, 6)
    text = module.module_code()
    assert text.count("static long helper") == 1
    assert "#pragma warning(disable: 4244)" in text
    information = module.build_information()
    assert information.headers() == ["<math.h>", '"mine.h"']
    assert information.include_dirs() == [str(tmp_path / "include")]
    assert information.libraries() == ["m"] and information.define_macros()[0] == ("MACRO", "300")


@needs_compiler
def test_extra_link_args(load, monkeypatch):
    f = one("return_val = 1;", n=1)
    f.customize.add_extra_link_arg("-Wl,--no-such-argument")
    module = new_module(f)
    with pytest.raises(tw.CompileError, match="no-such-argument"):
        load(module)
    hide_compilers(monkeypatch)
    with pytest.raises(ValueError, match="'extra_link_args' needs a C compiler, and there is none"):
        load(module)


def test_init_code_that_fails(way, load):
    module = new_module()
    module.customize.add_module_init_code('PyErr_SetString(PyExc_RuntimeError, "not today");')
    with pytest.raises(RuntimeError, match="not today"):
        load(module)


def test_infos():
    info = ext_tools.custom_info()
    assert isinstance(info, base_info.base_info) and ext_tools.base_info.custom_info is ext_tools.custom_info
    assert ext_tools.base_info().headers() == []

    class mine(ext_tools.base_info):
        _headers = ("<math.h>",)

        def libraries(self):
            return ["m", "z"]

    both = ext_tools.info_list([mine(), mine()])
    assert (both.headers(), both.libraries(), both.sources()) == (["<math.h>"], ["m", "z"], [])
    assert ext_tools.custom_info().headers() == []  # not shared


@pytest.mark.parametrize(
    "method, value, error",
    [
        ("add_support_code", 3, TypeError),
        ("add_header", None, TypeError),
        ("add_header", "<a>\n#error", ValueError),
        ("add_define_macro", ("A", 1, 2), TypeError),
        ("add_define_macro", 3, TypeError),
        ("add_define_macro", ("A B", 1), ValueError),
        ("add_define_macro", ("A", "1\n#error"), ValueError),
        ("add_undefine_macro", ("A", 1), TypeError),
        ("add_include_dir", 3, TypeError),
        ("add_library", None, TypeError),
        ("add_source", b"x", TypeError),
        ("add_module_init_code", 3, TypeError),
        ("add_extra_compile_arg", 3, TypeError),
        ("add_extra_link_arg", "a\nb", ValueError),
        ("add_warning", 3, TypeError),
    ],
)
def test_wrong_customs(method, value, error):
    with pytest.raises(error, match=rf"{method}\(\): "):
        getattr(ext_tools.custom_info(), method)(value)


# ---- Wrong code ----


def test_compile_errors_are_in_the_user_s_text(way, load):
    with pytest.raises(tw.CompileError) as caught:
        load(new_module(one("long m = n;\n\n  return_val = m + nope;\n", n=1)))
    error = caught.value
    assert (error.filename, error.lineno, error.offset) == ("<code of f>", 3, 20)
    assert error.text == "  return_val = m + nope;"
    assert "nope" in error.msg


def test_the_place_of_an_error(way, load):
    """Each is told on its own line, also where the compiler saw it in a macro or behind the text."""
    cases = [
        ("long m = 0;\nreturn_val = &m;\n", 2, 1, r"return_val cannot be a 'long( int)? \*': give a number"),
        ("long m = 0;\n\tnope = m;", 2, 2, "'nope'"),
        ("long m = 0;\nm = n\n", 2, None, "';'"),
        ("nope(n);\nreturn_val = 1;", 1, 1, "function 'nope'"),
    ]
    for code, line, offset, message in cases:
        with pytest.raises(tw.CompileError, match=message) as caught:
            load(new_module(one(code, n=1)))
        assert (caught.value.filename, caught.value.lineno) == ("<code of f>", line)
        assert offset is None or caught.value.offset == offset
        assert caught.value.text == code.split("\n")[line - 1]


@needs_compiler
@pytest.mark.parametrize("code", ["int *p = a;", "long n = a;", "a = 5;", "nope(1);"])
def test_what_is_wrong_later_is_an_error(load, code):
    with pytest.raises(tw.CompileError):
        load(new_module(one(code, a=np.zeros(1))))


def test_errors_in_other_texts(way, load):
    f = one("return_val = n;", n=1)
    f.customize.add_support_code("static int first;")
    f.customize.add_support_code("\nstatic int g(void) { return nope; }")
    with pytest.raises(tw.CompileError) as caught:
        load(new_module(f))
    assert (caught.value.filename, caught.value.lineno) == ("<support code>", 3)
    assert caught.value.text == "static int g(void) { return nope; }"
    module = new_module()
    module.customize.add_module_init_code(";")
    module.customize.add_module_init_code("\nnope();")
    with pytest.raises(tw.CompileError) as caught:
        load(module)
    assert (caught.value.filename, caught.value.lineno) == ("<module init code 2>", 2)


@needs_compiler
def test_a_missing_header(load):
    f = one("return_val = n;", n=1)
    f.customize.add_header("nosuchheader.h")
    with pytest.raises(tw.CompileError, match="nosuchheader.h"):
        load(new_module(f))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("return_val = ;", "expression expected before ';'"),
        ("if (return_val) ;", "return_val can only be assigned to"),
        ("{ return_val = 1;", "'{' is never closed"),
    ],
)
def test_errors_that_need_no_compiler(code, message):
    with pytest.raises(tw.CompileError, match=message) as caught:
        new_module(one(code, n=1)).module_code()
    assert (caught.value.filename, caught.value.lineno, caught.value.text) == ("<code of f>", 1, code)


def test_own_line_marks(way, load):
    with pytest.raises(tw.CompileError) as caught:
        load(new_module(one('#line 70 "user.py"\nreturn_val = nope;', n=1)))
    assert (Path(caught.value.filename).name, caught.value.lineno) == ("user.py", 70)


@pytest.mark.parametrize(
    "names, message",
    [
        (["int"], "'int' is a keyword of C"),
        (["a", "a"], "named twice"),
        (["a", "Na"], "'Na' cannot name an argument: argument 'a' brings it along"),
        (["printf"], "'printf' is a name C code has already"),
    ],
)
def test_names_that_c_has(names, message):
    values = {name: np.zeros(1) for name in names}
    with pytest.raises(ValueError, match=message):
        ext_tools.ext_function("f", "", names, values)


def test_macros_of_system_headers_are_fine_names(way, load):
    values = dict.fromkeys(["I", "linux", "unix", "complex", "major"], 1)
    m = load(new_module(one("return_val = I + linux + unix + complex + major;", **values)))
    assert m.f(1, 2, 3, 4, 5) == 15


def test_macros_of_the_user_s_own(way, load):
    """None of them changes what stands around the code."""
    names = [
        "count",
        "values",
        "given",
        "keywords",
        "arguments",
        "N",
        "size",
        "function",
        "name",
        "type",
        "x",
    ]
    f = one("return_val = n + count;", n=1)
    f.customize.add_support_code("".join(f"#define {name} 7\n" for name in names))
    f.customize.add_define_macro(("T", "9"))
    assert load(new_module(f)).f(1) == 8


def test_borrowed_or_not_is_seen_through_macros(way, load):
    f = one("return_val = n ? L : Py_None;", n=1, o=None)
    f.customize.add_support_code("#define L o")
    value = object()
    m = load(new_module(f))
    before = sys.getrefcount(value)
    assert all(m.f(1, value) is value for _ in range(5)) and m.f(0, value) is None
    assert sys.getrefcount(value) == before


def test_names_beyond_ascii(way, load):
    values = {"é": 1, "größe": np.zeros(1)}
    m = load(new_module(ext_tools.ext_function("fünf", "return_val = é + größe[0];", "é größe", values)))
    assert m.fünf(é=2, größe=np.ones(1)) == 3.0
    with pytest.raises(TypeError, match=r"fünf\(\): 'é' must be int, not str"):
        m.fünf("", np.ones(1))
    assert m.fünf.__doc__.startswith("fünf(é, größe)\n") and m.fünf.__text_signature__ is None


def test_a_module_as_any_other(way, load, tmp_path):
    module = new_module(one("return_val = n;", n=1))
    m = load(module)
    assert Path(m.__spec__.origin).parent == tmp_path and m.__name__ == m.__spec__.name == m.f.__module__
    sys.modules[m.__name__] = m
    assert pickle.loads(pickle.dumps(m.f)) is m.f
    assert importlib.reload(m).f(3) == 3
    sys.modules.pop(m.__name__)


def test_undefined_and_refused_values():
    with pytest.raises(TypeError) as caught:
        ext_tools.assign_variable_types(["a", "b", "c"], {"b": np.zeros(1, "f2"), "c": 1}, {})
    assert "'a' is not defined" in str(caught.value) and "'b' is an array of dtype float16" in str(
        caught.value
    )
    with pytest.raises(TypeError, match=r"ext_function\(\): 'nothing' is not defined"):
        ext_tools.ext_function("f", "", ["nothing"])
    with pytest.raises(TypeError, match="'a' does not fit C's long"):
        ext_tools.ext_function("f", "", ["a"], {"a": 10**30})
    with pytest.raises(ValueError, match="'1a' is no identifier"):
        ext_tools.ext_function("f", "", ["1a"])


def test_scopes():
    def caller():
        b = 1.5
        return ext_tools.assign_variable_types("b COMPILED_BY", None, {"COMPILED_BY": 1})

    assert [spec.kind for spec in caller()] == ["double", "long"]
    assert ext_tools.assign_variable_types("SUFFIX")[0].kind == "str"  # a global of the caller's
    spec = ext_tools.arg_spec("x", np.zeros(3, "f4"))
    assert (spec.name, spec.kind, spec.dtype, spec.readonly) == ("x", "array", np.float32, False)
    assert repr(spec) == "<arg_spec x: a writable array of float32>"
    assert {spec, ext_tools.arg_spec("x", np.ones((2, 2), "f4"))} == {spec}


@pytest.mark.parametrize(
    "work, error, message",
    [
        (lambda: ext_tools.ext_module("a.b"), ValueError, "'name' must be an identifier"),
        (lambda: ext_tools.ext_module("é"), ValueError, "must be ASCII"),
        (lambda: ext_tools.ext_module("class"), ValueError, "must be an identifier"),
        (lambda: ext_tools.ext_module(3), TypeError, "'name' must be str, not int"),
        (lambda: ext_tools.ext_module("a", 3), TypeError, "'compiler' must be str"),
        (lambda: ext_tools.ext_function("1", "", []), ValueError, "must be an identifier"),
        (lambda: ext_tools.ext_function("f", 3, []), TypeError, "'code' must be str, not int"),
        (lambda: ext_tools.ext_function("f", "", 3), TypeError, "must be a list of str, or one str, not int"),
        (lambda: ext_tools.ext_function("f", "", "a a", {"a": 1}), ValueError, "'a' is named twice"),
        (lambda: ext_tools.ext_function("f", "", [], type_converters=[]), TypeError, "conversions are fixed"),
        (lambda: ext_tools.ext_function_from_specs("f", "", ["a"]), TypeError, "must hold arg_spec, not 'a'"),
        (lambda: ext_tools.ext_module("a").add_function(3), TypeError, "must be an ext_function, not int"),
        (lambda: ext_tools.arg_spec("1", 1), ValueError, "must be an identifier"),
        (lambda: ext_tools.ext_module("a").compile(language="c++"), TypeError, "takes no 'language'"),
        (lambda: ext_tools.ext_module("a").compile(swig_opts=[]), TypeError, "takes no 'swig_opts'"),
        (
            lambda: ext_tools.ext_module("a").compile(nothing=1),
            TypeError,
            "unexpected keyword argument 'nothing'",
        ),
        (
            lambda: ext_tools.ext_module("a").compile(libraries=3),
            TypeError,
            "'libraries' must be a list, not int",
        ),
        (lambda: ext_tools.ext_module("a").compile("/nowhere"), FileNotFoundError, "'location' is no folder"),
        (lambda: ext_tools.ext_module("a").compile(3), TypeError, "'location' must be str or a path"),
    ],
)
def test_wrong_arguments(work, error, message):
    with pytest.raises(error, match=message):
        work()


def test_a_name_twice():
    module = new_module(one("", n=1))
    with pytest.raises(ValueError, match=f"module '{module.name}' has a function 'f' already"):
        module.add_function(one("return_val = 1;", n=1))
    assert len(module.functions) == 1


# ---- Files ----


def test_files(way, tmp_path, python):
    module = new_module(one("return_val = n;", n=1))
    path = module.compile(location=tmp_path)
    ending = SUFFIX if way == "native" else ".py"
    assert path == str(tmp_path / (module.name + ending))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([module.name + ".c", module.name + ending])
    done = python(
        f"""
        sys.path.insert(0, {str(tmp_path)!r})
        import {module.name} as m
        print(m.f(4), m.__name__, sys.modules[m.__name__] is m)
        """
    )
    assert done.out == f"4 {module.name} True\n"


def test_in_a_package(way, tmp_path, python):
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").touch()
    module = new_module(one("return_val = n;", n=1))
    module.compile(location=tmp_path / "pkg")
    done = python(
        f"""
        sys.path.insert(0, {str(tmp_path)!r})
        from pkg import {module.name} as m
        print(m.f(4), m.__name__)
        """
    )
    assert done.out == f"4 pkg.{module.name}\n"


def test_nothing_is_built_twice(way, tmp_path, capfd):
    def build(code, **keywords):
        module = ext_tools.ext_module("again")
        module.add_function(one(code, n=1))
        path = Path(module.compile(location=tmp_path, verbose=1, **keywords))
        return capfd.readouterr().err.endswith("is up to date\n"), path.stat().st_mtime_ns

    first, time = build("return_val = n;")
    assert not first
    assert build("return_val = n;") == (True, time)
    assert not build("return_val = n + 1;")[0]
    (tmp_path / "more.c").write_text("int more;")
    options = {"define_macros": {"A": 1}, "sources": [tmp_path / "more.c"]}
    assert not build("return_val = n + 1;", **options)[0]
    assert not build("return_val = n + 1;", **options | {"define_macros": [("A", 2)]})[0]
    assert build("return_val = n + 1;", **options | {"define_macros": [("A", "2")]})[0]
    (tmp_path / "more.c").write_text("int more2;")
    assert not build("return_val = n + 1;", **options | {"define_macros": [("A", "2")]})[0]


@needs_compiler
def test_a_header_s_contents_count(tmp_path, capfd):
    (tmp_path / "mine.h").write_text("#define MINE 1\n")
    f = one("return_val = MINE;", n=1)
    f.customize.add_header("mine.h")
    f.customize.add_include_dir(tmp_path)
    module = new_module(f)
    for content, built in (("1", True), ("1", False), ("2", True)):
        (tmp_path / "mine.h").write_text(f"#define MINE {content}\n")
        module.compile(location=tmp_path, verbose=1)
        assert ("built in" in capfd.readouterr().err) == built


@needs_compiler
def test_each_way_replaces_the_other(tmp_path, monkeypatch, python):
    module = new_module(one("return_val = n;", n=1))
    script = f"sys.path.insert(0, {str(tmp_path)!r}); import {module.name} as m; print(m.f(4))"
    native, stub = tmp_path / (module.name + SUFFIX), tmp_path / (module.name + ".py")
    path = os.environ["PATH"]
    hide_compilers(monkeypatch)
    for folder, there, gone in ((path, native, stub), ("/nowhere", stub, native), (path, native, stub)):
        monkeypatch.setenv("PATH", folder)
        module.compile(location=tmp_path)
        assert there.exists() and not gone.exists()
        assert python(script).out == "4\n"


def test_files_of_others_are_left_alone(way, tmp_path):
    module = new_module(one("return_val = n;", n=1))
    endings = {"tinyweave": (".c", SUFFIX, ".py"), "native": (".c", SUFFIX)}
    for ending in endings[way]:
        path = tmp_path / (module.name + ending)
        path.write_text("precious = 1\n")
        with pytest.raises(FileExistsError, match=r"compile\(\): .* left alone"):
            module.compile(location=tmp_path)
        assert path.read_text() == "precious = 1\n"
        path.unlink()
    module.compile(location=tmp_path)
    module.compile(location=tmp_path, define_macros={"A": 1})  # over its own


def test_generate_file_leaves_files_of_others_alone(tmp_path):
    module, path = new_module(), tmp_path / "mine.c"
    path.write_text("int precious;\n")
    with pytest.raises(FileExistsError, match=r"generate_file\(\): .* left alone"):
        module.generate_file("mine.c", tmp_path)
    assert path.read_text() == "int precious;\n"
    path.write_text("")  # as tempfile makes them
    module.generate_file("mine.c", tmp_path)
    module.generate_file("mine.c", tmp_path)
    assert "generated by tinyweave" in path.read_text()


def test_what_cannot_be_written_is_named(way, tmp_path):
    module = new_module()
    (tmp_path / f"{module.name}.c").mkdir()
    with pytest.raises(OSError) as caught:
        module.generate_file(location=tmp_path)
    assert caught.value.filename == str(tmp_path / f"{module.name}.c")
    assert [p.name for p in tmp_path.iterdir()] == [f"{module.name}.c"]


def test_a_compiler_that_is_named_must_be_there(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="nosuchcc"):
        new_module().compile(location=tmp_path, compiler="nosuchcc")
    with pytest.raises(FileNotFoundError, match="nosuchcc"):
        ext_tools.ext_module("a", compiler="nosuchcc").compile(location=tmp_path)
    monkeypatch.setenv("TINYWEAVE_CC", "nosuchcc")
    with pytest.raises(FileNotFoundError, match="TINYWEAVE_CC is 'nosuchcc'"):
        new_module().compile(location=tmp_path)


def test_a_compiler_of_all_builds_may_be_missing(way, tmp_path, monkeypatch):
    """CC is passed over then, and a variable of blanks is as good as none."""
    monkeypatch.setenv("CC", "nosuchcc -m64")
    monkeypatch.setenv("TINYWEAVE_CC", " ")
    assert new_module().compile(location=tmp_path).endswith(SUFFIX if way == "native" else ".py")


@needs_compiler
def test_options_of_compile(load, tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "shared.c").write_text("long shared(void) { return 1000; }\n")
    tw._core._native_build([tmp_path / "shared.c"], tmp_path / "lib" / "libext_shared.so")
    (tmp_path / "object.c").write_text("long object(void) { return 200; }\n")
    subprocess.run([COMPILER, "-fPIC", "-c", "object.c", "-o", "object.o"], cwd=tmp_path, check=True)
    f = one("return_val = shared() + object() + A + B;", n=1)
    f.customize.add_support_code("long shared(void), object(void);\n#ifndef C\n#define B 3\n#endif")
    m = load(
        new_module(f),
        compiler=COMPILER,
        define_macros={"A": 50, "C": None},
        undef_macros="C",
        libraries="ext_shared",
        library_dirs=[tmp_path / "lib"],
        extra_objects=[str(tmp_path / "object.o")],
        extra_compile_args=["-O1"],
        extra_link_args=["-Wl,-z,now"],
    )
    assert m.f(1) == 1253  # the library is found at run time too


# ---- The C file by itself ----


def everything():
    """A module with each kind of argument and result."""
    values = {f"a{i}": np.zeros((1, 1), letter) for i, letter in enumerate(DTYPES)}
    readonly = np.zeros(1)
    readonly.flags.writeable = False
    values |= {f"v{i}": example for i, (example, *_) in enumerate(VALUES.values())}
    values |= {"o": None, "r": readonly}
    code = "".join(f"A{i}2(0,0) = a{i}[0];\n" for i in range(len(DTYPES)))
    code += "".join(f"(void)v{i};\n" for i in range(len(VALUES)))
    code += 'if (Nr[0] > 9) tw_raise(PyExc_ValueError, "%d", Dr);\nreturn_val = tw_mul(v4, R1(0));\n'
    f = ext_tools.ext_function("f", code + "return_val = o;", list(values), values)
    g = ext_tools.ext_function("g", "return_val = tw_div(tw_add(v4, 1), tw_abs(v5));", "v4 v5", values)
    module = new_module(f, g, ext_tools.ext_function("none", "", []))
    module.customize.add_support_code("static int unused_or_not(int a0) { return a0; }")
    module.customize.add_module_init_code('PyModule_AddIntConstant(module, "five", unused_or_not(5));')
    return module


@needs_compiler
@pytest.mark.parametrize("standard", ["c11", "gnu17"])
def test_generate_file(tmp_path, python, standard):
    module = everything()
    path = module.generate_file(location=tmp_path)
    assert path == str(tmp_path / f"{module.name}.c")
    text = Path(path).read_text()
    assert text == module.module_code() and "tinyweave/" not in text
    assert module.generate_file("other.c", tmp_path) == str(tmp_path / "other.c")
    subprocess.run(
        [COMPILER, f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", path,
         "-I", sysconfig.get_path("include"), "-I", np.get_include(), "-o",
         tmp_path / (module.name + SUFFIX)],
        check=True,
    )  # fmt: skip
    done = python(
        f"""
        import sys, numpy as np
        sys.path.insert(0, {str(tmp_path)!r})
        import {module.name} as m
        print(m.g(1j, np.complex64(3 + 4j)), m.five, "tinyweave" in sys.modules)
        """,
        preamble=False,
    )
    assert done.out == "(0.2+0.2j) 5 False\n"


@needs_compiler
def test_the_file_s_own_lines_are_right(tmp_path):
    """An error behind the user's text is told on its line of the C file."""
    path = Path(everything().generate_file(location=tmp_path))
    lines = path.read_text().split("\n")
    place = next(i for i, line in enumerate(lines) if line.startswith("PyInit_"))
    lines.insert(place - 2, "#error here")
    path.write_text("\n".join(lines))
    done = subprocess.run(
        [COMPILER, "-fsyntax-only", str(path), "-I", sysconfig.get_path("include"), "-I", np.get_include()],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert f"{path.name}:{place - 1}:" in done.stderr


def test_generated_text_is_the_same_each_time():
    def text():
        module = ext_tools.ext_module("same")
        module.add_function(one("return_val = n;", n=1))
        return module.module_code()

    assert text() == text()


@needs_compiler
def test_setup_extension(tmp_path):
    pytest.importorskip("setuptools")
    module = new_module(one("return_val = n;", n=1))
    module.customize.add_library("m")
    extension = module.setup_extension(tmp_path, define_macros=[("A", 1)])
    assert extension.name == module.name and extension.sources == [str(tmp_path / f"{module.name}.c")]
    assert extension.libraries == ["m"] and extension.define_macros == [("A", "1")]
    assert np.get_include() in extension.include_dirs and Path(extension.sources[0]).exists()


def test_setup_extension_without_setuptools(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "setuptools", None)
    with pytest.raises(ImportError, match="needs setuptools"):
        new_module().setup_extension(tmp_path)


# ---- The docstrings ----


@pytest.mark.parametrize("name", ext_tools.__all__)
def test_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = inspect.getdoc(getattr(ext_tools, name))
    assert text
    if ">>>" in text:
        run_doctest(text, {}, name, 0)


def test_the_module_s_docstring(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    run_doctest(inspect.getdoc(ext_tools), {}, "ext_tools", 0)
    sys.modules.pop("increment_ext")


# ---- References ----


def test_references(way, load):
    values = {"a": np.zeros(3), "s": "x", "o": None, "z": 1j, "n": 1}
    code = """
    if (n == 1) return_val = o;
    if (n == 2) { return_val = "text"; return_val = py_a; }
    if (n == 3) { return_val = PyList_New(2); tw_raise(PyExc_ValueError, "%s", s); }
    if (n == 4) return_val = a_array;
    """
    m = load(new_module(one(code, **values)))
    array, text, thing = np.arange(5.0), "some text", object()

    def all_ways():
        for n in range(5):
            with contextlib.suppress(ValueError):
                m.f(array, text, thing, 2j, n)
        for bad in ((1, text, thing, 2j, 1), (array, 1, thing, 2j, 1), (array, text, thing, 2j, 10**30)):
            for given, keywords in ((bad, {}), (bad[:4], {"n": bad[4]}), (bad, {"x": 1})):
                with pytest.raises((TypeError, OverflowError)):
                    m.f(*given, **keywords)

    all_ways()
    with no_growth(array, text, thing, slack=50):
        for _ in range(600):
            all_ways()


def test_references_of_the_doors():
    array, text = np.zeros(3), "return_val = a[0];"

    def all_ways():
        ext_tools.ext_function("f", text, ["a"], {"a": array})
        for code, names in (("return_val = ;", ["a"]), ("", ["int"]), ("", ["b"])):
            with pytest.raises((tw.CompileError, ValueError, TypeError)):
                f = ext_tools.ext_function("f", code, names, {"a": array, "int": 1})
                f._function(ext_tools.info_list())

    all_ways()
    with no_growth(array, text, slack=500):
        for _ in range(50):
            all_ways()
