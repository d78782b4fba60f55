"""tw.ufunc: C functions as NumPy ufuncs, against NumPy's own functions and np.frompyfunc."""

import copy
import ctypes
import gc
import itertools
import math
import operator
import pickle
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from test_references import no_growth

import tinyweave as tw

ALL = "bBhHiIlLqQfd"

add = tw.ufunc("/* The sum. */\nT add(T a, T b) { return a + b; }", identity=0)
add_all = tw.ufunc("T add_all(T a, T b) { return tw_add(a, b); }", T=ALL + "FD", identity=0)
fused = tw.ufunc("double fused(double a, double b, double c) { return a * b + c; }")
split = tw.ufunc("double split(double a, out double *whole, out int *sign) {"
                 " *whole = floor(a); *sign = a < 0 ? -1 : a > 0; return a - floor(a); }")  # fmt: skip


@pytest.fixture(scope="module")
def strict():
    """Raises a KeyError above 10, with Python's API."""
    return tw.ufunc(
        "double strict(double a, double b) {"
        ' if (a + b > 10) PyErr_Format(PyExc_KeyError, "%d", (int)(a + b)); return a + b; }',
        identity=0,
    )


def arrays_of(dtype, n=12):
    """Arrays with the same values that lie in memory in different ways."""
    plain = (np.arange(n) % 7 + 1).astype(dtype)
    strided = np.repeat(plain, 3)[::3]
    unaligned = np.frombuffer(b"x" + plain.tobytes(), np.uint8)[1:].view(dtype)
    swapped = plain.astype(plain.dtype.newbyteorder())
    wide = np.zeros((n, 4), dtype)
    wide[:, 2] = plain
    readonly = plain.copy()
    readonly.flags.writeable = False
    return [plain, strided, plain[::-1].copy()[::-1], unaligned, swapped, wide[:, 2], readonly]


# ---- What it is ----


def test_is_a_ufunc():
    assert type(add) is np.ufunc
    assert (add.nin, add.nout, add.nargs, add.ntypes) == (2, 1, 3, 12)
    assert add.__name__ == "add"
    assert add.signature is None
    assert repr(add) == "<ufunc 'add'>"
    assert add.types == [f"{c}{c}->{c}" for c in ALL]


def test_docstring():
    first, *rest = add.__doc__.split("\n\n")
    assert first.startswith("add(x1, x2, /, out=None, ")
    assert rest == ["T add(T a, T b)", "The sum."]


def test_name_and_doc():
    other = tw.ufunc("double f(double a) { return a; }", name="other", doc="Words, ünïcode.")
    assert other.__name__ == "other"
    assert other.__doc__.endswith("\n\nWords, ünïcode.")
    assert other(2) == 2


def test_a_name_picks():
    source = """
        double one(double a) { return 1; }
        double two(double a) { return 2; }
        static int three(void) { return 3; }"""
    assert tw.ufunc(source, name="two")(0) == 2
    assert tw.ufunc(source, name="one")(0) == 1
    with pytest.raises(
        ValueError, match=r"functions \['one', 'two'\]: pick one by 'name', or make the others static"
    ):
        tw.ufunc(source)
    with pytest.raises(
        ValueError, match=r"'name' is 'six', but the source has the functions \['one', 'two'\]"
    ):
        tw.ufunc(source, name="six")


def test_static_helpers():
    f = tw.ufunc(
        "static double twice(double a) { return 2 * a; } double f(double a) { return twice(a) + 1; }"
    )
    assert f(3) == 7


def test_sources(tmp_path):
    path = tmp_path / "f.c"
    path.write_text('#include "f.h"\ndouble f(double a) { return a * FACTOR; }\n')
    (tmp_path / "f.h").write_text("#define FACTOR 3\n")
    assert tw.ufunc(path)(2) == 6
    two = [
        "double helper(double a) { return a + 1; }",
        "double helper(double); double f(double a) { return helper(a); }",
    ]
    assert tw.ufunc(two, name="f")(2) == 3
    assert tw.ufunc("double f(double a) { return a + K; }", define_macros={"K": 4})(1) == 5
    assert (
        tw.ufunc(
            "double f(double a) { return gsl(a); }", headers=["<math.h>"], define_macros={"gsl": "sqrt"}
        )(9)
        == 3
    )


def test_a_function_of_a_library():
    erf = tw.ufunc(declare="double erf(double x);", libraries=["m"])
    assert erf(np.array([0.0, 0.5])).tolist() == [0, math.erf(0.5)]


