"""return_val: every type, every place it may stand in, and every misuse."""

# ruff: noqa: F841 (snippets read the locals of the test)

import math
import sys

import numpy as np
import pytest

import tinyweave as tw

# ---- Types ----

INTEGERS = {
    "char": (-128, 127),
    "signed char": (-128, 127),
    "unsigned char": (0, 255),
    "short": (-(2**15), 2**15 - 1),
    "unsigned short": (0, 2**16 - 1),
    "int": (-(2**31), 2**31 - 1),
    "unsigned int": (0, 2**32 - 1),
    "unsigned": (0, 2**32 - 1),
    "long": (-(2**63), 2**63 - 1),
    "unsigned long": (0, 2**64 - 1),
    "long long": (-(2**63), 2**63 - 1),
    "unsigned long long": (0, 2**64 - 1),
    "size_t": (0, 2**64 - 1),
    "ssize_t": (-(2**63), 2**63 - 1),
    "int8_t": (-128, 127),
    "uint8_t": (0, 255),
    "int64_t": (-(2**63), 2**63 - 1),
    "uint64_t": (0, 2**64 - 1),
    "npy_intp": (-(2**63), 2**63 - 1),
    "Py_ssize_t": (-(2**63), 2**63 - 1),
}


def literal(number):
    return f"({number + 1}LL - 1)" if number < 0 else f"{number}ULL"


@pytest.mark.parametrize("c_type", INTEGERS)
def test_integers(c_type):
    for number in {*INTEGERS[c_type], 0, 1}:
        for qualifier in ("", "const ", "volatile "):
            code = f"{qualifier}{c_type} x = ({c_type}){literal(number)}; return_val = x;"
            result = tw.inline(code, [])
            assert type(result) is int and result == number


@pytest.mark.parametrize("expression", ["1 < 2", "(_Bool)7", "!0", "2 > 1 && 3", "true", "(bool)2"])
def test_truth(expression):
    result = tw.inline(f"return_val = {expression};", [])
    assert result == 1 and type(result) in (bool, int)


def test_bool_is_a_bool():
    assert tw.inline("_Bool b = 1; return_val = b;") is True
    assert tw.inline("bool b = 0; return_val = b;") is False


def test_enums_and_bit_fields_and_characters():
    assert tw.inline("enum { A = 4, B } x = B; return_val = x;") == 5
    assert tw.inline("struct { unsigned n : 3; int m : 2; } s = {5, -1}; return_val = s.n;") == 5
    assert tw.inline("struct { unsigned n : 3; int m : 2; } s = {5, -1}; return_val = s.m;") == -1
    assert tw.inline("return_val = 'a';") == 97


@pytest.mark.parametrize("number", [0.0, -0.0, 1.5, 0.1, 1e308, 5e-324, math.inf, -math.inf])
def test_doubles(number):
    result = tw.inline("return_val = number;", ["number"])
    assert result == number and math.copysign(1, result) == math.copysign(1, number)


def test_floats():
    assert tw.inline("float x = 1.1f; return_val = x;") == float(np.float32(1.1))
    assert math.isnan(tw.inline("return_val = NAN;"))
    assert tw.inline("return_val = 1.5 + 1;") == 2.5
    assert tw.inline("return_val = INFINITY;") == math.inf


def test_complex():
    assert tw.inline("tw_complex z = {1.5, -2}; return_val = z;") == 1.5 - 2j
    assert tw.inline("tw_complexf z = {1.5f, -2}; return_val = z;") == 1.5 - 2j
    assert tw.inline("return_val = (tw_complex){1, 2};") == 1 + 2j
    result = tw.inline("return_val = tw_make(-0.0, 0.0);")
    assert math.copysign(1, result.real) == -1


# ---- Strings ----


def test_strings():
    assert tw.inline('return_val = "text";') == "text"
    assert tw.inline('return_val = "";') == ""
    assert tw.inline('return_val = "\\xc3\\xa9";') == "é"
    assert tw.inline('return_val = "é𝄞";') == "é𝄞"
    assert tw.inline("return_val = s;", ["s"], {"s": "text"}) == "text"
    assert tw.inline("return_val = s + 1;", ["s"], {"s": "text"}) == "ext"
    assert tw.inline('const char *p = "p"; return_val = p;') == "p"
    assert tw.inline('const char *const p = "p"; return_val = p;') == "p"
    assert tw.inline('unsigned char u[] = "u"; return_val = u;') == "u"
    assert tw.inline('signed char u[] = "u"; return_val = u;') == "u"


def test_a_buffer_is_copied_at_the_assignment():
    assert tw.inline('char buf[32]; sprintf(buf, "%d", 42); return_val = buf; strcpy(buf, "gone");') == "42"
    assert tw.inline('{ char buf[] = "inner"; return_val = buf; memset(buf, 0, 5); }') == "inner"


