"""support_code, headers, macros, flags and libraries: what they bring, and that each is in the key."""

# ruff: noqa: F841 (snippets read the locals of the test)

import math
import subprocess
import sys

import numpy as np
import pytest

import tinyweave as tw

# ---- support_code ----


def test_functions_types_and_statics():
    support = """
    #define SCALE 10
    typedef struct { int a, b; } pair;
    enum { FIRST = 7 };
    static int counter = 100;
    static pair swap(pair p) { return (pair){p.b, p.a}; }
    static int sum(pair p);
    static int sum(pair p) { counter++; return p.a + p.b; }
    """
    code = "pair p = swap((pair){1, 2}); return_val = SCALE*p.a + sum(p) + FIRST + counter;"
    assert tw.inline(code, support_code=support) == 20 + 3 + 7 + 101


def test_support_code_uses_the_prelude():
    support = "static double hypot3(double x, double y, double z) { return sqrt(x*x + y*y + z*z); }"
    assert tw.inline("return_val = hypot3(2, 3, 6);", support_code=support) == 7.0
    support = "static PyObject *pair(PyObject *o) { return PyTuple_Pack(2, o, Py_None); }"
    assert tw.inline("return_val = pair(py_a);", ["a"], {"a": 5}, support_code=support) == (5, None)


def test_recursion_and_function_pointers():
    support = "static long fib(long n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }"
    assert tw.inline("long (*f)(long) = fib; return_val = f(20);", support_code=support) == 6765


def test_support_code_may_define_a_name_of_the_prelude():
    support = "static double round(double x) { return x + 1000; }"
    assert tw.inline("return_val = round(1.5);", support_code=support) == 1001.5


def test_support_code_none_and_empty(counts, fresh):
    code = fresh("return_val = 1;")
    with counts() as c:
        for support in (None, ""):
            assert tw.inline(code, support_code=support) == 1
    assert c.compiles == 1


# ---- System headers ----

SYSTEM = [
    ("<math.h>", "return_val = hypot(3, 4) + M_PI;", 5 + math.pi),
    ("<string.h>", 'return_val = strlen("abc") + strcmp("a", "a");', 3),
    ("<stdlib.h>", 'return_val = atoi("42") + abs(-1);', 43),
    (
        "<stdint.h>",
        "int_least16_t a = INT16_MAX; uint64_t b = UINT64_MAX; return_val = a + (b == UINT64_MAX);",
        2**15,
    ),
    ("<stdbool.h>", "bool b = true; return_val = b;", True),
    ("<stddef.h>", "struct s { char a; double b; }; return_val = offsetof(struct s, b);", 8),
    ("<limits.h>", "return_val = INT_MAX;", 2**31 - 1),
    ("<float.h>", "return_val = DBL_EPSILON;", sys.float_info.epsilon),
    ("<ctype.h>", "return_val = toupper('a');", ord("A")),
    ("<errno.h>", "errno = ERANGE; return_val = errno;", 34),
    ("<assert.h>", "assert(1); return_val = 1;", 1),
    ("<inttypes.h>", 'char b[30]; snprintf(b, 30, "%" PRId64, (int64_t)5); return_val = b;', "5"),
    ("<time.h>", "return_val = time(NULL) > 0;", 1),
    ("<stdarg.h>", "return_val = 1;", 1),
    ("<stdio.h>", 'char b[9]; sprintf(b, "%d", 7); return_val = b;', "7"),
]


@pytest.mark.parametrize(("header", "code", "expected"), SYSTEM, ids=[s[0] for s in SYSTEM])
def test_system_headers(header, code, expected):
    assert tw.inline(code, headers=[header]) == expected
    assert tw.inline(f"#line 1\n{code}", [], support_code=f"#include {header}\n") == expected


def test_all_of_them_at_once():
    headers = [header for header, *_ in SYSTEM]
    a = np.arange(4.0)
    code = "double s = 0; for (int i = 0; i < Na[0]; i++) s += sqrt(A1(i)*A1(i)); return_val = s;"
    assert tw.inline(code, ["a"], headers=headers) == 6.0


def test_headers_do_not_change_what_print_does(written):
    tw.inline('printf("%d", 1); puts("x"); fflush(stdout);', headers=["<stdio.h>"])
    assert written.text == "1x\n"


