"""Unusual callers: strings with ideas of their own, macros that reach far, files that change."""

import os
import sys
import threading

import native_library
import numpy as np
import pytest

import tinyweave as tw


class Liar(str):
    """Equal to everything, and the cache is cleared when one asks."""

    def __eq__(self, other):
        tw.cache.clear()
        return True

    def __hash__(self):
        return 1


def test_subclasses_of_str_are_taken_by_their_text():
    for i in range(20):
        assert tw.inline(Liar(f"return_val = {i};")) == i
        assert tw.inline("return_val = F;", define_macros={Liar("F"): Liar(i)}) == i
        assert tw.inline("return_val = f();", support_code=Liar(f"static int f(void) {{ return {i}; }}")) == i


def test_the_first_wrong_argument_is_told():
    with pytest.raises(TypeError, match="arg_names"):
        tw.inline("return_val = 1;", 5, headers=(text for text in ["<math.h>"]))


def test_printing_where_the_gil_was_let_go(capsys):
    code = 'Py_BEGIN_ALLOW_THREADS\nprintf("x\\n");\nfflush(stdout);\nPy_END_ALLOW_THREADS\nreturn_val = 1;'
    assert tw.inline(code, headers=["<Python.h>"]) == 1
    assert capsys.readouterr().out == "x\n"


def two_folders(tmp_path, name, texts):
    folders = []
    for i, text in enumerate(texts):
        folder = tmp_path / str(i)
        folder.mkdir()
        if text is not None:
            (folder / name).write_text(text)
        folders.append(str(folder))
    return folders


@pytest.mark.parametrize(
    "support",
    [
        '#define H "x.h"\n#include H\n',
        '#if __has_include("x.h")\n#include "x.h"\n#else\n#define V 2\n#endif\n',
    ],
)
def test_what_the_key_cannot_know_is_compiled_anew(tmp_path, support):
    folders = two_folders(tmp_path, "x.h", ["#define V 1\n", "#define V 2\n"])
    for i, folder in enumerate(folders):
        assert tw.inline("return_val = V;", support_code=support, include_dirs=[folder]) == i + 1


def test_paths_mean_the_folder_of_the_call(tmp_path, monkeypatch):
    folders = two_folders(tmp_path, "where.h", ["#define V 1\n", "#define V 2\n"])
    for i, folder in enumerate(folders):
        monkeypatch.chdir(folder)
        assert tw.inline("return_val = V;", headers=["where.h"], extra_compile_args=["-I."]) == i + 1
        assert tw.inline("return_val = V;", headers=["<where.h>"], include_dirs=["."]) == i + 1


def test_macros_of_the_user_change_only_the_user_s_text():
    x = np.zeros((2, 3))
    macros = {"dims": "strides", "l": "7", "p": "q", "size": "1", "value": "v", "object": "o"}
    assert tw.inline("return_val = Nx[0] * 10 + l;", ["x"], define_macros=macros) == 27
    x.flags.writeable = False
    with pytest.raises(tw.CompileError, match="read-only"):
        tw.inline("x[0] = 1;", ["x"], define_macros=[("const", "")])


def test_an_argument_cannot_be_a_macro_too():
    with pytest.raises(tw.CompileError, match="'n' is an argument"):
        tw.inline("return_val = n;", ["n"], {"n": 3}, define_macros={"n": 4})


def test_dimensions_are_checked_whatever_the_first_call_was():
    code = "#ifdef X2\nreturn_val = X2(0, 1);\n#endif"
    assert tw.inline(code, ["x"], {"x": 1.0}) is None
    assert tw.inline(code, ["x"], {"x": np.array([[1.0, 2.0]])}) == 2.0
    with pytest.raises(ValueError, match="1 dimension"):
        tw.inline(code, ["x"], {"x": np.arange(3.0)})


@pytest.mark.parametrize(
    "support",
    [
        "typedef unsigned long long uint64_t;\nstatic int f(void) { return sizeof(uint64_t); }",
        "typedef unsigned char bool;\nstatic int f(void) { bool b = 8; return b; }",
        "static int exp = 8;\nstatic int f(void) { return exp; }",
        "enum { sin = 1, log = 8 };\nstatic int f(void) { return log; }",
        "static double round(double x) { return x + 1; }\nstatic int f(void) { return round(7); }",
        "#define floor(x) 8\nstatic int f(void) { return floor(1); }",
    ],
)
def test_names_of_the_prelude_may_be_declared_anew(support):
    assert tw.inline("return_val = f();", support_code=support) == 8


