"""Python values as C's numbers and arrays, with NumPy as the oracle."""

import array as array_module
import ctypes
import decimal
import fractions
import gc
import itertools
import operator
import sys
import weakref

import conversion_library as c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.filterwarnings("error")

INTEGERS = "bBhHiIlLqQ"
FLOATS = "fd"
COMPLEX = "FD"
TARGETS = "?" + INTEGERS + FLOATS + COMPLEX
NUMBERS = TARGETS + "egG"
KINDS = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 3}
C_NAMES = {
    "b": "signed char",
    "B": "unsigned char",
    "h": "short",
    "H": "unsigned short",
    "i": "int",
    "I": "unsigned int",
    "l": "long",
    "L": "unsigned long",
    "q": "long long",
    "Q": "unsigned long long",
    "f": "float",
    "d": "double",
    "F": "float complex",
    "D": "double complex",
}
LARGE = 10**5000


def limits(letter):
    information = np.iinfo(letter)
    return int(information.min), int(information.max)


def convertible(source, target):
    """Whether values of the dtype `source` convert to that of the letter `target` at all."""
    wanted = KINDS[np.dtype(target).kind]
    return KINDS.get(source.kind, 9) <= wanted


def message(call, *arguments, error):
    with pytest.raises(error) as caught:
        call(*arguments)
    assert type(caught.value) is error
    return str(caught.value)


def overflow_message(letter, got):
    low, high = limits(letter)
    return f"smooth(): 'a' does not fit C's {C_NAMES[letter]}: expected {low} to {high}, got {got} (T a)"


class Index:
    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


class Real:
    def __init__(self, value):
        self.value = value

    def __float__(self):
        return self.value


class Complex:
    def __complex__(self):
        return 1 + 2j


class IntSubclass(int):
    def __repr__(self):
        return "not shown"


class Sub(np.ndarray):
    """A subclass that must not be asked."""

    def __array_function__(self, *arguments):
        raise AssertionError("asked")

    __array_ufunc__ = __array_function__


class Failing:
    """Raises whatever is wanted of it."""

    def __index__(self):
        raise LookupError("index")

    def __float__(self):
        raise LookupError("float")

    def __complex__(self):
        raise LookupError("complex")

    def __array__(self, dtype=None, copy=None):
        raise LookupError("array")


# ---- Numbers ----


@given(st.integers(-(2**65), 2**65), st.sampled_from(INTEGERS), st.sampled_from([int, Index, IntSubclass]))
def test_integers_that_fit_and_those_that_do_not(value, letter, make):
    low, high = limits(letter)
    if low <= value <= high:
        assert c.number(letter, make(value)) == value
    else:
        assert message(c.number, letter, make(value), error=OverflowError) == overflow_message(letter, value)


@pytest.mark.parametrize("letter", INTEGERS)
def test_the_limits_of_integers(letter):
    low, high = limits(letter)
    for value in (low, high):
        assert c.number(letter, value) == value
    for value in (low - 1, high + 1):
        assert message(c.number, letter, value, error=OverflowError) == overflow_message(letter, value)


@pytest.mark.parametrize("value", [LARGE, -LARGE, Index(LARGE), IntSubclass(LARGE), 2**127], ids=type)
def test_huge_integers_are_not_printed(value):
    bits = operator.index(value).bit_length()
    for letter in INTEGERS:
        text = message(c.number, letter, value, error=OverflowError)
        assert text == overflow_message(letter, f"an int of {bits} bits")
    if bits > 1024:
        for letter in "fdFD":
            text = message(c.number, letter, value, error=OverflowError)
            assert text.startswith(f"smooth(): 'a' does not fit C's {C_NAMES[letter]}: expected at most ")
            assert text.endswith(f" in magnitude, got an int of {bits} bits (T a)")


@pytest.mark.parametrize("source", "?" + INTEGERS)
@pytest.mark.parametrize("target", INTEGERS + FLOATS + COMPLEX)
def test_integer_and_bool_scalars_of_numpy(source, target):
    information = np.iinfo(source) if source != "?" else None
    for value in (0, 1) if information is None else (int(information.min), 1, int(information.max)):
        for scalar in (
            np.dtype(source).type(value),
            np.array(value, source),
            np.array([value], source)[0, ...],
        ):
            if target in INTEGERS and not limits(target)[0] <= value <= limits(target)[1]:
                text = message(c.number, target, scalar, error=OverflowError)
                assert text == overflow_message(target, value)
            else:
                assert c.number(target, scalar) == np.dtype(target).type(value)


def test_bools_are_integers_and_floats():
    for letter in INTEGERS + FLOATS + COMPLEX:
        for value in (True, np.True_, np.array(True)):
            assert c.number(letter, value) == 1
        for value in (False, np.False_, np.array(False)):
            assert c.number(letter, value) == 0


def test_only_bools_are_bools():
    for value in (True, np.True_):
        assert c.number_bytes("?", value)[0] == 1
    for value in (False, np.False_):
        assert c.number_bytes("?", value)[0] == 0
    for value, name in (
        (1, "int"),
        (1.0, "float"),
        (np.int8(1), "numpy.int8"),
        (None, "NoneType"),
        ("", "str"),
    ):
        text = message(c.number, "?", value, error=TypeError)
        assert text == f"smooth(): 'a' must be a bool (True or False), not {name} (T a)"
    text = message(c.number, "?", np.array(True), error=TypeError)
    assert text == "smooth(): 'a' must be a bool (True or False), not a 0-d array of dtype bool (T a)"