def test_freed_memory_is_copied_before():
    assert tw.inline('char *p = strdup("heap"); return_val = p; memset(p, 0, 4); free(p);') == "heap"


def test_long_strings():
    code = "char *p = malloc(n + 1); memset(p, 'x', n); p[n] = 0; return_val = p; free(p);"
    for n in (0, 1, 10_000, 10_000_000):
        assert tw.inline(code, ["n"]) == "x" * n


def test_null_is_none():
    assert tw.inline("return_val = (char *)NULL;") is None
    assert tw.inline("const char *p = 0; return_val = p;") is None


def test_text_ends_at_nul():
    assert tw.inline('return_val = "ab\\0cd";') == "ab"
    assert tw.inline("return_val = s;", ["s"], {"s": "ab\0cd"}) == "ab"


@pytest.mark.parametrize("text", [r"\xff", r"a\xc3", r"\xed\xa0\x80", r"\xc0\xaf"])
def test_bad_utf8(text):
    with pytest.raises(UnicodeDecodeError):
        tw.inline(f'return_val = "{text}";')


def test_bytes_by_the_api():
    assert tw.inline('return_val = PyBytes_FromStringAndSize("a\\0\\xff", 3);') == b"a\0\xff"


# ---- Python objects ----


def test_new_references():
    assert tw.inline("return_val = PyLong_FromLong(12345678);") == 12345678
    assert tw.inline("return_val = PyList_New(0);") == []
    assert tw.inline('return_val = Py_BuildValue("(is)", 1, "a");') == (1, "a")
    assert tw.inline("PyObject *o = PyDict_New(); return_val = o;") == {}
    thing = tw.inline("return_val = PyList_New(0);")
    assert sys.getrefcount(thing) == 2


def test_singletons():
    assert tw.inline("Py_INCREF(Py_None); return_val = Py_None;") is None
    assert tw.inline("Py_INCREF(Py_True); return_val = Py_True;") is True


@pytest.mark.parametrize("text", ["o", "(o)", "((o))", "py_o", "( py_o )", " o ", "/* a */ o // b\n"])
def test_a_bare_argument_is_borrowed(text):
    o = object()
    before = sys.getrefcount(o)
    for _ in range(10):
        assert tw.inline(f"return_val = {text};", ["o"]) is o
    assert sys.getrefcount(o) == before


def test_a_bare_array_object_is_borrowed():
    a = np.zeros(3)
    before = sys.getrefcount(a)
    for text in ("py_a", "(py_a)"):
        assert tw.inline(f"return_val = {text};", ["a"]) is a
    assert sys.getrefcount(a) == before


def test_borrowed_objects_behind_casts_and_choices():
    o, a = object(), np.zeros(3)
    before = sys.getrefcount(o), sys.getrefcount(a), sys.getrefcount(None)
    for _ in range(100):
        assert tw.inline("return_val = (PyObject *)o;", ["o"]) is o
        assert tw.inline("return_val = ((PyObject *)(o));", ["o"]) is o
        assert tw.inline("return_val = (PyObject *)a_array;", ["a"]) is a
        assert tw.inline("return_val = n ? o : Py_None;", ["o", "n"], {"o": o, "n": 0}) is None
        assert tw.inline("return_val = n ? o : py_n;", ["o", "n"], {"o": o, "n": 1}) is o
        assert tw.inline("return_val = Py_True;") is True
        assert tw.inline("return_val = Py_None;") is None
    after = sys.getrefcount(o), sys.getrefcount(a), sys.getrefcount(None)
    assert after[:2] == before[:2] and abs(after[2] - before[2]) < 50
    with pytest.raises(tw.CompileError, match="Py_NewRef"):
        tw.inline("return_val = n ? Py_None : PyLong_FromLong(n);", ["n"], {"n": 3})


@pytest.mark.parametrize("code", ["return_val = 1, 2;", "return_val = return_val + 1;"])
def test_more_than_one_expression(code):
    with pytest.raises(tw.CompileError, match="return_val"):
        tw.inline(code)


def test_statements_around_return_val():
    assert tw.inline("#define NOTHING\nNOTHING\nreturn_val = 4;") == 4
    assert tw.inline("return_val = 5;\n#if 0\nint x = return_val;\n#endif") == 5
    with pytest.raises(tw.CompileError) as info:
        tw.inline("return_val\n\n\n= 1;\nint q = zz;")
    assert info.value.lineno == 5


