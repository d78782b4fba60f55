"""What C sees of each kind of Python value, with Python and NumPy as the oracle."""

# ruff: noqa: F841 (snippets read the locals of the test)

import enum
import itertools
import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinyweave as tw

C_TYPE = """
return_val = _Generic(a, _Bool: "_Bool", char: "char", signed char: "signed char", short: "short", int: "int",
    long: "long", long long: "long long", float: "float", double: "double", tw_complex: "tw_complex",
    tw_complexf: "tw_complexf", const char *: "const char *", char *: "char *", PyObject *: "PyObject *",
    default: "other");
"""


def c_type(a):
    return tw.inline(C_TYPE, ["a"])


# ---- Scalars ----

LONG_MAX = 2**63 - 1


class Colour(enum.IntEnum):
    RED = 3


class Flag(enum.IntFlag):
    UP = 4


class Metres(float):
    def __float__(self):
        return -1.0


class Count(int):
    def __index__(self):
        return -1


class Phasor(complex):
    pass


class Name(str):
    pass


class Blob(bytes):
    pass


SCALARS = [
    (0, "long"),
    (-1, "long"),
    (LONG_MAX, "long"),
    (-LONG_MAX - 1, "long"),
    (Colour.RED, "long"),
    (Flag.UP, "long"),
    (Count(7), "long"),
    (True, "int"),
    (False, "int"),
    (np.True_, "int"),
    (np.False_, "int"),
    (0.0, "double"),
    (-0.0, "double"),
    (math.inf, "double"),
    (-math.inf, "double"),
    (sys.float_info.max, "double"),
    (5e-324, "double"),
    (Metres(2.5), "double"),
    (np.float64(1.1), "double"),
    (np.float32(1.1), "float"),
    (1 + 2j, "tw_complex"),
    (complex(-0.0, math.inf), "tw_complex"),
    (Phasor(3, 4), "tw_complex"),
    (np.complex128(1.1 - 2j), "tw_complex"),
    (np.complex64(1.1 - 2j), "tw_complexf"),
]
INTEGER_SCALARS = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]
INTEGER_SCALARS += [np.byte, np.short, np.intc, np.long, np.longlong, np.ubyte, np.uintc, np.ulong, np.intp]


@pytest.mark.parametrize(("value", "expected"), SCALARS, ids=lambda v: repr(v)[:40])
def test_scalars(value, expected):
    assert c_type(value) == expected
    result = tw.inline("return_val = value;", ["value"])
    assert type(result) in (int, float, complex)
    if expected in ("long", "int"):
        assert result == int.__int__(value) if isinstance(value, int) else result == int(value)
    else:
        assert result == value
        assert math.copysign(1, result.real) == math.copysign(1, value.real)


def test_nan():
    value = math.nan
    assert math.isnan(tw.inline("return_val = value;", ["value"]))
    value = np.float32("nan")
    assert math.isnan(tw.inline("return_val = value;", ["value"]))


@pytest.mark.parametrize("kind", INTEGER_SCALARS, ids=lambda kind: kind.__name__)
def test_numpy_integers(kind):
    limits = np.iinfo(kind)
    for number in {int(limits.min), 0, 1, int(limits.max)}:
        value = kind(number)
        if number <= LONG_MAX:
            assert c_type(value) == "long"
            assert tw.inline("return_val = value;", ["value"]) == number
        else:
            with pytest.raises(OverflowError, match="'value'"):
                tw.inline("return_val = value;", ["value"])


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 2**64, 10**40, -(10**40), np.uint64(2**63)], ids=str)
def test_integers_out_of_range(value):
    with pytest.raises(OverflowError, match=r"inline\(\): 'value' does not fit C's long"):
        tw.inline("return_val = value;", ["value"])


REFUSED_SCALARS = [
    np.float16(1.5),
    np.longdouble(1.5),
    np.clongdouble(1.5),
    np.datetime64("2020-01-01"),
    np.timedelta64(3, "s"),
    np.void(b"abc"),
    np.zeros(1, dtype=[("x", "i4")])[0],
]


