"""Errors: those of the C text with their line and caret, and those that C raises."""

# ruff: noqa: F841 (snippets read the locals of the test)

import re
import traceback

import numpy as np
import pytest

import tinyweave as tw

# ---- CompileError: its fields ----


def compile_error(code, names=(), values=None, **options):
    with pytest.raises(tw.CompileError) as info:
        tw.inline(code, names, values or {}, **options)
    error = info.value
    assert_names_nothing_generated(error)
    return error


def assert_names_nothing_generated(error):
    text = "".join(traceback.format_exception_only(error))
    for word in ("tw:", "tw_kernel", "tw_call", "tw_args", "tw_return", "<string>", "_Generic", "line 0"):
        assert word not in text, text


def caret(error):
    """Where the printed message points: (line of C, column from 1), or None."""
    lines = "".join(traceback.format_exception_only(error)).splitlines()
    for above, below in zip(lines, lines[1:], strict=False):
        if re.fullmatch(r"\s*\^+", below):
            start = len(above) - len(above.lstrip())
            return above.strip(), below.index("^") - start + 1
    return None


# code, line, the token the caret points at (None: not looked at)
WRONG = [
    ("int b = 1 +;", 1, ";"),
    ("int a = 1;\nint b = 2 2;\nint c;", 2, None),
    ("\n\n\nint b = nothing;", 4, "nothing"),
    ("int a;\n  a = undefined_name + 1;\n", 2, "undefined_name"),
    ("double y = sqr(2.0);", 1, "sqr"),
    ("int a;\nfoo(a);\nint b;", 2, "foo"),
    ("struct s { int a; } x;\nx.b = 1;", 2, "b"),
    ("int a[2];\na = 5;", 2, None),
    ("/* a\nb\nc */ int a = $;", 3, None),
    ("#error stop here", 1, None),
    ("int a;\n#error stop here\nint b;", 2, None),
    ("#if 1\nint a;\n#endif\nint b = ;", 4, ";"),
    ('char *s = "abc;\nint a;', 1, None),
    ("int a = 5\nint b = 6;", 1, None),
    ("int a = 5;\nreturn_val = a\n", 2, None),
    ("for (int i = 0; i < 5; i++ {\n}", 1, None),
    ("break;", 1, "break"),
    ("int a;\ncontinue;", 2, "continue"),
    ("goto nowhere;", 1, None),
    ("int a; int a;", 1, None),
    ("return 5;", 1, None),
    ("int x = 1;\n\tint y = unknown;", 2, "unknown"),
    ("int é = missing;", 1, "missing"),
    ('const char *s = "é€𝄞"; int y = missing;', 1, "missing"),
]


@pytest.mark.parametrize(("code", "line", "token"), WRONG)
def test_place_of_an_error(code, line, token):
    error = compile_error(code)
    expected = code.split("\n")[line - 1]
    assert error.lineno == line
    assert error.text.rstrip("\n") == expected
    assert error.msg and "\n" not in error.msg
    assert 1 <= error.offset <= len(expected) + 1
    assert error.filename and "test_inline_errors.py" in error.filename
    printed = caret(error)
    assert printed is not None
    assert printed[0] == expected.strip()
    if token is not None:
        assert expected[error.offset - 1 :].startswith(token)


def test_filename_names_the_argument_and_the_call_site():
    error = compile_error("int b = 1 +;")
    line = compile_error.__code__.co_firstlineno
    found = re.search(r"test_inline_errors\.py:(\d+)", error.filename)
    assert found and line < int(found[1]) < line + 5
    assert "inline" in error.filename and "code" in error.filename


def test_it_is_a_syntax_error():
    error = compile_error("int b = 1 +;")
    assert isinstance(error, SyntaxError)
    assert str(error)


def test_offset_counts_characters():
    error = compile_error('const char *s = "ééé"; int y = missing;')
    assert error.text[error.offset - 1 :].startswith("missing")


def test_ambiguous_tokens_point_at_the_line():
    error = compile_error("int x;\n    x = y + y;")
    assert error.lineno == 2
    assert error.text[error.offset - 1] in "xy"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("sqr", "sqrt"), ("strlne", "strlen"), ("printff", "printf"), ("PyList_Apend", "PyList_Append")],
)
def test_unknown_functions_get_a_suggestion(wrong, right):
    error = compile_error(f"int a = 1;\n{wrong}(a);")
    assert error.msg == f"undeclared function '{wrong}'; did you mean '{right}'?"
    assert (error.lineno, error.offset) == (2, 1)