def test_an_ambiguous_macro_behind_a_macro():
    arrays = {"a": np.zeros(2), "A": np.zeros(2)}
    with pytest.raises(tw.CompileError, match="ambiguous"):
        tw.inline("return_val = Q;", ["a", "A"], arrays, define_macros={"Q": "A1(0)"})


@pytest.mark.parametrize("name", ["*", "m[ab]", "", "\\m"])
def test_a_library_is_named_not_matched(name):
    with pytest.raises(OSError, match="library"):
        tw.inline("return_val = 1;", libraries=[name])


def test_texts_with_a_nul_or_a_line_break():
    with pytest.raises(ValueError, match="NUL"):
        tw.inline("return_val = A;", define_macros={"A": "1\0+2"})
    with pytest.raises(ValueError, match="line break"):
        tw.inline("return_val = A;", define_macros={"A": "1\n+2"})


@pytest.mark.parametrize("name", ["__FILE__", "__inline", "n" * 300])
def test_names_a_compiler_would_not_take(name):
    with pytest.raises(ValueError, match="cannot name an argument"):
        tw.inline("return_val = 1;", [name], {name: 1})


def test_raising_null():
    with pytest.raises(SystemError):
        tw.inline('tw_raise(NULL, "x");')


def test_macros_that_nest_without_end():
    powers = "".join(f"#define P{i + 1} P{i} P{i}\n" for i in range(40))
    with pytest.raises(tw.CompileError, match="expands to more than"):
        tw.inline(f"#define P0 !\n{powers}return_val = P40 1;")
    chain = "".join(f"#define M{i + 1} M{i}\n" for i in range(2000))
    assert tw.inline(f"#define M0 7\n{chain}return_val = M2000;") == 7


@pytest.mark.skipif(native_library.SANITIZED, reason="libtcc then runs on the caller's stack")
def test_nesting_on_a_small_stack():
    results = []
    before = threading.stack_size(128 * 1024)
    try:
        code = "return_val = " + "(" * 480 + "1" + ")" * 480 + ";"
        thread = threading.Thread(target=lambda: results.append(tw.inline(code)))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert results == [1]


def test_many_options_of_one_text_are_forgotten():
    """Older sites of one code string go; what is made up for ever does not grow."""
    for i in range(300):
        assert tw.inline("return_val = N;", define_macros={"N": i}) == i
    before = tw.cache.info()
    assert tw.inline("return_val = N;", define_macros={"N": 299}) == 299
    assert tw.inline("return_val = N;", define_macros={"N": 0}) == 0
    after = tw.cache.info()
    assert after.compiles == before.compiles and after.memory_hits == before.memory_hits + 2


def test_verbose_says_where_a_kernel_came_from(capfd):
    code = f"return_val = {os.getpid()};"
    for told in ("compiled", "found in memory"):
        tw.inline(code, verbose=1)
        assert told in capfd.readouterr().err


BORROWED = [
    "return_val = n > 2 ? n > 3 ? lst : o : Py_None;",
    "return_val = n > 9 ? o : n > 8 ? lst : o;",
    "return_val = (struct _object *)lst;",
    "return_val = (PyObject *const)lst;",
    "return_val = (PyObject *)(void *)lst;",
    "return_val = (n, lst);",
    "#define L lst\nreturn_val = L;",
    "PyObject *q; return_val = q = lst;",
    "return_val = n ? lst : NULL;",
]


@pytest.mark.parametrize("code", BORROWED)
def test_borrowed_however_it_is_spelt(code):
    lst, o = [1], object()
    before = sys.getrefcount(lst), sys.getrefcount(o)
    for i in range(60):
        n = (3, 4, 10)[i % 3]
        assert tw.inline(code, ["lst", "o", "n"], {"lst": lst, "o": o, "n": n}) in (lst, o, None)
    assert (sys.getrefcount(lst), sys.getrefcount(o)) == before