def test_macros_of_the_user():
    f = tw.ufunc("#define int long\n#define char short\nint f(int a) { return sizeof(int); }")
    assert f(1) == 8
    assert f.types == ["l->l"]


# ---- Results ----


@pytest.mark.parametrize("letter", ALL + "FD")
def test_every_dtype(letter):
    for a in arrays_of(letter):
        for b in arrays_of(letter):
            result = add_all(a, b)
            assert result.dtype == np.dtype(letter)
            np.testing.assert_array_equal(result, np.add(a, b))
        np.testing.assert_array_equal(add_all(a, a[3]), a + a[3])
        np.testing.assert_array_equal(add_all(a[3], a), a + a[3])


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 7, 8, 100, 10_001])
def test_every_size(n):
    a, b, c = np.random.default_rng(n).random((3, n))
    expected = np.frompyfunc(lambda a, b, c: a * b + c, 3, 1)(a, b, c).astype(float)
    np.testing.assert_array_equal(fused(a, b, c), expected)
    out = np.full(2 * n, -1.0)
    assert fused(a, b, c, out=out[::2]).base is out
    np.testing.assert_array_equal(out[::2], expected)
    assert (out[1::2] == -1).all()


numbers = st.floats(-1e6, 1e6, width=32)


@settings(max_examples=60, deadline=None)
@given(
    st.data(),
    hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=4, max_side=4),
    st.sampled_from(["f4", "f8", ">f8", "i2", "u1"]),
    st.sampled_from("CFKA"),
)
def test_broadcasting(data, shapes, dtype, order):
    values = st.integers(0, 100) if np.dtype(dtype).kind in "iu" else numbers
    operands = [data.draw(hnp.arrays(dtype, shape, elements=values)) for shape in shapes.input_shapes]
    operands[0] = operands[0][..., ::-1] if operands[0].ndim else operands[0]
    a, b, c = operands
    result = fused(a, b, c, order=order)
    np.testing.assert_array_equal(result, a.astype(float) * b.astype(float) + c.astype(float))
    assert np.shape(result) == shapes.result_shape


@settings(max_examples=40, deadline=None)
@given(hnp.arrays("f8", hnp.array_shapes(max_dims=1, max_side=30), elements=st.floats()), st.integers(1, 3))
def test_bits(a, step):
    """Any bits pass through: NaNs, infinities, zeros with a sign."""
    same = tw.ufunc("double same(double a) { return a; }")
    assert same(a[::step]).tobytes() == a[::step].tobytes()


def test_several_outputs():
    a = np.array([-1.5, 0.0, 2.25])
    fraction, whole, sign = split(a)
    assert fraction.tolist() == [0.5, 0, 0.25]
    assert whole.tolist() == [-2, 0, 2]
    assert sign.tolist() == [-1, 0, 1]
    assert sign.dtype == np.intc
    assert split.types == ["d->ddi"]
    out = np.empty(3), None, np.empty(3, "i8")
    results = split(a, out=out)
    assert results[0] is out[0]
    assert results[2] is out[2]
    assert out[2].tolist() == [-1, 0, 1]
    assert split(2.5) == (0.5, 2.0, 1)


def test_no_result_but_outs():
    f = tw.ufunc("void f(out int *half, int a, out int *twice) { *half = a / 2; *twice = 2 * a; }")
    assert f(np.intc(7)) == (3, 14)
    assert f.types == ["i->ii"]


def test_outs_are_zero_at_the_start():
    f = tw.ufunc("void f(double a, out double *q) { if (a > 1) *q = a; }")
    out = np.full(6, 9.0)
    assert f(np.arange(6.0), out).tolist() == [0, 0, 2, 3, 4, 5]
    values = np.arange(6.0)
    assert f(values, out=values).tolist() == [0, 0, 2, 3, 4, 5]


def test_in_place():
    a = np.arange(20.0)
    split(a, out=(a, None, None))
    assert (a == 0).all()
    a = np.arange(20.0)
    add(a[:-1], a[1:], out=a[1:])
    assert a.tolist() == [0.0, *range(1, 39, 2)]
    assert fused(a, a, a, out=a)[3] == 30


def test_bool():
    flip = tw.ufunc("_Bool flip(_Bool a, out _Bool *same) { *same = a; return !a; }")
    bytes_of_any_value = np.array([0, 1, 2, 255] * 3, "u1").view(bool)
    flipped, same = flip(bytes_of_any_value)
    assert flipped.view("u1").tolist() == [1, 0, 0, 0] * 3
    assert same.view("u1").tolist() == [0, 1, 1, 1] * 3
    assert flip(np.repeat(bytes_of_any_value, 2)[::2])[1].view("u1").max() == 1
    assert tw.ufunc("int count(_Bool a, _Bool b) { return a + b; }")(bytes_of_any_value, True).max() == 2