def test_what_is_no_integer():
    refused = {
        "float": 2.0,
        "complex": 2j,
        "str": "2",
        "bytes": b"2",
        "NoneType": None,
        "list": [2],
        "decimal.Decimal": decimal.Decimal(2),
        "numpy.float64": np.float64(2),
        "numpy.float16": np.float16(2),
        "numpy.longdouble": np.longdouble(2),
        "numpy.complex64": np.complex64(2),
        "numpy.timedelta64": np.timedelta64(2, "s"),
        "numpy.datetime64": np.datetime64(2, "s"),
        "numpy.str_": np.str_("2"),
        "a 1-d array of dtype int64": np.array([2]),
        "a 0-d array of dtype timedelta64[s]": np.array(np.timedelta64(2, "s")),
        "a 0-d array of dtype object": np.array(2, object),
    }
    for letter in INTEGERS:
        for name, value in refused.items():
            text = message(c.number, letter, value, error=TypeError)
            assert text == f"smooth(): 'a' must be an integer, not {name} (T a)"
        text = message(c.number, letter, np.array(2.0), error=TypeError)
        assert text.startswith("smooth(): 'a' must be an integer, not numpy.float64")


def test_what_is_no_real_number_or_no_number():
    refused = ["2", b"2", None, [2], object(), np.str_("2"), np.bytes_(b"2"), np.void(b"2"), np.ones(1)]
    refused += [
        np.datetime64(2, "s"),
        np.timedelta64(2, "s"),
        np.array("2"),
        np.array(2, object),
        np.ones((1, 1)),
    ]
    for letter, wanted, more in (
        ("f", "real number", [2j, np.complex64(2), np.complex128(2), np.array(2j), Complex()]),
        ("d", "real number", [2j, np.complex64(2), np.complex128(2), np.array(2j), Complex()]),
        ("F", "number", []),
        ("D", "number", []),
    ):
        for value in refused + more:
            text = message(c.number, letter, value, error=TypeError)
            assert text.startswith(f"smooth(): 'a' must be a {wanted}, not ") and text.endswith(" (T a)")
        for value in (np.float16(2), np.longdouble(2), np.clongdouble(2), np.array(2, "e"), np.array(2, "g")):
            name = type(value[()]).__module__ + "." + type(value[()]).__name__
            text = message(c.number, letter, value, error=TypeError)
            assert text == f"smooth(): 'a' is a {name}, which no number of C is made from (T a)"
    assert message(c.number, "d", np.ones((2, 3), "f"), error=TypeError) == (
        "smooth(): 'a' must be a real number, not a 2-d array of dtype float32 (T a)"
    )


@given(st.floats(width=64), st.sampled_from([float, np.float64, np.array, Real]))
def test_floats(value, make):
    assert c.number_bytes("d", make(value))[:8] == np.float64(value).tobytes()
    assert c.number_bytes("D", make(value))[:16] == np.complex128(complex(value, 0)).tobytes()


@given(st.floats() | st.floats(3.4e38, 3.5e38) | st.floats(-3.5e38, -3.4e38))
def test_floats_as_float32(value):
    with np.errstate(all="ignore"):
        expected = np.array(value).astype("f")
    if np.isinf(expected) and not np.isinf(value):
        for letter, name in (("f", "float"), ("F", "float complex")):
            assert message(c.number, letter, value, error=OverflowError) == (
                f"smooth(): 'a' does not fit C's {name}: expected at most 3.40282e+38 in magnitude, "
                f"got {value!r} (T a)"
            )
    else:
        np.testing.assert_array_equal(c.number("f", value), expected)


def test_where_float32_overflows():
    last = np.nextafter(float.fromhex("0x1.ffffffp127"), 0)
    assert c.number("f", last) == np.finfo("f").max
    assert c.number("f", -last) == -np.finfo("f").max
    message(c.number, "f", float.fromhex("0x1.ffffffp127"), error=OverflowError)
    message(c.number, "F", complex(1, 1e39), error=OverflowError)
    message(c.number, "f", 10**39, error=OverflowError)
    for value in (float("inf"), float("-inf")):
        assert c.number("f", value) == value
    assert np.isnan(c.number("f", float("nan")))


def test_reals_of_all_kinds():
    values = [
        3,
        True,
        np.int8(3),
        np.uint64(2**63),
        np.float32(0.1),
        Index(7),
        Index(2**70),
        Real(0.5),
        2**60 + 1,
    ]
    values += [
        decimal.Decimal("0.1"),
        fractions.Fraction(1, 3),
        np.array(3),
        np.array(0.5),
        np.array(3, ">i2"),
    ]
    for value in values:
        assert c.number("d", value) == float(value)
        assert c.number("D", value) == complex(float(value), 0)
        assert c.number("f", value) == np.float32(float(value))


def test_complex_numbers_of_all_kinds():
    for value in (1 + 2j, np.complex64(1 + 2j), np.complex128(1 + 2j), np.array(1 + 2j, ">c8"), Complex()):
        assert c.number("F", value) == c.number("D", value) == 1 + 2j


@pytest.mark.parametrize("letter", INTEGERS + FLOATS + COMPLEX)
def test_exceptions_of_numbers_pass(letter):
    text = message(c.number, letter, Failing(), error=LookupError)
    assert text == ("index" if letter in INTEGERS else "float" if letter in FLOATS else "complex")