@pytest.mark.parametrize("value", REFUSED_SCALARS, ids=lambda v: type(v).__name__ + str(v.dtype))
def test_scalars_c_cannot_take(value):
    with pytest.raises(TypeError) as info:
        tw.inline("return_val = 1;", ["value"])
    message = str(info.value)
    assert message.startswith("inline(): 'value'")
    assert type(value).__name__ in message


@given(st.integers(-LONG_MAX - 1, LONG_MAX))
def test_every_integer_survives(value):
    assert tw.inline("return_val = value;", ["value"], {"value": value}) == value


@given(st.floats(allow_nan=False))
def test_every_float_survives(value):
    result = tw.inline("return_val = value;", ["value"], {"value": value})
    assert result == value and math.copysign(1, result) == math.copysign(1, value)


@given(st.floats(width=32, allow_nan=False))
def test_every_float32_survives(value):
    assert tw.inline("return_val = value;", ["value"], {"value": np.float32(value)}) == value


# ---- Strings ----

TEXTS = ["", "abc", "a\0b", "\0", "äöü€𝄞", "line\nline", "x" * 100_000, Name("name"), np.str_("numpy é")]
BYTES = [b"", b"abc", b"a\0b", bytes(range(256)), b"x" * 100_000, Blob(b"blob"), np.bytes_(b"numpy")]


@pytest.mark.parametrize("value", TEXTS + BYTES, ids=lambda v: repr(v)[:20])
def test_strings(value):
    assert c_type(value) == "const char *"
    expected = value.encode() if isinstance(value, str) else bytes(value)
    copy = np.full(len(expected) + 1, 7, np.uint8)
    length = tw.inline(
        "for (long i = 0; i <= Nvalue; i++) copy[i] = value[i]; return_val = Nvalue;", "value copy"
    )
    assert length == len(expected)
    assert copy[:-1].tobytes() == expected
    assert copy[-1] == 0


@given(st.text(max_size=50))
def test_every_text_is_utf8(value):
    result = tw.inline("return_val = PyBytes_FromStringAndSize(value, Nvalue);", ["value"], {"value": value})
    assert result == value.encode()


def test_surrogates_have_no_utf8():
    with pytest.raises(UnicodeEncodeError):
        tw.inline("return_val = 1;", ["value"], {"value": "\udc80"})


def test_strings_are_constant():
    with pytest.raises(tw.CompileError):
        tw.inline("value[0] = 'x';", ["value"], {"value": "text"})


# ---- Objects ----


class Thing:
    pass


OBJECTS = [
    None,
    [1],
    (1,),
    {"a": 1},
    {1},
    len,
    print,
    Thing,
    Thing(),
    sys,
    object(),
    bytearray(b"a"),
    memoryview(b"a"),
]
OBJECTS += [
    range(3),
    Ellipsis,
    NotImplemented,
    np.dtype("f8"),
    np.float64,
    lambda: 1,
    (i for i in ()),
    (3).__add__,
]


@pytest.mark.parametrize("value", OBJECTS, ids=lambda v: type(v).__name__)
def test_other_objects(value):
    assert c_type(value) == "PyObject *"
    assert tw.inline("return_val = value;", ["value"]) is value


def test_a_fraction_is_an_object():
    from decimal import Decimal
    from fractions import Fraction

    for value in (Fraction(1, 2), Decimal("1.5")):
        assert c_type(value) == "PyObject *"


EVERY_KIND = [1, True, 1.5, np.float32(1), 1j, np.complex64(1), "s", b"s", None, [], np.zeros(2), np.int8(1)]


@pytest.mark.parametrize("value", EVERY_KIND, ids=lambda v: type(v).__name__)
def test_py_a_is_the_object(value):
    assert tw.inline("return_val = py_value;", ["value"]) is value


# ---- Arrays: dtypes ----

DTYPES = {
    "bool": "unsigned char",
    "int8": "signed char",
    "uint8": "unsigned char",
    "int16": "short",
    "uint16": "unsigned short",
    "int32": "int",
    "uint32": "unsigned int",
    "int64": "long",
    "uint64": "unsigned long",
    "q": "long long",
    "Q": "unsigned long long",
    "float32": "float",
    "float64": "double",
    "complex64": "tw_complexf",
    "complex128": "tw_complex",
}
COMPLEX = ("complex64", "complex128")
ELEMENTS = ", ".join(f'{t}: "{t}", const {t}: "const {t}"' for t in dict.fromkeys(DTYPES.values()))
ELEMENT_TYPE = f'return_val = _Generic(*a, {ELEMENTS}, default: "other");'