def test_an_object_that_the_snippet_made_a_reference_of():
    o = object()
    before = sys.getrefcount(o)
    assert tw.inline("return_val = Py_NewRef(o);", ["o"]) is o
    assert tw.inline("PyObject *p = o; Py_INCREF(p); return_val = p;", ["o"]) is o
    assert sys.getrefcount(o) == before


def test_a_null_object_raises_what_the_api_said():
    with pytest.raises(IndexError, match="list index out of range"):
        tw.inline("return_val = PySequence_GetItem(o, 5);", ["o"], {"o": [1]})
    with pytest.raises(ZeroDivisionError):
        tw.inline("return_val = PyNumber_TrueDivide(py_a, py_b);", "a b", {"a": 1, "b": 0})


def test_a_null_object_without_an_error():
    with pytest.raises(SystemError, match=r"inline\(\): return_val is a NULL PyObject"):
        tw.inline("PyObject *p = NULL; return_val = p;")


# ---- Setting, replacing, leaving ----


def test_unset_is_none():
    assert tw.inline("int a = 1; (void)a;") is None
    assert tw.inline("if (a > 5) return_val = a;", ["a"], {"a": 1}) is None


def test_the_last_assignment_counts():
    assert tw.inline("return_val = 1; return_val = 2;") == 2
    assert tw.inline('return_val = "a"; return_val = 2;') == 2
    assert tw.inline('return_val = 1.5; return_val = "b";') == "b"
    assert tw.inline('return_val = PyLong_FromLong(300); return_val = "b";') == "b"
    assert tw.inline('return_val = "abc"; return_val = (char *)0;') is None


def test_a_replaced_object_is_released():
    o = object()
    before = sys.getrefcount(o)
    for _ in range(10):
        assert tw.inline("return_val = o; return_val = 1;", ["o"]) == 1
        assert tw.inline("return_val = o; return_val = o; return_val = o;", ["o"]) is o
    assert sys.getrefcount(o) == before


def test_a_result_is_released_when_an_error_follows():
    o = object()
    before = sys.getrefcount(o)
    for _ in range(10):
        with pytest.raises(KeyError):
            tw.inline('return_val = o; tw_raise(PyExc_KeyError, "k");', ["o"])
    assert sys.getrefcount(o) == before


def test_return_leaves_early():
    code = "return_val = 1; if (a) return; return_val = 2;"
    assert tw.inline(code, ["a"], {"a": 1}) == 1
    assert tw.inline(code, ["a"], {"a": 0}) == 2
    assert tw.inline("return;") is None
    assert tw.inline("for (int i = 0; ; i++) { return_val = i; if (i == 7) return; }") == 7


def test_goto_leaves_loops():
    assert tw.inline("for (int i = 0; ; i++) if (i == 9) { return_val = i; goto done; } done: ;") == 9


# ---- Where it may stand ----

PLACES = [
    ("if (1) return_val = 5;", 5),
    ("if (0) return_val = 4; else return_val = 5;", 5),
    ("if (0) { return_val = 4; } else { return_val = 5; }", 5),
    ("if (0) return_val = 3; else if (1) return_val = 5; else return_val = 6;", 5),
    ("for (int i = 0; i < 6; i++) return_val = i;", 5),
    ("int i = 0; while (i < 6) return_val = i++;", 5),
    ("int i = 0; do return_val = i; while (i++ < 5);", 5),
    ("int i = 0; do { return_val = i; } while (i++ < 5);", 5),
    (
        "switch (1) { case 0: return_val = 4; break; case 1: return_val = 5; break; default: ; }",
        5,
    ),
    ("switch (9) { case 0: return_val = 4; break; default: return_val = 5; }", 5),
    ("goto here; return_val = 1; here: return_val = 5;", 5),
    ("{ { return_val = 5; } }", 5),
    (";;return_val = 5;;", 5),
    ("return_val=5;", 5),
    ("return_val\n=\n5\n;", 5),
    ("return_val /* ; */ = /* = */ 5 /* ; */ ; // return_val = 6;", 5),
    ("// return_val = 6;\nreturn_val = 5; /* return_val = 7; */", 5),
    ('const char *s = "return_val = 6;"; return_val = s[0] ? 5 : 6;', 5),
    ("return_val = (1, 5);", 5),
    ("return_val = 1 ? 5 : 6;", 5),
    ("int f[3] = {1, 5, 2}; return_val = f[(0, 1)];", 5),
    ("return_val = ((int[]){4, 5, 6})[1];", 5),
    ("struct { int a, b; } s = {4, 5}; return_val = s.b;", 5),
    ("int x; return_val = x = 5;", 5),
    ("int x = 2; return_val = x == 2 ? 5 : 0;", 5),
    ("return_val = ({ int y = 4; y + 1; });", 5),
    ("int x = 4; return_val = ++x;", 5),
    ("return_val = sizeof(struct { char c[5]; });", 5),
    ("return_val = 2 +\n#if 1\n3\n#else\n4\n#endif\n;", 5),
    ("return_val = 2 + \\\n3;", 5),
    ("#define FIVE 5\nreturn_val = FIVE;", 5),
    ("#define ADD(a, b) ((a) + (b))\nreturn_val = ADD(2, 3);", 5),
    ("return_val = 'a' == ';' ? 4 : 5;", 5),
    ('return_val = strlen(";;;;;");', 5),
    ("return_val = fmax(2, 5);", 5.0),
]