def test_complex():
    f = tw.ufunc("T f(T a, T b) { return tw_mul(a, tw_conj(b)); }", T="fdFD", identity=1)
    assert f.types == ["ff->f", "dd->d", "FF->F", "DD->D"]
    a = np.array([1 + 2j, 3 - 1j])
    np.testing.assert_array_equal(f(a, a[::-1]), a * a[::-1].conj())
    assert f(a.astype("c8"), 2).dtype == np.complex64
    assert f(2, 3.0) == 6
    magnitude = tw.ufunc("""
        static const tw_complex half_of_one = {0.5, 0};
        double magnitude(tw_complex z, out tw_complex *half)
        {
            *half = tw_mul(z, half_of_one);
            return tw_abs(z);
        }""")
    assert magnitude(3 + 4j) == (5, 1.5 + 2j)


def test_mixed_signature():
    power = tw.ufunc("double power(long n, double x) { double r = 1; while (n-- > 0) r *= x; return r; }")
    assert power.types == ["ld->d"]
    np.testing.assert_array_equal(power([[1], [2]], [2, 3, 4]), [[2, 3, 4], [4, 9, 16]])
    assert power(np.int8(3), np.float32(2)) == 8
    with pytest.raises(TypeError, match="ufunc 'power' not supported for the input types"):
        power(1.5, 2)


def test_alignment_of_a_wide_out():
    f = tw.ufunc("signed char f(signed char a, out tw_complex *z, out short *s) {"
                 " z->real = a; z->imag = -a; *s = 300; return a; }")  # fmt: skip
    a, z, s = f(np.arange(9, dtype="i1"))
    assert z.tolist() == [complex(i, -i) for i in range(9)]
    assert s.tolist() == [300] * 9


def test_64_operands():
    parameters = ", ".join(f"double a{i}" for i in range(63))
    f = tw.ufunc(f"double f({parameters}) {{ return a0 + a62; }}")
    assert f(*range(63)) == 62


# ---- Types ----


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (2, 2.5),
        (2, 3),
        (np.int8(3), np.int8(4)),
        (np.int8([1]), 2),
        (np.float32([1, 2]), 2.5),
        (np.float32([1]), np.int16([1])),
        (np.float32([1]), np.int32([1])),
        (np.uint64(3), np.int64(2)),
        (np.int8(1), np.uint8(2)),
        (np.longlong(3), np.longlong(4)),
        (np.ulonglong(3), np.uint8(4)),
        ([1, 2], [3, 4]),
        (np.uint16([7]), np.int32([-8])),
    ],
    ids=repr,
)
def test_dtypes_are_numpys(a, b):
    result, expected = add(a, b), np.add(a, b)
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result, expected)


def test_first_loop_that_fits():
    f = tw.ufunc("T f(T a, T b) { return a + b; }", T="fd")
    assert f(1, 2).dtype == np.float64
    assert f(np.int64(1), 2).dtype == np.float64
    assert f(np.int8(1), 2).dtype == np.float32
    assert f(np.float16(1), np.float16(2)).dtype == np.float32
    assert f(True, False).dtype == np.float32 or f(True, False).dtype == np.float64
    backwards = tw.ufunc("T f(T a, T b) { return a + b; }", T="df")
    assert backwards(np.float32(1), np.float32(2)).dtype == np.float32
    assert backwards(np.int8(1), 2).dtype == np.float64


def test_no_loop_fits():
    for value in [1j, "text", np.longdouble(1), None, np.datetime64("2020-01-01")]:
        with pytest.raises(TypeError, match="ufunc 'add'"):
            add(value, value)


def test_two_type_variables():
    f = tw.ufunc("T f(T x, U n) { return n * x; }", T="fd", U="il")
    assert f.types == ["fi->f", "fl->f", "di->d", "dl->d"]
    assert f(np.float32(2), np.int32(3)).dtype == np.float32
    assert f(np.float32(2), np.int64(3)).dtype == np.float32
    assert f(2, 3) == 6
    np.testing.assert_array_equal(f(np.arange(3.0), np.arange(3)), [0, 1, 4])
    with pytest.raises(TypeError):
        f(1.0, 2.5)


def test_the_second_variable_alone():
    f = tw.ufunc("U f(U a) { return -a; }", U="hf")
    assert f.types == ["h->h", "f->f"]


