"""tw.compile: C functions by their prototypes. NumPy is the oracle."""

import gc
import inspect
import itertools
import pathlib
import sys
import weakref

import numpy as np
import pytest

import tinyweave as tw

SMOOTH = """
/* Smooth the interior with a 3x3 window. */
void smooth(int m, int n, const double a[m][n], out double b[m][n])
{
    for (int i = 1; i < m - 1; i++)
        for (int j = 1; j < n - 1; j++)
            b[i][j] = a[i][j] + .5*(a[i-1][j] + a[i+1][j] + a[i][j-1] + a[i][j+1]);
}
"""


def smooth(a):
    b = np.zeros_like(a, order="C")
    b[1:-1, 1:-1] = a[1:-1, 1:-1] + 0.5 * (((a[:-2, 1:-1] + a[2:, 1:-1]) + a[1:-1, :-2]) + a[1:-1, 2:])
    return b


def layouts(a):
    """The same values in other orders, strides, alignments and byte orders."""
    yield "as it is", a
    yield "Fortran", np.asfortranarray(a)
    yield "list", a.tolist()
    yield "byte-swapped", a.astype(a.dtype.newbyteorder())
    wide = np.zeros((*a.shape[:-1], 3 * a.shape[-1]), a.dtype)
    wide[..., ::3] = a
    yield "strided", wide[..., ::3]
    yield "reversed", a[::-1].copy()[::-1]
    memory = np.zeros(a.nbytes + 1, np.uint8)
    odd = memory[1:].view(a.dtype).reshape(a.shape)
    odd[...] = a
    yield "misaligned", odd


# ---- the examples ----


def test_smooth():
    lib = tw.compile(SMOOTH)
    assert np.array_equal(lib.smooth(np.ones((4, 5))), smooth(np.ones((4, 5))))
    with pytest.raises(ValueError) as error:
        lib.smooth(np.ones(4))
    assert str(error.value) == "smooth(): 'a' has 1 dimension, expected 2 (double a[m][n])"


def test_fib():
    lib = tw.compile("long fib(long n) { return n < 2 ? n : fib(n-1) + fib(n-2); }")
    assert lib.fib(30) == 832040


def test_ramp():
    lib = tw.compile("void ramp(int n, out double b[n]) { for (int i = 0; i < n; i++) b[i] = i; }")
    assert np.array_equal(lib.ramp(5), np.arange(5.0))
    with pytest.raises(ValueError, match=r"ramp\(\): 'b' would have n = -1 elements along axis 0"):
        lib.ramp(-1)


def test_scale_in_place():
    lib = tw.compile("void scale(double s, int n, double x[n]) { for (int i = 0; i < n; i++) x[i] *= s; }")
    v = np.arange(6.0)
    assert lib.scale(2.0, v[::2]) is None
    assert np.array_equal(v, [0, 1, 4, 3, 8, 5])


def test_doc():
    doc = tw.compile(SMOOTH).smooth.__doc__
    assert "smooth(a, *, b=None, out=None) -> b" in doc
    assert "void smooth(int m, int n, const double a[m][n], out double b[m][n])" in doc
    assert "Smooth the interior with a 3x3 window." in doc


# ---- arrays ----


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (4, 7), (0, 3), (30, 41)])
def test_layouts(shape):
    a = np.random.default_rng(1).random(shape)
    lib = tw.compile(SMOOTH)
    for name, other in layouts(a):
        if isinstance(other, list) and a.size == 0:
            continue
        assert np.array_equal(lib.smooth(other), smooth(a)), name


C_TYPES = {
    "int8": "signed char", "uint8": "unsigned char", "int16": "short", "uint16": "unsigned short",
    "int32": "int", "uint32": "unsigned", "int64": "long", "uint64": "unsigned long long",
    "float32": "float", "float64": "double", "bool": "_Bool",
}  # fmt: skip


