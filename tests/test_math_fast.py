"""math="fast": within 4 ulp of the right result, and NumPy's where there is nothing faster."""

import pickle

import numpy as np
import pytest

import tinyweave as tw

RANGES = {
    "sin": (-1000, 1000),
    "cos": (-1000, 1000),
    "tan": (-20, 20),
    "arcsin": (-1, 1),
    "arccos": (-1, 1),
    "arctan": (-50, 50),
    "sinh": (-300, 300),
    "cosh": (-300, 300),
    "tanh": (-20, 20),
    "arcsinh": (-1e5, 1e5),
    "arccosh": (1, 1e5),
    "arctanh": (-1, 1),
    "exp": (-700, 700),
    "exp2": (-1000, 1000),
    "expm1": (-30, 700),
    "log": (0, 1e9),
    "log2": (0, 10),
    "log10": (0, 10),
    "log1p": (-1, 100),
    "cbrt": (-1e6, 1e6),
}
FUNCTIONS = pytest.mark.parametrize("name", RANGES)
SPECIAL = [0.0, -0.0, 1, -1, 0.5, np.inf, -np.inf, np.nan, 1e-300, 1e300, 5e-324, 2, -1e-9]


@pytest.fixture
def threads():
    before = tw.get_num_threads()
    yield tw.set_num_threads
    tw.set_num_threads(before)


def fast(text, *values, **options):
    names = dict(zip("xy", values, strict=False))
    with np.errstate(all="ignore"):
        return tw.evaluate(text, names, {}, math="fast", **options)


def ulps(found, wide):
    """How far results are off, in units of the last place of the right one."""
    with np.errstate(all="ignore"):
        wanted = wide.astype(found.dtype)
        off = np.abs(found.astype("g") - wide) / np.spacing(np.abs(wanted)).astype("g")
    equal = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
    return np.where(equal, 0, off)


@FUNCTIONS
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_within_four_ulp(name, dtype):
    generator = np.random.default_rng(1)
    low, high = RANGES[name]
    scale = 1 if dtype == "f8" or high < 100 or name in ("log", "arcsinh", "arccosh", "cbrt") else 0.1
    wide = generator.uniform(low * scale, high * scale, 20_000)
    near = generator.uniform(max(low, -1), max(low + 1, 1), 20_000)
    for x in (wide.astype(dtype), near.astype(dtype)):
        found = fast(f"{name}(x)", x)
        assert found.dtype == x.dtype
        with np.errstate(all="ignore"):
            wanted = getattr(np, name)(x.astype("g"))
        assert ulps(found, wanted).max() <= 4


@pytest.mark.parametrize("text", ["power(x, y)", "x ** y", "arctan2(x, y)", "hypot(x, y)"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_two_operands_within_four_ulp(text, dtype):
    generator = np.random.default_rng(2)
    x = generator.uniform(0.1, 10, 20_000).astype(dtype)
    y = generator.uniform(-8, 8, 20_000).astype(dtype)
    wanted = eval(text, dict(vars(np)), {"x": x.astype("g"), "y": y.astype("g")})
    assert ulps(fast(text, x, y), wanted).max() <= 4


@FUNCTIONS
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_special_values(name, dtype):
    """Infinite, NaN, zero with its sign: as long double's."""
    with np.errstate(all="ignore"):
        x = np.array(SPECIAL).astype(dtype)
        wanted = getattr(np, name)(x.astype("g")).astype(dtype)
    found = fast(f"{name}(x)", x)
    special = ~np.isfinite(wanted) | (wanted == 0)
    np.testing.assert_array_equal(found[special], wanted[special])
    zero = wanted == 0
    np.testing.assert_array_equal(np.signbit(found[zero]), np.signbit(wanted[zero]))
    assert ulps(found, wanted.astype("g"))[~special].max() <= 4


@FUNCTIONS
def test_places_and_threads_do_not_matter(name, threads):
    low, high = RANGES[name]
    x = np.random.default_rng(3).uniform(low, high, 200_003)
    threads(1)
    found = fast(f"{name}(x)*2", x)
    np.testing.assert_array_equal(fast(f"{name}(x)*2", np.repeat(x, 2)[::2]), found)
    np.testing.assert_array_equal(fast(f"{name}(x)*2", x[::-1])[::-1], found)
    for start in (1, 2, 3, 700):
        np.testing.assert_array_equal(fast(f"{name}(x)*2", x[start:][:1000]), found[start:][:1000])
    for count in (2, 3):
        threads(count)
        np.testing.assert_array_equal(fast(f"{name}(x)*2", x), found)
        out = np.empty_like(x)
        assert fast(f"{name}(x)*2", x, out=out) is out
        np.testing.assert_array_equal(out, found)


@FUNCTIONS
@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "f2", "g", "c8", "c16"])
def test_other_dtypes_are_numpys(name, dtype):
    x = np.array([0, 1, 2, 0.5, 3, 1, 5] * 100).astype(dtype)
    if x.dtype.kind in "?c" or dtype in ("f2", "g", "i1"):
        with np.errstate(all="ignore"):
            try:
                wanted = getattr(np, name)(x)
            except TypeError:
                pytest.raises(TypeError, fast, f"{name}(x)", x)
                return
        found = fast(f"{name}(x)", x)
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
    else:
        with np.errstate(all="ignore"):
            wanted = getattr(np, name)(x)
        found = fast(f"{name}(x)", x)
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_integers_are_converted_as_numpy_does():
    x = np.arange(1, 100)
    assert ulps(fast("log(x)", x), np.log(x.astype("g"))).max() <= 4
    np.testing.assert_array_equal(fast("x**3 + x", x), x**3 + x)
    np.testing.assert_array_equal(fast("sqrt(x)", x * 1.0), np.sqrt(x))
    assert fast("sin(x)", np.float64(1)) == np.sin(1)