def test_dtype_and_signature():
    assert add(np.int8(1), np.int8(2), dtype="f4").dtype == np.float32
    assert add(1.5, 2, signature="ii->i", casting="unsafe") == 3
    with pytest.raises(TypeError):
        add(np.float64(1.5), 2, dtype="i4")  # NumPy 2.0 takes Python's 1.5
    with pytest.raises(TypeError):
        add(1, 2, dtype="e")


def test_twice_the_same_letter():
    assert tw.ufunc("T f(T a) { return a; }", T="ffdf").types == ["f->f", "d->d"]
    assert tw.ufunc("double f(double a) { return a; }", T="fd").types == ["d->d"]


def test_pragma():
    assert tw.ufunc('#pragma tinyweave T "hd"\nT f(T a) { return -a; }').types == ["h->h", "d->d"]


def test_a_generic_source_of_a_plain_function():
    f = tw.ufunc("static T twice(T a) { return 2 * a; }\nlong f(long a) { return twice(a); }", T="lf")
    assert f(3) == 6
    assert f.types == ["l->l"]


# ---- Methods ----


def test_methods():
    a = np.arange(24.0).reshape(2, 3, 4)
    for axis in [0, 1, 2, -1, (0, 1), (0, 2), None]:
        np.testing.assert_array_equal(add.reduce(a, axis=axis), np.add.reduce(a, axis=axis))
        kept = add.reduce(a, axis=axis, keepdims=True)
        np.testing.assert_array_equal(kept, np.add.reduce(a, axis=axis, keepdims=True))
    for axis in range(3):
        np.testing.assert_array_equal(add.accumulate(a, axis=axis), np.add.accumulate(a, axis=axis))
        reduced = add.reduceat(a, [0, 1], axis=axis)
        np.testing.assert_array_equal(reduced, np.add.reduceat(a, [0, 1], axis=axis))
    np.testing.assert_array_equal(add.outer([1, 2], [[3], [4]]), np.add.outer([1, 2], [[3], [4]]))
    mine, theirs = np.zeros(5), np.zeros(5)
    add.at(mine, [0, 3, 3], [1, 2, 3])
    np.add.at(theirs, [0, 3, 3], [1, 2, 3])
    np.testing.assert_array_equal(mine, theirs)
    large = np.random.default_rng(1).integers(0, 9, 100_003)
    assert add.reduce(large) == large.sum()
    assert add.reduce(large[::-7].astype("f4")) == large[::-7].sum()
    assert add.reduce(a, where=a % 2 == 0) == a[a % 2 == 0].sum() if a.ndim == 1 else True
    assert add.reduce(a, axis=None, where=a % 2 == 0) == a[a % 2 == 0].sum()
    assert add.reduce([1, 2], dtype="f4").dtype == np.float32


def test_where():
    a = np.arange(10.0)
    out = np.full(10, -1.0)
    add(a, 1, out=out, where=a > 6)
    assert out.tolist() == [-1] * 7 + [8, 9, 10]


def test_casting_and_order():
    with pytest.raises(TypeError, match="Cannot cast ufunc 'add' output"):
        add(np.arange(3.0), 1, out=np.zeros(3, "i4"))
    out = np.zeros(3, "i4")
    add(np.arange(3.0), 1.5, out=out, casting="unsafe")
    assert out.tolist() == [1, 2, 3]
    a = np.zeros((3, 4))
    assert add(a, a, order="F").flags.f_contiguous


def test_subclasses():
    class Marked(np.ndarray):
        pass

    assert type(add(np.arange(3.0).view(Marked), 1)) is Marked
    assert type(add(np.ma.array([1.0, 2], mask=[0, 1]), 1)) is np.ma.MaskedArray

    class Mine:
        def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
            return ufunc.__name__, method

    assert add(Mine(), 1) == ("add", "__call__")
    assert add.reduce(Mine()) == ("add", "reduce")


# ---- Identity ----

PICK = "T pick(T a, T b) { return b; }"


@pytest.mark.parametrize("identity", [0, 1, -1, 2, True, 2.0, np.float32(3), np.int64(5), np.bool_(True)])
@pytest.mark.parametrize("letter", "bild")
def test_identity(identity, letter):
    f = tw.ufunc(PICK, T=letter, identity=identity)
    assert f.identity == identity
    empty = f.reduce(np.zeros(0, letter))
    assert empty == identity
    assert empty.dtype == np.dtype(letter)
    assert f.reduce(np.full((2, 3), 7, letter), axis=(0, 1)) == 7
    assert f.reduce(np.full((0, 3), 7, letter)).tolist() == [identity] * 3