@pytest.mark.parametrize("dtype", C_TYPES)
def test_dtypes(dtype):
    c = C_TYPES[dtype]
    lib = tw.compile(
        f"void copy(int n, const {c} a[n], out {c} b[n]) {{ for (int i = 0; i < n; i++) b[i] = a[i]; }}\n"
        f"{c} first(const {c} *a) {{ return a[0]; }}\n"
        f"{c} same({c} x) {{ return x; }}\n"
    )
    a = np.arange(5).astype(dtype)
    for name, other in layouts(a):
        result = lib.copy(other)
        assert result.dtype == dtype and np.array_equal(result, a), name
    assert lib.first(a[1:]) == a[1] and type(lib.same(a[1].item())) is type(a[1].item())
    assert lib.same(a[1]) == a[1]


def test_inout_layouts():
    lib = tw.compile("""
        void negate(int m, int n, float x[m][n])
        { for (int i = 0; i < m; i++) for (int j = 0; j < n; j++) x[i][j] = -x[i][j]; }
    """)
    for name, x in layouts(np.arange(12, dtype="f4").reshape(3, 4)):
        if isinstance(x, list):
            with pytest.raises(TypeError, match=r"negate\(\): 'x' must be an ndarray"):
                lib.negate(x)
            continue
        before = x.copy()
        lib.negate(x)
        assert np.array_equal(x, -before), name
    with pytest.raises(TypeError, match="float64"):
        lib.negate(np.ones((2, 2)))
    frozen = np.ones((2, 2), "f4")
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        lib.negate(frozen)


def test_unequal_lengths_name_both():
    lib = tw.compile("""
        double dot(int n, const double a[n], const double b[n])
        { double s = 0; for (int i = 0; i < n; i++) s += a[i]*b[i]; return s; }
    """)
    assert lib.dot([1, 2, 3], [4, 5, 6]) == 32
    with pytest.raises(ValueError) as error:
        lib.dot([1, 2, 3], [4, 5])
    assert str(error.value) == "dot(): 'b' has 2 elements along axis 0, n = 3 from 'a' (double b[n])"


def test_dimension_expressions():
    lib = tw.compile("""
        double edges(int n, const double x[n+1], const double y[2*n], const double z[3]) { return n; }
        void pairs(long m, long n, const int a[m][m*n], out long c[n][m]) { c[0][0] = a[0][0]; }
    """)
    assert lib.edges(np.zeros(5), np.zeros(8), np.zeros(3)) == 4
    with pytest.raises(ValueError, match=r"'y' has 7 elements along axis 0, 2\*n = 8"):
        lib.edges(np.zeros(5), np.zeros(7), np.zeros(3))
    with pytest.raises(ValueError, match=r"'z' has 2 elements along axis 0, 3 = 3"):
        lib.edges(np.zeros(5), np.zeros(8), np.zeros(2))
    assert lib.pairs(np.ones((2, 6), int)).shape == (3, 2)
    with pytest.raises(ValueError, match="no n makes that"):
        lib.pairs(np.ones((2, 5), int))


def test_several_results():
    lib = tw.compile("""
        int stats(int n, const double a[n], out double *low, out double *high, out double copy[n])
        {
            if (n == 0) return -1;
            *low = *high = a[0];
            for (int i = 0; i < n; i++) {
                if (a[i] < *low) *low = a[i];
                if (a[i] > *high) *high = a[i];
                copy[i] = a[i];
            }
            return n;
        }""")
    count, low, high, copy = lib.stats([3, 1, 2])
    assert (count, low, high) == (3, 1.0, 3.0) and np.array_equal(copy, [3, 1, 2])
    assert str(inspect.signature(lib.stats)) == "(a, *, copy=None, out=None)"