def sample(dtype, shape):
    count = math.prod(shape)
    numbers = np.arange(1, count + 1)
    if dtype == "bool":
        numbers = numbers % 3 == 0
    elif dtype in COMPLEX:
        numbers = numbers + 1j * numbers[::-1]
    return numbers.astype(dtype).reshape(shape)


@pytest.mark.parametrize("dtype", DTYPES)
def test_type_of_the_elements(dtype):
    a = np.zeros(3, dtype)
    assert tw.inline(ELEMENT_TYPE, ["a"]).removeprefix("const ") == DTYPES[dtype]


REFUSED_DTYPES = ["float16", "longdouble", "clongdouble", "O", "S3", "U3", "M8[s]", "m8[s]", "V4", "i4,f8"]


@pytest.mark.parametrize("dtype", REFUSED_DTYPES)
def test_dtypes_c_cannot_take(dtype):
    for a in (np.zeros(3, dtype), np.zeros((), dtype), np.zeros(0, dtype)):
        with pytest.raises(TypeError) as info:
            tw.inline("return_val = 1;", ["a"])
        message = str(info.value)
        assert message.startswith("inline(): 'a' is an array of dtype")
        assert str(a.dtype) in message


@pytest.mark.parametrize("dtype", [d for d in DTYPES if np.dtype(d).itemsize > 1])
def test_swapped_bytes_are_refused(dtype):
    a = np.zeros(3, np.dtype(dtype).newbyteorder())
    with pytest.raises(TypeError, match="inline\\(\\): 'a' is an array of dtype .*byte order"):
        tw.inline("return_val = 1;", ["a"])
    a = a.astype(a.dtype.newbyteorder("="))
    assert tw.inline("return_val = 1;", ["a"]) == 1


@pytest.mark.parametrize("dtype", [d for d in DTYPES if np.dtype(d).itemsize > 1])
def test_misaligned_arrays_are_refused(dtype):
    size = np.dtype(dtype).itemsize
    a = np.zeros(4 * size + 1, np.uint8)[1 : 3 * size + 1].view(dtype)
    assert not a.flags.aligned
    with pytest.raises(TypeError, match="inline\\(\\): 'a' is an array of dtype .*aligned"):
        tw.inline("return_val = 1;", ["a"])


# ---- Arrays: layout ----

INDEX = ["i", "i,j", "i,j,k", "i,j,k,l"]
LOOPS = [f"for (long {n} = 0; {n} < Na[{axis}]; {n}++) " for axis, n in enumerate("ijkl")]
STORE = {
    "real": "out[n++] = A%d(%s);",
    "complex": "out[n++] = (tw_complex){A%d(%s).real, A%d(%s).imag};",
}


def by_macro(a):
    """The elements in C order, as the macros A1 ... A4 see them."""
    kind = "complex" if np.iscomplexobj(a) else "real"
    out = np.full(a.size, -1, complex if kind == "complex" else np.result_type(a, np.int64))
    index = (a.ndim, INDEX[a.ndim - 1])
    store = STORE[kind] % (index * (2 if kind == "complex" else 1))
    tw.inline("long n = 0;" + "".join(LOOPS[: a.ndim]) + store, ["a", "out"])
    return out.reshape(a.shape)


def layouts(a):
    yield a
    yield np.asfortranarray(a)
    yield a.T
    yield a[::-1]
    yield a[..., ::-1]
    yield a[..., ::2]
    yield a[:1]
    yield a[:, None] if a.ndim < 4 else a[:, :1]
    yield a[1:, ...]
    yield np.broadcast_to(a[:1], a.shape)
    yield a[:0]
    read_only = a.copy()
    read_only.flags.writeable = False
    yield read_only