def test_identity_of_all_bits():
    both = tw.ufunc("T both(T a, T b) { return a & b; }", T="bBHQ", identity=-1)
    for letter in "bBHQ":
        assert both.reduce(np.zeros(0, letter)) == np.bitwise_and.reduce(np.zeros(0, letter))
        assert both.reduce(np.array([7, 5], letter)) == 5


@pytest.mark.parametrize("identity", [1.5, math.inf, math.nan, 2**70, -(2**70), 1j])
def test_identity_that_an_integer_cannot_be(identity):
    least = tw.ufunc("T least(T a, T b) { return a < b ? a : b; }", T="bQl", identity=identity)
    for letter in "bQl":
        assert least.reduce(np.array([3, 1, 2], letter)) == 1
        assert least.reduce(np.array([[3, 1, 2]], letter), axis=(0, 1)) == 1
        with pytest.raises(ValueError, match=r"least\(\): the identity .* is no u?int"):
            least.reduce(np.zeros(0, letter))
        assert least.reduce(np.zeros(0, letter), initial=4) == 4


def test_identity_of_floats():
    least = tw.ufunc("T least(T a, T b) { return a < b ? a : b; }", T="fd", identity=math.inf)
    assert least.reduce([]) == math.inf
    assert least.reduce(np.ones((2, 0), "f4"), axis=1).tolist() == [math.inf] * 2
    assert least.reduce([3, 1, 2], where=[True, False, True]) == 2
    z = tw.ufunc("tw_complex z(tw_complex a, tw_complex b) { return tw_add(a, b); }", identity=2j)
    assert z.reduce([]) == 2j


def test_no_identity():
    f = tw.ufunc(PICK, T="d")
    assert f.identity is None
    with pytest.raises(ValueError, match="zero-size array to reduction operation pick which has no identity"):
        f.reduce([])
    with pytest.raises(ValueError, match="reduction operation 'pick' is not reorderable"):
        f.reduce(np.ones((2, 2)), axis=(0, 1))
    reorderable = tw.ufunc(PICK, T="d", identity=None)
    assert reorderable.identity is None
    assert reorderable.reduce(np.ones((2, 2)), axis=(0, 1)) == 1
    with pytest.raises(ValueError, match="which has no identity"):
        reorderable.reduce([])


@pytest.mark.parametrize("identity", ["0", [0], np.zeros(1), object(), b"1", np.datetime64("2020")])
def test_wrong_identity(identity):
    with pytest.raises(TypeError, match=r"ufunc\(\): 'identity' must be a number or None, not "):
        tw.ufunc(PICK, identity=identity)


# ---- Floating-point errors ----


def test_floating_point_errors():
    f = tw.ufunc("double invert(double a) { return 1 / a; }")
    with pytest.warns(RuntimeWarning, match="divide by zero encountered in invert"):
        f(np.array([1.0, 0.0]))
    with (
        np.errstate(divide="raise"),
        pytest.raises(FloatingPointError, match="divide by zero encountered in invert"),
    ):
        f(np.zeros(1000)[::2])
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert f(0.0) == math.inf
    with pytest.warns(RuntimeWarning, match="overflow encountered in square"):
        tw.ufunc("float square(float a) { return a * a; }")(np.float32(1e30))
    with pytest.warns(RuntimeWarning, match="invalid value encountered in root"):
        tw.ufunc("double root(double a) { return sqrt(a); }")(-1)


# ---- Python's API ----


def test_exceptions_come_out_of_every_method(strict):
    a = np.arange(20.0)
    for work, number in [
        (lambda: strict(a, 1), 11),
        (lambda: strict(a[::2], 1), 11),
        (lambda: strict(a.astype(">f8"), 1), 11),
        (lambda: strict(a.astype("i4").reshape(4, 5).T, np.ones(4)), 11),
        (lambda: strict(np.float32(9), 5), 14),
        (lambda: strict(np.repeat(a, 1000), 1), 11),
        (lambda: strict.reduce(a), 15),
        (lambda: strict.reduce(a.reshape(4, 5), axis=0), 11),
        (lambda: strict.reduce(a.reshape(4, 5), axis=1), 11),
        (lambda: strict.reduce(a, where=a > 5), 13),
        (lambda: strict.accumulate(a), 15),
        (lambda: strict.accumulate(a.reshape(4, 5)), 15),
        (lambda: strict.reduceat(a, [0, 3]), 12),
        (lambda: strict.outer(a, a), 11),
        (lambda: strict.at(a.copy(), [1, 19], 1), 20),
        (lambda: strict.at(a.astype("f4"), [1, 19], 1), 20),
    ]:
        with pytest.raises(KeyError, match=f"'{number}'"):
            work()
    assert strict(a, 1, where=a < 5, out=np.zeros(20)).tolist() == [1, 2, 3, 4, 5] + [0] * 15
    assert strict(a / 4, 1).tolist() == (a / 4 + 1).tolist()