@pytest.mark.parametrize("headers", ["<math.h>", ["<math.h>"], ("<math.h>",), ["<math.h>", "<math.h>"]])
def test_forms_of_headers(headers):
    assert tw.inline("return_val = fabs(-1);", headers=headers) == 1.0


def test_a_bare_name_is_in_quotes(tmp_path):
    (tmp_path / "own.h").write_text("#define OWN 5\n")
    for name in ("own.h", '"own.h"', "<own.h>"):
        assert tw.inline("return_val = OWN;", headers=[name], include_dirs=[tmp_path]) == 5


# ---- Python's and NumPy's headers ----


def test_python_h():
    seq = [1, 2, 3]
    code = """
    Py_ssize_t n = PyList_GET_SIZE(seq);
    long sum = 0;
    for (Py_ssize_t i = 0; i < n; i++) sum += PyLong_AsLong(PyList_GET_ITEM(seq, i));
    return_val = sum;
    """
    assert tw.inline(code, ["seq"], headers=["<Python.h>"]) == 6
    assert tw.inline(code, ["seq"]) == 6


def test_python_h_has_what_the_prelude_has_not():
    code = 'return_val = PyUnicode_FromFormat("%d.%d", PY_MAJOR_VERSION, PY_MINOR_VERSION);'
    expected = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert tw.inline(code, headers=["<Python.h>"]) == expected
    code = "return_val = Py_TYPE(o)->tp_name;"
    assert tw.inline(code, ["o"], {"o": [1]}, headers=["<Python.h>"]) == "list"


@pytest.mark.parametrize(
    "value", [1, 1.5, True, "s", b"s", None, 1j, np.float32(2), np.complex64(1)], ids=repr
)
def test_every_kind_with_python_h(value):
    assert tw.inline("return_val = py_v;", ["v"], {"v": value}, headers=["<Python.h>"]) is value


def test_errors_with_python_h():
    with pytest.raises(ValueError, match="^n is 7$"):
        tw.inline('tw_raise(PyExc_ValueError, "n is %ld", n);', ["n"], {"n": 7}, headers=["<Python.h>"])
    with pytest.raises(tw.CompileError) as info:
        tw.inline("int a;\nint b = missing;", headers=["<Python.h>"])
    assert info.value.lineno == 2


def test_printing_with_python_h(written):
    tw.inline('printf("%d", 5); PySys_WriteStdout("%d", 6); printf("7");', headers=["<Python.h>"])
    assert written.text == "567"


def test_numpy_h():
    code = """
    npy_intp dims[2] = {2, 3};
    PyArrayObject *out = (PyArrayObject *)PyArray_SimpleNew(2, dims, NPY_DOUBLE);
    if (!out) return;
    for (int i = 0; i < 6; i++) ((double *)PyArray_DATA(out))[i] = i * factor;
    return_val = (PyObject *)out;
    """
    out = tw.inline(code, ["factor"], {"factor": 2.0}, headers=["<numpy/arrayobject.h>"])
    np.testing.assert_array_equal(out, np.arange(6.0).reshape(2, 3) * 2)
    assert out.dtype == np.float64
    assert sys.getrefcount(out) == 2


def test_numpy_h_and_array_arguments():
    a = np.arange(6, dtype=np.int32).reshape(2, 3)
    code = """
    if (PyArray_NDIM(a_array) != Da || PyArray_DIM(a_array, 1) != Na[1]) tw_raise(PyExc_RuntimeError, "no");
    return_val = PyArray_Sum(a_array, 0, NPY_INT64, NULL);
    """
    result = tw.inline(code, ["a"], headers=["<numpy/arrayobject.h>"])
    np.testing.assert_array_equal(result, a.sum(axis=0))


@pytest.mark.parametrize(
    "call", ["import_array();", "import_array1();", "_import_array();", "import_umath();"]
)
def test_import_array_is_harmless(call):
    a = np.arange(3)
    headers = ["<numpy/arrayobject.h>", "<numpy/ufuncobject.h>"]
    code = call + " return_val = (long)PyArray_SIZE(a_array);"
    assert tw.inline(code, ["a"], headers=headers) == 3


def test_numpy_math_h():
    code = "return_val = npy_isnan(x) ? NPY_PI : 0;"
    assert tw.inline(code, ["x"], {"x": math.nan}, headers=["<numpy/npy_math.h>"]) == math.pi