@given(st.data(), st.sampled_from(TARGETS))
def test_numbers_back(data, letter):
    dtype = np.dtype(letter)
    value = np.frombuffer(data.draw(st.binary(min_size=dtype.itemsize, max_size=dtype.itemsize)), letter)[0]
    if letter == "?":
        value = np.bool_(data.draw(st.booleans()))
    back = c.number_object(letter, value.tobytes() + b"\xaa" * 8)
    with np.errstate(all="ignore"):
        expected = value.item()
    assert type(back) is type(expected)
    np.testing.assert_array_equal(back, expected)


# ---- Arrays ----


def misaligned(values):
    memory = np.zeros(values.nbytes + 1, "B")
    result = memory[1:].view(values.dtype).reshape(values.shape)
    result[...] = values
    return result


def every_other(values):
    result = np.zeros([2 * size for size in values.shape], values.dtype)
    result = result[(..., *(slice(None, None, 2) for _ in values.shape))]
    result[...] = values
    return result


def reversed_memory(values):
    backwards = (..., *(slice(None, None, -1) for _ in values.shape))
    return values[backwards].copy("C")[backwards]


def read_only(values):
    result = values.copy()
    result.flags.writeable = False
    return result


LAYOUTS = {
    "C": lambda values: values.copy("C"),
    "Fortran": lambda values: values.copy("F"),
    "strided": every_other,
    "reversed": reversed_memory,
    "transposed": lambda values: values.T.copy("C").T,
    "misaligned": misaligned,
    "swapped": lambda values: values.astype(values.dtype.newbyteorder()),
    "swapped and strided": lambda values: every_other(values.astype(values.dtype.newbyteorder())),
    "subclass": lambda values: values.copy().view(Sub),
    "strided subclass": lambda values: every_other(values).view(Sub),
    "read-only": read_only,
}
SHAPES = ((), (0,), (1,), (5,), (3, 4), (2, 0, 3), (2, 3, 4), (1, 7, 1))


def check_layout(result, letter, shape):
    assert type(result) is np.ndarray
    assert c.library.same_type(result.dtype.num, np.dtype(letter).num)
    assert result.dtype.isnative and result.flags.aligned and result.flags.c_contiguous
    assert result.shape == shape


def oracle(values, letter):
    """(the values as NumPy casts them, whether an exact conversion exists)"""
    with np.errstate(all="ignore"):
        expected = np.asarray(values).astype(letter)
    if np.dtype(letter).kind in "iu":
        fits = all(int(old) == int(new) for old, new in zip(values.flat, expected.flat, strict=True))
    else:
        fits = bool(np.all(np.isinf(expected) <= np.isinf(values)))
    return expected, fits


def check_conversion(values, letter):
    """Converts, and compares with what NumPy has for it."""
    if not convertible(values.dtype, letter):
        more = "" if letter == "?" else " or what converts to it"
        text = message(c.array, letter, values, error=TypeError)
        assert text == f"smooth(): 'a' has dtype {values.dtype}, expected {np.dtype(letter)}{more} (T a)"
        return
    expected, fits = oracle(np.asarray(values), letter)
    if fits:
        result = c.array(letter, values)
        check_layout(result, letter, values.shape)
        assert result.tobytes() == expected.tobytes()
    else:
        text = message(c.array, letter, values, error=OverflowError)
        assert text.startswith(f"smooth(): 'a' does not fit C's {C_NAMES[letter]}: expected ")
        assert text.endswith(" (T a)")


@pytest.mark.parametrize("source", NUMBERS)
@pytest.mark.parametrize("target", TARGETS)
def test_every_dtype_and_layout_to_every_dtype(source, target):
    for shape in SHAPES:
        count = int(np.prod(shape))
        values = (np.arange(count) % 100).astype(source).reshape(shape)
        for layout in LAYOUTS.values():
            check_conversion(layout(values), target)
        if shape == (3, 4):
            check_conversion(np.broadcast_to(values[0], (3, 4)), target)
            check_conversion(np.broadcast_to(values[0, 1], (3, 4)), target)


@pytest.mark.parametrize("source", [letter for letter in NUMBERS if letter not in "?"])
@pytest.mark.parametrize("target", INTEGERS + FLOATS + COMPLEX)
def test_extreme_values(source, target):
    information = np.iinfo(source) if source in INTEGERS else np.finfo(source)
    for extreme in (information.min, information.max):
        values = np.ones((3, 4), source)
        values[1, 2] = extreme
        for layout in ("C", "strided", "swapped", "misaligned"):
            check_conversion(LAYOUTS[layout](values), target)
    if source in "egdfFDG":
        check_conversion(np.array([np.inf, -np.inf, 1, np.nan], source), target)


@pytest.mark.parametrize("target", INTEGERS)
def test_the_limits_of_integers_in_arrays(target):
    low, high = limits(target)
    for source in INTEGERS:
        for value in (low - 1, low, low + 1, high - 1, high, high + 1):
            if limits(source)[0] <= value <= limits(source)[1]:
                for values in ([value], [0, value, 1], [value] * 9):
                    check_conversion(np.array(values, source), target)