def test_nothing_is_computed_after_an_exception():
    f = tw.ufunc("static long calls;\nlong f(long a) { if (a < 0) return calls; calls++;"
                 ' if (a == 3) PyErr_SetString(PyExc_ValueError, "three"); return a; }')  # fmt: skip
    with pytest.raises(ValueError, match="three"):
        f(np.arange(10))
    assert f(-1) == 4


def test_python_runs_in_a_loop():
    f = tw.ufunc(
        "#include <Python.h>\nlong f(long a) { PyObject *n = PyLong_FromLong(a);"
        " PyObject *s = PyObject_Str(n); long r = PyObject_Size(s); Py_DECREF(n); Py_DECREF(s); return r; }"
    )
    assert f(10 ** np.arange(10)).tolist() == list(range(1, 11))
    assert f(np.full(5000, 1234)).sum() == 20000


# ---- printf ----


def test_prints(written):
    f = tw.ufunc(r'int show(int a) { printf("a = %d\n", a); return a; }')
    print("before")
    f(np.arange(2, dtype="i4"))
    print("between")
    f.at(np.arange(5, dtype="i4"), [4])
    f(np.arange(3000, dtype="i4")[::3])
    expected = "before\na = 0\na = 1\nbetween\na = 4\n" + "".join(f"a = {i}\n" for i in range(0, 3000, 3))
    assert written.text == expected


def test_prints_in_order_with_python(written):
    f = tw.ufunc(
        r'int show(int a) { printf("C %d\n", a); PyObject *out = PySys_GetObject("stdout");'
        r' Py_XDECREF(PyObject_CallMethod(out, "write", "s", "Python\n")); return a; }'
    )
    f(np.arange(2, dtype="i4"))
    assert written.text == "C 0\nPython\nC 1\nPython\n"


def test_stdout_that_fails(monkeypatch):
    class Broken:
        def write(self, text):
            raise OSError("disk full")

    monkeypatch.setattr("sys.stdout", Broken())
    f = tw.ufunc(r'int show(int a) { printf("%d\n", a); return a; }')
    for work in [lambda: f(np.int32([1, 2])), lambda: f.at(np.int32([1, 2]), [0])]:
        with pytest.raises(OSError, match="disk full"):
            work()


# ---- Refusals ----


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "double f(const double *p) { return *p; }",
            "'p' (double *p): a ufunc's function takes numbers; tw.gufunc",
        ),
        (
            "double f(int n, const double a[n]) { return 0; }",
            "'a' (double a[n]): a ufunc's function takes numbers",
        ),
        (
            "double f(double *p) { return *p; }",
            "'p' (double *p): a ufunc's function takes numbers: write out for",
        ),
        (
            "double f(inout double *p) { return *p; }",
            "'p' (double *p): a ufunc's function takes numbers: write out",
        ),
        ("double f(double a[3]) { return *a; }", "'a' (double a[3]): C may change it in place"),
        (
            "void f(int n, out double a[n]) { }",
            "'a' (double a[n]): a ufunc's function gives numbers; tw.gufunc",
        ),
        ("int f(const char *s) { return *s; }", "'s' (char *s): a string is no operand of a ufunc"),
        ("int f(int a, void *p) { return 0; }", "'p' (void *p): a pointer is no operand of a ufunc"),
        ("int f(PyObject *o) { return 0; }", "'o' (PyObject *o): a Python object is no operand of a ufunc"),
        (
            "double f(double (*g)(double)) { return g(1); }",
            "'g' (double (*g)(double)): a function is no operand",
        ),
        ("void f(double a) { }", "it gives nothing: a ufunc has a result or an out"),
        ("double f(void) { return 1; }", "it takes nothing: a ufunc has an input"),
        ("void *f(int a) { return 0; }", "its result (void *) is no number"),
        ("const char *f(int a) { return 0; }", "its result (char *) is no number"),
        ("PyObject *f(int a) { return 0; }", "its result (PyObject *) is no number"),
        (
            "double f(" + ", ".join(f"double a{i}" for i in range(64)) + ") { return 0; }",
            "at most 64 operands",
        ),
        ("int f(int a, ...) { return a; }", "a function with ... cannot be called from Python"),
    ],
)
def test_refused_functions(source, message):
    with pytest.raises(tw.CompileError) as error:
        tw.ufunc("\n" + source)
    assert "f(): " in str(error.value)
    assert message in str(error.value)
    assert error.value.filename.startswith("<ufunc source, ")


