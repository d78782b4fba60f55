"""tw.gufunc: C functions of arrays as NumPy's generalized ufuncs, against NumPy and np.vectorize."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from test_references import no_growth

import tinyweave as tw

MATVEC = """
/* A matrix times a vector. */
void matvec(int m, int n, const T a[m][n], const T x[n], out T y[m])
{
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) y[i] += a[i][j] * x[j];
}"""
matvec = tw.gufunc(MATVEC, T="fd")

CONVOLVE = """
void convolve(int n, int m, const double a[n], const double b[m], out double c[n+m-1])
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < m; j++) c[i + j] += a[i] * b[j];
}"""

# NumPy 2.0 has no way to compute the size of an output.
computes_sizes = pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.1.0", reason="needs NumPy 2.1")

dot = tw.gufunc("""
double dot(int n, const double a[n], const double b[n], double scale, out int *count)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += a[i] * b[i];
    *count = n;
    return sum * scale;
}""")


def random(*shape):
    return np.random.default_rng(len(shape)).integers(-9, 9, shape).astype(float)


# ---- What it is ----


def test_is_a_gufunc():
    assert type(matvec) is np.ufunc
    assert matvec.__name__ == "matvec"
    assert matvec.signature == "(m,n),(n)->(m)"
    assert matvec.types == ["ff->f", "dd->d"]
    first, *rest = matvec.__doc__.split("\n\n")
    assert first.startswith("matvec(x1, x2, /, out=None, ")
    assert rest == [
        "void matvec(int m, int n, const T a[m][n], const T x[n], out T y[m])",
        "A matrix times a vector.",
    ]


@pytest.mark.parametrize(
    ("parameters", "signature"),
    [
        ("int n, const double a[n], out double b[n]", "(n)->(n)"),
        ("int n, out double b[n], const double a[n]", "(n)->(n)"),
        ("const double a[3], out double b[3]", "(3)->(3)"),
        ("int n, const double a[2*3][n], out double b[n][2]", "(6,n)->(n,2)"),
        ("int n, const double a[n][n], out double *q", "(n,n)->()"),
        ("int n, const double a[n], double s, out double *q, out long b[n]", "(n),()->(),(n)"),
        ("int n, const double a[static n], out double b[restrict n]", "(n)->(n)"),
        ("int é, int d0, const double a[é][d0], out double b[é]", "(d1,d0)->(d1)"),  # NumPy reads ASCII
    ],
)  # fmt: skip
def test_signatures(parameters, signature):
    assert tw.gufunc(f"void f({parameters}) {{ }}", T="d").signature == signature


def test_names_that_numpy_cannot_read():
    f = tw.gufunc("int f(int n$, int é, const double a[n$], const double b[é]) { return 10 * n$ + é; }")
    assert f.signature == "(d0),(d1)->()"
    assert f(np.zeros(3), np.zeros(4)) == 34


def test_a_result_is_the_first_output():
    assert dot.signature == "(n),(n),()->(),()"
    assert dot.types == ["ddd->di"]
    assert dot([1, 2], [3, 4], 2) == (22, 2)
    product, count = dot([[1, 2], [3, 4]], [3, 4], [1, 2])
    assert product.tolist() == [11, 50]
    assert count.tolist() == [2, 2]
    assert count.dtype == np.intc


def test_prototypes_apart():
    f = tw.gufunc(
        "void add(double *a, const double *b, long n) { for (long i = 0; i < n; i++) a[i] += b[i]; }",
        declare="void add(out double a[n], const double b[n], long n);",
    )
    assert f.signature == "(n)->(n)"
    assert f([1, 2]).tolist() == [1, 2]
    g = tw.gufunc(
        "double first(const double *a) { return a[0]; }", declare="double first(const double a[k]);"
    )
    assert g.signature == "(k)->()"
    assert g([[3, 4], [5, 6]]).tolist() == [3, 5]


# ---- Results ----


def layouts(a):
    """Arrays that equal `a`, and lie in memory in different ways."""
    wide = np.zeros((*a.shape, 3))
    wide[..., 1] = a
    unaligned = np.frombuffer(b"x" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape)
    flipped = a[..., ::-1].copy()[..., ::-1]
    return [a, np.asfortranarray(a), wide[..., 1], unaligned, a.astype(">f8"), a.astype("f4"), flipped]


@pytest.mark.parametrize("shape", [(4, 3), (1, 1), (1, 5), (5, 1), (2, 4, 3), (2, 1, 4, 3), (33, 65)])
def test_layouts(shape):
    a, x = random(*shape), random(shape[-1])
    for one in layouts(a):
        for two in layouts(x):
            np.testing.assert_array_equal(matvec(one, two), a @ x)
    backwards = a[..., ::-1, ::-1]
    np.testing.assert_array_equal(matvec(backwards, x[::-1]), backwards @ x[::-1])
    swapped = np.moveaxis(a, -1, 0)
    np.testing.assert_array_equal(matvec(np.moveaxis(swapped, 0, -1), x), a @ x)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (0, 4, 3), (2, 0, 3), (2, 3, 0)])
def test_no_elements(shape):
    a, x = random(*shape), random(shape[-1])
    np.testing.assert_array_equal(matvec(a, x), a @ x)


@settings(max_examples=60, deadline=None)
@given(
    st.data(),
    hnp.mutually_broadcastable_shapes(signature="(m,n),(n)->(m)", max_dims=3, min_side=0, max_side=4),
    st.sampled_from(["f8", "f4", ">f8", "i2"]),
)
def test_broadcasting(data, shapes, dtype):
    elements = st.integers(-50, 50)
    a, x = (data.draw(hnp.arrays(dtype, shape, elements=elements)) for shape in shapes.input_shapes)
    expected = np.vectorize(lambda a, x: a @ x, signature="(m,n),(n)->(m)", otypes="d")
    result = matvec(a, x)
    assert result.shape == shapes.result_shape
    if result.size:
        np.testing.assert_array_equal(result, expected(a, x))


def test_out():
    a, x = random(2, 3, 4), random(4)
    for out in [
        np.full((2, 3), 7.0),
        np.full((2, 6), 7.0)[:, ::2],
        np.full((3, 2), 7.0).T,
        np.full((2, 3), 7, "f4"),
    ]:
        assert matvec(a, x, out=out) is out
        np.testing.assert_array_equal(out, a @ x)
    shared = np.full((2, 6), 7.0)
    matvec(a, x, out=shared[:, ::2])
    assert (shared[:, 1::2] == 7).all()


def test_an_out_that_is_an_input():
    reverse = tw.gufunc("""
        void f(int n, const double a[n], out double b[n])
        {
            for (int i = 0; i < n; i++) b[i] = a[n - 1 - i];
        }""")
    a = np.arange(6.0)
    assert reverse(a, out=a).tolist() == [5, 4, 3, 2, 1, 0]
    a = np.arange(6.0)
    reverse(a[::2], out=a[::2])
    assert a.tolist() == [4, 1, 2, 3, 0, 5]
    a = np.arange(8.0).reshape(2, 4)
    reverse(a[:, :3], out=a[:, 1:])
    assert a.tolist() == [[0, 2, 1, 0], [4, 6, 5, 4]]


def test_outs_are_zero_at_the_start():
    f = tw.gufunc(
        "void f(int n, const int a[n], out double b[n], out short *q) { if (n > 1) b[0] = *q = n; }"
    )
    b, q = f(np.ones((2, 3), "i4"), out=(np.full((2, 6), 9.0)[:, ::2], None))
    assert b.tolist() == [[3, 0, 0]] * 2
    assert f(np.ones(1, "i4"))[1] == 0


def test_axes():
    a, b = random(3, 4, 2), random(3, 4, 2)
    axis = dot(a, b, 1, axis=1)[0]
    np.testing.assert_array_equal(axis, (a * b).sum(1))
    total = tw.gufunc(
        "T f(int n, const T a[n]) { T s = 0; for (int i = 0; i < n; i++) s += a[i]; return s; }", T="dl"
    )
    np.testing.assert_array_equal(total(a, axis=1, keepdims=True), a.sum(1, keepdims=True))
    assert total([1, 2, 3]) == 6
    moved = matvec(a, random(4), axes=[(2, 1), (0,), (0,)])
    np.testing.assert_array_equal(moved, np.einsum("ijk,j->ki", a, random(4)))


def test_constant_extents():
    cross = tw.gufunc(
        """
        void cross(const T a[3], const T b[3], out T c[3])
        {
            for (int i = 0; i < 3; i++) c[i] = a[(i+1)%3] * b[(i+2)%3] - a[(i+2)%3] * b[(i+1)%3];
        }""",
        T="ld",
    )
    a, b = random(5, 3), random(3)
    np.testing.assert_array_equal(cross(a, b), np.cross(a, b))
    assert cross([1, 0, 0], [0, 1, 0]).dtype == np.dtype("l")
    with pytest.raises(ValueError, match="mismatch in its core dimension 0"):
        cross([1, 2], [3, 4])


@computes_sizes
def test_expressions():
    convolve = tw.gufunc(CONVOLVE)
    assert convolve.signature == "(n),(m)->(d0)"
    names = tw.gufunc(
        "void f(int d0, int n, const T a[d0][n], out T b[d0*n], out T c[n*d0], out T d[d0*n][d0]) { }", T="d"
    )
    assert names.signature == "(d0,n)->(d1),(d2),(d1,d0)"
    a, b = random(2, 7), random(3)
    np.testing.assert_array_equal(convolve(a, b), [np.convolve(row, b) for row in a])
    out = np.full((2, 18), 5.0)
    convolve(a, b, out=out[:, ::2])
    np.testing.assert_array_equal(out[:, ::2], [np.convolve(row, b) for row in a])
    with pytest.raises(ValueError, match=r"convolve\(\): 'out' has 8 elements along an axis of n\+m-1 = 9"):
        convolve(a, b, out=np.zeros((2, 8)))
    with pytest.raises(
        ValueError, match=r"convolve\(\): an out has the extent n\+m-1, which is no size here"
    ):
        convolve([], [])
    halves = tw.gufunc("void f(int n, const int a[n], out int b[n/2], out int c[n-n/2], out int d[1/n]) { }")
    assert [r.shape for r in halves(np.zeros((4, 7), "i4"))] == [(4, 3), (4, 4), (4, 0)]
    with pytest.raises(ValueError, match="no size here"):
        halves(np.zeros((4, 0), "i4"))


def test_sizes_that_do_not_fit():
    f = tw.gufunc("short f(short n, const signed char a[n]) { return n; }")
    assert f(np.zeros(32767, "i1")) == 32767
    with pytest.raises(OverflowError, match=r"f\(\): n = 32768 is too large for 'short n'"):
        f(np.zeros(32768, "i1"))


@pytest.mark.parametrize("c_type", ["int", "long", "size_t", "short", "unsigned char", "long long"])
def test_types_of_sizes(c_type):
    f = tw.gufunc(f"double f({c_type} n, {c_type} m, const float a[m][n]) {{ return 1000.0 * n + m; }}")
    assert f(np.zeros((2, 5, 7), "f4")).tolist() == [7005, 7005]


def test_bool():
    f = tw.gufunc("""
        void f(int n, const _Bool a[n], _Bool flip, out _Bool c[n], out _Bool *any)
        {
            for (int i = 0; i < n; i++) { c[i] = a[i] ^ flip; *any |= c[i]; }
        }""")
    c, any_of = f([True, False], [[True], [False]][0])
    assert c.tolist() == [[False, True]]
    assert any_of.tolist() == [True]
    assert f([True, True], np.array([2], "u1").view(bool))[0].view("u1").tolist() == [[0, 0]]


def test_complex():
    vdot = tw.gufunc(
        "T f(int n, const T a[n], const T b[n]) { T sum = {0};"
        " for (int i = 0; i < n; i++) sum = tw_add(sum, tw_mul(tw_conj(a[i]), b[i])); return sum; }",
        T="fdFD",
    )
    a, b = random(4, 3) + 1j, random(3) - 2j
    np.testing.assert_array_equal(vdot(a, b), (a.conj() * b).sum(1))
    np.testing.assert_array_equal(vdot(a.T[::-1].T, b.real), (a[:, ::-1].conj() * b.real).sum(1))
    assert vdot(np.float32([1]), np.float32([2])).dtype == np.float32


def test_types():
    x = np.ones(3, "f4")
    assert matvec(np.ones((2, 3), "f4"), x).dtype == np.float32
    assert matvec(np.ones((2, 3), "i4"), x).dtype == np.float64
    assert matvec([[1, 2]], [3, 4]).tolist() == [11]
    with pytest.raises(TypeError, match="ufunc 'matvec' not supported for the input types"):
        matvec(np.ones((2, 3), complex), x)
    two = tw.gufunc("void f(int n, const T a[n], U s, out T b[n]) { b[0] = a[0] * s; }", T="fd", U="il")
    assert two.types == ["fi->f", "fl->f", "di->d", "dl->d"]
    assert two(np.float32([2]), 3).tolist() == [6]


def test_several_sources():
    f = tw.gufunc(
        [
            "double twice(double a) { return 2 * a; }",
            "double twice(double); double f(int n, const double a[n]) { return twice(a[0]); }",
        ],
        name="f",
    )
    assert f([[3, 4], [5, 6]]).tolist() == [6, 10]


def test_numbers_alone():
    """NumPy has no signature for these: it is an ordinary ufunc."""
    f = tw.gufunc("void f(double a, _Bool flip, out double *q) { *q = flip ? -a : a; }")
    assert f.signature is None
    a = np.arange(4.0)
    assert f(a, [[True], [False]]).tolist() == [[-0.0, -1, -2, -3], [0, 1, 2, 3]]
    assert f(a[::2], True, out=a[::2]) is not None
    assert a.tolist() == [0, 1, -2, 3]


def test_no_reductions():
    with pytest.raises(RuntimeError, match="signature"):
        matvec.reduce(np.ones((2, 2)))


def test_shapes_that_do_not_fit():
    for a, x, message in [
        (random(3, 4), random(3), "mismatch in its core dimension 0"),
        (random(4), random(4), "does not have enough dimensions"),
        (random(2, 3, 4), random(3, 4), "could not be broadcast together"),
    ]:
        with pytest.raises(ValueError, match=message):
            matvec(a, x)


# ---- Errors in C ----


def test_floating_point_errors():
    f = tw.gufunc("double share(int n, const double a[n]) { return a[0] / n; }")
    with pytest.warns(RuntimeWarning, match="divide by zero encountered in share"):
        tw.gufunc("double share(int n, const double a[n]) { return 1 / a[0]; }")(np.zeros((3, 2)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert f([3.0, 1.0]) == 1.5


@pytest.fixture(scope="module")
def strict():
    return tw.gufunc(
        'double strict(int n, const double a[n]) { if (a[0] > 3) PyErr_SetString(PyExc_KeyError, "large");'
        " return a[0]; }"
    )


def test_exceptions(strict):
    a = np.arange(10.0).reshape(5, 2)
    for values in [a, a[:, ::-1], np.asfortranarray(a), a[2:], np.broadcast_to(a[3], (9, 9, 2))]:
        with pytest.raises(KeyError, match="large"):
            strict(values)
    assert strict(a[:2]).tolist() == [0, 2]


def test_prints(written):
    f = tw.gufunc(r'int f(int n, const int a[n]) { printf("%d of %d\n", a[0], n); return 0; }')
    print("before")
    f(np.arange(6, dtype="i4").reshape(3, 2))
    print("after")
    assert written.text == "before\n0 of 2\n2 of 2\n4 of 2\nafter\n"


def test_memory_that_is_out():
    f = tw.gufunc("double f(long n, const double a[n]) { return 0; }")
    huge = np.lib.stride_tricks.as_strided(np.zeros(1), (1, 2**58), (0, 0))
    with pytest.raises(MemoryError):
        f(huge)


# ---- Refusals ----


@pytest.mark.parametrize(
    ("prototype", "message"),
    [
        (
            "void f(int n, double a[n])",
            "'a' (double a[n]): C may change it in place: write const for an array that is",
        ),
        ("void f(int n, inout double a[n])", "'a' (double a[n]): C may change it in place"),
        (
            "double f(int n, const double *a)",
            "'a' (double *a): nothing tells its extent: write the dimensions",
        ),
        ("double f(const double a[])", "'a' (double a[]): nothing tells its extent"),
        ("double f(double *a)", "'a' (double *a): C may change it in place"),
        ("double f(const double (*a)[3])", "'a' (double (*a)[3]): nothing tells its first extent"),
        ("void f(int n, out double b[n])", "'b' (double b[n]): nothing tells the size 'n'"),
        ("void f(int n, int m, const int a[n], out double b[n+m])", "nothing tells the size 'm'"),
        ("void f(int n, int m, const int a[n], out double b[m])", "nothing tells the size 'm'"),
        (
            "double f(int n, const double a[n+1])",
            "'n+1' in 'double a[n+1]': NumPy knows no such dimension of an input",
        ),
        (
            "double f(int n, const int b[n], const double a[2*n])",
            "'2*n' in 'double a[2*n]': NumPy knows no such",
        ),
        ("double f(const double a[0])", "'0' in 'double a[0]': an extent must be positive"),
        ("double f(const double a[2-3])", "'2-3' in 'double a[2-3]': an extent must be positive"),
        ("void f(int n, const double a[n])", "it gives nothing"),
        ("int *f(int n, const double a[n])", "its result (int *) is no number"),
        ("double f(int n, const double a[n], const char *s)", "'s' (char *s): a string is no operand"),
        ("double f(int n, const double a[n], void *p)", "'p' (void *p): a pointer is no operand"),
        (
            "double f(int n, const double a[n], PyObject *o)",
            "'o' (PyObject *o): a Python object is no operand",
        ),
        (
            "double f(int n, const double a[n], double (*g)(double))",
            "'g' (double (*g)(double)): a function is no",
        ),
    ],
)
def test_refused_functions(prototype, message):
    with pytest.raises(tw.CompileError) as error:
        tw.gufunc(f"\n{prototype} {{ }}")
    assert "f(): " in str(error.value)
    assert message in str(error.value)
    assert error.value.lineno == 2
    assert error.value.filename.startswith("<gufunc source, ")


def test_wrong_keywords():
    with pytest.raises(TypeError, match=r"gufunc\(\) got an unexpected keyword argument 'identity'"):
        tw.gufunc(MATVEC, identity=0)
    with pytest.raises(TypeError, match=r"gufunc\(\) takes no 'debug'"):
        tw.gufunc(MATVEC, debug=True)
    with pytest.raises(TypeError, match=r"gufunc\(\) missing required argument: 'source'"):
        tw.gufunc()
    with pytest.raises(tw.CompileError, match="is no parameter of the function"):
        tw.gufunc("void f(int n, out double b[m]) { }")


# ---- Life ----


@computes_sizes
def test_making_and_calling_leaves_nothing(strict):
    a, x = random(5, 3, 4).transpose(0, 2, 1), random(3)

    def work():
        f = tw.gufunc(CONVOLVE)
        f(a, x)
        f(a[..., 0], x, out=np.zeros((5, 12))[:, ::2])
        matvec(a, x)
        for wrong in (lambda: f([], []), lambda: strict(a + 100)):
            with pytest.raises((ValueError, KeyError)):
                wrong()

    work()
    with no_growth(a, x):
        for _ in range(100):
            work()


def test_alive_after_a_clear(fresh):
    f = tw.gufunc(fresh(MATVEC), name="renamed", doc="Words.")
    tw.cache.clear()
    assert f([[1, 2]], [3, 4]).tolist() == [11]
    assert f.__name__ == "renamed"
    assert f.__doc__.endswith("\n\nWords.")
