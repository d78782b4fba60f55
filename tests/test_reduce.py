"""Reductions of expressions: NumPy's results, bit for bit, on any number of threads."""

import itertools
import random

import numpy as np
import pytest
import reduce_library
from hypothesis import given, settings
from hypothesis import strategies as st
from reduce_library import REDUCTIONS, check, complex_pairwise, outcome, pairwise

import tinyweave as tw

SIZES = [1, 7, 8, 9, 127, 128, 129, 511, 512, 513, 1021, 1024, 1025, 2048, 2049, 8191, 8192, 8193]
LARGE = [32_749, 32_767, 32_768, 32_769, 65_535, 65_536, 65_537, 131_101, 300_007]


@pytest.fixture
def threads():
    before = tw.get_num_threads()
    yield tw.set_num_threads
    tw.set_num_threads(before)


def numbers(shape, dtype="f8", seed=0):
    """Numbers of either sign and several magnitudes."""
    generator = np.random.default_rng(seed)
    values = np.array(generator.standard_normal(shape) * 10.0 ** generator.integers(-3, 4, shape))
    if np.dtype(dtype).kind == "c":
        values = values + 1j * generator.standard_normal(shape)
    if np.dtype(dtype).kind in "iu":
        return generator.integers(0, 100, shape).astype(dtype)
    return values.astype(dtype) if dtype != "?" else values > 0


# ---- The order of sums ----


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
@pytest.mark.parametrize("size", [*SIZES, 32_769, 65_537])
def test_sums_are_pairwise(size, dtype):
    a = numbers(size, dtype)
    model = complex_pairwise if np.dtype(dtype).kind == "c" else pairwise
    total = tw.evaluate("sum(a*1)")
    wanted = a.dtype.type(0) + model(a)
    assert type(total) is a.dtype.type
    assert total == wanted
    assert tw.evaluate("mean(a*1)") == a.dtype.type(wanted / np.intp(size))


def test_sums_of_halves_are_rounded_once():
    a = numbers(5000, "f2")
    assert tw.evaluate("sum(a*1)") == pairwise(a.astype("f4")).astype("f2")
    check("sum(a*1)", a=a)
    check("mean(a + a)", a=a)


@pytest.mark.parametrize("size", LARGE)
@pytest.mark.parametrize("dtype", ["f4", "f8", "c16", "i4", "u1", "?"])
def test_any_number_of_threads_gives_the_same_bits(size, dtype, threads):
    names = {"a": numbers(size, dtype), "b": numbers(size, dtype, 1)}
    for name in REDUCTIONS:
        for count in (1, 2, 3):
            threads(count)
            check(f"{name}(a*b)", **names)