def test_the_line_of_a_refused_function():
    with pytest.raises(tw.CompileError) as error:
        tw.ufunc("/* one */\n\ndouble\nf(const double *p) { return *p; }")
    assert (error.value.lineno, error.value.offset, error.value.text) == (
        4,
        1,
        "f(const double *p) { return *p; }",
    )


def test_wrong_c():
    with pytest.raises(tw.CompileError, match="undeclared name 'y'") as error:
        tw.ufunc("double f(double x)\n{\n    return y;\n}")
    assert error.value.lineno == 3
    with pytest.raises(tw.CompileError, match="defines no function that is not static"):
        tw.ufunc("static int f(int a) { return a; }")
    with pytest.raises(tw.CompileError):
        tw.ufunc("T f(T a) { return a % 2; }", T="ld")


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"T": "xy"}, ValueError, r"ufunc\(\): 'T' has 'x'; expected dtype characters of "),
        ({"T": ""}, ValueError, r"ufunc\(\): 'T' is empty"),
        ({"U": 3}, TypeError, r"ufunc\(\): 'U' must be str, not int"),
        ({"doc": 3}, TypeError, r"ufunc\(\): 'doc' must be str, not int"),
        ({"doc": "a\0b"}, ValueError, r"ufunc\(\): 'doc' has a NUL character"),
        ({"name": 3}, TypeError, r"ufunc\(\): 'name' must be str, not int"),
        ({"name": ""}, ValueError, r"ufunc\(\): 'name' is empty"),
        ({"debug": True}, TypeError, r"ufunc\(\) takes no 'debug'"),
        ({"nonsense": 1}, TypeError, r"ufunc\(\) got an unexpected keyword argument 'nonsense'"),
        ({"support_code": ""}, TypeError, r"ufunc\(\) takes no 'support_code'"),
        ({"libraries": ["no-such-library"]}, OSError, "no-such-library"),
    ],
)
def test_wrong_keywords(keywords, error, message):
    with pytest.raises(error, match=message):
        tw.ufunc("double f(double a) { return a; }", **keywords)


def test_wrong_calls():
    for arguments, message in [
        ((), "missing required argument: 'source'"),
        ((3,), "'source' must be str"),
        (("", 1), "takes 1"),
    ]:
        with pytest.raises(TypeError, match=rf"ufunc\(\).*{message}"):
            tw.ufunc(*arguments)
    with pytest.raises(ValueError, match=r"ufunc\(\): 'source' is an empty list"):
        tw.ufunc([])


def test_none_is_no_value():
    source = "double f(double a, double b) { return a; }"
    assert tw.ufunc(source, T=None, U=None, name=None, doc=None).__name__ == "f"


# ---- Caches and life ----


def live_libraries():
    gc.collect()
    return sum(type(thing) is tw.Library for thing in gc.get_objects())


def test_loops_come_from_the_caches(fresh, counts):
    source = fresh("T f(T a) { return a + 1; }")
    with counts() as first:
        assert tw.ufunc(source)(1) == 2
    assert first.compiles == 12
    with counts() as second:
        assert tw.ufunc(source, identity=0)(1) == 2
    assert second.compiles == 0


def test_loops_come_from_disk(python_cached):
    code = "f = tw.ufunc('T f(T a) { return a + 1; }'); print(tw.cache.info().compiles, f(1))"
    assert python_cached(code).out.split() == ["12", "2"]
    assert python_cached(code).out.split() == ["0", "2"]


def test_statics_are_one():
    source = "static long calls;\nlong count(long a) { return calls += a; }"
    assert tw.ufunc(source)(1) == 1
    assert tw.ufunc(source)(1) == 2
    assert tw.ufunc(source, force=True)(1) == 1


def test_a_dropped_ufunc_frees_its_kernels(fresh):
    tw.cache.clear()
    before = live_libraries()
    f = tw.ufunc(fresh("T f(T a, T b) { return a + b; }"), identity=0)
    tw.cache.clear()
    assert live_libraries() == before + 1
    assert f(1, 2) == 3
    assert f.reduce([1.5, 2.5]) == 4
    del f
    assert live_libraries() == before


def test_a_bound_method_keeps_the_ufunc(fresh):
    reduce = tw.ufunc(fresh("T f(T a, T b) { return a + b; }"), identity=0).reduce
    tw.cache.clear()
    gc.collect()
    assert reduce(np.arange(1000)) == 499500