def array_values(letter, size):
    if letter in INTEGERS:
        low, high = limits(letter)
        near = st.integers(-3, 3).flatmap(
            lambda step: st.sampled_from([0, low, high]).map(lambda x: x + step)
        )
        edges = [2**bits + step for bits in (7, 8, 15, 16, 31, 32, 63) for step in (-1, 0)]
        values = st.one_of(near, st.integers(low, high), st.sampled_from(edges + [-edge for edge in edges]))
        values = values.map(lambda value: min(max(value, low), high))
    else:
        values = st.floats() | st.floats(-3.5e38, 3.5e38)
    return st.lists(values, min_size=0, max_size=size)


@given(st.data(), st.sampled_from(INTEGERS), st.sampled_from(INTEGERS), st.sampled_from(sorted(LAYOUTS)))
def test_integers_of_arrays(data, source, target, layout):
    values = np.array(data.draw(array_values(source, 20)), source)
    check_conversion(LAYOUTS[layout](values), target)


@given(st.data(), st.sampled_from("dDgG"), st.sampled_from("fFdD"), st.sampled_from(sorted(LAYOUTS)))
def test_floats_of_arrays(data, source, target, layout):
    values = np.array(data.draw(array_values("d", 20)), source)
    if source in "DG":
        values = np.ascontiguousarray(values + 1j * values[::-1]) if np.isfinite(values).all() else values
    with np.errstate(all="ignore"):
        check_conversion(LAYOUTS[layout](values), target)


def test_the_value_that_does_not_fit_is_told():
    values = np.array([1, 3000000000, -5, 4000000000])
    assert message(c.array, "i", values, error=OverflowError) == overflow_message("i", 3000000000)
    assert message(c.array, "B", values[::-2], error=OverflowError) == overflow_message("B", 4000000000)
    assert message(c.array, "L", values[2:], error=OverflowError) == overflow_message("L", -5)
    assert message(c.array, "b", np.array([1, 2**64 - 1], "L"), error=OverflowError) == overflow_message(
        "b", 2**64 - 1
    )
    for source, got in (
        ("d", "1e+300"),
        (">f8", "1e+300"),
        ("g", str(np.longdouble(1e300))),
        ("D", "(1+1e+300j)"),
    ):
        values = np.array([1, np.inf, 1e300 if source != "D" else 1 + 1e300j], source)
        for target, name in (("f", "float"), ("F", "float complex")):
            if convertible(values.dtype, target):
                assert message(c.array, target, values, error=OverflowError) == (
                    f"smooth(): 'a' does not fit C's {name}: expected at most 3.40282e+38 in magnitude, "
                    f"got {got} (T a)"
                )
    assert message(c.array, "d", np.array(["1e400"]).astype("g"), error=OverflowError) == (
        "smooth(): 'a' does not fit C's double: expected at most 1.79769e+308 in magnitude, got 1e+400 (T a)"
    )


@pytest.mark.parametrize("letter", TARGETS)
def test_dtypes_that_do_not_convert(letter):
    for values in (
        np.array(["x"]),
        np.array([b"x"]),
        np.array([1], "M8[s]"),
        np.array([1], "m8[s]"),
        np.array([1], object),
        np.zeros(1, "i,f"),
        np.zeros(1, "V8"),
        np.array([], object),
        np.array([], "U1"),
        np.array(["x"], np.dtypes.StringDType()),
    ):
        check_conversion(values, letter)


@pytest.mark.parametrize("letter", TARGETS)
def test_the_right_array_itself(letter):
    for shape in SHAPES:
        values = np.ones(shape, letter)
        assert c.array(letter, values) is values
        assert c.array(letter, read_only(values)).flags.writeable is False
        if values.size:
            assert np.shares_memory(c.array(letter, values.view(Sub)), values)
    twins = {"l": "q", "q": "l", "L": "Q", "Q": "L"}
    if letter in twins:
        values = np.ones(3, twins[letter])
        assert c.array(letter, values) is values


def test_a_copy_is_not_the_users_array():
    for layout in ("Fortran", "strided", "reversed", "misaligned", "swapped", "strided subclass"):
        values = LAYOUTS[layout](np.ones((3, 4)))
        assert not np.shares_memory(c.array("d", values), values.view(np.ndarray))


def test_sequences_and_buffers():
    class Exporter:
        def __array__(self, dtype=None, copy=None):
            return np.array([[1, 2]], "h")

    for value in (
        [1, 2, 3],
        (1, 2, 3),
        [[1, 2], [3, 4]],
        [np.int8(1), True],
        range(3),
        memoryview(b"abc"),
        bytearray(b"abc"),
        array_module.array("h", [1, 2]),
        (ctypes.c_int * 3)(1, 2, 3),
        Exporter(),
        5,
        True,
        np.int16(5),
        [[True, False]],
    ):
        for letter in INTEGERS + FLOATS + COMPLEX:
            result = c.array(letter, value)
            check_layout(result, letter, np.asarray(value).shape)
            np.testing.assert_array_equal(result, np.asarray(value))
    for letter in FLOATS + COMPLEX:
        assert c.array(letter, [0.5, 1]).tolist() == [0.5, 1]
        assert c.array(letter, 0.5).shape == ()
    for letter in "?" + INTEGERS:
        assert message(c.array, letter, [0.5], error=TypeError).startswith(
            "smooth(): 'a' has dtype float64, "
        )
    assert c.array("?", [[True, False]]).tolist() == [[True, False]]
    assert message(c.array, "?", [1, 0], error=TypeError) == (
        "smooth(): 'a' has dtype int64, expected bool (T a)"
    )
    assert message(c.array, "d", None, error=TypeError) == (
        "smooth(): 'a' has dtype object, expected float64 or what converts to it (T a)"
    )


