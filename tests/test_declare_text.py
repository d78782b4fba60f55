"""The texts of declare= (declarations_read_declare)."""

import ctypes

import native_library
import pytest

library = native_library.load()
library.declaration_declare.argtypes = (ctypes.py_object,)
library.declaration_declare.restype = ctypes.py_object


def read(text):
    return library.declaration_declare(text.encode())


@pytest.mark.parametrize(
    ("text", "expected", "out"),
    [
        ("void smooth(const double a[m][n], out double b[m][n], int m, int n);", None, None),
        ("void f(double a[k], out double b[2*k + other]);", None, None),
        ("double (*table(int n))[n];", None, None),
        ("out double (*table(int n))[n];", "double (*table(int n))[n]", "out"),
        ("out double *f(int n);", "double *f(int n)", "out"),
        ("extern out const double *f(void);", "const double *f(void)", "out"),
        ("const out T *f(T a);", "const T *f(T a)", "out"),
        ("out struct s *f(void);", "struct s *f(void)", "out"),
        ("void g(int (*compare)(out double *x, inout int n[n]), int n);", None, None),
        ("#ifdef __cplusplus\nextern \"C\" {\n#endif\nint f(int);\n#ifdef __cplusplus\n}\n#endif\n",
         "int f(int)", None),
        ("#define ARGUMENTS (int n, double a[n])\nint f ARGUMENTS;", "int f(int n, double a[n])", None),
        ("typedef double out; out *f(void);", "double *f(void)", None),
        ("int out(int out);", None, None),
        ("double out, *inout;", "double *inout", None),
    ],
)  # fmt: skip
def test_declarations(text, expected, out):
    assert read(text)[-1] == (expected or text[:-1], out)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("\ninout double *f(int n);", 2,
         "'inout' in front of 'f': what a function returns is 'out' or nothing"),
        ("out double x;", 1, "'out' in front of 'x', which is no function"),
        ("typedef out double *f(void);", 1, "'out' in front of 'f', which is no function"),
        ("out out double *f(void);", 1, "'out' behind 'out': a parameter takes one of them"),
        ('\nextern "C" { int f(int); }', 2, "'extern \"C\"' is C++, and this is C"),
        ("int f(a, b)\nint a; double b; { }", 1,
         "'int f(a, b)' is a K&R definition: give the types in the parameter list"),
        ("\nDECLARE(double, f);", 2, "'DECLARE(...)' has no type, and no macro of that name is defined here"),
        ("int f(int &x);", 1, "expected ',' or ')', found '&'; references are C++"),
        ("int f(int a : 3);", 1, "expected ',' or ')', found ':'"),
        ("double *f(int n)[n];", 1, "'f' returns an array"),
    ],
)  # fmt: skip
def test_refusals(text, line, message):
    result = read(text)
    assert isinstance(result, tuple), result
    assert (result[0], result[2]) == (line, message)


def test_out_in_front_is_for_declare_alone():
    library.declaration_unit.argtypes = (ctypes.py_object,)
    library.declaration_unit.restype = ctypes.py_object
    assert library.declaration_unit(b"out double *f(void);")[0] == 1
