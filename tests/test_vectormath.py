"""libmvec's functions on blocks (runtime/vectormath.c) beside NumPy's and long double's."""

import itertools
import math

import numpy as np
import pytest
from blocks_library import COUNTS, DIVIDE, INVALID, LEVELS, OVERFLOW, UNDERFLOW, Block, library, run, same

UNARY = [
    *(
        "sin",
        "cos",
        "tan",
        "arcsin",
        "arccos",
        "arctan",
        "sinh",
        "cosh",
        "tanh",
        "arcsinh",
        "arccosh",
        "arctanh",
    ),
    *("exp", "exp2", "exp10", "expm1", "log", "log2", "log10", "log1p", "cbrt", "erf", "erfc"),
]
BINARY = ["power", "arctan2", "hypot"]

# Beside every double or float there is: where most of the work is.
RANGES = {
    "arcsin": (-1, 1),
    "arccos": (-1, 1),
    "arctanh": (-1, 1),
    "arccosh": (1, 3),
    "exp": (-745, 710),
    "exp2": (-1075, 1024),
    "exp10": (-324, 309),
    "log": (0, 3),
    "log2": (0, 3),
    "log10": (0, 3),
    "log1p": (-1, 2),
    "erf": (-6, 6),
    "erfc": (-3, 28),
}


def entry(level, name, kind):
    return library.vectormath_entry(level.encode(), name.encode(), kind.encode())


FUNCTIONS = [
    (level, name, kind)
    for level, name, kind in itertools.product(LEVELS, UNARY + BINARY, ("f4", "f8"))
    if entry(level, name, kind) is not None
]
if not FUNCTIONS:
    pytest.skip("there is no libmvec", allow_module_level=True)


def reference(name, *operands):
    """The result in long double, or for erf and erfc in double."""
    if name in ("erf", "erfc"):
        return np.vectorize(getattr(math, name), otypes=["g"])(operands[0])
    wide = [x.astype("g") for x in operands]
    with np.errstate(all="ignore"):
        return np.power(np.longdouble(10), *wide) if name == "exp10" else getattr(np, name)(*wide)


def rounded(wide, kind):
    with np.errstate(all="ignore"):
        return wide.astype(kind)


def compute(function, out, *operands):
    return run(function[2], len(out.array), out, *operands)


def ulps(actual, wide):
    """How far results are off, in units of the last place of the right one."""
    wanted = rounded(wide, actual.dtype)
    with np.errstate(all="ignore"):
        off = np.abs(actual.astype("g") - wide) / np.spacing(np.abs(wanted)).astype("g")
    equal = (actual == wanted) | (np.isnan(actual) & np.isnan(wanted))
    return np.where(equal, 0, np.where(np.isnan(off), np.inf, off))


def wide_operands(name, kind, count):
    generator = np.random.default_rng(3)
    everything = np.frombuffer(generator.bytes(count * int(kind[1])), kind).copy()
    everything[np.isnan(everything)] = 1
    low, high = RANGES.get(name, (-20, 20))
    usual = generator.uniform(low, high, count).astype(kind)
    near_zero = (generator.uniform(-1, 1, count) * 10.0 ** generator.integers(-9, 1, count)).astype(kind)
    return np.concatenate([everything, usual, near_zero])


@pytest.mark.parametrize(("level", "name", "kind"), FUNCTIONS)
def test_within_the_bound(level, name, kind):
    function = entry(level, name, kind)
    operands = [wide_operands(name, kind, 4000)]
    if name in BINARY:
        operands.append(np.random.default_rng(4).permutation(operands[0]))
    out = Block(len(operands[0]), kind)
    compute(function, out, *operands)
    off = ulps(out.array, reference(name, *operands))
    # The reference of erf and erfc may be off by one itself.
    bound = function[1] + (1 if name in ("erf", "erfc") else 0)
    worst = int(np.argmax(off))
    assert off[worst] <= bound, [x[worst] for x in operands]


def special_values(kind):
    info = np.finfo(kind)
    values = [
        0,
        1,
        0.5,
        2,
        3,
        10,
        np.inf,
        np.nan,
        info.max,
        info.tiny,
        info.smallest_subnormal,
        info.tiny / 4,
    ]
    values += [1e5, 1e10, 88.9, 104, 710, 746, 1e-5, 1 + info.eps, 1 - info.eps / 2, 1e22, np.pi / 2, np.pi]
    values = np.array(values, kind)
    return np.concatenate([values, -values])


def special_operands(name, kind):
    special = special_values(kind)
    if name in UNARY:
        return [special]
    return [x.ravel().copy() for x in np.meshgrid(special, special)]


@pytest.mark.parametrize(("level", "name", "kind"), FUNCTIONS)
def test_special_values(level, name, kind):
    operands = special_operands(name, kind)
    out = Block(len(operands[0]), kind)
    compute(entry(level, name, kind), out, *operands)
    wide = reference(name, *operands)
    assert (ulps(out.array, wide) <= 4).all()
    signed = ~np.isnan(wide)
    assert (np.signbit(out.array) == np.signbit(wide))[signed].all()
    exact = np.isinf(wide) | np.isnan(wide) | (wide == 0)
    assert same(out.array[exact], rounded(wide[exact], kind))


@pytest.mark.parametrize(("level", "name", "kind"), FUNCTIONS)
def test_flags(level, name, kind):
    """What the mathematics says, on each special value among ordinary ones; underflow may be said or not."""
    function = entry(level, name, kind)
    ordinary = np.full(21, 1.25 if name == "arccosh" else 0.75, kind)
    assert compute(function, Block(21, kind), ordinary, ordinary) == 0
    for values in zip(*special_operands(name, kind), strict=True):
        operands = [ordinary.copy() for _ in values]
        for x, value in zip(operands, values, strict=True):
            x[9] = value
        out = Block(21, kind)
        flags = compute(function, out, *operands) & ~UNDERFLOW
        result = out.array[9]
        if np.isnan(result) and not np.isnan(values).any():
            assert flags == INVALID, values
        elif np.isinf(result) and np.isfinite(values).all():
            assert flags in (DIVIDE, OVERFLOW), values
        else:
            assert flags == 0, values


@pytest.mark.parametrize(("level", "name", "kind"), FUNCTIONS)
def test_ends_and_aliases(level, name, kind):
    function = entry(level, name, kind)
    start = 1.1 if name == "arccosh" else 0.1
    operands = [np.linspace(start, start + 0.8, max(COUNTS)).astype(kind) for _ in range(function[0])]
    operands[0][::37] = np.inf
    whole = Block(max(COUNTS), kind)
    compute(function, whole, *operands)
    for count in COUNTS:
        parts = [x[:count] for x in operands]
        out = Block(count, kind, count % 3)
        compute(function, out, *parts)
        assert same(out.array, whole.array[:count]) and out.intact()
        for i in range(len(parts)):
            out = Block(count, kind, count % 3)
            out.array[:] = parts[i]
            compute(function, out, *[out.array if j == i else x for j, x in enumerate(parts)])
            assert same(out.array, whole.array[:count]) and out.intact()


def test_names():
    level = next(iter(LEVELS))
    assert entry(level, "sin", "f8")[:2] == (1, 4.0)
    assert entry(level, "sin", "i8") is None
    assert entry(level, "sinc", "f8") is None
    assert entry("x86-64-v9", "sin", "f8") is None