def test_unknown_functions_without_a_likely_name():
    assert compile_error("frobnicate_everything(1);").msg == "undeclared function 'frobnicate_everything'"


@pytest.mark.parametrize(
    "code", ["}", "int a; }", "if (1) {", "{ { }", "int a[3;", "f(1;", "(]", "}{", "if (1) } {"]
)
def test_unbalanced_brackets(code):
    text = "int x = 1;\n" + code + "\nint y = 2;"
    error = compile_error(text)
    assert error.lineno == 2
    assert re.search(r"unbalanced|never closed", error.msg)


@pytest.mark.parametrize(
    "code", ["} void f(void) {", "return_val = 1; } static int x; void g(void) { int y;"]
)
def test_a_snippet_cannot_leave_its_function(code):
    assert re.search("unbalanced|never closed", compile_error(code).msg)


@pytest.mark.parametrize(
    "code", ["#if 1", "#ifdef X\nint a;", "#endif", "#else", "#elif 1", "int a;\n#endif\n"]
)
def test_unbalanced_conditionals(code):
    error = compile_error(code)
    assert "#" in error.msg


@pytest.mark.parametrize("code", ["/* never closed", "int a; /* x", '"never closed', "'x", "int a;\n/*/"])
def test_unfinished_comments_and_quotes(code):
    error = compile_error(code)
    assert 1 <= error.lineno <= code.count("\n") + 1


@pytest.mark.parametrize("code", ["}", "int b = 1 +;", "sqr(2);", "#if 1", "/*", "(", "x = ;"])
@pytest.mark.parametrize("tail", ["", "\n", "\n\n\n", " \\", "\\\n", " // x"])
def test_lines_stay_within_the_text(code, tail):
    text = "int x;\n" + code + tail
    with pytest.raises(tw.CompileError) as info:
        tw.inline(text)
    assert_names_nothing_generated(info.value)
    assert 1 <= info.value.lineno <= text.count("\n") + 1


def test_an_error_in_a_macro_of_the_snippet():
    error = compile_error("#define TWICE(x) ((x) + missing)\nint a = 1;\nint b = TWICE(a);")
    assert error.lineno in (1, 3)
    assert "missing" in error.msg


def test_an_error_through_an_array_macro():
    error = compile_error("int i = 1;\nA2(i, missing) = 1;", ["a"], {"a": np.zeros((2, 2))})
    assert error.lineno == 2
    assert error.text.strip() == "A2(i, missing) = 1;"
    assert error.text[error.offset - 1 :].startswith("missing")


def test_wrong_number_of_macro_arguments():
    error = compile_error("int i = 1;\nA2(i) = 1;", ["a"], {"a": np.zeros((2, 2))})
    assert error.lineno == 2


def test_the_macro_of_a_scalar():
    error = compile_error("return_val = A1(0);", ["a"], {"a": 1})
    assert "'A1'" in error.msg


def test_support_code():
    support = "static int f(int x)\n{\n    return x +;\n}\n"
    error = compile_error("return_val = f(1);", support_code=support)
    assert error.lineno == 3
    assert error.text.rstrip() == "    return x +;"
    assert "support_code" in error.filename


def test_the_snippet_after_support_code():
    error = compile_error(
        "int a;\nreturn_val = g(1);", support_code="static int f(void)\n{\n return 1;\n}\n\n"
    )
    assert error.lineno == 2 and "support_code" not in error.filename


@pytest.mark.parametrize(
    "support", ["static int f(void) {", "}", "int x", "#if 1", "static int f(void) { return 1; } }"]
)
def test_unfinished_support_code(support):
    error = compile_error("return_val = 1;", support_code=support)
    assert "support_code" in error.filename


def test_define_macros():
    error = compile_error("return_val = BAD;", define_macros={"BAD": "1 +"})
    assert error.lineno == 1
    with pytest.raises((tw.CompileError, ValueError)):
        tw.inline("return_val = 1;", [], define_macros={"1BAD": "1"})


def test_missing_header():
    error = compile_error("return_val = 1;", headers=["<no_such_header.h>"])
    assert "no_such_header.h" in str(error)