def test_subclasses_become_plain_arrays():
    for value in (
        np.ma.array([1.0, 2.0], mask=[True, False]),
        np.ones(3).view(Sub),
        np.ones(3).view(np.recarray),
    ):
        assert type(c.array("d", value)) is np.ndarray
        assert type(c.array("f", value)) is np.ndarray


@pytest.mark.parametrize("letter", TARGETS)
def test_empty_lists_are_of_any_dtype(letter):
    for value in ([], (), [[], []], range(0), [()]):
        check_layout(c.array(letter, value), letter, np.asarray(value).shape)
    if letter in "?" + INTEGERS:
        text = message(c.array, letter, np.array([]), error=TypeError)
        assert text.startswith("smooth(): 'a' has dtype float64, expected ")


def test_lists_of_large_ints():
    assert c.array("L", [2**63, 1]).tolist() == [2**63, 1]
    assert c.array("Q", ((2**64 - 1, True),)).tolist() == [[2**64 - 1, 1]]
    assert c.array("d", [2**70, 1, 1.5]).tolist() == [2.0**70, 1, 1.5]
    assert c.array("D", [2**70, 1j]).tolist() == [2.0**70, 1j]
    assert message(c.array, "l", [1, 2**63], error=OverflowError) == overflow_message("l", 2**63)
    assert message(c.array, "L", [2**63, -1], error=OverflowError) == overflow_message("L", -1)
    assert message(c.array, "L", [2**64], error=OverflowError) == overflow_message("L", 2**64)
    assert message(c.array, "L", 2**64, error=OverflowError) == overflow_message("L", 2**64)
    text = message(c.array, "i", [1, LARGE], error=OverflowError)
    assert text == overflow_message("i", f"an int of {LARGE.bit_length()} bits")
    message(c.array, "d", [LARGE], error=OverflowError)
    message(c.array, "f", [10**39], error=OverflowError)
    for letter, value in (
        ("l", [2**70, 1.5]),
        ("l", [2**63, 1.5]),
        ("d", [2**70, 1j]),
        ("d", [2**70, None]),
        ("?", [2**70]),
        ("l", np.array([1], object)),
        ("l", [np.array([1e300])]),
    ):
        text = message(c.array, letter, value, error=TypeError)
        assert text.startswith(f"smooth(): 'a' has dtype {np.asarray(value).dtype}, expected ")


def test_bytes():
    for value in (b"", b"ab\x00\xff"):
        for letter in "bB":
            result = c.array(letter, value)
            assert result.tolist() == np.frombuffer(value, letter).tolist()
            assert not result.flags.writeable
            check_layout(result, letter, (len(value),))
        for letter in "?hdD":
            text = message(c.array, letter, value, error=TypeError)
            assert text.startswith(f"smooth(): 'a' has dtype {np.asarray(value).dtype}, expected ")


def test_exceptions_of_arrays_pass():
    message(c.array, "d", Failing(), error=LookupError)
    with pytest.raises(ValueError, match="inhomogeneous"):
        c.array("d", [[1], [1, 2]])


# ---- The state of floating point ----

LIBM = ctypes.CDLL("libm.so.6")
FLAGS = 0x01 | 0x04 | 0x08 | 0x10  # invalid, divide by zero, overflow, underflow of x86


def signaling(letter):
    bits = {"f": ("u4", 0x7F800001), "d": ("u8", 0x7FF0000000000001), "e": ("u2", 0x7C01)}[letter]
    return np.array([bits[1]] * 3, bits[0]).view(letter)


@pytest.mark.parametrize("policy", ["raise", "warn", "ignore"])
def test_no_warnings_and_no_flags(policy):
    tiny, large, infinite = np.full(3, 1e-300), np.full(3, 1e300), np.full(3, np.inf)
    with np.errstate(all=policy):
        for values, letters in (
            (tiny, "fFD"),
            (tiny.astype("D"), "F"),
            (tiny.astype("g"), "fdFD"),
            (large, "f"),
            (large.astype("D"), "F"),
            (large.astype("g"), "fF"),
            (infinite, "fF"),
            (signaling("d"), "fFD"),
            (signaling("f"), "dFD"),
            (signaling("e"), "fd"),
            (np.full(3, 2**63 + 1, "L"), "fdi"),
        ):
            for letter, held in itertools.product(letters, (0, 0x08)):
                LIBM.feclearexcept(FLAGS)
                LIBM.feraiseexcept(held)
                try:
                    c.array(letter, values)
                except OverflowError:
                    assert values is not tiny
                assert LIBM.fetestexcept(FLAGS) == held
        for value in (1e300, float("inf")):
            LIBM.feclearexcept(FLAGS)
            try:
                c.number("f", value)
            except OverflowError:
                assert value == 1e300
            assert LIBM.fetestexcept(FLAGS) == 0
        assert set(np.geterr().values()) == {policy}


# ---- Arrays that C writes to ----