@pytest.mark.parametrize(
    "code",
    [
        "return_val = lst == o;",
        "return_val = (long)lst != 0;",
        "return_val = sizeof lst;",
        "return_val = !lst;",
    ],
)
def test_numbers_made_of_objects_stay_numbers(code):
    assert tw.inline(code, ["lst", "o"], {"lst": [], "o": {}}) in (0, 1, 8)


LEGAL = [
    "{ double x = 3; double t = x; y[1] = -x; y[2] = sqrt(x); }",
    "for (int x = 0; x < 3; x++) y[x] = x;",
    "double Sx = 0, Sy = 0; for (int i = 0; i < 3; i++) { Sx += x[i]; Sy += y[i]; } return_val = -Sx + Sy;",
    "double Sx; Sx = 2; double mean = Sx; return_val = sqrt(Sx) + mean;",
    "int Nx = 4; double t = Nx; return_val = t;",
    "for (double *u = x; u < x + 2; u++) *u = 1; for (int u = 0; u < 3; u++) { double w = u; x[u] = w; }",
    "for (int i = 0; i < 3; i++) x[i] = i; { double *i = x; i[0] = 5; }",
    "{ double *u = x; x[0] = *u; } { long u = 3; double w = u; x[1] = w; }",
    'char *t = "a"; { short t = 1; double r = t; x[0] = r; } x[1] = t[0];',
    "double q = 2; { void *q; q = x; return_val = q == x; }",
    "double *p = x + 2; double t = p-- - x; return_val = t;",
    "double *p = x; double *end = p + 3; double s = 0; while (p < end) s += *p++; return_val = s;",
    "double *rows[2] = {x, y}; rows[1][0] = rows[0][1]; return_val = rows[1] - y;",
]
SUPPORT = [
    "static double f(double *a) { return a[0]; } static double g(int a) { return sqrt(a); }",
    "static double f(const double *a) { return a[0]; } static double g(long a) { double r = a; return r; }",
    "struct q { double *a; int n; }; static double g(int a) { double r = a; return r; }",
    "struct q { char *name; int n; }; static double g(int name) { double r = name; return r; }",
    "typedef struct { double v; } V; static double g(double p) { V v = {p}; V *q; q = &v; return q->v; }",
    "static int by_value(const void *a, const void *b) { double p = *(double *)a, q = *(double *)b;\n"
    "return (p > q) - (p < q); } static double g(double v) { double t[2] = {v, 1};\n"
    "qsort(t, 2, sizeof *t, by_value); return t[1]; }",
]


@pytest.mark.parametrize("code", LEGAL)
def test_names_used_twice(code):
    tw.inline(code, ["x", "y"], {"x": np.arange(3.0), "y": np.arange(3.0)})


@pytest.mark.parametrize("support", SUPPORT)
def test_names_of_several_functions(support):
    assert tw.inline("return_val = g(4);", support_code=support) in (2, 4)


@pytest.mark.parametrize(
    "options",
    [
        {"support_code": "static int X1(int a) { return a * 200; }"},
        {"support_code": "#define X1(a) ((a) * 200)"},
        {"define_macros": {"X1(a)": "((a) * 200)"}},
    ],
)
def test_what_an_argument_brings_is_not_declared_twice(options):
    with pytest.raises(tw.CompileError, match="brings along"):
        tw.inline("return_val = X1(1);", ["x"], {"x": np.arange(3.0)}, **options)


def test_names_of_ours():
    with pytest.raises(tw.CompileError, match="tw_"):
        tw.inline("return_val = 1;", define_macros={"tw_element_0": "int"})


def test_a_long_table_is_read_once():
    entries = ",".join("AB"[i % 2] for i in range(30_000))
    support = f"enum {{ A = 1, B }}; static int table[] = {{{entries}}};"
    assert tw.inline("return_val = table[29999];", support_code=support) == 2


def test_an_error_of_a_path_is_its_own():
    class Path:
        def __fspath__(self):
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        tw.inline("return_val = 1;", include_dirs=[Path()])
    with pytest.raises(ValueError, match="empty"):
        tw.inline("return_val = 1;", include_dirs=[""])