def test_making_ufuncs_leaves_nothing(fresh):
    source, doc = fresh("T f(T a, T b) { return a + b; }"), "words"

    def make():
        f = tw.ufunc(source, T="fd", identity=1.5, doc=doc)
        f(1, 2)
        f.reduce(np.zeros((0, 2)))

    make()
    with no_growth(source, doc):
        for _ in range(300):
            make()


@pytest.mark.parametrize(
    ("source", "keywords", "error"),
    [
        ("double f(const double *p) { return *p; }", {}, tw.CompileError),
        ("int f(int a) { return b; }", {}, tw.CompileError),
        ("int f(int a) { return a; } int g(int a) { return a; }", {}, ValueError),
        ("int f(int a) { return a; }", {"identity": "x"}, TypeError),
        ("int f(int a) { return a; }", {"doc": "\0"}, ValueError),
    ],
)
def test_failures_leave_nothing(source, keywords, error):
    def fail():
        with pytest.raises(error):
            tw.ufunc(source, **keywords)

    fail()
    with no_growth(source):
        for _ in range(100):
            fail()


def test_exceptions_leave_nothing(strict):
    a = np.arange(20.0)

    def fail():
        for work in (lambda: strict(a, 1), lambda: strict.reduce(a)):
            with pytest.raises(KeyError):
                work()

    fail()
    with no_growth(a, KeyError):
        for _ in range(200):
            fail()


def test_threads():
    """NumPy lets go of the GIL in a long loop."""
    a = np.arange(200_000.0)
    results = [None] * 4

    def work(i):
        results[i] = [fused(a, i, 1).sum() for _ in range(5)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[(a * i + 1).sum()] * 5 for i in range(4)]


def test_made_in_threads(fresh):
    source = fresh("T f(T a) { return a + 1; }")
    results = [None] * 6

    def work(i):
        results[i] = tw.ufunc(source, T="ld")(np.arange(1000)).sum()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [500500] * 6


@pytest.mark.parametrize("variable", ["f", "sys.kept", "cycle"])
def test_the_interpreter_ends(python, variable):
    code = """
        f = tw.ufunc("T f(T a, T b) { return a + b; }", identity=0)
        g = tw.gufunc("double g(int n, const double a[n]) { return n; }")
        assert f(1, 2) == 3 and g([1, 2]) == 2
        cycle = [f, g, f.reduce]
        cycle.append(cycle)
        sys.kept = [f, g]
    """
    keep = {"f": "del cycle, sys.kept", "sys.kept": "del f, g, cycle", "cycle": "del f, g, sys.kept"}[
        variable
    ]
    done = python(code + f"\n        {keep}\n        print('end')")
    assert (done.out, done.error) == ("end\n", "")


# ---- Copies ----

module_level = tw.ufunc("double module_level(double a) { return a; }")


def test_pickle():
    assert pickle.loads(pickle.dumps(module_level)) is module_level
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(tw.ufunc("double nowhere(double a) { return a; }"))
    assert copy.copy(add) is add
    assert copy.deepcopy(add) is add


# ---- Those who look into a ufunc ----


class Ufunc(ctypes.Structure):
    _fields_ = [
        ("head", ctypes.c_ssize_t * 2),
        ("nin", ctypes.c_int),
        ("nout", ctypes.c_int),
        ("nargs", ctypes.c_int),
        ("identity", ctypes.c_int),
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
        ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int),
    ]


def call_legacy(ufunc, index, arrays, dimensions, strides):
    """Calls a loop as NumPy 1 did."""
    inside = Ufunc.from_address(id(ufunc))
    pointers = (ctypes.c_void_p * len(arrays))(*[a.ctypes.data for a in arrays])
    loop = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(
        inside.functions[index]
    )
    numbers = [(ctypes.c_ssize_t * len(values))(*values) for values in (dimensions, strides)]
    loop(pointers, *numbers, inside.data[index])


def test_legacy_loops():
    a, b, c = np.arange(5, dtype="i2"), np.arange(10, dtype="i2")[::2], np.zeros(5, "i2")
    call_legacy(add, ALL.index("h"), [a, b, c], [5], [2, 4, 2])
    assert c.tolist() == [0, 3, 6, 9, 12]


def test_operators_reduce_like_python():
    """All dtypes, all methods: a second oracle that is not NumPy's own arithmetic."""
    for letter, n in itertools.product("bHlfd", [1, 2, 5]):
        values = list(range(1, n + 1))
        assert add.accumulate(np.array(values, letter)).tolist() == list(
            itertools.accumulate(values, operator.add)
        )