def test_out():
    lib = tw.compile(SMOOTH)
    a = np.random.default_rng(2).random((5, 6))
    for b in (np.full((5, 6), 9.0), np.full((6, 5), 9.0).T, np.full((5, 12), 9.0)[:, ::2]):
        assert lib.smooth(a, out=b) is b and np.array_equal(b, smooth(a))
        b[...] = 7
        assert lib.smooth(a, b=b) is b and np.array_equal(b, smooth(a))
        assert lib.smooth(a=a, out=(b,)) is b
    assert np.array_equal(lib.smooth(a, out=None), smooth(a))
    with pytest.raises(ValueError, match=r"smooth\(\): 'b' has 4 elements along axis 0, m = 5 from 'a'"):
        lib.smooth(a, out=np.zeros((4, 6)))
    with pytest.raises(TypeError, match="float32"):
        lib.smooth(a, out=np.zeros((5, 6), "f4"))
    with pytest.raises(TypeError, match="both 'out' and 'b'"):
        lib.smooth(a, out=b, b=b)
    with pytest.raises(TypeError, match="'out' must be 1 array"):
        lib.smooth(a, out=(b, b))


def test_overlap_reads_the_old_values():
    lib = tw.compile("""
        void shift(int n, const double a[n], out double b[n])
        { for (int i = 1; i < n; i++) b[i] = a[i - 1]; }
    """)
    for start, end in itertools.product(range(3), repeat=2):
        v = np.arange(10.0)
        a, b = v[start : start + 6], v[end : end + 6]
        expected = np.concatenate([[0], a[:-1]])
        lib.shift(a, out=b)
        assert np.array_equal(b, expected)


def test_two_overlapping_inouts():
    lib = tw.compile("""
        void swap(int n, double a[n], double b[n])
        { for (int i = 0; i < n; i++) { double t = a[i]; a[i] = b[i]; b[i] = t; } }
    """)
    v = np.arange(10.0)
    with pytest.raises(ValueError, match=r"swap\(\): 'a' and 'b' share memory"):
        lib.swap(v[:6], v[4:])
    with pytest.raises(ValueError, match="share memory"):
        lib.swap(v, v)
    lib.swap(v[::2], v[1::2])  # they alternate: nothing is shared
    assert np.array_equal(v, [1, 0, 3, 2, 5, 4, 7, 6, 9, 8])


def test_pointers_take_any_shape():
    lib = tw.compile("""
        double total(const double *p, long n)
        { double s = 0; for (long i = 0; i < n; i++) s += p[i]; return s; }
        void zero(float p[], long n) { for (long i = 0; i < n; i++) p[i] = 0; }
    """)
    assert lib.total(np.ones((2, 3, 4)), 24) == 24
    x = np.ones((3, 4), "f4", order="F")
    lib.zero(x, 12)
    assert not x.any()


# ---- numbers, strings, objects ----


def test_numbers_are_checked():
    lib = tw.compile("int f(int n, float x, unsigned char c) { return n; }")
    assert lib.f(True, 1, 255) == 1
    assert lib.f(np.int8(-3), np.float64(2), np.uint8(0)) == -3
    for bad in ((2**31, 0, 0), (0, 1e300, 0), (0, 0, 256), (0, 0, -1)):
        with pytest.raises(OverflowError, match=r"f\(\): '"):
            lib.f(*bad)
    for bad in ((1.0, 0, 0), ("1", 0, 0), (0, 1j, 0), (0, "1", 0), (None, 0, 0), (0, np.float16(1), 0)):
        with pytest.raises(TypeError, match=r"f\(\): '"):
            lib.f(*bad)


def test_wrong_calls():
    lib = tw.compile(SMOOTH)
    for call, message in (
        (lambda: lib.smooth(), r"smooth\(\) missing required argument: 'a'"),
        (lambda: lib.smooth(1, 2), r"smooth\(\) takes 1 positional argument but 2 were given"),
        (lambda: lib.smooth(1, a=2), r"multiple values for argument 'a'"),
        (lambda: lib.smooth(np.ones((2, 2)), m=2), r"takes no argument 'm': it is inferred"),
        (lambda: lib.smooth(np.ones((2, 2)), x=2), r"unexpected keyword argument 'x'"),
    ):
        with pytest.raises(TypeError, match=message):
            call()


