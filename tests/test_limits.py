"""Every limit is met on purpose: sizes, numbers, depths; and random snippets against Python."""

# ruff: noqa: F841 (snippets read the locals of the test)

import math
import random
import warnings

import numpy as np
import pytest

import tinyweave as tw


def test_a_thousand_lines():
    code = "long s = 0;\n" + "".join(f"s += {i};\n" for i in range(5000)) + "return_val = s;"
    assert tw.inline(code) == sum(range(5000))


def test_an_error_far_down():
    code = "long s = 0;\n" + "s += 1;\n" * 20_000 + "s += missing;\n"
    with pytest.raises(tw.CompileError) as info:
        tw.inline(code)
    assert info.value.lineno == 20_002 and info.value.text.strip() == "s += missing;"


def test_a_long_line():
    code = "return_val = 0" + " + 1" * 20_000 + ";"
    assert tw.inline(code) == 20_000


def test_an_error_in_a_long_line():
    with pytest.raises(tw.CompileError) as info:
        tw.inline("return_val = 0" + " + 1" * 20_000 + " + missing;")
    assert info.value.lineno == 1 and "missing" in info.value.msg


def test_a_long_comment():
    assert tw.inline("/*" + "x" * 1_000_000 + "*/ return_val = 1;") == 1


def test_a_long_string_literal():
    assert tw.inline('return_val = strlen("' + "x" * 100_000 + '");') == 100_000


def test_nul_in_a_snippet():
    """Text behind a NUL is not silently cut off."""
    with pytest.raises((tw.CompileError, ValueError)):
        tw.inline("return_val = 1;\0 return_val = 2;")


def test_line_ends_of_other_systems():
    assert tw.inline("int a = 1;\r\nint b = 2;\r\nreturn_val = a + b;\r\n") == 3
    with pytest.raises(tw.CompileError) as info:
        tw.inline("int a = 1;\r\nint b = missing;\r\n")
    assert info.value.lineno == 2


def test_surrogates_in_a_snippet():
    with pytest.raises((UnicodeEncodeError, tw.CompileError)):
        tw.inline('return_val = "\udc80";')


def test_a_large_stack_frame():
    assert tw.inline("char big[100000]; memset(big, 1, sizeof big); return_val = big[99999];") == 1


def test_large_static_data():
    assert tw.inline("static double d[1000000]; d[999999] = 5; return_val = d[999999] + d[0];") == 5.0
    table = ", ".join(str(i) for i in range(20_000))
    assert tw.inline(f"static const int t[] = {{{table}}}; return_val = t[12345];") == 12345


def test_many_functions():
    support = "".join(f"static int f{i}(int x) {{ return x + {i}; }}\n" for i in range(2000))
    assert tw.inline("return_val = f0(1) + f1999(1);", support_code=support) == 2001


def test_a_switch_of_many_cases():
    cases = "".join(f"case {i}: return_val = {3 * i}; break;\n" for i in range(2000))
    assert tw.inline(f"switch (n) {{ {cases} }}", ["n"], {"n": 1777}) == 3 * 1777


def test_many_strings_and_constants():
    adds = "".join(f'n += strlen("{i:05d}") * {i}.5;\n' for i in range(1000))
    assert tw.inline(f"double n = 0; {adds} return_val = n;") == sum(5 * (i + 0.5) for i in range(1000))


def test_many_macros():
    macros = {f"M{i}": i for i in range(1000)}
    assert tw.inline("return_val = M0 + M999;", define_macros=macros) == 999


def test_a_big_array():
    a = np.zeros(10_000_000, np.uint8)
    tw.inline("for (long i = 0; i < Na[0]; i++) a[i] = i & 255;", ["a"])
    assert a.sum(dtype=int) == np.arange(10_000_000, dtype=np.uint8).sum(dtype=int)