def test_all_else_is_numpys():
    x, y = np.random.default_rng(4).standard_normal((2, 3000))
    for text in ("x*y + x/y", "sqrt(abs(x))", "where(x > y, x, y)", "sum(x*y)", "floor(x*10)", "x % 1"):
        np.testing.assert_array_equal(fast(text, x, y), eval(text, dict(vars(np)), {"x": x, "y": y}))


def test_warnings_name_the_function():
    x = np.array([1.0, 0, -1])
    with pytest.warns(RuntimeWarning) as caught:
        tw.evaluate("log(x)", {"x": x}, math="fast")
    assert sorted(str(warning.message) for warning in caught) == [
        "divide by zero encountered in log",
        "invalid value encountered in log",
    ]
    with np.errstate(all="raise"), pytest.raises(FloatingPointError, match="encountered in log"):
        tw.evaluate("log(x)", {"x": x}, math="fast")


def test_the_option():
    x = np.linspace(0, 1, 50)
    for given in (None, "numpy"):
        np.testing.assert_array_equal(tw.evaluate("sin(x)", math=given), np.sin(x))
    for call in (lambda given: tw.evaluate("x", math=given), lambda given: tw.expression("x", math=given)):
        for given in ("exact", "", "Fast", "fast "):
            with pytest.raises(ValueError, match="'math' must be"):
                call(given)
        for given in (1, True, b"fast", ["fast"]):
            with pytest.raises(TypeError, match="'math' must be"):
                call(given)


def test_expressions():
    x = np.linspace(-3, 3, 1000)
    f, g = tw.expression("sin(x) + 1", math="fast"), tw.expression("sin(x) + 1")
    assert f is tw.expression("sin(x) + 1", math="fast")
    assert f is not g
    assert g is tw.expression("sin(x) + 1", math="numpy") is tw.expression("sin(x) + 1", math=None)
    assert repr(f) == "tinyweave.expression('sin(x) + 1', math='fast')"
    copy = pickle.loads(pickle.dumps(f))
    assert copy is f
    np.testing.assert_array_equal(f(x), fast("sin(x) + 1", x))
    np.testing.assert_array_equal(g(x), np.sin(x) + 1)


def test_pickles_in_another_process(python):
    f = tw.expression("exp(x)*2", math="fast")
    done = python(
        """
        import pickle
        f = pickle.loads(bytes.fromhex(sys.argv[1]))
        print(repr(f), f(np.arange(3.0)).tobytes().hex())
        """,
        pickle.dumps(f).hex(),
    )
    assert done.out.split()[-1] == f(np.arange(3.0)).tobytes().hex()
    assert done.out.startswith(repr(f))