def test_complex():
    lib = tw.compile("""
        tw_complex turn(tw_complex z) { return tw_mul(z, tw_make(0, 1)); }
        tw_complexf same(tw_complexf z) { return z; }
        void conj(int n, tw_complex z[n]) { for (int i = 0; i < n; i++) z[i] = tw_conj(z[i]); }
    """)
    assert lib.turn(1 + 2j) == -2 + 1j and lib.turn(3) == 3j
    assert lib.same(np.complex64(1 + 2j)) == 1 + 2j
    z = np.array([1 + 2j, 3 - 4j])
    lib.conj(z)
    assert np.array_equal(z, [1 - 2j, 3 + 4j])


def test_strings_and_pointers():
    lib = tw.compile("""
        long length(const char *s) { return strlen(s); }
        const char *greeting(int n) { return n ? "hello" : NULL; }
        unsigned char byte(const void *p, int i) { return ((const unsigned char *)p)[i]; }
        void poke(void *p) { *(char *)p = 'x'; }
        int is_null(void *p) { return p == NULL; }
    """)
    assert lib.length("ab\u20ac") == 5 and lib.length(b"abc") == 3
    assert lib.greeting(1) == "hello" and lib.greeting(0) is None
    assert lib.byte(b"abc", 1) == ord("b")
    memory = bytearray(b"abc")
    lib.poke(memory)
    assert memory == b"xbc"
    assert lib.is_null(None) == 1 and lib.is_null(np.zeros(3)) == 0
    with pytest.raises(ValueError, match="NUL"):
        lib.length("a\0b")
    with pytest.raises((TypeError, BufferError)):
        lib.poke(b"abc")


def test_objects():
    lib = tw.compile("""
        PyObject *twice(PyObject *o) { return PyNumber_Add(o, o); }
        PyObject *fail(PyObject *o) { PyErr_SetString(PyExc_KeyError, "no"); return NULL; }
    """)
    assert lib.twice("ab") == "abab" and lib.twice([1]) == [1, 1]
    with pytest.raises(KeyError, match="no"):
        lib.fail(1)
    with pytest.raises(TypeError):
        lib.twice(None)


def test_printf(written):
    tw.compile('void hello(int n) { printf("n is %d\\n", n); }').hello(3)
    assert written.text == "n is 3\n"


# ---- sources ----


def test_static_functions_are_private():
    lib = tw.compile("static int two(void) { return 2; }\nint four(void) { return two() + two(); }")
    assert lib.four() == 4
    with pytest.raises(AttributeError, match="no function 'two'"):
        lib.two  # noqa: B018


def test_words_are_names_elsewhere():
    lib = tw.compile("double f(double out, double inout) { double x = out; return x + inout; }")
    assert lib.f(1, 2) == 3


def test_macros_and_typedefs():
    lib = tw.compile("""
        #define REAL double
        #define ARRAY(name) const REAL name[n]
        #define RESULT out
        typedef REAL number;
        enum { THREE = 3 };
        #if defined(REAL) && THREE_IS_NOT_A_MACRO
        #error "never"
        #else
        number sum(int n, ARRAY(a), const number w[THREE])
        #endif
        { number s = w[0]; for (int i = 0; i < n; i++) s += a[i]; return s; }
        void fill(int n, RESULT number b[n]) { for (int i = 0; i < n; i++) b[i] = 1; }
    """)
    assert lib.sum([1, 2], [3, 0, 0]) == 6
    assert np.array_equal(lib.fill(2), [1, 1])


def test_several_translation_units(tmp_path):
    (tmp_path / "shared.h").write_text("double twice(double x);\n#define SIX 6\n")
    (tmp_path / "one.c").write_text(
        '#include "shared.h"\nstatic int k = 1; int one(void) { return k * SIX; }\n'
    )
    lib = tw.compile([tmp_path / "one.c", "static int k = 2; double twice(double x) { return k * x; }"])
    assert lib.one() == 6 and lib.twice(4) == 8