def test_python_h_by_support_code_and_by_a_users_header(tmp_path):
    (tmp_path / "own.h").write_text("#pragma once\n#include <Python.h>\n")
    code = "return_val = Py_TYPE(o)->tp_name;"
    for options in (
        {"support_code": "#include <Python.h>"},
        {"headers": ["own.h"], "include_dirs": [tmp_path]},
    ):
        assert tw.inline(code, ["o"], {"o": ()}, **options) == "tuple"


# ---- The user's headers ----


def test_nested_headers(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "b.h").write_text('#ifndef B_H\n#define B_H\n#include "c.h"\n#endif\n')
    (tmp_path / "inner" / "c.h").write_text("#define C 5\nstatic int c(void) { return C; }\n")
    (tmp_path / "a.h").write_text(
        '#include "inner/b.h"\n#include "inner/b.h"\nstatic int a(void) { return c() * 2; }\n'
    )
    assert tw.inline("return_val = a();", headers=["a.h"], include_dirs=[tmp_path]) == 10


def test_folders_are_searched_in_order(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "which.h").write_text(f'#define WHICH "{name}"\n')
    folders = [tmp_path / "one", tmp_path / "two"]
    for dirs in (folders, folders[::-1]):
        result = tw.inline("return_val = WHICH;", headers=["which.h"], include_dirs=dirs)
        assert result == dirs[0].name


def test_a_header_may_count_on_the_prelude(tmp_path):
    (tmp_path / "own.h").write_text('static double own(double x) { return sqrt(x) + strlen("ab"); }\n')
    assert tw.inline("return_val = own(9);", headers=["own.h"], include_dirs=[tmp_path]) == 5.0


EDITED = """
folder = sys.argv[1]
print(tw.inline("return_val = VALUE;", headers=["top.h"], include_dirs=[folder]), tw.cache.info().compiles)
"""


def test_an_edited_header_recompiles_in_a_new_process(python_cached, tmp_path):
    (tmp_path / "top.h").write_text('#include "deep.h"\n')
    deep = tmp_path / "deep.h"
    deep.write_text("#define VALUE 1\n")
    assert python_cached(EDITED, tmp_path).out.split() == ["1", "1"]
    assert python_cached(EDITED, tmp_path).out.split() == ["1", "0"]
    deep.write_text("#define VALUE 2\n")
    assert python_cached(EDITED, tmp_path).out.split() == ["2", "1"]
    assert python_cached(EDITED, tmp_path).out.split() == ["2", "0"]
    deep.write_text("#define VALUE 1\n")
    assert python_cached(EDITED, tmp_path).out.split() == ["1", "0"]


def test_force_looks_at_an_edited_header(tmp_path):
    header = tmp_path / "force.h"
    header.write_text("#define VALUE 1\n")
    options = {"headers": ["force.h"], "include_dirs": [tmp_path]}
    assert tw.inline("return_val = VALUE;", **options) == 1
    header.write_text("#define VALUE 2\n")
    assert tw.inline("return_val = VALUE;", force=True, **options) == 2
    assert tw.inline("return_val = VALUE;", **options) == 2


def test_a_relative_folder_follows_the_process(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name / "include").mkdir(parents=True)
        (tmp_path / name / "include" / "here.h").write_text(f'#define HERE "{name}"\n')
    for name in ("one", "two", "one"):
        monkeypatch.chdir(tmp_path / name)
        assert tw.inline("return_val = HERE;", headers=["here.h"], include_dirs=["include"]) == name


# ---- Macros and flags ----

MACROS = [
    {"N": 5},
    {"N": "5"},
    [("N", 5)],
    [("N", "5")],
    (("N", "5"),),
    {"N": "(M + 1)", "M": 4},
]


@pytest.mark.parametrize("macros", MACROS, ids=repr)
def test_define_macros(macros):
    assert tw.inline("return_val = N;", define_macros=macros) == 5


@pytest.mark.parametrize(
    "macros", [{"FLAG": None}, [("FLAG", None)], ["FLAG"], "FLAG", [("FLAG",)]], ids=repr
)
def test_macros_without_a_value(macros):
    code = "#ifdef FLAG\nreturn_val = FLAG;\n#else\nreturn_val = 0;\n#endif"
    assert tw.inline(code, define_macros=macros) == 1
    assert tw.inline(code) == 0