SHAPES = [(300, 700), (70_000, 3), (3, 70_000), (40, 50, 60), (4, 500, 200), (2, 3, 40_001), (90_001, 1, 2)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_threads_share_no_result(shape, order, threads):
    a = np.array(numbers(shape), order=order)
    axes = range(len(shape))
    chosen = [axis for count in (1, 2) for axis in itertools.combinations(axes, count)]
    for name, axis in itertools.product(("sum", "max", "prod", "mean", "any"), chosen):
        for count in (1, 2, 3):
            threads(count)
            with np.errstate(all="ignore"):
                check(f"{name}(a*0.5 + a, axis={axis})", a=a)


# ---- Dtypes ----


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("dtype", reduce_library.DTYPES)
def test_dtypes(name, dtype):
    for size in SIZES[:10]:
        a = numbers(size, dtype)
        check(f"{name}(a*a)", a=a)
        check(f"{name}(a < b)", a=a, b=a[::-1])
    a = numbers((3, 129, 4), dtype)
    for axis in (None, 0, 1, 2, -1, (0, 2)):
        if not (isinstance(axis, tuple) and name.startswith("arg")):
            check(f"{name}(a + a, axis={axis})", a=a)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u4", "i8", "u8"])
def test_integers_wrap(dtype):
    info = np.iinfo(dtype)
    a = np.array([info.max, info.max, 3, info.min, info.max] * 50, dtype)
    for name in ("sum", "prod", "min", "max", "mean", "argmin", "argmax"):
        check(f"{name}(a + 0)", a=a)
        check(f"{name}(a*a)", a=a)


@pytest.mark.parametrize("dtype", ["M8[s]", "m8[ms]", "U3", "S2"])
def test_what_is_no_number(dtype):
    a = np.array([3, 1, 2], dtype)
    for name in REDUCTIONS:
        check(f"{name}(a)", a=a)
        check(f"{name}(maximum(a, a))", a=a)


# ---- Shapes and axes ----


def layouts(shape):
    """Arrays of that shape, laid out in every way."""
    dimensions = len(shape)
    a = numbers(shape)
    yield a
    yield np.array(a, order="F")
    for order in itertools.islice(itertools.permutations(range(dimensions)), 1, 6):
        turned = np.ascontiguousarray(a.transpose(order))
        yield turned.transpose(np.argsort(order))
    strided = np.zeros([2 * extent for extent in shape])[(slice(None, None, 2),) * dimensions + (...,)]
    strided[...] = a
    yield strided
    if dimensions:
        yield a[(slice(None, None, -1),) * dimensions]
        yield np.broadcast_to(a[:1], shape) if shape[0] else a
    yield a.astype(">f8")


SMALL = [
    (),
    (1,),
    (5,),
    (0,),
    (3, 4),
    (4, 1),
    (1, 4),
    (0, 3),
    (3, 0),
    (2, 3, 4),
    (3, 1, 2),
    (2, 3, 1, 2),
    (2, 1, 2, 3, 2),
]


@pytest.mark.parametrize("shape", SMALL)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_axes_of_every_layout(name, shape):
    axes = [None, *range(-len(shape) - 1, len(shape) + 1), (), (0, 0), (0, -len(shape))]
    axes += itertools.combinations(range(len(shape)), 2)
    axes += [tuple(range(len(shape)))[::-1], tuple(range(len(shape)))[1:]]
    for a in layouts(shape):
        for axis in axes if not name.startswith("arg") else [x for x in axes if not isinstance(x, tuple)]:
            for more in ("", ", keepdims=True", ", keepdims=False"):
                check(f"{name}(a + 1, axis={axis}{more})", a=a)
                check(f"{name}(a > 0, {axis}{more})", a=a)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_broadcast_operands(name):
    names = {"a": numbers(300), "b": numbers(200, seed=1), "c": np.asfortranarray(numbers((300, 200)))}
    for text in ("a[:, None]*b", "c*b", "c*a[:, None]", "c.T + b[:, None]", "a[:, None]*b*c"):
        for axis in (None, 0, 1):
            check(f"{name}({text}, axis={axis})", **names)


@pytest.mark.parametrize("size", [*SIZES, *LARGE[:4]])
def test_lengths_of_rows(size):
    a = numbers((3, size))
    b = np.asfortranarray(a)
    for name, axis in itertools.product(("sum", "prod", "min", "mean", "all", "argmax"), (0, 1)):
        with np.errstate(all="ignore"):
            check(f"{name}(a*0.5, axis={axis})", a=a)
            check(f"{name}(a*b, axis={axis})", a=a, b=b)
            check(f"{name}(a*b, axis={axis})", a=a.T, b=b.T)


# ---- Options ----


@pytest.mark.parametrize(
    "options",
    [
        "dtype=float32",
        "dtype=complex128, axis=0",
        "initial=5",
        "initial=-0.0, axis=1",
        "where=b > 0",
        "where=b > 0, axis=0, initial=2, keepdims=True",
        "axis=a",
        "axis=1.5",
        "keepdims=2",
    ],
)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_options(name, options):
    names = {"a": numbers((13, 17)), "b": numbers((13, 17), seed=1)}
    text = f"{name}(a*b, {options})"
    found, error, _ = outcome(lambda: tw.evaluate(text, names, {}))
    if isinstance(error, TypeError) and "argument" in str(error):
        return  # a keyword that NumPy's function does not have either, or does not tell
    check(text, **names)


def test_order_of_warnings():
    names = {"a": np.full(10, 1e308), "b": np.array([complex("nan")] * 10)}
    check("sum(a*10, where=b > 0)", **names)
    check("sum(a*10) + sum(b < 0)", **names)


# ---- Zeros, NaN, floating-point errors ----


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g", "c8", "c16"])
@pytest.mark.parametrize("size", [1, 2, 3, 9, 40, 129, 600, 9000])
def test_zeros_of_either_sign_and_nan(dtype, size):
    generator = np.random.default_rng(size)
    for values in ([0.0, -0.0], [-0.0], [0.0, -0.0, np.nan], [1, -0.0, 2], [np.nan], [np.inf, -np.inf, 1]):
        a = generator.choice(np.array(values, dtype), size)
        for name in REDUCTIONS:
            with np.errstate(all="ignore"):
                check(f"{name}(a*1)", a=a)
                check(f"{name}(a[None]*1, axis=1)", a=a)
                check(f"{name}(a[:, None]*1, axis=0)", a=a)


@pytest.mark.parametrize("shape", [(5,), (2000,), (40_000,), (30, 40), (300, 400), (0,), (3, 0)])
def test_warnings(shape):
    for value in (1e308, np.inf, 1e-308, np.nan):
        a = np.full(shape, value)
        a.reshape(-1)[::2] *= -1 if value == np.inf else 1
        for name, axis in itertools.product(("sum", "prod", "mean", "max", "any"), (None, 0, -1)):
            for operand in ("a", "a*1", "a*a", "a - a"):
                check(f"{name}({operand}, axis={axis})", a=a)


def test_errors_that_raise():
    names = {"a": np.full(1000, 1e308)}
    with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow encountered in reduce"):
        tw.evaluate("sum(a*1)", names)
    with (
        np.errstate(over="raise"),
        pytest.raises(FloatingPointError, match="overflow encountered in multiply"),
    ):
        tw.evaluate("sum(a*10)", names)
    with pytest.raises(ValueError, match="zero-size array"):
        tw.evaluate("max(a[:0]*1)", names)
    with pytest.raises(ValueError, match="empty sequence"):
        tw.evaluate("argmax(a[:0]*1)", names)


def test_flags_that_others_left():
    """Long doubles raise flags of their own unit, which numpy.errstate may leave as they are."""
    wide, a, b = np.full(9, np.inf, "g"), np.ones(9), np.ones(9)
    with np.errstate(all="ignore"):
        wide * 0
    assert outcome(lambda: tw.blitz("a += b", {"a": a, "b": b}))[2] == []
    with np.errstate(all="ignore"):
        wide * 0
    check("sum(a + b)", a=a, b=b)
    with np.errstate(all="ignore"):
        wide * 0
    check("sum(a + b)", a=np.ones(200_000), b=1.0)


# ---- Anywhere in an expression ----


@pytest.mark.parametrize(
    "text",
    [
        "a - mean(a, axis=0, keepdims=True)",
        "(a - mean(a, axis=0))/sqrt(mean(a*a, axis=0) - mean(a, axis=0)**2)",
        "sum(a*b)/sum(b)",
        "sum(a*b, axis=1)[:, None]*a",
        "max(abs(a - b)) < 1000 * min(abs(b))",
        "sum(sum(a*b, axis=0)*sum(a*a, axis=0))",
        "where(a > mean(a), a, -a)",
        "sum(a*b, keepdims=True) + 1",
        "mean(a[1:] - a[:-1], axis=1)",
        "a[argmax(sum(a*a, axis=1))]*2",
        "any(a*b > 3) | all(a < b)",
        "sum(a) if any(a > b) else sum(b)",
        "sum(where(a > 0, a, 0)*2.5)",
        "argmin(a*b, axis=0)*argmax(a*b + 1, axis=0)",
        "sum(float32(a)*2)",
        "sum(x*y) + sum(x)*x",
        "sum(7*x)",
    ],
)
def test_reductions_in_expressions(text, threads):
    names = {
        "a": numbers((200, 300)),
        "b": numbers((200, 300), seed=1) + 2,
        "x": np.float64(3),
        "y": np.array(2.0),
    }
    for count in (1, 2):
        threads(count)
        check(text, **names)
        check(
            text,
            **{
                name: np.asarray(value)[..., ::-1] if np.ndim(value) else value
                for name, value in names.items()
            },
        )


def test_operands_are_not_made_as_arrays():
    """A million elements' product is summed in next to no memory."""
    import tracemalloc

    a = np.ones(1_000_000)
    expression = tw.expression("sum(a*a + a) + max(a*2) + argmax(a + 1)")
    assert expression(a) == 2_000_002
    tracemalloc.start()
    expression(a)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


# ---- argmin, argmax ----


@pytest.mark.parametrize("name", ["argmin", "argmax"])
@pytest.mark.parametrize("dtype", reduce_library.DTYPES)
def test_first_of_equals(name, dtype):
    for shape in ((5,), (600,), (5000,), (70_001,), (3, 700), (700, 3), (2, 3, 600)):
        generator = np.random.default_rng(1)
        a = generator.integers(0, 3, shape).astype(dtype)
        for axis in (None, -1, 0):
            for more in ("", ", keepdims=True"):
                check(
                    f"{name}(a + 0, axis={axis}{more})"
                    if dtype != "?"
                    else f"{name}(a & a, axis={axis}{more})",
                    a=a,
                )


@pytest.mark.parametrize("name", ["argmin", "argmax"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g", "c8", "c16"])
def test_first_nan(name, dtype):
    for size in (3, 513, 2048, 40_000):
        for places in ([0], [size - 1], [size // 2, size - 1], [1, 2], [size // 3]):
            a = np.arange(size).astype(dtype)
            a[places] = np.nan
            check(f"{name}(a*1)", a=a)
            check(f"{name}(a[None]*1, axis=1)", a=a)
            check(f"{name}(-a)", a=a)
            if np.dtype(dtype).kind == "c":
                a[places] = complex(1, np.nan)
                check(f"{name}(a*1)", a=a)


# ---- Everything at random ----


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.randoms(use_true_random=False))
def test_small_reductions(source):
    """What Hypothesis finds it also makes as small as it can."""
    case = reduce_library.Case(source)
    message = case.difference()
    assert message is None, f"{message}\n{case}"


@pytest.mark.parametrize("start", range(0, 1000, 100))
def test_random_reductions(start, threads):
    threads(1)
    for seed in range(start, start + 100):
        case = reduce_library.Case(random.Random(seed))
        message = case.difference()
        assert message is None, f"seed {seed}: {message}\n{case}"