def test_statics_live_in_the_one_library():
    source = "int count(void) { static int n; return ++n; } /* statics */"
    lib = tw.compile(source)
    assert tw.compile(source) is lib
    assert [lib.count(), tw.compile(source).count()] == [1, 2]
    other = tw.compile(source, force=True)
    assert other is not lib and other.count() == 1 and lib.count() == 3


def test_errors_point_into_the_source(tmp_path):
    with pytest.raises(tw.CompileError) as error:
        tw.compile("int f(int n)\n{\n    return m;\n}")
    assert error.value.lineno == 3 and error.value.text.strip() == "return m;"
    assert error.value.filename.startswith("<compile source, ")
    file = tmp_path / "wrong.c"
    file.write_text("int f(int n)\n{\n    return sqr(n);\n}")
    with pytest.raises(tw.CompileError) as error:
        tw.compile(file)
    assert error.value.filename == str(file) and error.value.lineno == 3
    with pytest.raises(FileNotFoundError):
        tw.compile(tmp_path / "none.c")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "no function"),
        ("static int f(void) { return 1; }", "no function"),
        ("int f(a) int a; { return a; }", "K&R"),
        ("void f(out double b[k]) { }", "'k' in 'double b\\[k\\]'"),
        ("union number { int x; }; void f(union number p) { }", "not in this version"),
        ("double f(int n, ...) { return n; }", r"a function with \.\.\. cannot"),
        ("union s { int a; };\nunion s f(int x) { union s r = {x}; return r; }", "by value is not in"),
        ("int f(int n, ...) { return n; }", r"\.\.\."),
        ("double f(int n, const double x[n]) { return sqrt(x); }", "pointer"),
        ("void f(int n, const double x[n], double s) { s = x; }", "pointer"),
        ('void f(int n) { if (n) tw_raise(PyExc_ValueError, "no"); }', "PyErr_SetString"),
        ("int f(int n", "is never closed"),
        ("int f(int n) { return", "is never closed"),
    ],
)
def test_refused(source, message):
    with pytest.raises(tw.CompileError, match=message):
        tw.compile(source)


def test_a_function_that_cannot_be_called():
    lib = tw.compile(
        "union point { double x; };\nvoid f(union point p) { p.x = 1; }\nint g(void) { return 2; }"
    )
    assert lib.g() == 2
    with pytest.raises(AttributeError, match=r"f\(\): 'p' \(union point p\): this type by value"):
        lib.f  # noqa: B018
    assert not hasattr(lib, "f")


# ---- T ----

AXPY = """
void axpy(T s, int n, const T x[n], T y[n])
{
    for (int i = 0; i < n; i++) y[i] = tw_add(y[i], tw_mul(s, x[i]));
}
"""


@pytest.mark.parametrize("dtype", ["i1", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "c8", "c16"])
def test_generic(dtype):
    lib = tw.compile(AXPY, T="bBhHiIlLfdFD")
    x, y = np.arange(4).astype(dtype), np.ones(4, dtype)
    lib.axpy(3, x, y)
    assert y.dtype == dtype and np.array_equal(y, 3 * x + 1)


def test_generic_is_compiled_once_a_dtype(counts, fresh):
    lib = tw.compile(fresh(AXPY))
    with counts() as c:
        for dtype in ("f4", "f8", "f4", "f8"):
            lib.axpy(1, np.ones(3, dtype), np.ones(3, dtype))
    assert c.compiles == 2


def test_complex_only_when_listed():
    lib = tw.compile("T first(const T *x) { return x[0]; }")
    assert lib.first(np.array([2.5])) == 2.5
    assert lib.first([3]) == 3
    with pytest.raises(TypeError, match="complex128"):
        lib.first([1j])