def test_function_like_macros():
    assert tw.inline("return_val = ADD(2, 3);", define_macros={"ADD(a, b)": "((a) + (b))"}) == 5


def test_undef_macros():
    code = "#ifdef FLAG\nreturn_val = 1;\n#else\nreturn_val = 0;\n#endif"
    assert tw.inline(code, define_macros=["FLAG"], undef_macros=["FLAG"]) == 0
    assert tw.inline(code, define_macros=["FLAG"], undef_macros="OTHER") == 1


def test_macros_reach_headers_and_support_code(tmp_path):
    (tmp_path / "m.h").write_text("static int from_header(void) { return N; }\n")
    result = tw.inline(
        "return_val = from_header() + from_support() + N;",
        support_code="static int from_support(void) { return N; }",
        headers=["m.h"],
        include_dirs=[tmp_path],
        define_macros={"N": 5},
    )
    assert result == 15


def test_extra_compile_args(tmp_path):
    (tmp_path / "flag.h").write_text("#define FROM_I 7\n")
    flags = [
        "-DN=5",
        "-DM",
        f"-I{tmp_path}",
        "-O3",
        "-march=native",
        "-Wall",
        "-std=c99",
        "-ffast-math",
        "-g",
    ]
    assert (
        tw.inline("return_val = N*100 + M*10 + FROM_I;", headers=["flag.h"], extra_compile_args=flags) == 517
    )
    code = "#ifdef N\nreturn_val = 1;\n#else\nreturn_val = 0;\n#endif"
    assert tw.inline(code, extra_compile_args=["-DN", "-UN"]) == 0


@pytest.mark.parametrize(
    "flag", ["-lm", "-L/tmp", "-run", "-bt", "-o x", "x.c", "--version", "-", "-D", "-Wl,-x\n"]
)
def test_flags_that_are_refused(flag):
    with pytest.raises(ValueError, match="extra_compile_args"):
        tw.inline("return_val = 1;", extra_compile_args=[flag])


WRONG_TYPES = {
    "support_code": [5, b"x", ["x"]],
    "headers": [5, b"x", [5], [b"x"], [None]],
    "define_macros": [5, b"x", [5], [("a", "b", "c")], [(5, "b")], {5: "b"}],
    "undef_macros": [5, [5]],
    "include_dirs": [5, [5], b"x"],
    "libraries": [5, [5]],
    "library_dirs": [5, [5]],
    "extra_compile_args": [5, [5]],
    "local_dict": [5],
    "global_dict": [5],
}


@pytest.mark.parametrize(
    ("option", "value"), [(o, v) for o, values in WRONG_TYPES.items() for v in values], ids=repr
)
def test_wrong_types_of_options(option, value):
    with pytest.raises(TypeError, match=option):
        tw.inline("return_val = 1;", **{option: value})


@pytest.mark.parametrize("option", ["headers", "define_macros", "undef_macros", "include_dirs", "libraries"])
def test_line_breaks_in_options_are_refused(option):
    for text in ("a\n#error", "a\r#error"):
        with pytest.raises(ValueError, match="line break"):
            tw.inline("return_val = 1;", **{option: [text]})


# ---- Libraries ----


