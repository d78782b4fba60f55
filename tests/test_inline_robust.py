"""Unusual callers: strings with ideas of their own, macros that reach far, files that change."""

import os
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