@pytest.mark.parametrize("dtype", DTYPES)
def test_macros_follow_the_strides(dtype):
    for shape in [(5,), (3, 4), (2, 3, 4), (2, 3, 2, 3)]:
        for a in layouts(sample(dtype, shape)):
            np.testing.assert_array_equal(by_macro(a), a)


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d not in COMPLEX])
def test_macros_are_lvalues(dtype):
    for shape in [(5,), (3, 4), (2, 3, 4), (2, 3, 2, 3)]:
        for order in "CF":
            base = np.zeros(shape, dtype, order)
            expected = base.copy()
            a, b = base[..., ::-2], expected[..., ::-2]
            number = "".join(LOOPS[: a.ndim]) + f"A{a.ndim}({INDEX[a.ndim - 1]}) = ++n % 2;"
            tw.inline("long n = 0;" + number, ["a"])
            b[...] = np.arange(1, a.size + 1).reshape(a.shape) % 2
            np.testing.assert_array_equal(base, expected)


def test_macros_increment_and_have_an_address():
    a = np.zeros((2, 3))[:, ::2]
    tw.inline("A2(1,1) += 5; A2(0,1)++; double *p = &A2(1,0); *p = 9;", ["a"])
    np.testing.assert_array_equal(a, [[0, 1], [9, 5]])


def test_index_expressions_are_parenthesised():
    a = np.arange(12).reshape(3, 4)
    assert tw.inline("int i = 1; return_val = A2(i+1, 3-i);", ["a"]) == a[2, 2]
    assert tw.inline("int i = 1; return_val = A2(i ? 2 : 0, i << 1);", ["a"]) == a[2, 2]


@pytest.mark.parametrize("dtype", ["int32", "float64", "complex64"])
def test_shape_strides_and_dimensions(dtype):
    for shape in [(), (5,), (0,), (3, 4), (2, 0, 4), (2, 3, 2, 3), (1,) * 7]:
        for a in (sample(dtype, shape), np.asfortranarray(sample(dtype, shape)), sample(dtype, shape).T):
            out = np.zeros(2 * a.ndim + 1, int)
            tw.inline(
                "out[0] = Da; for (int i = 0; i < Da; i++) { out[1+i] = Na[i]; out[1+Da+i] = Sa[i]; }",
                "a out",
            )
            assert out.tolist() == [a.ndim, *a.shape, *a.strides]


def test_more_than_four_dimensions():
    a = np.arange(64.0).reshape((2,) * 6)
    code = "double s = 0; for (int i = 0; i < 64; i++) s += a[i]; return_val = s;"
    assert tw.inline(code, ["a"]) == a.sum()
    deepest = np.ones((1,) * 64)
    assert tw.inline("return_val = Da + deepest[0]*0;".replace("Da", "Ddeepest"), ["deepest"]) == 64


def test_zero_dimensions():
    a = np.array(2.5)
    assert tw.inline("a[0] *= 2; return_val = Da;", ["a"]) == 0
    assert a == 5.0


def test_empty_arrays():
    a = np.zeros((0, 3))
    assert tw.inline("long n = 0; for (long i = 0; i < Na[0]; i++) n++; return_val = n + Na[1];", ["a"]) == 3


def test_pointer_is_the_first_element_of_the_view():
    base = np.arange(10.0)
    a = base[7:2:-1]
    assert tw.inline("return_val = a[0];", ["a"]) == 7.0
    address = tw.inline("return_val = (long)a;", ["a"])
    assert address == a.__array_interface__["data"][0]


def test_a_array_is_the_object():
    a = np.arange(3)
    assert tw.inline("return_val = a_array;", ["a"]) is a
    assert tw.inline("return_val = (PyObject *)a_array == py_a;", ["a"]) in (1, True)


@settings(deadline=None, max_examples=60)
@given(
    hnp.arrays(
        st.sampled_from(["bool", "int8", "uint16", "int64", "float32", "float64", "complex128"]),
        hnp.array_shapes(min_dims=1, max_dims=4, max_side=5),
        elements={"allow_nan": False},
    ),
    st.data(),
)
def test_any_view(base, data):
    a = base[data.draw(hnp.basic_indices(base.shape, min_dims=1, max_dims=4, allow_newaxis=True))]
    np.testing.assert_array_equal(by_macro(a), a)