@pytest.mark.parametrize("letter", TARGETS)
@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "read-only"])
def test_inout(letter, layout):
    for shape in SHAPES:
        values = LAYOUTS[layout](np.zeros(shape, letter))
        seen = []

        def write(array, seen=seen, letter=letter, shape=shape):
            assert array.dtype.isnative and array.flags.carray and array.shape == shape
            assert array.dtype == np.dtype(letter)
            assert not array.view(np.ndarray).any()
            array[...] = np.ones(array.shape, letter)
            seen.append(array)

        c.inout(letter, values, write)
        assert values.view(np.ndarray).all() and values.flags.writeable
        (array,) = seen
        direct = values.flags.carray and values.dtype.isnative
        assert (array is values) == direct
        assert not array.flags.writebackifcopy

        values[...] = np.zeros((), letter)
        c.inout(letter, values, write, keep=False)
        assert values.view(np.ndarray).any() == (direct and values.size > 0)
        assert values.flags.writeable


def test_inout_keeps_an_exception():
    values = np.zeros(6)[::2]
    for keep in (True, False):
        with pytest.raises(KeyError, match="raised before"):
            c.inout("d", values, lambda array: array.fill(1), keep=keep, raising=True)
        assert values.tolist() == [1.0 * keep] * 3
        values[...] = 0
    with pytest.raises(KeyError, match="raised before"):
        c.inout("d", np.zeros(3), raising=True)


def test_inout_of_twins():
    for letter, other in ("lq", "ql", "LQ", "QL"):
        for values in (np.zeros(3, other), np.zeros(6, other)[::2]):
            c.inout(letter, values, lambda array: array.fill(7))
            assert values.tolist() == [7, 7, 7]


def test_what_cannot_be_written_to():
    for value, got in (
        ([1.0], "list"),
        (1.0, "float"),
        (np.float64(1), "numpy.float64"),
        (None, "NoneType"),
        (np.ones(2, "f"), "dtype float32"),
        (np.ones(2, "l"), "dtype int64"),
        (np.ones(2, "M8[s]"), "dtype datetime64[s]"),
        (np.ones(2, object), "dtype object"),
    ):
        assert message(c.inout, "d", value, error=TypeError) == (
            f"smooth(): 'a' must be an ndarray of dtype float64, as it is written to; got {got} (T a)"
        )
    for values in (read_only(np.ones(2)), np.broadcast_to(1.0, 3), read_only(np.ones(2, ">f8"))):
        text = message(c.inout, "d", values, error=ValueError)
        assert text == "smooth(): 'a' is read-only, but is written to (T a)"


def test_a_write_back_that_someone_else_owes():
    values = np.zeros(3, "f")
    flags = ["readwrite", "updateifcopy"]
    with np.nditer(values, [], [flags], ["d"], casting="same_kind") as iterator:
        (operand,) = iterator.operands
        assert operand.flags.writebackifcopy
        c.inout("d", operand, lambda array: array.fill(1))
        assert operand.flags.writebackifcopy
        assert values.tolist() == [0, 0, 0]
    assert values.tolist() == [1, 1, 1]


# ---- The dtype that T stands for ----