def test_errors_in_a_users_header(tmp_path):
    (tmp_path / "mine.h").write_text("static int one(void)\n{\n    return 1 +;\n}\n")
    with pytest.raises(tw.CompileError) as info:
        tw.inline("return_val = one();", [], headers=["mine.h"], include_dirs=[str(tmp_path)])
    assert info.value.lineno == 3
    assert info.value.filename.endswith("mine.h")
    assert "expression expected" in info.value.msg


def test_errors_in_a_users_header_show_its_line(tmp_path):
    (tmp_path / "mine.h").write_text("static int one(void)\n{\n    return 1 +;\n}\n")
    with pytest.raises(tw.CompileError) as info:
        tw.inline("return_val = one();", [], headers=["mine.h"], include_dirs=[str(tmp_path)])
    assert info.value.text == "    return 1 +;"


def test_line_directives_are_followed(tmp_path):
    source = tmp_path / "mine.py"
    source.write_text("a\nb\nc\nd\ne\n")
    with pytest.raises(tw.CompileError) as info:
        tw.inline(f'#line 4 "{source}"\nint b = 1 +;')
    assert (info.value.lineno, info.value.filename) == (4, str(source))


def test_unresolved_symbols():
    error = compile_error("extern int no_such_function(int);\nreturn_val = no_such_function(1);")
    assert "no_such_function" in error.msg
    assert error.lineno in (1, 2)
    error = compile_error(
        "return_val = missing_one(1);", support_code="int missing_one(int);\nextern int missing_two;\n"
    )
    assert "missing_one" in error.msg


def test_a_declared_function_outside_the_whitelist_is_unresolved():
    for name in ("dlopen", "fork", "execve", "tcc_new"):
        error = compile_error(f"extern void {name}(void);\n{name}();")
        assert name in error.msg


def test_several_errors_name_the_first():
    assert compile_error("int a = x1;\nint b = x2;\nint c = x3;").lineno == 1


def test_an_error_costs_nothing_later(fresh, counts):
    code = fresh("return_val = a +;")
    for _ in range(3):
        with pytest.raises(tw.CompileError):
            tw.inline(code, ["a"], {"a": 1})
    assert tw.inline(fresh("return_val = a + 1;"), ["a"], {"a": 1}) == 2


def test_the_same_error_for_every_call():
    fields = set()
    for _ in range(3):
        error = compile_error("int a;\nint b = missing;")
        fields.add((error.lineno, error.offset, error.text, error.msg))
    assert len(fields) == 1


# ---- What libtcc takes silently, or does not survive, never reaches the user ----

SILENT_WRONGS = [
    ("return_val = undeclared(1.5);", ()),
    ("double y = cbrtt(2.0); return_val = y;", ()),
    ("long double x = 1.0L; return_val = (double)(x + x);", ()),
    ("_Thread_local static int n; return_val = n;", ()),
    ("static __thread int n; return_val = n;", ()),
    ("double _Complex z; return_val = 1;", ()),
    ("double complex z = 1; return_val = 1;", ()),
    ("double y = a;", ("a",)),
    ("double y = *a + a;", ("a",)),
    ("double y = sqrt(a);", ("a",)),
    ("return_val = pow(a, 2);", ("a",)),
    ("return_val = PyLong_FromLong(a);", ("a",)),
    ("return_val = strlen(5);", ()),
    ("double y = -a;", ("a",)),
    ("exit(a);", ("a",)),
    ("int y = 3 % 2.0;", ()),
    ("a = 5;", ("a",)),
    ("a = 1.5;", ("a",)),
    ("int *p = a;", ("a",)),
    ("int *p; p = a;", ("a",)),
    ("long n = a;", ("a",)),
    ("long n; n = a;", ("a",)),
    ("return a[0];", ("a",)),
    ("return_val = sin(a[0], 1);", ("a",)),
    ("return_val = sin();", ()),
    ("int x = 1; x();", ()),
    ("const int c = 1; c = 2;", ()),
    ("Na[0] = 5;", ("a",)),
    ("Sa[0] = 5;", ("a",)),
]


@pytest.mark.parametrize(("code", "names"), SILENT_WRONGS)
def test_silent_wrongs_are_errors(code, names):
    error = compile_error("int first;\n" + code, names, {"a": np.ones(3)})
    assert error.lineno == 2


POINTER_FOR_NUMBER = ["y = a;", "y = sqrt(Na);", "y = sqrt((a));", "y = sqrt(a + 1);", "y = sqrt(&a[0]);"]
POINTER_FOR_NUMBER += ['y = sqrt("x");', "a[0] = a;", "a[0] = Na;", "double *b = a; y = sqrt(b);"]