def test_an_array_of_huge_strides():
    a = np.lib.stride_tricks.as_strided(np.arange(5.0), shape=(2**40, 2), strides=(0, 8))
    assert tw.inline("return_val = A2(Na[0] - 1, 1);", ["a"]) == 1.0


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("7 / 2", 3),
        ("-7 / 2", -3),
        ("-7 % 3", -1),
        ("1 << 10", 1024),
        ("1L << 40", 2**40),
        ("~0", -1),
        ("(unsigned)-1", 2**32 - 1),
        ("-1 < 1u", 0),
        ("sizeof(long)", 8),
        ("5 & 3 | 8 ^ 1", 5 & 3 | 8 ^ 1),
        ("(int)3.99", 3),
        ("(int)-3.99", -3),
        ("(unsigned char)300", 44),
        ("(unsigned long)1e19", 10**19),
        ("(double)18446744073709551615ul", 2.0**64),
        ("(float)0.1", float(np.float32(0.1))),
        ("1.0 / 3", 1 / 3),
        ("0.1 + 0.2", 0.1 + 0.2),
        ("1e308 * 10", math.inf),
        ("'\\n' + '\\x41'", 10 + 65),
        ("0x7fffffffffffffff", 2**63 - 1),
        ("077 + 0b11", 66),
        ("1 ? 2 : 3", 2),
        ("(1, 2, 3)", 3),
        ("!!5 + !0", 2),
    ],
)
def test_arithmetic_of_c(expression, expected):
    result = tw.inline(f"return_val = {expression};")
    assert result == expected and isinstance(result, type(expected))


INTEGER_LEAVES = ["a", "b", "c", *map(str, range(10))]
FLOAT_LEAVES = ["x", "y", "z", "0.5", "2.0", "1e-3", "3.25"]


def integer_expression(rng, depth):
    if depth == 0:
        return rng.choice(INTEGER_LEAVES)
    operator = rng.choice(["+", "-", "*", "&", "|", "^", "<", "==", ">="])
    left, right = integer_expression(rng, depth - 1), integer_expression(rng, rng.randrange(depth))
    return rng.choice([f"({left} {operator} {right})"] * 6 + [f"(-{left})", f"(~(+{left}))"])


def float_expression(rng, depth):
    if depth == 0:
        return rng.choice(FLOAT_LEAVES)
    left, right = float_expression(rng, depth - 1), float_expression(rng, rng.randrange(depth))
    operator = rng.choice("+-*/")
    function = rng.choice(["sqrt", "fabs", "floor", "sin", "cos", "exp", "atan"])
    argument = f"fabs({left})" if function == "sqrt" else left
    return rng.choice([f"({left} {operator} {right})"] * 6 + [f"(-{left})", f"{function}({argument})"])


def test_random_integer_expressions():
    rng = random.Random(1)
    for _ in range(100):
        text = integer_expression(rng, 4)
        a, b, c = (rng.randrange(-100, 100) for _ in range(3))
        expected = int(eval(text))
        assert abs(expected) < 2**31  # so that no intermediate result of C's int wraps
        assert tw.inline(f"return_val = {text};", "a b c") == expected, (text, a, b, c)


FUNCTIONS = {name: getattr(np, name) for name in ("sqrt", "floor", "sin", "cos", "exp")}
FUNCTIONS |= {"fabs": np.fabs, "atan": np.arctan}


def test_random_float_expressions():
    rng = random.Random(2)
    for _ in range(100):
        text = float_expression(rng, 4)
        values = {name: np.float64(rng.uniform(-10, 10)) for name in "xyz"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain = text
            for constant in ("0.5", "2.0", "1e-3", "3.25"):
                plain = plain.replace(constant, f"f8({constant})")
            expected = eval(plain, FUNCTIONS | values | {"f8": np.float64})
        result = tw.inline(f"return_val = {text};", "x y z", values)
        np.testing.assert_allclose(result, expected, rtol=1e-9, err_msg=text)


def test_endless_recursion_through_a_callback():
    def down():
        return tw.inline("return_val = PyObject_CallNoArgs(down);", ["down"], {"down": down})

    with pytest.raises(RecursionError):
        down()
    assert tw.inline("return_val = 1;") == 1


def test_a_snippet_that_is_replaced_while_it_runs(fresh):
    code = fresh("Py_XDECREF(PyObject_CallNoArgs(again)); return_val = depth;")

    def run(depth):
        again = (lambda: run(depth - 1)) if depth else (lambda: None)
        return tw.inline(code, ["again", "depth"], force=True)

    assert run(10) == 10