@given(
    st.lists(
        st.sampled_from(
            [1, 1.5, 2j, True, np.int8(1), np.float32(1), [1, 2], [0.5]]
            + [np.ones(2, letter) for letter in "?bBhHiIlLqQefdgFDG"]
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(["fd", "fdFD", "d", "lfd", "qD", "bhilqBHILQ", "?bhilfdFD", "FDfd", "DF"]),
)
@settings(max_examples=300)
def test_common_type(values, letters):
    weak = (int, float, complex, bool)
    expected = np.result_type(
        *(value if type(value) in weak else np.asarray(value).dtype for value in values)
    )
    same = [letter for letter in letters if np.dtype(letter) == expected]
    safe = [letter for letter in letters if np.can_cast(expected, letter, "safe")]
    if same or safe:
        assert c.common_type(letters, *values) == (same + safe)[0]
    else:
        listed = ", ".join(str(np.dtype(letter)) for letter in letters)
        assert message(c.common_type, letters, *values, error=TypeError) == (
            f"smooth(): the arguments have dtype {expected} in common, which does not cast safely to any of "
            f"{listed}"
        )


def test_common_type_of_pythons_own_numbers():
    assert c.common_type("bilfd", 1) == "l"
    assert c.common_type("fd", 1.0) == "d"
    assert c.common_type("fdFD", 1, 1.0, 1j) == "D"
    assert c.common_type("fd", 1, np.ones(2, "f")) == "f"
    assert c.common_type("fd", LARGE, np.ones(2, "f")) == "f"
    assert c.common_type("fd", IntSubclass(1), np.ones(2, "f")) == "d"
    assert c.common_type("fd", np.float64(1), np.ones(2, "f")) == "d"
    assert c.common_type("bilfd", 300, np.ones(2, "b")) == "b"
    assert c.common_type("?l", True) == "?"
    assert c.common_type("fd", np.ones(2, ">f4")) == "f"
    assert c.common_type("fd", np.ones(2, "f").view(Sub), np.ones(2, "f")) == "f"
    assert c.common_type("l", np.ones(2, "q")) == "l"
    assert c.common_type("q", np.ones(2, "q"), np.ones(2, "l")) == "q"


def test_no_common_type():
    for values in (
        [np.ones(1), "x"],
        [np.array(["2020"], "M8[D]"), 1.5],
        [np.zeros(1, "i,f"), np.ones(1)],
    ):
        text = message(c.common_type, "fd", *values, error=TypeError)
        assert text.startswith("smooth(): the arguments have ") and "float32, float64" in text
    assert message(c.common_type, "fd", np.zeros(1, "i,f"), 1.0, error=TypeError) == (
        "smooth(): the arguments have no dtype in common: expected one of float32, float64"
    )
    assert message(c.common_type, "fd", None, error=TypeError) == (
        "smooth(): the arguments have dtype object in common, which does not cast safely to any of "
        "float32, float64"
    )
    message(c.common_type, "fd", np.ones(1), Failing(), error=LookupError)
    with pytest.raises(ValueError, match="inhomogeneous"):
        c.common_type("fd", [[1], [1, 2]])


@pytest.mark.parametrize("letter", NUMBERS + "Om")
def test_same_type(letter):
    for other in NUMBERS + "Om":
        a, b = np.dtype(letter), np.dtype(other)
        expected = letter == other or (a.kind == b.kind and a.itemsize == b.itemsize and a.kind in "iu")
        assert c.library.same_type(a.num, b.num) == expected
    assert c.library.same_type(-1, np.dtype(letter).num) == 0
    assert c.library.same_type(np.dtype(letter).num, 2056) == 0


# ---- Overlap ----

SLICES = st.builds(
    slice,
    st.none() | st.integers(-12, 12),
    st.none() | st.integers(-12, 12),
    st.sampled_from([None, 1, 2, 3, -1, -2, -5]),
)


@given(SLICES, SLICES, SLICES, SLICES, st.booleans())
@settings(max_examples=300)
def test_overlap(first, second, third, fourth, transposed):
    memory = np.zeros((12, 10))
    a, b = memory[first, second], memory[third, fourth]
    b = b.T if transposed else b
    assert c.overlap(a, b) == c.overlap(b, a) == np.shares_memory(a, b)
    assert c.overlap(a, a) == (a.size > 0)
    assert c.overlap(a, a.copy()) == 0
    assert c.overlap(a.view(Sub), b) == np.shares_memory(a, b)


def test_overlap_of_fields_and_of_broadcasts():
    records = np.zeros(5, "i4,i4,f8")
    assert c.overlap(records["f0"], records["f1"]) == 0
    assert c.overlap(records["f0"], records) == 1
    assert c.overlap(np.broadcast_to(records["f2"], (3, 5)), records["f2"][4:]) == 1
    assert c.overlap(records["f0"].real, np.zeros(0)) == 0
    scalar = np.array(1.0)
    assert c.overlap(scalar, scalar[...]) == 1


def test_what_is_too_hard_to_tell_counts_as_overlap():
    """A pair from NumPy's own tests."""
    memory = np.zeros(192163377, "b")
    a = np.lib.stride_tricks.as_strided(memory, (1049, 1049, 1049), (36674, 61119, 85569))
    b = np.lib.stride_tricks.as_strided(memory[64023025:], (1049, 1049, 1), (12223, 12224, 1))
    with pytest.raises(np.exceptions.TooHardError):
        np.shares_memory(a, b, max_work=100000)
    assert c.overlap(a, b) == 1


# ---- Strings and pointers ----


def test_strings():
    assert c.string("héllo") == "héllo".encode()
    assert c.string(b"bytes\xff") == b"bytes\xff"
    assert c.string("") == b""
    assert c.string(np.str_("x")) == b"x"
    for value, name in ((1, "int"), (None, "NoneType"), (bytearray(b"x"), "bytearray"), (["x"], "list")):
        text = message(c.string, value, error=TypeError)
        assert text == f"smooth(): 'a' must be a str or bytes, not {name} (T a)"
    assert message(c.string, "a\0b", error=ValueError) == (
        "smooth(): 'a' has a NUL character, where C's string would end (T a)"
    )
    message(c.string, "\ud800", error=UnicodeEncodeError)


def test_pointers():
    assert c.pointer(None) == (0, False)
    assert c.pointer(0x1234) == (0x1234, False)
    assert c.pointer(2**64 - 1) == (2**64 - 1, False)
    values = np.zeros(3)
    for readonly in (True, False):
        assert c.pointer(values, readonly) == (values.ctypes.data, True)
        assert c.pointer(np.asfortranarray(np.zeros((3, 4))), readonly)[1]
        assert c.pointer(bytearray(b"abc"), readonly)[1]
        assert c.pointer(memoryview(values), readonly) == (values.ctypes.data, True)
    data = b"abc"
    assert ctypes.string_at(c.pointer(data, readonly=True)[0], 3) == data
    assert c.pointer(read_only(values), readonly=True)[1]


def test_what_is_no_pointer():
    for value, name in (
        ("x", "str"),
        (1.5, "float"),
        ([1], "list"),
        (True, "bool"),
        (np.int64(5), "numpy.int64"),
        (np.bytes_(b"x"), "numpy.bytes_"),
        (object(), "object"),
    ):
        for readonly in (True, False):
            assert message(c.pointer, value, readonly, error=TypeError) == (
                "smooth(): 'a' must have a buffer, as arrays and bytes do, or be an int address or None, "
                f"not {name} (T a)"
            )
    for value, got in ((-1, "-1"), (2**64, str(2**64)), (LARGE, f"an int of {LARGE.bit_length()} bits")):
        assert message(c.pointer, value, error=OverflowError) == (
            f"smooth(): 'a' is no address: expected 0 to {2**64 - 1}, got {got} (T a)"
        )
    for value in (b"abc", memoryview(b"abc"), read_only(np.zeros(3)), np.zeros((4, 4))[::2, ::2]):
        text = message(c.pointer, value, error=BufferError)
        assert text.startswith("smooth(): 'a' gives no contiguous memory to write to: ")
        assert text.endswith(" (T a)")
    for value in (np.zeros((4, 4))[::2, ::2], memoryview(b"abcd")[::2]):
        text = message(c.pointer, value, True, error=BufferError)
        assert text.startswith("smooth(): 'a' gives no contiguous memory: ")


# ---- References ----

DOUBLES = np.ones(3)
VALUES = [
    1,
    10**30,
    LARGE,
    0.5,
    1e300,
    1 + 2j,
    complex(1e300, 0),
    True,
    None,
    "text",
    "nul\0",
    b"bytes",
    [1, 2],
    [],
    [2**63, 1],
    [2**63, -1],
    [2**70],
    [2**70, None],
    [0.5],
    [[1], [1, 2]],
    np.float32(1),
    np.float16(1),
    np.True_,
    np.int64(10**10),
    np.timedelta64(1, "s"),
    np.array(3),
    np.array(1e300),
    DOUBLES,
    np.full(3, 1e300),
    np.full(3, 1e300, "g"),
    np.full(3, 1e300 + 0j),
    np.full(6, 1e300)[::2],
    np.full(3, 10**10),
    np.full(6, 10**10)[::2],
    np.ones(6)[::2],
    np.ones(3, ">f8"),
    np.ones(3, "f"),
    np.ones(3, "e"),
    np.ones(3, "?"),
    np.ones(3).view(Sub),
    np.ones(6, "f")[::2].view(Sub),
    np.ones(1, object),
    read_only(np.ones(3)),
    np.array(["x"]),
    Failing(),
    Index(5),
    Index(LARGE),
    Real(0.5),
    object(),
]
CALLS = {
    "number int": lambda value: c.number_bytes("i", value),
    "number double": lambda value: c.number_bytes("d", value),
    "number float": lambda value: c.number_bytes("f", value),
    "number complex": lambda value: c.number_bytes("F", value),
    "number bool": lambda value: c.number_bytes("?", value),
    "array bool": lambda value: c.array("?", value),
    "array byte": lambda value: c.array("b", value),
    "array int": lambda value: c.array("i", value),
    "array ulong": lambda value: c.array("L", value),
    "array float": lambda value: c.array("f", value),
    "array double": lambda value: c.array("d", value),
    "array complex": lambda value: c.array("F", value),
    "inout": lambda value: c.inout("d", value),
    "inout dropped": lambda value: c.inout("d", value, keep=False),
    "inout raising": lambda value: c.inout("d", value, raising=True),
    "common": lambda value: c.common_type("fd", value, 1.0),
    "common array": lambda value: c.common_type("fd", value, DOUBLES),
    "overlap": lambda value: (
        isinstance(value, np.ndarray) and c.overlap(value, value[::-1] if value.ndim else value)
    ),
    "string": lambda value: c.string(value),
    "pointer": lambda value: c.pointer(value),
    "pointer const": lambda value: c.pointer(value, True),
}
SHARED = [None, True, False, np.True_, np.ndarray, Sub]
SHARED += [np.dtype(letter) for letter in "?bilLfdFDO"] + [np.dtype(">f8"), c.Conversion]


def attempt(call, value):
    try:
        call(value)
    except Exception:  # noqa: BLE001, whatever it is: references are counted here
        return


def repeat(call, value, count):
    for _ in itertools.repeat(None, count):
        attempt(call, value)


def references(value):
    return [sys.getrefcount(value)] + [sys.getrefcount(item) for item in SHARED]


def growth(call, value):
    """Blocks of memory that a hundred calls leave behind."""
    before = sys.getallocatedblocks()
    repeat(call, value, 100)
    return sys.getallocatedblocks() - before


@pytest.fixture
def no_collections():
    """What other tests left is collected before, not while references are counted."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("name", CALLS)
def test_references(name, no_collections):
    call = CALLS[name]
    for value in VALUES:
        before = references(value)
        # caches fill in the first rounds; what leaks grows in all
        assert min(growth(call, value) for _ in range(4)) < 50, value
        after = references(value)
        assert all(abs(new - old) < 50 for new, old in zip(after, before, strict=True)), value
        assert after[0] == before[0] or isinstance(value, bool | int | None), value


@pytest.mark.parametrize(
    "name", ["array float", "array double", "array int", "inout", "number double", "pointer"]
)
def test_references_of_a_thousand_calls(name):
    for value in (
        DOUBLES,
        DOUBLES[::2],
        np.full(6, 10**10)[::2],
        np.ones(3).view(Sub),
        np.array(1e300),
        [1, 2],
    ):
        attempt(CALLS[name], value)
        before = sys.getrefcount(value)
        repeat(CALLS[name], value, 1000)
        assert sys.getrefcount(value) == before


def test_temporaries_are_freed():
    class Watched(np.ndarray):
        pass

    for call in CALLS.values():
        values = np.ones(6)[::2].view(Watched)
        gone = weakref.ref(values)
        attempt(call, values)
        del values
        gc.collect()
        assert gone() is None


def test_bytes_live_as_long_as_their_array():
    data = bytes(bytearray(b"some bytes of our own"))
    before = sys.getrefcount(data)
    result = c.array("B", data)
    assert sys.getrefcount(data) == before + 1
    del result
    assert sys.getrefcount(data) == before