def test_libraries_by_name():
    support = "double cbrt(double); unsigned long crc32(unsigned long, const unsigned char *, unsigned);"
    import zlib

    text = b"some text"
    code = "return_val = crc32(0, (const unsigned char *)text, Ntext) + cbrt(27);"
    expected = zlib.crc32(text) + 3.0
    assert tw.inline(code, ["text"], support_code=support, libraries=["m", "z"]) == expected
    assert tw.inline("return_val = cbrt(8);", libraries="m") == 2.0


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A folder with libnine.so, whose nine() is 9."""
    folder = tmp_path_factory.mktemp("library")
    source = folder / "nine.c"
    source.write_text(
        '#include <stdio.h>\nint nine(void) { return 9; }\nvoid say(void) { puts("real"); fflush(stdout); }\n'
    )
    build = ["cc", "-shared", "-fPIC", "-o", str(folder / "libnine.so"), str(source)]
    try:
        subprocess.run(build, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no C compiler: {error}")
    return folder


def test_libraries_by_folder_and_by_path(library, monkeypatch):
    code = "int nine(void);\nreturn_val = nine();"
    assert tw.inline(code, libraries=["nine"], library_dirs=[library]) == 9
    assert tw.inline(code, libraries=[str(library / "libnine.so")]) == 9
    assert tw.inline(code, libraries=library / "libnine.so") == 9


def test_a_library_stays_as_long_as_its_kernel(library, fresh):
    code = fresh("int nine(void);\nreturn_val = nine();")
    for _ in range(3):
        assert tw.inline(code, libraries=["nine"], library_dirs=[library], force=True) == 9


def test_libraries_use_the_real_stdout(library, written, capfd):
    tw.inline('void say(void);\nsay(); printf("ours");', libraries=["nine"], library_dirs=[library])
    assert written.text == "ours"
    assert capfd.readouterr().out == "real\n"


def test_a_missing_library_lists_the_folders(tmp_path):
    with pytest.raises(OSError) as info:
        tw.inline("return_val = 1;", libraries=["no_such_library"], library_dirs=[tmp_path])
    message = str(info.value)
    assert "no_such_library" in message and str(tmp_path) in message and "/usr/lib" in message


def test_a_missing_path_and_what_is_no_library(tmp_path):
    with pytest.raises(OSError, match="missing.so"):
        tw.inline("return_val = 1;", libraries=[str(tmp_path / "missing.so")])
    text = tmp_path / "text.so"
    text.write_text("no library")
    with pytest.raises(OSError, match="not a shared library"):
        tw.inline("return_val = 1;", libraries=[str(text)])
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"\x7fELF" + bytes(100))
    with pytest.raises(OSError, match="broken.so"):
        tw.inline("return_val = 1;", libraries=[str(broken)])


# ---- Every option is in the key ----

BASE = {
    "support_code": "static int f(void) { return 1; }",
    "define_macros": {"N": 1},
    "extra_compile_args": ["-O1"],
}
EDITS = [
    {"support_code": "static int f(void) { return 2; }"},
    {"define_macros": {"N": 2}},
    {"define_macros": {"N": 1, "M": 1}},
    {"undef_macros": ["X"]},
    {"headers": ["<math.h>"]},
    {"extra_compile_args": ["-O2"]},
    {"extra_compile_args": ["-O1", "-Wall"]},
    {"libraries": ["m"]},
]


@pytest.mark.parametrize("edit", EDITS, ids=repr)
def test_editing_an_option_recompiles(edit, fresh, counts):
    code = fresh("return_val = 10*f() + N;")
    with counts() as c:
        assert tw.inline(code, **BASE) == 11
        assert tw.inline(code, **BASE) == 11
    assert (c.compiles, c.memory_hits) == (1, 1)
    edited = BASE | edit
    expected = 10 * (2 if "2" in edited["support_code"] else 1) + edited["define_macros"]["N"]
    with counts() as c:
        assert tw.inline(code, **edited) == expected
        assert tw.inline(code, **edited) == expected
        assert tw.inline(code, **BASE) == 11
    assert (c.compiles, c.memory_hits) == (1, 2)


def test_equal_options_are_a_hit(fresh, counts, tmp_path):
    code = fresh("return_val = N;")
    forms = [
        {"define_macros": m} for m in ({"N": 5}, {"N": "5"}, [("N", 5)], (("N", "5"),), iter([("N", "5")]))
    ]
    forms += [{"define_macros": {"N": 5}, "headers": None}, {"define_macros": {"N": 5}, "libraries": ()}]
    with counts() as c:
        for options in forms:
            assert tw.inline(code, **options) == 5
    assert c.compiles == 1


REBUILT = """
import os
path = sys.argv[1]
os.utime(path, ns=(int(sys.argv[2]),) * 2)
code = "int nine(void); return_val = nine();"
print(tw.inline(code, libraries=[path]), tw.cache.info().compiles)
"""


def test_a_rebuilt_library_is_another_key(library, python_cached):
    path = library / "libnine.so"
    for time, compiles in ((10**18, 1), (10**18, 0), (10**18 + 1, 1), (10**18, 0)):
        assert python_cached(REBUILT, path, time).out.split() == ["9", str(compiles)]


def test_debug_is_refused_clearly():
    assert tw.inline("return_val = 1;", debug=False) == 1
    with pytest.raises(TypeError, match="debug"):
        tw.inline("return_val = 1;", debug=True)
