"""tw.evaluate and tw.expression: what NumPy gives, in one pass."""

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