@pytest.mark.parametrize(("code", "expected"), PLACES)
def test_places(code, expected):
    result = tw.inline(code)
    assert result == expected and type(result) is type(expected)


def test_an_assignment_is_evaluated_once():
    assert tw.inline("int n = 0; return_val = n++; return_val = n;") == 1
    calls = []
    tw.inline("return_val = PyObject_CallNoArgs(f);", ["f"], {"f": lambda: calls.append(1)})
    assert calls == [1]


MISUSES = [
    "int x = return_val;",
    "return_val;",
    "return_val += 1;",
    "return_val++;",
    "++return_val;",
    "return_val == 1;",
    "if (return_val) ;",
    "int *p = &return_val;",
    "int x = (return_val = 5);",
    "int return_val = 5;",
    "return_val.x = 5;",
    "return_val[0] = 5;",
    "return_val(5);",
    "return return_val;",
    "f(return_val);",
    "int x = 1 ? return_val : 2;",
    "#define SET(x) return_val = x\nSET(1);",
    "#define return_val x\nint x = 1;",
    "for (return_val = 0; ; ) break;",
    "(return_val) = 5;",
    "int x, y; x = return_val = 5;",
    "sizeof(return_val);",
]


@pytest.mark.parametrize("code", MISUSES)
def test_misuse_has_a_hint(code):
    with pytest.raises(tw.CompileError, match="return_val") as info:
        tw.inline("int unused;\n" + code)
    assert "return_val = " in str(info.value)
    assert info.value.lineno == code[: code.index("return_val")].count("\n") + 2


@pytest.mark.parametrize(
    "code", ["1 ? 2 : return_val = 5;", "int x; x ? 0 : return_val = 5;", "(void) return_val = 5;"]
)
def test_assignments_inside_of_an_expression(code):
    with pytest.raises(tw.CompileError):
        tw.inline(code)


@pytest.mark.parametrize(
    "code", ["return_val = 5", "return_val = ;", "return_val = 5 }", "return_val = (5;", "return_val ="]
)
def test_unfinished_assignments(code):
    with pytest.raises(tw.CompileError):
        tw.inline(code)


@pytest.mark.parametrize("source", ["support_code", "define_macros"])
def test_return_val_elsewhere_is_refused(source):
    options = {
        "support_code": "static void f(void) { return_val = 5; }",
        "define_macros": [("SET(x)", "return_val = x")],
    }
    with pytest.raises(tw.CompileError, match="'return_val' belongs to the snippet's own text"):
        tw.inline("int x;", **{source: options[source]})


POINTERS = ["double x; return_val = &x;", "void *p = 0; return_val = p;", "int x[3]; return_val = x;"]
POINTERS += ["char *s = 0; return_val = &s;", "return_val = stdout;", "return_val = &printf;"]
POINTERS += [
    "struct s { int a; } x; return_val = x;",
    "return_val = (void)0;",
    "wchar_t w[2]; return_val = w;",
]


@pytest.mark.parametrize("code", POINTERS)
def test_types_without_a_python_value(code):
    with pytest.raises(tw.CompileError) as info:
        tw.inline(code)
    assert info.value.lineno == 1
    assert "_Generic" not in str(info.value) and "tw_return" not in str(info.value)


@pytest.mark.parametrize("dtype", ["float64", "int32", "int64", "complex128", "bool", "float32"])
def test_an_array_pointer_is_no_value(dtype):
    a = np.zeros(3, dtype)
    if dtype == "bool":  # unsigned char *, which is text; what it says is checked in test_strings
        return
    with pytest.raises(tw.CompileError):
        tw.inline("return_val = a;", ["a"])
    with pytest.raises(tw.CompileError):
        tw.inline("return_val = Na;", ["a"])


def test_bytes_of_an_array_are_text_up_to_nul():
    a = np.frombuffer(b"abc\0", np.uint8).copy()
    assert tw.inline("return_val = a;", ["a"]) == "abc"
    a = a.view(np.int8)
    assert tw.inline("return_val = a;", ["a"]) == "abc"