@pytest.mark.parametrize("code", POINTER_FOR_NUMBER)
def test_pointers_for_numbers_are_errors(code):
    with pytest.raises(tw.CompileError):
        tw.inline("double y; " + code, ["a"], {"a": np.ones(3)})


@pytest.mark.parametrize("opening", ["(", "[", "{", "-", "!", "~", "*&", "1?1:", "if(1)", "sizeof ", "(int)"])
def test_deep_nesting_is_refused(opening):
    closing = {"(": ")", "[": "]", "{": "}"}.get(opening, "")
    for depth in (2_000, 100_000):
        with pytest.raises(tw.CompileError):
            tw.inline("int x = 1, *p = &x; return_val = x;" + opening * depth + "x" + closing * depth + ";")


def test_moderate_nesting_is_fine():
    assert tw.inline("return_val = " + "(" * 200 + "5" + ")" * 200 + ";") == 5
    assert tw.inline("{" * 100 + "return_val = 5;" + "}" * 100) == 5


# ---- tw_raise ----

RAISES = [
    ('tw_raise(PyExc_ValueError, "plain");', ValueError, "plain"),
    ('tw_raise(PyExc_ValueError, "");', ValueError, ""),
    ('tw_raise(PyExc_TypeError, "%d %s %.1f %c %%", 1, "two", 3.0, 52);', TypeError, "1 two 3.0 4 %"),
    ('if (1) tw_raise(PyExc_KeyError, "k"); else tw_raise(PyExc_IndexError, "i");', KeyError, "'k'"),
    ('if (0) tw_raise(PyExc_KeyError, "k"); else tw_raise(PyExc_IndexError, "i");', IndexError, "i"),
    ('for (int i = 0; ; i++) if (i == 3) tw_raise(PyExc_RuntimeError, "at %d", i);', RuntimeError, "at 3"),
    ('switch (1) { case 1: tw_raise(PyExc_OSError, "o"); }', OSError, "o"),
    ('while (1) { tw_raise(PyExc_OverflowError, "é"); }', OverflowError, "é"),
    ('return_val = 5; tw_raise(PyExc_StopIteration, "s"); return_val = 6;', StopIteration, "s"),
    ('char buf[20]; sprintf(buf, "b%d", 1); tw_raise(PyExc_MemoryError, "%s", buf);', MemoryError, "b1"),
    ('tw_raise(PyExc_ValueError, "a\\xff");', ValueError, "a\ufffd"),
    ('tw_raise(PyExc_ZeroDivisionError, "%s", "x" "y");', ZeroDivisionError, "xy"),
    ('tw_raise((PyExc_ValueError), ("p"));', ValueError, "p"),
    ('tw_raise(1 ? PyExc_ValueError : PyExc_KeyError, "c");', ValueError, "c"),
]


@pytest.mark.parametrize(("code", "kind", "message"), RAISES)
def test_tw_raise(code, kind, message):
    with pytest.raises(kind) as info:
        tw.inline(code)
    assert type(info.value) is kind and str(info.value) == message


def test_long_messages():
    text = "x" * 100_000
    with pytest.raises(ValueError) as info:
        tw.inline('tw_raise(PyExc_ValueError, "<%s>", text);', ["text"])
    assert str(info.value) == f"<{text}>"


def test_a_class_of_ones_own():
    class Mine(Exception):
        pass

    with pytest.raises(Mine, match="^m 5$"):
        tw.inline('tw_raise(Mine, "m %d", 5);', ["Mine"])


@pytest.mark.parametrize("what", [5, int, None, "text", ValueError("x")], ids=repr)
def test_tw_raise_of_what_is_no_exception_class(what):
    with pytest.raises(TypeError, match="tw_raise: expected an exception class"):
        tw.inline('tw_raise(py_what, "m");', ["what"])


def test_tw_raise_without_the_gil():
    big = np.zeros(100_000)
    with pytest.raises(ValueError, match="^at 50000$"):
        tw.inline(
            'for (long i = 0; i < Nbig[0]; i++) if (i == 50000) tw_raise(PyExc_ValueError, "at %ld", i);',
            ["big"],
        )


def test_tw_raise_elsewhere_is_refused():
    with pytest.raises(tw.CompileError, match="'tw_raise' belongs to the snippet's own text"):
        tw.inline("f();", support_code='static void f(void) { tw_raise(PyExc_ValueError, "x"); }')


