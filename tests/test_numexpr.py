"""tinyweave.numexpr beside numexpr: the dtype, shape and values of the same expressions.

DIFFERENCES of docs/numexpr.md have tests of their own at the end; the operands elsewhere keep clear of them.
"""

import gc
import itertools
import os
import subprocess
import sys
import threading
import warnings
import weakref

import numexpr as oracle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyweave.numexpr as ne

pytestmark = pytest.mark.filterwarnings("error")


def words(text):
    return text.split()


REAL = words("? b h i l q B H I L Q e f d g")
DTYPES = [*REAL, "F", "D", "G", "S3"]
ULPS = {"f": 3e-6, "d": 2e-14, "D": 2e-13}  # of functions: libm's beside NumPy's
ARITHMETIC = words("+ - * / // % << >> & | ^ < <= == != >= >")
EXACT = words("copy ones_like sqrt ceil floor round trunc sign real imag conj isnan isfinite isinf signbit")
ELEMENTARY = words(
    "sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh log log1p log10 log2 exp expm1 "
    "abs"
)
BINARY = words("arctan2 fmod hypot nextafter copysign maximum minimum complex contains")


def operand(dtype, seed=0, size=24):
    """Small numbers of both signs, with NaN, infinities and both zeros; complex ones off the axes."""
    random = np.random.default_rng(seed)
    if dtype == "?":
        return random.random(size) > 0.5
    if dtype == "S3":
        return np.resize(np.array([b"", b"a", b"ab", b"abc", b"b", b"z"]), size)
    whole = random.integers(-6, 7, size)
    kind = np.dtype(dtype).kind
    if kind in "iu":
        return (abs(whole) if kind == "u" else whole).astype(dtype)
    numbers = whole / 4
    if kind == "c":
        return (numbers + 0.125 + 1j * (random.integers(-6, 7, size) / 4 + 0.0625)).astype(dtype)
    if size > 4:
        numbers[:5] = np.nan, np.inf, -np.inf, -0.0, 0.0
    return numbers.astype(dtype)


def outcome(module, text, names, **options):
    try:
        return module.evaluate(text, names, {}, **options)
    except Exception as error:
        return error


