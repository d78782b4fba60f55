"""tw.evaluate and tw.expression: what NumPy gives, in one pass."""

import warnings

import numpy as np
import pytest

import tinyweave as tw


def check(text, **names):
    """The text means to evaluate what it means to Python with NumPy's functions."""
    wanted = eval(text, dict(vars(np)), names)
    found = tw.evaluate(text, names, {})
    assert type(found) is type(wanted)
    np.testing.assert_array_equal(found, wanted, strict=True)


# ---- Operators ----


@pytest.mark.parametrize("sign", ["<", "<=", ">", ">="])
def test_comparison_with_a_number_on_either_side(sign):
    a = np.arange(5.0)
    check(f"2.0 {sign} a", a=a)
    check(f"a {sign} 2.0", a=a)


# ---- out= ----


def warned(call):
    """The messages of the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(warning.message) for warning in caught]


def test_out_of_another_dtype_is_the_last_ufuncs():
    a, out = np.array([1.0, 1e300]), np.zeros(2, "f4")
    with np.errstate(over="ignore"):
        assert tw.evaluate("a + 1", out=out) is out
    np.testing.assert_array_equal(out, np.array([2, np.inf], "f4"))
    assert warned(lambda: tw.evaluate("a + 1", {"a": a}, out=out)) == ["overflow encountered in add"]
    zero = np.zeros(2)
    with pytest.raises(TypeError, match="Cannot cast ufunc 'divide' output"):
        assert warned(lambda: tw.evaluate("a / zero", {"a": a, "zero": zero}, out=np.zeros(2, int))) == []


def test_out_of_another_shape_is_the_last_ufuncs():
    a = np.ones((1, 3))
    out = np.zeros((2, 3))
    tw.evaluate("a + 1", {"a": a}, out=out)
    assert (out == 2).all()
    with pytest.raises(ValueError, match="non-broadcastable output operand"):
        tw.evaluate("a + 1", {"a": a}, out=np.zeros(3))


def test_out_of_a_scalar():
    out = np.zeros(())
    text = "a ** -0.5"
    assert warned(lambda: tw.evaluate(text, {"a": np.float64(0)}, out=out)) == [
        "divide by zero encountered in power"
    ]
    assert out == np.inf


def test_out_that_did_not_fit_leaves_the_expression_fused():
    expression = tw.expression("a * 2 + 1")
    a = np.arange(3.0)
    expression(a)
    before = expression.source
    expression(a, out=np.zeros(3, "f4"))
    assert expression.source == before


# ---- Floating-point errors ----


def test_what_an_empty_result_is_made_of_is_computed():
    names = {"a": np.zeros(1), "b": np.zeros((0, 1))}
    assert warned(lambda: tw.evaluate("1 / a + b", names)) == ["divide by zero encountered in divide"]


@pytest.mark.parametrize("left", [1, 1.0, True, np.float64(1)])
def test_comparison_of_complex_numbers_is_named_as_numpys(left):
    names = {"x": left, "a": np.array([complex("nan")])}
    wanted = warned(lambda: left < names["a"])
    assert wanted == warned(lambda: tw.evaluate("x < a", names)) != []


# ---- Functions ----


@pytest.mark.parametrize("number", [300, 2.5, 1j, True])
def test_clip_of_a_number(number):
    a = np.array([1.5, 2], "f2")
    check("clip(x, a, None)", x=number, a=a)
    check("clip(x, None, a) * 2", x=number, a=a)
    check("clip(x, a, a)", x=number, a=a)


# ---- Reductions ----


@pytest.mark.parametrize("shape", [(127, 1), (1, 127)])
def test_sum_of_truth_values(shape):
    a, b = np.arange(127.0), np.array([7], ">i4")
    check("sum(a < b)", a=a, b=b)
    check("sum(a < b, axis=-1)", a=a.reshape(shape), b=b)


@pytest.mark.parametrize("exponent", [2, -1, 0.5, 2.0, -1.0])
@pytest.mark.parametrize("dtype", "dFg")
def test_powers_that_are_other_functions_with_out(dtype, exponent):
    a = (np.arange(1, 40) / 7).astype(dtype)
    for out in (np.zeros(39, dtype), np.zeros((2, 39), dtype), np.zeros(39, "D")):
        tw.evaluate("a ** x", {"a": a, "x": exponent}, out=out)
        assert (out == (a**exponent).astype(out.dtype)).all()


def test_a_tiny_number_underflows_as_in_numpy():
    names = {"a": np.ones(3, "f4"), "c": np.array([True, False, True])}
    with np.errstate(under="warn"):
        wanted = warned(lambda: np.where(names["c"], 1e-300, names["a"]))
        assert wanted == warned(lambda: tw.evaluate("where(c, 1e-300, a)", names)) != []


def test_strides_of_a_cast_of_repeated_axes():
    a = np.broadcast_to(np.ones((4, 1, 2), "f4"), (4, 5, 2))
    found, wanted = tw.evaluate("abs(float64(a))"), abs(a.astype("f8"))
    assert found.strides == wanted.strides
