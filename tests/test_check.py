"""What is refused before libtcc sees it (src/frontend/check.c)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_library import check, compile_text

DEPTH = 500

FINE = [
    "",
    "x = (a[1] + b[2]);",
    "if (x) { y(); } else { z(); }",
    "#if A\nif (x) {\n#else\nif (y) {\n#endif\n}",
    "#if A\n(\n#elif B\n(\n#else\n(\n#endif\n);",
    "#if 0\n} prose ( don't\n#endif\nx;",
    "#if 1\n{\n#else\n#endif\n}",
    "#if 1\n{\n#elif X\n((\n#endif\n}",
    "#ifdef __cplusplus\n{\n#endif\nx;\n#ifdef __cplusplus\n}\n#endif",
    "{\n#if A\n}\n#if 0\n#else\n#endif\n{\n#endif\n}",
    "#define BEGIN {\n#define END }\nx;",
    "s = \"}\"; c = '{'; /* ) */ // (",
    "x; // the end",
    "#define X \\",
    "x; \\",
    "return;",
    "if (a) return; else return ;",
    "x = 15L + 0x1EL + 1.5f + 10l;",
    "long x; double y;",
    "f((long)x, (double)y);",
    "double complex = 1; complex += 2; f(complex);",
    "int thread_locals;",
    "#error long double 1.5L don't",
    "_Atomic int x; x = x + 1; atomic_fetch_add(&x, 1); int y; y++; y += 1;",
    "_Atomic int *p; p++; *p++; p += 1; int q[3]; q[0]++;",
    "{ _Atomic int x; } { int x; x++; }",
    "struct s { atomic_int count; }; int count; count++;",
    "_Alignas(16) int x; static _Alignas(64) int y; int z __attribute__((aligned(8)));",
    '#line 3 "tw.c"\nx;',
    "switch (x) { case 1: case 2: y = 1; }",
    "a = b ? c : d; l: goto l;",
]

FINE_AT_FILE_SCOPE = [
    "double f(double x) { return x; }",
    '#include <math.h>\n#include "x.h"\n',
    "#define N 3\nenum e { M = 2, K };\nvoid f(int n, double (*a)[N], double (*b)[M][K], double (*c)[3]);",
    "void f(int n, double a[][n]) { double (*p)[n] = a; g((*p)[n]); h(*p)[n]; }",
    "void f(int n, double (*a)[sizeof(n)]);",
    "void f(int n, double (*g)(int n));",
    "void f(double (*a)[MACRO_OF_A_HEADER]);",
    "struct s { int a[2]; } __attribute__((aligned(64)));\nstruct t { _Alignas(32) int x; };",
    "void f(_Atomic int *p);\nvoid g(int *p) { (*p)++; *p += 1; }",
    'extern "C" { int f(int); }',
]

REFUSED = [
    ("}", 1, 1, "unbalanced '}'"),
    ("x;\n )", 2, 2, "unbalanced ')'"),
    ("x = (1;\n}", 2, 1, "unbalanced '}': the '(' of line 1 is still open"),
    ("if (x) {\n y();", 1, 8, "'{' is never closed"),
    ("a[1", 1, 2, "'[' is never closed"),
    ("%>", 1, 1, "unbalanced '}'"),
    ("x = <% 1;", 1, 5, "'{' is never closed"),
    ("x<:1:>;", 1, 2, "write '['"),
    ("#if A\n{\n#endif\n}", 3, 1, "branches"),
    ("#if A\n{\n#else\n(\n#endif\n}", 5, 1, "branches"),
    ("#if A\n}\n#endif", 2, 1, "unbalanced '}'"),
    ("{\n#if A\n}\n#else\n#endif\n", 5, 1, "branches"),
    ("#if 1\n{\n#endif", 2, 1, "never closed"),
    ("#if A\nx;", 1, 1, "#endif"),
    ("x;\n#endif", 2, 1, "#endif without #if"),
    ("#else\n", 1, 1, "#else without #if"),
    ("#if A\n#else\n#elif B\n#endif", 3, 1, "#elif after #else"),
    ("long double x;", 1, 1, "long double"),
    ("double const volatile\nlong x;", 1, 1, "long double"),
    ("x = (double long)y;", 1, 6, "long double"),
    ("lo\\\nng double x;", 1, 1, "long double"),
    ("#define real long double\n", 1, 14, "long double"),
    ("npy_longdouble x;", 1, 1, "long double"),
    ("x = 1.5L;", 1, 5, "1.5L"),
    ("x = 1e3l + 0x1p3L;", 1, 5, "1e3l"),
    ("x = 0x1p3L;", 1, 5, "0x1p3L"),
    ("_Complex double z;", 1, 1, "tw_complex"),
    ("double complex z;", 1, 8, "tw_complex"),
    ("complex float *z;", 1, 1, "tw_complex"),
    ("x = (double complex)y;", 1, 13, "tw_complex"),
    ("static _Thread_local int x;", 1, 8, "_Thread_local"),
    ("static __thread int x;", 1, 8, "__thread"),
    ("thread_local int x;", 1, 1, "thread_local"),
    ("_Atomic int x; x++;", 1, 17, "atomic_fetch_add"),
    ("_Atomic(int) x, y; ++y;", 1, 20, "'y'"),
    ("atomic_long x = 0; x -= 2;", 1, 22, "'x'"),
    ("int _Atomic x; if (1) ++x;", 1, 23, "'x'"),
    ("_Atomic int *p; (*p)++;", 1, 21, "'p'"),
    ("_Atomic int *p; *p += 1;", 1, 20, "'p'"),
    ("_Atomic int *p; ++*p;", 1, 17, "'p'"),
    ("_Atomic int p[3]; p[x[1]]--;", 1, 26, "'p'"),
    ("struct s { int a; atomic_int b; } s; s.b++;", 1, 41, "'b'"),
    ("struct s { int a; atomic_int b; } s; ++s.b;", 1, 38, "'b'"),
    ("_Alignas(32) int x;", 1, 1, "16 bytes"),
    ("int x __attribute__((__aligned__(64)));", 1, 22, "16 bytes"),
    ('#line 3 "tw:code"\n', 1, 9, "tw:"),
    ('# 3 "tw:x"\n', 1, 5, "tw:"),
    ("x;\n return 3;", 2, 2, "return_val"),
    (" #include <math.h>\n", 1, 2, "headers=["),
]

REFUSED_AT_FILE_SCOPE = [
    ("int f(void) {\n", 1, 13, "'{' is never closed"),
    ("double f(int n, double (*a)[n]) { return 0; }", 1, 24, "a[][n]"),
    ("double f(int n,\n const double (*const restrict b)[3][n+1]);", 2, 15, "b[][n]"),
    ("double f(double (*)[n], int n);", 1, 17, "a[][n]"),
    ("int n;\nvoid f(double (*a)[n]);", 2, 15, "a[][n]"),
    ("void f(_Atomic int *p) { (*p)++; }", 1, 30, "'p'"),
    ("atomic_int n;\nvoid f(void) { n++; }", 2, 17, "'n'"),
    ("void f(void) { _Alignas(64) double x[4]; }", 1, 16, "16 bytes"),
]

# What grows to the right: (before, opening, inner, closing, after).
NESTED = {
    "parentheses": ("x = ", "(", "1", ")", ";"),
    "braces": ("", "{", "", "}", ""),
    "indices": ("x = ", "a[", "0", "]", ";"),
    "mixed": ("x = ", "(a[", "0", "])", ";"),
    "assignments": ("", "a = ", "1;", "", ""),
    "updates": ("", "a += ", "1;", "", ""),
    "conditionals": ("x = ", "a ? b : ", "1;", "", ""),
    "inner conditionals": ("x = ", "a ? ", "0", " : b", ";"),
    "nots": ("x = ", "!", "1;", "", ""),
    "minuses": ("x = ", "- ", "1;", "", ""),
    "dereferences": ("x = ", "*", "p;", "", ""),
    "casts": ("x = ", "(int)", "1;", "", ""),
    "casts of a typedef": ("x = ", "(foo_t)-", "1;", "", ""),
    "pointer casts": ("x = ", "(foo *)&", "a;", "", ""),
    "sizeofs": ("x = ", "sizeof ", "1;", "", ""),
    "ifs": ("", "if (a) ", ";", "", ""),
    "elses": ("", "if (a) ; else ", ";", "", ""),
    "block elses": ("", "if (a) { b; } else ", ";", "", ""),
    "loops": ("", "for (;;) ", ";", "", ""),
    "dimensions": ("int y", "[1]", "", "", ";"),
    "preprocessor": ("#if ", "(", "1", ")", "\n#endif\n"),
    "preprocessor nots": ("#if ", "!", "1", "", "\n#endif\n"),
    "macro bodies": ("#define X ", "(", "1", ")", "\n"),
}

# What may go on for ever: (before, piece, after).
FLAT = [
    ("x = 1", " + -y", ";"),
    ("x = 0", " - (y)", ";"),
    ("x = 0", " - (int)y", ";"),
    ("x = 0", " * (double)y", ";"),
    ("x = 0", " && !y", ";"),
    ("", "a = b; ", ""),
    ("", "a = b ? c : d;", ""),
    ("", "if (a) { b = c; } ", ""),
    ("", "if (a) b = c; else d = e; ", ""),
    ("", "while (a) b = -c;", ""),
    ("", "(*f)(a)[1].b->c(d); ", ""),
    ("f(a", ", b = c", ");"),
    ("switch (x) {", "case 1: ", ";}"),
    ("int a[] = {", "-1, ", "};"),
    ("int a[] = {", "b ? c : d, ", "};"),
    ("", "#if A\nif (x) {\n#else\nif (y) {\n#endif\n}\n", ""),
    ("", "#define A (\n", ""),
]


@pytest.mark.parametrize("text", FINE)
def test_fine(text):
    assert check(text) is None
    assert check(text, snippet=False) is None


@pytest.mark.parametrize("text", FINE_AT_FILE_SCOPE)
def test_fine_at_file_scope(text):
    assert check(text, snippet=False) is None


def assert_refused(spot, line, column, message):
    assert spot is not None
    assert message in spot[2]
    assert spot[:2] == (line, column)


@pytest.mark.parametrize(("text", "line", "column", "message"), REFUSED)
def test_refused(text, line, column, message):
    assert_refused(check(text), line, column, message)


@pytest.mark.parametrize(("text", "line", "column", "message"), REFUSED_AT_FILE_SCOPE)
def test_refused_at_file_scope(text, line, column, message):
    assert_refused(check(text, snippet=False), line, column, message)


def nest(name, count):
    before, opening, inner, closing, after = NESTED[name]
    return before + opening * count + inner + closing * count + after


@pytest.mark.parametrize("name", NESTED)
def test_depth(name):
    assert check(nest(name, 200)) is None
    assert "nested too deeply" in check(nest(name, DEPTH + 1))[2]


@pytest.mark.parametrize("name", ["parentheses", "braces", "casts", "conditionals", "elses", "preprocessor"])
def test_what_passes_libtcc_survives(name):
    declarations = "int a, b, x; void f(void) {\n"
    assert check(nest(name, 240)) is None
    assert compile_text(declarations + nest(name, 240) + "\n}") == []


@pytest.mark.parametrize("name", NESTED)
def test_depth_of_long_texts(name):
    assert "nested too deeply" in check(nest(name, 100_000))[2]


@pytest.mark.parametrize(("before", "piece", "after"), FLAT)
def test_flat(before, piece, after):
    assert check(before + piece * 3000 + after) is None


PIECES = st.sampled_from(
    [*"()[]{}ax;,?:*=.#\n", "<%", "%>", "++", "+=", "32", "if", "else", "enum", "struct", "sizeof", "return "]
    + ["#if A\n", "\n#else\n", "\n#elif B\n", "\n#endif\n", "#if 0\n", "\n#define ", '#line 1 "tw:"\n']
    + [" double", " long", " complex ", "_Alignas(", "_Atomic ", "atomic_int ", "(*a)[n]"]
    + ["void f(int n, double "]
)


@settings(max_examples=1000)
@given(st.lists(PIECES, max_size=40).map("".join), st.booleans())
def test_never_crashes(text, snippet):
    spot = check(text, snippet)
    if spot is not None:
        line, column, message = spot
        assert message
        assert 1 <= line <= text.count("\n") + 1
        assert column >= 1


@settings(max_examples=300)
@given(st.text("(){}[]x;", max_size=30))
def test_brackets_pair_up(text):
    stripped = "".join(c for c in text if c in "(){}[]")
    while True:
        shorter = stripped.replace("()", "").replace("[]", "").replace("{}", "")
        if shorter == stripped:
            break
        stripped = shorter
    assert (check(text) is None) == (stripped == "")