def test_a_generic_source_may_hold_other_functions():
    lib = tw.compile(
        "T twice(T x) { return x + x; }\nint seven(void) { return 7; }\nlong more(long n) { return n + 1; }"
    )
    assert (lib.seven(), lib.more(2), lib.twice(1.5), lib.twice(2)) == (7, 3, 3.0, 4)


def test_t_may_be_a_name():
    assert tw.compile("double heat(double T) { return 2 * T; }").heat(3) == 6


# ---- templates ----


@pytest.mark.parametrize("dtype", ["i1", "i4", "u8", "i8", "f4", "f8", "c8", "c16"])
def test_add(dtype):
    a, b = np.arange(6).astype(dtype), (np.arange(6) * 2).astype(dtype)
    for name, other in layouts(a):
        result = tw.templates.add(other, b)
        assert np.array_equal(result, a + b), name


def test_add_examples():
    result = tw.templates.add([1, 2, 3], [4, 5, 6])
    assert result.dtype == np.int64 and np.array_equal(result, [5, 7, 9])
    mixed = tw.templates.add(np.ones(3, "f4"), np.ones(3, "i8"))
    assert mixed.dtype == np.float64
    with pytest.raises(ValueError, match=r"add\(\): 'b' has 2 elements along axis 0, n = 3 from 'a'"):
        tw.templates.add([1, 2, 3], [4, 5])


def filter2d(a):
    b = np.zeros(a.shape, a.dtype)
    edges = (a[:-2, 1:-1] + a[2:, 1:-1]) + (a[1:-1, :-2] + a[1:-1, 2:])
    corners = (a[:-2, :-2] + a[:-2, 2:]) + (a[2:, :-2] + a[2:, 2:])
    b[1:-1, 1:-1] = a[1:-1, 1:-1] + (edges / 2 + corners / 4)
    return b


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
def test_filter2d(dtype):
    rng = np.random.default_rng(3)
    a = rng.random((7, 9)).astype(dtype)
    if a.dtype.kind == "c":
        a += 1j * rng.random(a.shape).astype(a.real.dtype)
    for name, other in layouts(a):
        result = tw.templates.filter2d(other)
        if not isinstance(other, list):
            assert result.dtype == dtype
        assert np.allclose(result, filter2d(a), rtol=1e-6), name
    b = tw.templates.filter2d(np.arange(30.0).reshape(5, 6))
    assert np.array_equal(b[1:-1, 1:-1], 4 * np.arange(30.0).reshape(5, 6)[1:-1, 1:-1])
    assert not b[0].any() and not b[:, 0].any() and not b[-1].any() and not b[:, -1].any()


def test_templates_of_ones_own(tmp_path):
    (tmp_path / "mine.c").write_text("T mine(T x) { return x + 1; }")
    tw.templates.path.append(tmp_path)
    try:
        assert tw.templates.mine(2) == 3 and "mine" in dir(tw.templates)
        assert tw.compile(pathlib.Path(tmp_path / "mine.c")).mine(2.5) == 3.5
    finally:
        tw.templates.path.remove(tmp_path)
    with pytest.raises(AttributeError, match="no template 'nothing'"):
        tw.templates.nothing  # noqa: B018


# ---- references ----


def test_references_are_given_back():
    lib = tw.compile(SMOOTH)
    a = np.ones((4, 4))
    odd = np.ones((8, 4))[::2]
    before = sys.getrefcount(a), sys.getrefcount(odd)
    for _ in range(100):
        lib.smooth(a)
        lib.smooth(odd, out=a)
        for bad in (np.ones(3), "x", np.ones((2, 2), "c16")):
            with pytest.raises((TypeError, ValueError)):
                lib.smooth(bad, out=a)
    assert (sys.getrefcount(a), sys.getrefcount(odd)) == before


def test_old_libraries_go():
    first = weakref.ref(tw.compile("int f(void) { return 1; } /* goes */"))
    for i in range(130):
        tw.compile(f"int f(void) {{ return {i}; }} /* others */")
    gc.collect()
    assert first() is None