def assert_same(text, names, tolerance=None, zeros_differ=True, **options):
    """The same result of both, or an exception of the same type."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numexpr warns where it folds constants
        expected = outcome(oracle, text, names, **options)
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
        got = outcome(ne, text, names, **options)
    what = f"{text} {[(name, np.asarray(value).dtype.str) for name, value in names.items()]} {options}"
    if isinstance(expected, SystemError):
        return  # its min and max of 32 bits fail
    if isinstance(expected, Exception):
        assert isinstance(got, type(expected)), f"{what}: {got!r} instead of {expected!r}"
        return
    assert not isinstance(got, Exception), f"{what}: {got!r}"
    assert type(got) is np.ndarray, what
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape), what
    if tolerance and got.dtype.char in tolerance:
        bound = tolerance[got.dtype.char]
        np.testing.assert_allclose(got, expected, rtol=bound, atol=bound, err_msg=what)
    else:
        np.testing.assert_array_equal(got, expected, err_msg=what)
        if got.dtype.kind == "f" and zeros_differ:
            number = ~np.isnan(got)
            np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(expected[number]), err_msg=what)


def is_complex(*dtypes):
    return any(np.dtype(dtype).kind == "c" for dtype in dtypes)


# --- what it computes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_operators_of_every_two_dtypes(dtype):
    for other in DTYPES:
        names = {"a": operand(dtype, 1), "b": operand(other, 2)}
        for sign in ARITHMETIC:
            if not (sign == "/" and is_complex(dtype, other)):
                assert_same(f"a {sign} b", names, ULPS if is_complex(dtype, other) else None)
        for name in BINARY:
            assert_same(f"{name}(a, b)", names, ULPS if name in ("arctan2", "hypot") else None)
        assert_same("where(a > b, a, b)", names)
        assert_same("where(a, b, b)", names)

        # What is left: integers of large powers, and complex numbers at zero and infinity, are differences.
        names = {"a": positive(dtype, 1), "b": positive(other, 2)}
        assert_same("a / b", names, ULPS)
        assert_same("a ** b", names, ULPS | {"D": 1e-12})


def positive(dtype, seed):
    numbers = operand(dtype, seed)
    if dtype in "?S3":
        return numbers if dtype == "S3" else numbers | True
    return np.nan_to_num(abs(numbers), nan=1, posinf=2).astype(dtype) + np.dtype(dtype).type(1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(24,), (4, 6), ()])
def test_functions(dtype, shape):
    names = {"a": operand(dtype).reshape(shape) if shape else operand(dtype)[7]}
    for name in EXACT + ELEMENTARY:
        exact = name in EXACT and not is_complex(dtype)
        assert_same(f"{name}(a)", names, None if exact else ULPS)
        assert_same(f"a + {name}(a)", names, None if exact else ULPS)
        assert_same(f"{name}(a, a)", names)


def lines(text):
    """The parts between runs of two spaces and ends of lines."""
    return [part for line in text.splitlines() for part in line.split("  ") if part]


FORMS = lines("""
-a  ~a  +a  a  a.real  a.imag  (a+1).real  a*2  a*2.0  a+1  1-a  a/3  3/a  a/2.0  a<<1  a>>1  1<<a  a%3  3%a
a//3  a%-3  a//-3  a%2.5  a//2.5  a//0  a%0  a/0  a*1j  a+2**40  a*True  a==1  1<a  a!=2.5  a>2**40  a&1  a|4
a^3  a&True  where(a>0,1,2)  where(a>0,1.5,2)  where(a>0,True,False)  where(a>0,a,0)  where(True,a,1)
where(a==a,1j,a)  2*a+3*a*a  a==b"ab"  a>=b"a"  a!="ab"  contains(a,b"b")  a*1e300*1e300  a*-0.0  0*a  a-a
(a>1)&(a<3)  (a>1)+(a<2)  (a>1)*(a<2)  a-1e999  a*(1e999-1e999)  a*-2147483648  a+2147483648  a%i  a//i  i<<i
a+i  a-(i-f)  a/(i/f)  a-copy(i+f)  1/copy(1/i)  a*round(i+2)  a&(i|1)  (a<i)==(i<a)  2-(3-a)
a*f  f+1  f*2.5  f/i  l/3  -i**2  a if 1 else i  1 if 0 else a  a is a  not 1  1+1  cos(1+1)  2**40  1.5
True  7.0<5  abs(-3)
""")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimization", ["none", "moderate", "aggressive"])
def test_constants_and_forms(dtype, optimization):
    names = {"a": operand(dtype), "i": np.int32(3), "f": np.float32(1.5), "l": np.arange(24)}
    if is_complex(dtype):
        names["a"][:2] = 1, 2  # a real axis for == and !=
    for text in FORMS:
        if text == "a/0" and is_complex(dtype):
            continue
        assert_same(
            text,
            names,
            ULPS if is_complex(dtype) or "1j" in text or "cos" in text else None,
            optimization=optimization,
        )


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "S3"])
@pytest.mark.parametrize("optimization", ["none", "moderate", "aggressive"])
def test_powers(dtype, optimization):
    a = operand(dtype)
    if optimization == "none" and a.dtype.kind == "f":
        a[2:4] = 1
    for exponent in (
        -50,
        -3,
        -2.5,
        -2,
        -1.5,
        -1,
        -0.5,
        0,
        0.5,
        1,
        1.5,
        2,
        2.5,
        3,
        4,
        5,
        7,
        10,
        49.5,
        50,
        51,
        2.3,
    ):
        if a.dtype.kind in "iu" and (exponent == 51 or exponent == 50 and optimization != "aggressive"):
            continue  # overflows
        whole = optimization == "aggressive" and abs(exponent) <= 50 and exponent * 2 == int(exponent * 2)
        tolerance = None if whole and a.dtype.kind != "c" else ULPS | {"D": 1e-11}
        assert_same(f"a**{exponent}", {"a": a}, tolerance, optimization=optimization)
    assert_same("a**i", {"a": a, "i": np.int32(3)}, ULPS, optimization=optimization)
    assert_same("2.5**a", {"a": a}, ULPS, optimization=optimization)
    assert_same("2**a", {"a": abs(a)}, ULPS, optimization=optimization)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(24,), (4, 6), (1, 24), ()])
def test_reductions(dtype, shape):
    a = operand(dtype, size=5)[4:] if not shape else operand(dtype)
    names = {"a": a.reshape(shape)}
    for name in ("sum", "prod", "min", "max"):
        for axis in ("", ", axis=0", ", axis=1", ", axis=None", ", 1", ", axis=-1", ", axis=2", ", axis=300"):
            for value in ("a", "a*2+1", "a*a.real"):
                assert_same(f"{name}({value}{axis})", names, ULPS)


@pytest.mark.parametrize("dtype", words("? b h i B H"))
def test_min_and_max_of_small_integers(dtype):
    a = operand(dtype).reshape(4, 6)
    if dtype != "?":
        np.testing.assert_array_equal(ne.evaluate("min(a)"), a.min())
        np.testing.assert_array_equal(ne.evaluate("max(a, axis=1)"), a.max(axis=1))
        assert ne.evaluate("max(a, axis=1)").dtype == np.int32


@pytest.mark.parametrize("dtype", words("? b l f d D"))
def test_shapes_and_layouts(dtype):
    base = operand(dtype, 3, 48).reshape(6, 8)
    swapped = base.astype(base.dtype.newbyteorder())
    packed = np.zeros((6, 8), [("x", "u1"), ("y", base.dtype)])
    packed["y"] = base
    arrays = [base, base.T, base[::-1, ::2], base[:, ::-3], np.asfortranarray(base), base[:1], base[0],
              base[2, 4], np.broadcast_to(base[0], (3, 8)), packed["y"], swapped]  # fmt: skip
    for a, b in itertools.product(arrays, arrays):
        for text in ("a + b", "where(a == b, a, b)"):
            assert_same(text, {"a": a, "b": b})
        for order in "CFAK":
            names = {"a": a, "b": b}
            got, expected = (outcome(module, "a + b", names, order=order) for module in (ne, oracle))
            cast = dtype == "b" and 0 in a.strides + b.strides  # a broadcast array: in NumPy's order of casts
            if (
                isinstance(expected, np.ndarray)
                and expected.ndim == 2
                and 1 not in expected.shape
                and not cast
            ):
                assert got.strides == expected.strides


def test_what_may_be_an_operand():
    for value in (
        3,
        2.5,
        True,
        1j,
        [1, 2],
        (1.5, 2),
        np.int8(3),
        np.array([1, 2]).view(np.recarray),
        np.ma.array([1, 2], mask=[1, 0]),
    ):
        assert_same("a + a", {"a": value})
        assert_same("a", {"a": value})
    for value in ("text", None, np.zeros(2, "U1"), np.zeros(2, "M8[s]"), np.zeros(2, object), {1: 2}):
        assert_same("a", {"a": value})
    record = np.zeros(3, [("x", "i4"), ("y", "f8")])
    assert_same("a + 1", {"a": record["y"]})
    assert_same("a", {"a": record})


VARIABLES = {
    name: operand(dtype, seed)
    for seed, (name, dtype) in enumerate(zip("oabcdefgh", "?bilHefdQ", strict=True))
}
NUMBERS = st.sampled_from(words("0 1 2 3 -1 7 2.5 -0.5 1e10 True 5000000000"))


def _formula(parts):
    signs = st.sampled_from(words("+ - * / // % & | ^ < <= == != >= >"))
    functions = st.sampled_from(words("sqrt abs floor ceil round trunc sign isnan isfinite"))
    pairs = st.sampled_from(words("maximum minimum fmod"))
    return st.one_of(
        st.builds("({} {} {})".format, parts, signs, parts),
        st.builds("{}({})".format, functions, parts),
        st.builds("{}({}, {})".format, pairs, parts, parts),
        st.builds("where({} > {}, {}, {})".format, parts, parts, parts, parts),
        st.builds("({})**{}".format, parts, st.sampled_from(words("2 3 0.5 -1.0 1.5 0"))),
        st.builds("copy({} + {})".format, st.sampled_from(sorted(VARIABLES)), parts),
        st.builds("(-{})".format, parts),
        st.builds("(~{})".format, parts),
    )


@settings(max_examples=300, deadline=None)
@given(st.recursive(st.sampled_from(sorted(VARIABLES)) | NUMBERS, _formula, max_leaves=12), st.booleans())
def test_random_expressions(text, reduced):
    got = outcome(ne, text, VARIABLES)
    if isinstance(got, np.ndarray) and got.dtype.kind == "c":
        return  # constants alone: (-1)**0.5
    if reduced and ne.necompiler._numexpr_last["argnames"]:  # of constants alone its product is anything
        text = f"prod({text})"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = outcome(oracle, text, VARIABLES)
    if isinstance(expected, (ZeroDivisionError, OverflowError, AttributeError, TypeError)):
        return  # constants alone; const // array and const & array, which numexpr lacks
    # numexpr takes -0.0 and 0 for one constant.
    assert_same(text, VARIABLES, {"f": 1e-6, "d": 1e-14} if reduced else None, zeros_differ=False)


# --- names, options, errors -------------------------------------------------------------------------------

ERRORS = lines("""
2+  foo  sin  sin(a,a)  a(1)  a.T  a.real.foo  a[0]  a;1  lambda: a  (a,a)  a @ a  a in a  1 in a  a and b
not a  a<1<a  a if a else 1  None  a+None  ...  s+s  s>1  s*2  -s  sin(s)  where(s,a,a)  where(a>1,s,s)
where(i,a,a)  -b  b-b  b<<1  ~a  a|a  a<<1  a**s  i**-1  2**64  2**63  -2**63-1  1/0  1//0  1%0  sum(a)+1
sum(sum(a))  -sum(a)  sum(b)  min(b)  max(z)  sum(a,axis=3)  sum(a,axis=-1)  sum(a,axis=1.5)  sum(a,axis=i)
sum(a,dtype=1)  sum()  complex(z,1)  z<1  z%2  floor(z)  maximum(z,z)  arctan2(z,1)  signbit(z)  contains(a,a)
ones_like(s)  __import__("os")  a.__class__  open("x")  x:=1  *a  **a  f(*a)  a`b
\u00e9+a  \'\'\'  0777  1_000+a
""") + ["", " a", "a +\n b", "(a +\n b)", "a\0", "import os;", "os. cpu_count()"]


@pytest.mark.parametrize("text", ERRORS)
def test_errors(text):
    names = {
        "a": operand("d"),
        "b": operand("?"),
        "i": operand("i"),
        "z": operand("D"),
        "s": operand("S3"),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        for sanitize in (True, False):
            if sanitize or not any(
                word in text for word in ("import", "open", "class", "cpu", "f(", "lambda")
            ):
                assert_same(text, names, sanitize=sanitize)


def test_errors_of_options():
    a = np.arange(3.0)
    for text, options in [
        ("a", {"optimization": "x"}), ("a", {"truediv": 3}), ("a", {"foo": 1}), ("a", {"order": "X"}),
        ("a", {"order": 3}), ("a", {"casting": "x"}), ("a+1", {"casting": "x"}), ("a", {"casting": 3}),
        ("a+1", {"order": "X"}), ("a", {"out": [1]}), ("a", {"out": np.zeros(2)}),
        ("a+1", {"out": np.zeros(2)}),
        ("a+1", {"out": np.zeros(3, "i4")}), ("a", {"out": np.zeros(3, "i4")}),
        ("sum(a)", {"out": np.zeros(3)}),
        ("1", {"out": np.zeros(3)}), (3, {}), (b"a", {}), (None, {}), ("a", {"truediv": True}),
        ("a*1j", {"out": np.zeros(3)}), ("a+1", {"out": np.zeros((2, 3))}),
    ]:  # fmt: skip
        assert_same(text, {"a": a}, **options)
    locked = np.zeros(3)
    locked.flags.writeable = False
    for text in ("a", "a+1", "sum(a)"):
        assert_same(text, {"a": a}, out=locked[:1] if text == "sum(a)" else locked)


@pytest.mark.parametrize("casting", ["no", "equiv", "safe", "same_kind", "unsafe"])
def test_casting(casting):
    for dtype in DTYPES:
        a = operand(dtype)
        assert_same("a", {"a": a}, casting=casting)
        assert_same("a == a", {"a": a}, casting=casting)
        if dtype != "S3":
            for target in words("? b i l f d D"):
                assert_same("a + a", {"a": a[8:]}, casting=casting, out=np.zeros(a[8:].shape, target))


def test_the_caller_s_names():
    local = np.arange(3)

    def inner():
        return ne.evaluate("local + GLOBAL", _frame_depth=4)

    def reader(depth):
        return ne.evaluate("local * 2", _frame_depth=depth)

    assert inner is not None
    assert_array = np.testing.assert_array_equal
    assert_array(ne.evaluate("local + GLOBAL"), local + GLOBAL)
    assert_array(reader(4), local * 2)
    assert_array(ne.evaluate("local", {"local": 5}), 5)
    assert_array(ne.evaluate("GLOBAL", {}, {"GLOBAL": 6}), 6)
    assert_array(ne.evaluate("GLOBAL", {}), GLOBAL)
    assert_array(ne.evaluate("local + x", {"x": 1, "local": 2}, {"local": 3}), 3)
    with pytest.raises(KeyError):
        ne.evaluate("local", {}, {})
    with pytest.raises(KeyError):
        ne.evaluate("len")  # Python's own are no names
    with pytest.raises(KeyError):
        reader(3)


GLOBAL = np.array([10, 20, 30])


def test_names_in_modules_and_classes():
    space = {"ne": ne, "np": np}
    exec("a = np.arange(3)\nr = ne.evaluate('a + 1')\nb = a", space)
    assert space["r"].tolist() == [1, 2, 3]
    exec("class C:\n    q = np.arange(2)\n    r = ne.evaluate('q * 3')\n    s = q", space)
    assert space["C"].r.tolist() == [0, 3]


def test_nothing_is_kept_alive():
    array = np.arange(1000.0)
    out = np.zeros(1000)
    references = weakref.ref(array), weakref.ref(out)
    ne.evaluate("array + 1", out=out)
    del array, out
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_the_caller_s_dictionary_of_locals_stays():
    value = np.arange(2)
    mine = locals()
    ne.evaluate("value + 1")
    assert "value" in mine


def test_re_evaluate():
    a = np.arange(3.0)
    ne.evaluate("a * 2 + 1")
    a = np.arange(4.0)
    assert ne.re_evaluate().tolist() == [1, 3, 5, 7]
    assert ne.re_evaluate({"a": np.float32([1, 2])}).dtype == np.float64  # cast to the double of before
    a = a[:2]
    assert ne.re_evaluate({"a": np.int64(3)}).tolist() == 7
    with pytest.raises(TypeError):
        ne.re_evaluate({"a": 1j})
    with pytest.raises(KeyError):
        ne.re_evaluate({}, {})
    out = np.zeros(2)
    assert ne.evaluate("a + 1", out=out) is out
    assert ne.re_evaluate({"a": np.array([5, 6])}) is out
    assert out.tolist() == [6, 7]
    assert ne.evaluate("a - 1", disable_cache=True).tolist() == [-1, 0]
    assert ne.re_evaluate() is out


def test_re_evaluate_is_a_thread_s_own():
    ne.evaluate("1")
    errors = []

    def run():
        try:
            ne.re_evaluate()
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert len(errors) == 1


def test_validate():
    a = np.arange(3)
    assert ne.validate("a * 3") is None
    assert ne.re_evaluate().tolist() == [0, 3, 6]
    for text, error in [("a +", SyntaxError), ("a * missing", KeyError), (3, ValueError),
                        ("a[0]", ValueError), ("-(a > 1)", NotImplementedError),
                        ("a and a", TypeError)]:  # fmt: skip
        assert isinstance(ne.validate(text), error)
        assert isinstance(oracle.validate(text), error)
    assert isinstance(ne.validate("a", foo=1), ValueError)
    assert a.tolist() == [0, 1, 2]


def test_numexpr_objects():
    f = ne.NumExpr("2*a + 3*b", [("b", np.int32), ("a", float)])
    g = oracle.NumExpr("2*a + 3*b", [("b", np.int32), ("a", float)])
    b, a = np.arange(3, dtype="i4"), np.arange(3, dtype="f4")
    for name in ("signature", "input_names"):
        assert getattr(f, name) == getattr(g, name)
    assert sorted(f.constants) == sorted(g.constants) and sorted(f.constsig) == sorted(g.constsig)
    np.testing.assert_array_equal(f(b, a), g(b, a))
    np.testing.assert_array_equal(f.run(b, a), g.run(b, a))
    assert f(b, a).dtype == np.float32
    assert f(1, 2).tolist() == 7
    out = np.zeros(3)
    assert f(b, a, out=out, casting="same_kind", order="C", ex_uses_vml=False) is out
    for arguments in ((b,), (b, a, a), (b.astype("i8"), a), (b, a.astype("f8"))):
        with pytest.raises((ValueError, TypeError)) as mine:
            f(*arguments)
        with pytest.raises(mine.type):
            g(*arguments)
    for signature in ([("a", float)], [("a", float), ("x", float)], [("a", np.int8), ("b", bool)]):
        with pytest.raises((ValueError, KeyError)) as mine:
            ne.NumExpr("a+b", signature)
        with pytest.raises(mine.type):
            oracle.NumExpr("a+b", signature)
    assert ne.NumExpr("a+b")(1, 2).dtype == np.float64
    assert "v0" in repr(f)


def test_trees_by_hand():
    for tree, numbers in [
        (2.0 * ne.E.a + ne.E.b**3, (1.5, 2)),
        (ne.E.a // 2 - 7 % ne.E.b, (5, 4)),
        (1 / ne.E.a, (4,)),
        (ne.expressions.functions["where"](ne.E.a < 3, ne.E.a, ne.E.b), (1, 2)),
        (abs_of(ne.E.a) > 2, (-3,)),
    ]:
        names = dict(zip("ab", numbers, strict=False))
        np.testing.assert_array_equal(ne.NumExpr(tree)(*numbers), eval(python_text(tree), {"np": np}, names))
    with pytest.raises(AttributeError):
        _ = ne.E._private
    with pytest.raises(TypeError):
        bool(ne.E.a > 1)


def abs_of(node):
    return ne.expressions.functions["abs"](node)


def python_text(tree):
    """A tree of nodes as Python text."""
    signs = {
        "add": "+",
        "sub": "-",
        "mul": "*",
        "div": "/",
        "floordiv": "//",
        "mod": "%",
        "gt": ">",
        "pow": "**",
    }
    parts = [python_text(child) for child in tree.children]
    if not parts:
        return repr(tree.value)[1:-1] if isinstance(tree.value, str) else repr(tree.value)
    if tree.value in signs:
        return f"({parts[0]} {signs[tree.value]} {parts[1]})"
    return f"np.{tree.value}({', '.join(parts)})"


def test_disassemble():
    for text, signature in [("2*a + 3*b", [("a", np.float64), ("b", np.float64)]), ("a", [("a", np.float64)]),
                            ("sum(a**2 + 2, axis=1)", [("a", np.float64)]),
                            ("where(m, a, -1)", [("m", bool), ("a", float)])]:  # fmt: skip
        mine, its = (list(map(list, m.disassemble(m.NumExpr(text, signature)))) for m in (ne, oracle))
        assert [line[0] for line in mine] == [line[0] for line in its]
        assert mine[-1][1] == its[-1][1]


def test_the_sanitizer(monkeypatch):
    a, c, s = 3.0, 2.5 + 1.5j, np.array([b"a;", b"b"])
    for text in (
        "a*2.e-5",
        "a*2.e+5",
        "a*2E-5",
        "2.+a",
        "c.real",
        "c.imag",
        "1.5j",
        "3.j",
        "1.2e3+4.5e6j",
        "s == 'a;'",
    ):
        assert_same(text, {"a": a, "c": c, "s": s})
    for text in (
        "__builtins__",
        "a . real",
        "(3+1).bit_length()",
        "a.\treal",
        's == "a;"',
        "a.__doc__",
        "x__y__",
    ):
        for sanitize in (True, None):
            assert_same(text, {"a": a, "c": c, "s": s, "x__y__": a}, sanitize=sanitize)
    monkeypatch.setenv("NUMEXPR_SANITIZE", "0")
    assert ne.evaluate('s == "a;"').tolist() == [True, False]
    with pytest.raises(SyntaxError):
        ne.evaluate("import os;")
    monkeypatch.setenv("NUMEXPR_SANITIZE", "1")
    with pytest.raises(ValueError):
        ne.evaluate('s == "a;"')
    for text in (
        "(1).__class__",
        "a.__class__",
        "[a]",
        "{a: a}",
        "lambda: a",
        "f'{a}'",
        "a[0]",
        "open('x')",
        "(yield)",
    ):
        with pytest.raises((TypeError, AttributeError, KeyError, SyntaxError)):
            ne.evaluate(text, sanitize=False)


def test_caches_are_bounded():
    a = np.arange(3)
    for number in range(600):
        ne.evaluate(f"a + {number}")
    assert ne.necompiler._plan.cache_info().currsize <= 256
    assert ne.necompiler._call.cache_info().currsize <= 256
    assert a.tolist() == [0, 1, 2]


def test_constants_do_not_grow():
    for text in ("9**9**9", "1 << 10**9", "b'a' * 10**10", "'%1000000000d' % 1", "2**100000 % 3"):
        with pytest.raises((OverflowError, TypeError)):
            ne.evaluate(text)


def test_long_and_deep_expressions():
    a = np.arange(3.0)
    assert ne.evaluate(" + ".join(["a"] * 1000)).tolist() == (1000 * a).tolist()
    assert ne.evaluate("(" * 80 + "a" + ")" * 80).tolist() == a.tolist()
    np.testing.assert_allclose(ne.evaluate("((a/9+1)**50)**50"), ((a / 9 + 1) ** 50) ** 50)
    np.testing.assert_allclose(
        ne.evaluate("(((a/999+1)**50)**50)**0.5"), (((a / 999 + 1) ** 50) ** 50) ** 0.5
    )
    text = "a"
    for number in range(40):
        text = f"({text} % {number + 2.5})"
    np.testing.assert_array_equal(ne.evaluate(text), a)


def test_no_warnings_whatever_errstate_says():
    names = {"a": np.array([0.0, -1.0, 1e300]), "i": np.array([0, 1, -(2**63)])}
    with np.errstate(all="raise"):
        for text in (
            "1/a",
            "sqrt(a)",
            "log(a)",
            "a*a",
            "i//0",
            "i % i",
            "i**3",
            "a % 0",
            "sqrt(-1)",
            "a*1e300",
            "min(a/a)",
        ):
            ne.evaluate(text, names)
            ne.re_evaluate(names)
        ne.evaluate("a/0", names, out=np.zeros(3))
        assert np.geterr()["divide"] == "raise"


# --- out --------------------------------------------------------------------------------------------------


def test_out():
    a, b = operand("d", 1).reshape(4, 6), operand("d", 2).reshape(4, 6)
    for text in (
        "a + b",
        "a",
        "complex(a, b)",
        "max(a, axis=0)",
        "sum(a)",
        "sum(a, axis=1)",
        "contains(s, b'a')",
        "1.5",
    ):
        names = {"a": a, "b": b, "s": operand("S3").reshape(4, 6)}
        expected = oracle.evaluate(text, names)
        for out in (
            np.empty_like(expected),
            np.empty(expected.shape + (2,), expected.dtype)[..., 0],
            np.empty_like(expected, order="F"),
        ):
            assert ne.evaluate(text, names, out=out) is out
            np.testing.assert_allclose(out, expected)
    wide = np.zeros((2, 3))
    assert ne.evaluate("x", {"x": np.arange(3)}, out=wide) is wide
    assert wide.tolist() == [[0, 1, 2]] * 2
    single = np.zeros((1, 1))
    assert ne.evaluate("sum(x)", {"x": np.arange(3)}, out=single) is single and single.tolist() == [[3]]
    matrix = np.array([[1.0, 2.0]]).view(np.recarray)
    assert ne.evaluate("x * x", {"x": np.array([[3.0, 4.0]])}, out=matrix) is matrix
    assert matrix.tolist() == [[9, 16]]


def test_out_may_overlap():
    for text in ("a", "a + 1", "a * a + a", "where(a > 3, a, -a)", "complex(a, a).real"):
        for source, target in [(slice(0, -1), slice(1, None)), (slice(1, None), slice(0, -1)),
                               (slice(None), slice(None, None, -1)), (slice(None), slice(None))]:  # fmt: skip
            whole = np.arange(5000.0)
            a = whole[source]
            expected = ne.evaluate(text, {"a": a.copy()})
            ne.evaluate(text, {"a": a}, out=whole[target])
            np.testing.assert_array_equal(whole[target], expected)


# --- threads ----------------------------------------------------------------------------------------------


def in_threads(function, count=8):
    failures = []

    def run(number):
        try:
            function(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_python_s_threads():
    shared = ne.NumExpr("2*a + b", [("a", np.float64), ("b", np.int64)])

    def work(number):
        b = number
        for size in (3, 5000, 70_000):
            a = np.arange(float(size))
            for _ in range(10):
                np.testing.assert_array_equal(ne.evaluate("2*a + b"), 2 * a + b)
                np.testing.assert_array_equal(ne.re_evaluate(), 2 * a + b)
                np.testing.assert_array_equal(shared(a, b), 2 * a + b)
                np.testing.assert_array_equal(ne.evaluate(f"a - {number}"), a - number)

    in_threads(work)


def test_numbers_of_threads():
    before = ne.get_num_threads()
    try:
        assert ne.set_num_threads(1) == before
        assert ne.get_num_threads() == 1
        assert ne.set_num_threads(2) == 1
        with pytest.raises(ValueError):
            ne.set_num_threads(0)
        a = np.linspace(-1, 1, 300_000)
        np.testing.assert_allclose(ne.evaluate("(.25*a + .75)*a - 1.5"), (0.25 * a + 0.75) * a - 1.5)
    finally:
        ne.set_num_threads(before)
    assert ne.detect_number_of_cores() == ne.ncores >= 1
    assert 1 <= ne.nthreads <= ne.MAX_THREADS


def test_variables_of_the_environment(python):
    code = """
        import tinyweave.numexpr as ne
        print(ne.MAX_THREADS, ne.nthreads, ne.get_num_threads(), ne.detect_number_of_threads())
    """
    unset = dict.fromkeys(
        ["NUMEXPR_MAX_THREADS", "NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS", "TINYWEAVE_NUM_THREADS"]
    )

    def numbers(**variables):
        return [int(word) for word in python(code, environment=unset | variables).out.split()]

    assert numbers(NUMEXPR_NUM_THREADS="1") == [64, 1, 1, 1]
    assert numbers(NUMEXPR_NUM_THREADS="", OMP_NUM_THREADS="2") == [64, 2, 2, 2]
    assert numbers(NUMEXPR_MAX_THREADS="1")[0:2] == [1, 1]
    assert numbers(NUMEXPR_MAX_THREADS="")[0] == 64
    assert numbers(TINYWEAVE_NUM_THREADS="1")[1:3] == [1, 1]


# --- the module -------------------------------------------------------------------------------------------


def test_every_public_name_is_there():
    missing = (
        {name for name in vars(oracle) if not name.startswith("_")} - set(vars(ne)) - {"test", "cpuinfo"}
    )
    assert not missing
    assert ne.__version__ == ne.version.version
    for name in words(
        "evaluate NumExpr getExprNames getContext getArguments getType stringToExpression expressionToAST "
        "typeCompileAst typecode_to_kind double is_cpu_amd_intel _names_cache _numexpr_last _numexpr_cache"
    ):
        assert hasattr(ne.necompiler, name)
    assert set(oracle.expressions.functions) == set(ne.expressions.functions)
    assert ne.set_vml_accuracy_mode("high") is ne.get_vml_version() is ne.set_vml_num_threads(2) is None
    assert ne.get_vml_num_threads() is None and ne.use_vml is False


def test_print_versions(capsys):
    ne.print_versions()
    assert np.__version__ in capsys.readouterr().out


def test_what_others_take_from_inside():
    # Awkward Array
    context = ne.necompiler.getContext({"optimization": "none"})
    assert context == {"optimization": "none", "truediv": False}
    key = ("b + a*2", tuple(sorted(context.items())))
    assert key not in ne.necompiler._names_cache
    ne.necompiler._names_cache[key] = ne.necompiler.getExprNames("b + a*2", context)
    assert ne.necompiler._names_cache[key] == (["a", "b"], False)
    a, b = np.arange(3), 1
    assert [x.tolist() for x in ne.necompiler.getArguments(["a", "b"], _frame_depth=1)] == [a.tolist(), b]
    ne.evaluate("b + a*2")
    assert ne.necompiler._numexpr_last["argnames"] == ["a", "b"]
    assert ne.necompiler._numexpr_last["ex"](a, b).tolist() == [1, 3, 5]
    # PyTables
    tree = ne.necompiler.stringToExpression("(x > 1) & (y == z)", {"x": float, "y": bytes, "z": bytes}, {})
    assert (tree.astType, tree.astKind, tree.value) == ("op", "bool", "and")
    left, right = tree.children
    assert (left.value, left.children[0].value, left.children[1].value) == ("gt", "x", 1)
    assert isinstance(left, ne.expressions.ExpressionNode) and right.value == "eq"
    assert ne.necompiler.typeCompileAst(ne.necompiler.expressionToAST(tree)) is tree
    with pytest.raises(NotImplementedError):
        ne.necompiler.typeCompileAst(ne.necompiler.stringToExpression("x + x", {"x": bytes}, {}))
    assert ne.necompiler.getType(np.zeros(1, "u4")) is np.int64


PANDAS = """
    import sys
    import tinyweave.numexpr as ne
    sys.modules["numexpr"] = ne
    calls = []
    evaluate = ne.evaluate
    def counted(text, *args, **kwargs):
        calls.append(text)
        kwargs.setdefault("_frame_depth", 4)
        return evaluate(text, *args, **kwargs)
    ne.evaluate = counted
    import pandas as pd
    import numpy as np
    from pandas.core.computation import expressions
    expressions._MIN_ELEMENTS = 0

    random = np.random.default_rng(0)
    frame = pd.DataFrame({
        "a": random.random(2000), "b": random.integers(0, 9, 2000), "c": random.random(2000) > .5,
        "f": random.random(2000).astype("f4"), "i": random.integers(0, 9, 2000).astype("i2"),
    })
    outside = 3
    for text in ["a + b * 2", "(a > .5) & (b < 4)", "c & (b != 3)", "~c | (a < b)", "sin(a) + f",
                 "a ** 2 - i", "b / i", "-a", "a + @outside", "(a < .5) and (b > 2)", "1 < b < 5", "i + f",
                 "b % 4"]:
        before = len(calls)
        got = frame.eval(text, engine="numexpr")
        assert len(calls) > before, text
        expected = frame.eval(text, engine="python")
        np.testing.assert_allclose(got.astype(float), expected.astype(float), rtol=1e-6)
    count = len(calls)
    assert len(frame.query("a > .5 and b == 3")) == ((frame.a > .5) & (frame.b == 3)).sum()
    assert len(calls) > count
    count = len(calls)
    np.testing.assert_array_equal((frame.a + frame.b).values, frame.a.values + frame.b.values)
    np.testing.assert_array_equal((frame.a > frame.b).values, frame.a.values > frame.b.values)
    assert len(calls) == count + 2, calls[count:]
    print(len(calls))
"""


def test_pandas_on_it(python):
    assert int(python(PANDAS, environment={"PYTHONWARNINGS": "error::DeprecationWarning:__main__"}).out) > 15


def test_its_own_test_suite(tmp_path):
    """numexpr's tests, with tinyweave's module in its place."""
    tests = os.path.join(os.path.dirname(oracle.__file__), "tests", "test_numexpr.py")
    if not os.path.exists(tests):
        pytest.skip("numexpr was installed without its tests")
    (tmp_path / "conftest.py").write_text(
        "import sys\n"
        "import tinyweave.numexpr as ne\n"
        'sys.modules["numexpr"] = ne\n'
        'for name in ("expressions", "interpreter", "necompiler", "utils", "version"):\n'
        '    sys.modules[f"numexpr.{name}"] = getattr(ne, name)\n'
    )
    with open(tests) as source:
        (tmp_path / "test_copy.py").write_text(source.read())
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-W", "ignore", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-3000:]


# --- the differences --------------------------------------------------------------------------------------


def test_the_table_of_differences():
    """The rows of docs/numexpr.md, as they are here."""

    def values(text, **names):
        return ne.evaluate(text, names, {}).tolist()

    lowest = np.iinfo(np.int64).min
    i = np.array([lowest, 5, 0])
    minus = np.array([-1, -1, -1])
    assert values("i // m", i=i, m=minus) == [lowest, -5, 0]  # numexpr dies of SIGFPE
    assert values("i % m", i=i, m=minus) == [0, 0, 0]
    low32 = np.array([np.iinfo(np.int32).min], "i4")
    assert values("i // m", i=low32, m=np.int32(-1)) == low32.tolist()
    assert values("max(x)", x=np.array([2**60 + 1, 5])) == 2**60 + 1
    assert values("min(x)", x=np.array([-(2**60) - 1, 5])) == -(2**60) - 1
    assert values("a ** b", a=np.array([2, -1, -1, 1, 0]), b=np.array([-1, -2, -3, -5, -1])) == [
        0,
        1,
        -1,
        1,
        0,
    ]
    assert values("a ** b", a=np.array([3, 2]), b=np.array([39, 64])) == [3**39, 0]
    assert values("10 | a", a=np.array([1, 4])) == [11, 14]
    assert values("7 // a", a=np.array([2, 0])) == [3, 0]
    assert values("sum(3)") == 3 and values("sum(2.5)") == 2.5 and values("copy(1)") == 1
    assert ne.evaluate("ones_like(5)").dtype == np.int32
    assert values("'ab'") == b"ab"
    empty = ne.evaluate("a + b", {"a": np.zeros((0, 3)), "b": np.zeros((5, 1, 3))})
    assert empty.shape == (5, 0, 3)
    assert values("sum(a)", a=np.zeros(0)) == 0
    assert values("prod(a, axis=0)", a=np.zeros((0, 2))) == [1, 1]
    with pytest.raises(ValueError):
        ne.evaluate("max(a)", {"a": np.zeros(0)})
    tenth = np.full(2_000_000, 0.1, np.float32)
    assert values("sum(a)", a=tenth) == float(np.sum(tenth))
    z = np.array([1e200 + 1e200j])
    assert values("z / z", z=z) == [1]
    assert values("abs(z)", z=z) == [complex(abs(z[0]))]
    assert values("contains(s, b'b')", s=np.array([b"a\0b"])) == [True]
    assert values("s > b'a'", s=np.array([b"\xff"])) == [True]
    assert values("sqrt(z) * sqrt(z)", z=np.array([-4 - 0j])) == pytest.approx([-4])


def test_the_rules_that_differ_from_numpy_s():
    def got(text, **names):
        result = ne.evaluate(text, names, {})
        return result.dtype.char, result.tolist()

    small = np.array([250, 3], np.uint8)
    assert got("a + a", a=small) == ("i", [500, 6])
    assert got("~a", a=small) == ("i", [-251, -4])
    assert got("a - 251", a=small) == ("i", [-1, -248])
    assert got("a > 0", a=np.array([2**63], np.uint64)) == ("?", [False])
    assert got("a * 2.5", a=np.float32([2]))[0] == "d"
    assert got("a * i", a=np.float32([2]), i=np.arange(1))[0] == "f"
    assert got("a + b", a=np.array([True]), b=np.array([True])) == ("?", [True])
    assert got("a / b", a=np.array([1]), b=np.array([2])) == ("d", [0.5])
    assert got("a ** 2.0", a=np.int32([3])) == ("i", [9])
    assert got("5.0 % a", a=np.array([2.5, -3])) == ("d", [0, -1])
    assert got("max(a)", a=np.array([1, np.nan, 3])) == ("d", 3)
    assert got("sum(a)", a=np.array([2**31 - 1, 1], np.int32)) == ("i", -(2**31))
    assert got("sin(a)", a=np.int8([0])) == ("d", [0])
    assert got("abs(a)", a=np.int32([-3])) == ("d", [3])