def test_effects_before_an_error_stay():
    a = np.zeros(3)
    with pytest.raises(ValueError):
        tw.inline('a[0] = 1; tw_raise(PyExc_ValueError, "x"); a[1] = 1;', ["a"])
    assert a.tolist() == [1, 0, 0]


# ---- Errors of Python's API ----


def test_api_errors_are_raised_once(fresh, counts):
    calls = []

    class Odd(Exception):
        pass

    def fail():
        calls.append(1)
        raise Odd("from the callback", 5)

    code = fresh("Py_XDECREF(PyObject_CallNoArgs(fail));")
    with counts() as c:
        for _ in range(3):
            with pytest.raises(Odd) as info:
                tw.inline(code, ["fail"])
            assert info.value.args == ("from the callback", 5)
            names = [frame.name for frame in traceback.extract_tb(info.value.__traceback__)]
            assert names[-1] == "fail"
    assert len(calls) == 3
    assert c.compiles == 1


@pytest.mark.parametrize("kind", [TypeError, NameError, KeyError, SyntaxError, ImportError, tw.CompileError])
def test_no_error_leads_to_a_recompile(kind, fresh, counts):
    code = fresh("Py_XDECREF(PyObject_CallNoArgs(fail));")
    calls = []

    def fail():
        calls.append(1)
        raise kind("Conversion Error:, received 'float' type instead of 'long'")

    with counts() as c:
        for _ in range(3):
            with pytest.raises(kind, match="Conversion Error"):
                tw.inline(code, ["fail"])
    assert (c.compiles, len(calls)) == (1, 3)


def test_the_object_of_the_exception_survives():
    error = ValueError("mine")

    def fail():
        raise error

    with pytest.raises(ValueError) as info:
        tw.inline("return_val = PyObject_CallNoArgs(fail);", ["fail"])
    assert info.value is error


def test_an_api_error_goes_before_tw_raise():
    with pytest.raises(KeyError, match="api"):
        tw.inline('PyErr_SetString(PyExc_KeyError, "api"); tw_raise(PyExc_ValueError, "own");')


def test_an_error_that_the_code_clears():
    code = "PyObject *x = PyObject_CallNoArgs(fail); if (!x) PyErr_Clear(); return_val = 5;"
    assert tw.inline(code, ["fail"], {"fail": lambda: 1 / 0}) == 5


def test_an_error_set_with_a_result():
    o = object()
    with pytest.raises(KeyError):
        tw.inline('return_val = o; PyErr_SetString(PyExc_KeyError, "k");', ["o"])


def test_base_exceptions_pass():
    class Stop(BaseException):
        pass

    def fail():
        raise Stop

    for kind in (Stop,):
        with pytest.raises(kind):
            tw.inline("Py_XDECREF(PyObject_CallNoArgs(fail));", ["fail"])


def test_errors_of_nested_calls():
    def inner():
        return tw.inline('tw_raise(PyExc_ValueError, "deep");')

    with pytest.raises(ValueError, match="^deep$"):
        tw.inline("return_val = PyObject_CallNoArgs(inner);", ["inner"])


def test_a_compile_error_from_a_callback():
    def inner():
        return tw.inline("int x = missing;")

    with pytest.raises(tw.CompileError):
        tw.inline("return_val = PyObject_CallNoArgs(inner);", ["inner"])


# ---- Errors of arguments ----


def test_messages_name_function_and_variable():
    cases = [
        (TypeError, {"v": np.zeros(2, "float16")}),
        (TypeError, {"v": np.float16(1)}),
        (OverflowError, {"v": 2**70}),
        (NameError, {}),
    ]
    for kind, values in cases:
        with pytest.raises(kind) as info:
            tw.inline("return_val = 1;", ["v"], values)
        assert str(info.value).startswith("inline(): ") and "'v'" in str(info.value)


def test_errors_of_arguments_compile_nothing(fresh, counts):
    code = fresh("return_val = v;")
    with counts() as c:
        for value in (np.float16(1), 2**70, np.zeros(2, "O")):
            with pytest.raises((TypeError, OverflowError)):
                tw.inline(code, ["v"], {"v": value})
        with pytest.raises(NameError):
            tw.inline(code, ["v"], {})
        with pytest.raises(ValueError):
            tw.inline(code, ["int"], {"int": 1})
    assert c.compiles == 0