def test_a_function_keeps_its_library():
    f = tw.compile("int f(void) { return 7; } /* kept */").f
    tw.cache.clear()
    gc.collect()
    assert f() == 7


# ---- what went wrong once ----


def test_headers_that_change(tmp_path):
    header = tmp_path / "h.h"
    header.write_text("#define K 1\n")
    plain = '#include "h.h"\nint k(void) { return K; }'
    generic = '#include "h.h"\n#if K == 1\nT a(T x) { return x + 1000; }\n#endif\nT f(T x) { return x * 2; }'
    lib = tw.compile(generic, include_dirs=[tmp_path])
    assert tw.compile(plain, include_dirs=[tmp_path]).k() == 1
    assert lib.f(2.0) == 4
    header.write_text("#define K 2\n")
    assert tw.compile(plain, include_dirs=[tmp_path]).k() == 2
    with pytest.raises(RuntimeError, match="compile the source again"):
        lib.f(np.float32(2))
    assert tw.compile(generic, include_dirs=[tmp_path]).f(np.float32(2)) == 4


def test_too_many_dimensions():
    with pytest.raises(tw.CompileError, match="at most 64 dimensions"):
        tw.compile("void f(out double b" + "[1]" * 70 + ") { }")


def test_force_leaves_the_shared_library_alone():
    source = "int count(void) { static int n; return ++n; } /* force */"
    lib = tw.compile(source)
    lib.count()
    assert tw.compile(source, force=True).count() == 1
    assert tw.compile(source) is lib and lib.count() == 2


def test_an_object_returned_with_an_exception_set():
    lib = tw.compile("""
        PyObject *f(PyObject *o) { PyErr_SetString(PyExc_KeyError, "k"); Py_INCREF(o); return o; }
    """)
    o = object()
    before = sys.getrefcount(o)
    for _ in range(10):
        with pytest.raises(KeyError):
            lib.f(o)
    assert sys.getrefcount(o) == before


def test_prototypes_speak_for_their_definitions():
    lib = tw.compile("""
        static double g(double x);
        void fill(int n, out double b[n]);
        double g(double x) { return 2 * x; }
        void fill(int n, double b[n]) { for (int i = 0; i < n; i++) b[i] = g(i); }
    """)
    assert not hasattr(lib, "g")
    assert np.array_equal(lib.fill(3), [0, 2, 4])


def test_a_byte_order_mark():
    assert tw.compile("\ufeffint f(void) { return 3; }").f() == 3


def test_a_parameter_called_out():
    f = tw.compile("void f(out double out[3]) { out[0] = 1; }").f
    assert str(inspect.signature(f)) == "(*, out=None)"
    assert f()[0] == 1


def test_ragged_lists_name_the_parameter():
    f = tw.compile("double f(int n, const double a[n]) { return n; }").f
    with pytest.raises(ValueError, match=r"f\(\): 'a' makes no array: .*inhomogeneous"):
        f([[1, 2], [3]])


def test_an_array_that_is_too_large():
    f = tw.compile("void f(long n, out double a[n][n]) { }").f
    with pytest.raises(ValueError, match=r"f\(\): 'a' cannot be made: array is too big"):
        f(2**40)


def test_nothing_tells_the_type():
    source = "T zero(void) { return 0; } void fill(int n, out T a[n]) { } void one(out T *x) { *x = 1; }"
    lib = tw.compile(source, T="f")
    assert lib.zero() == 0
    assert lib.fill(2).dtype == np.float32
    assert lib.one() == 1
    lib = tw.compile(source, T="df")
    for function in lib.zero, lib.one:
        with pytest.raises(TypeError, match=r'no argument tells what T is: compile .* T="d"'):
            function()
    with pytest.raises(TypeError, match="no argument tells what T is: pass out="):
        lib.fill(2)