# ---- Arrays: number of dimensions ----


@pytest.mark.parametrize(
    ("macro", "ndim"), [(m, d) for m, d in itertools.product(range(1, 5), range(7)) if m != d]
)
def test_wrong_number_of_dimensions(macro, ndim):
    a = np.zeros((2,) * ndim)
    with pytest.raises(ValueError, match=f"inline\\(\\): 'a' has {ndim} dimensions?, but .* {macro}"):
        tw.inline(f"return_val = A{macro}({','.join('0' * macro)});", ["a"])


def test_number_of_dimensions_is_looked_at_in_every_call():
    code = "return_val = A2(1,0);"
    for _ in range(3):
        assert tw.inline(code, "a", {"a": np.arange(4).reshape(2, 2)}) == 2
        with pytest.raises(ValueError, match="1 dimension,"):
            tw.inline(code, "a", {"a": np.arange(4)})


def test_a_snippet_that_looks_at_the_number_itself():
    code = "return_val = Da == 1 ? A1(1) : A2(1,0);"
    assert tw.inline(code, "a", {"a": np.arange(4)}) == 1
    assert tw.inline(code, "a", {"a": np.arange(4).reshape(2, 2)}) == 2


# ---- Arrays: names of macros ----


def test_macros_have_the_upper_case_name():
    arr_1, Mixed = np.arange(4), np.arange(4) * 10  # noqa: N806
    assert tw.inline("return_val = ARR_11(2) + MIXED1(1);", ["arr_1", "Mixed"]) == 12


def test_two_arrays_that_differ_by_case():
    values = {"a": np.arange(3), "A": np.arange(3) * 10}
    assert tw.inline("return_val = a[1] + A[1];", ["a", "A"], values) == 11
    assert tw.inline("return_val = Na[0] + NA[0];", ["a", "A"], values) == 6
    for macro in ("A1(1)", "A2(1,1)"):
        with pytest.raises(tw.CompileError) as info:
            tw.inline(f"return_val = a[0];\nreturn_val = {macro};", ["a", "A"], values)
        assert "'a'" in str(info.value) and "'A'" in str(info.value)
        assert info.value.lineno == 2


def test_an_array_and_a_scalar_that_differ_by_case():
    values = {"a": np.arange(3), "A": 5}
    assert tw.inline("return_val = A1(2) + A;", ["a", "A"], values) == 7


# ---- Arrays: writing ----

READ_ONLY_WRITES = [
    "a[0] = 1;",
    "*a = 1;",
    "A1(0) = 1;",
    "A1(0) += 1;",
    "A1(0)++;",
    "a[1]++;",
    "++*a;",
    "*(a+1) -= 2;",
]


@pytest.mark.parametrize("code", READ_ONLY_WRITES)
def test_writing_to_a_read_only_array_is_a_compile_error(code):
    a = np.arange(3)
    a.flags.writeable = False
    with pytest.raises(tw.CompileError) as info:
        tw.inline("long x = a[0];\n" + code, ["a"])
    assert info.value.lineno == 2
    assert a.tolist() == [0, 1, 2]


def test_read_only_arrays_are_read(counts):
    a = np.arange(3)
    code = "return_val = a[2] + A1(1) + Na[0];"
    assert tw.inline(code, ["a"]) == 6
    a.flags.writeable = False
    with counts() as c:
        assert tw.inline(code, ["a"]) == 6
    assert c.compiles == 1
    assert tw.inline(ELEMENT_TYPE, ["a"]).removeprefix("const ") == "long"


@pytest.mark.parametrize(
    "code",
    ["long *p = a; *p = 1;", "long *p; p = a; *p = 1;", "memset(a, 1, 8);", "long *p = &A1(0); *p = 1;"],
)
def test_const_is_not_lost_silently(code):
    a = np.arange(3)
    a.flags.writeable = False
    with pytest.raises(tw.CompileError):
        tw.inline(code, ["a"])
    assert a.tolist() == [0, 1, 2]


def test_writing_to_a_writable_array_next_to_a_read_only_one():
    a, b = np.arange(3), np.zeros(3, int)
    a.flags.writeable = False
    tw.inline("for (int i = 0; i < 3; i++) b[i] = a[i];", ["a", "b"])
    assert b.tolist() == [0, 1, 2]


# ---- Subclasses ----


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_subclasses_of_ndarray(tmp_path):
    matrix = np.matrix([[1.0, 2], [3, 4]])
    assert tw.inline("return_val = MATRIX2(1,0);", ["matrix"]) == 3.0
    mapped = np.memmap(tmp_path / "data", np.float64, "w+", shape=(4,))
    tw.inline("for (int i = 0; i < Nmapped[0]; i++) mapped[i] = i;", ["mapped"])
    assert mapped.tolist() == [0, 1, 2, 3]
    masked = np.ma.array([1, 2, 3], mask=[0, 1, 0])
    assert tw.inline("return_val = masked[1];", ["masked"]) == 2
    plain = np.zeros(3, int).view(np.recarray)
    assert tw.inline("return_val = plain[1];", ["plain"]) == 0


def test_structured_arrays_are_refused():
    for value in (np.zeros(3, "i4,f8"), np.rec.array([(1, 2.0)], dtype="i4,f8")):
        with pytest.raises(TypeError, match="'record'"):
            tw.inline("return_val = 1;", ["record"], {"record": value})
    fields = np.zeros(3, "f8,f8")["f0"]
    fields[:] = [1, 2, 3]
    assert tw.inline("return_val = FIELDS1(2);", ["fields"]) == 3.0


def test_other_buffers_are_objects():
    import array

    a = array.array("d", [1.0])
    assert c_type(a) == "PyObject *"


# ---- Types and kernels ----


def test_one_kernel_for_each_set_of_types(fresh, counts):
    code = fresh("return_val = py_a;")
    values = [1, 1.5, True, "s", b"s", None, [], 1j, np.float32(1), np.complex64(1)]
    values += [np.zeros(2, t) for t in ("f8", "f4", "i8", "i4")] + [np.int16(1), np.zeros((2, 2))]
    with counts() as c:
        for _ in range(3):
            for value in values:
                assert tw.inline(code, ["a"], {"a": value}) is value
    # long, double, int, string, object, complex, float, complexf and four dtypes: the text of the unit,
    # not the number of values, decides.
    assert c.compiles == len({"long", "double", "bool", "str", "object", "complex", "float", "complexf"}) + 4


# ---- Complex arithmetic ----

COMPLEX_OPERATIONS = {"tw_add": "+", "tw_sub": "-", "tw_mul": "*", "tw_div": "/"}


@pytest.mark.parametrize("name", COMPLEX_OPERATIONS)
@pytest.mark.parametrize(
    "types", list(itertools.product([np.complex128, np.complex64, float, int], repeat=2))
)
def test_complex_operators(name, types):
    x, y = types[0](3), types[1](2)
    if types[0] in (np.complex64, np.complex128):
        x = types[0](3 - 1.5j)
    if types[1] in (np.complex64, np.complex128):
        y = types[1](2 + 0.25j)
    expected = eval(f"np.asarray(x){COMPLEX_OPERATIONS[name]}np.asarray(y)")
    result = tw.inline(f"return_val = {name}(x, y);", ["x", "y"])
    if types == (int, int) and name == "tw_div":
        expected = 1
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_complex_parts():
    z = 3 - 4j
    assert tw.inline("return_val = tw_abs(z);", ["z"]) == 5
    assert tw.inline("return_val = tw_conj(z);", ["z"]) == 3 + 4j
    assert tw.inline("return_val = tw_neg(z);", ["z"]) == -3 + 4j
    assert tw.inline("return_val = tw_real(z) + 10*tw_imag(z);", ["z"]) == -37
    assert tw.inline("return_val = z.real*z.imag;", ["z"]) == -12


def test_complex_arrays_element_by_element():
    rng = np.random.default_rng(1)
    a = rng.normal(size=20) + 1j * rng.normal(size=20)
    b = np.empty_like(a)
    tw.inline("for (int i = 0; i < 20; i++) b[i] = tw_mul(a[i], tw_conj(a[i]));", ["a", "b"])
    np.testing.assert_allclose(b, a * a.conj(), rtol=1e-15)
