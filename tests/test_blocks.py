"""Block primitives (runtime/blocks.c) of every CPU level beside NumPy: bits, flags, ends and aliases."""

import itertools
import os
import subprocess
import sys

import native_library
import numpy as np
import pytest
from blocks_library import COUNTS, LEVELS, NAMES, Block, library, run, same

LONGEST = max(COUNTS)

FUNCTIONS = {
    "multiply_add": lambda x, y, z: x * y + z,
    "multiply_subtract": lambda x, y, z: x * y - z,
    "subtract_multiply": lambda x, y, z: z - x * y,
    "scale_multiply_add": lambda x, s, y, z: (x * s) * y + z,
}
COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
MOVING = ("select", "fill", "gather", "scatter", "swap", "pairwise")
SIZES = {"1": "V1", "2": "V2", "4": "V4", "8": "V8", "16": "V16", "4x2": "V8", "8x2": "V16"}


def named(*operations):
    """The primitives of those operations."""
    return [name for name in NAMES if name[3:].startswith(tuple(f"{each}_" for each in operations))]


def parse(name):
    """(operation, dtype of the operands, dtype of the result, form)"""
    *operation, kind, form = name[3:].split("_")
    operation = "_".join(operation)
    if operation.startswith("cast"):
        return "cast", np.dtype(operation[5:]), np.dtype(kind), form
    return operation, np.dtype(kind), np.dtype("?" if operation in COMPARISONS else kind), form


def special_values(dtype):
    if dtype.kind == "b":
        return np.array([0, 1], np.uint8).view(bool)
    if dtype.kind == "i":
        info = np.iinfo(dtype)
        return np.array([0, 1, -1, 2, 7, info.max, info.max - 1, info.min, info.min + 1, 2**24 + 1], dtype)
    info = np.finfo(dtype)
    values = [0.0, 1.0, 1.5, np.inf, np.nan, info.max, info.tiny, info.smallest_subnormal, info.eps, 1 / 3]
    if dtype.itemsize == 8:
        values += [1e300, 1e-300, float(np.finfo("f4").max), 3.4028236e38, 1e-40, 1 + 2.0**-24]
    values = np.array(values, dtype)
    return np.concatenate([values, -values])


def ordinary_values(dtype, generator):
    """Random values whose sums and products raise nothing."""
    if dtype.kind == "b":
        return generator.integers(0, 2, LONGEST).astype(bool)
    if dtype.kind == "i":
        info = np.iinfo(dtype)
        return generator.integers(info.min, info.max, LONGEST, dtype, endpoint=True)
    return (generator.random(LONGEST) * 4 + 0.5).astype(dtype)


def data_sets(dtype, operands):
    """Operands: ordinary ones; every combination of special values; and one of these among ordinary ones."""
    generator = np.random.default_rng(7)
    ordinary = [ordinary_values(dtype, generator) for _ in range(operands)]
    yield ordinary
    special = special_values(dtype)
    combinations = np.array(list(itertools.product(range(len(special)), repeat=min(operands, 2))))
    generator.shuffle(combinations)
    for start in range(0, len(combinations), LONGEST):
        chosen = np.resize(combinations[start : start + LONGEST], (LONGEST, combinations.shape[1]))
        columns = [special[chosen[:, i]] for i in range(chosen.shape[1])]
        yield columns + [generator.choice(special, LONGEST) for _ in range(operands - len(columns))]
    for value in special:
        mixed = [values.copy() for values in ordinary]
        mixed[generator.integers(operands)][generator.integers(20)] = value
        yield mixed


def with_flags(function, *operands):
    """NumPy's result, and the flags it raised."""
    raised = [0]

    def note(kind, flags):
        raised[0] |= flags

    with np.errstate(all="call", call=note):
        return function(*operands), raised[0]


def expected(name, operands):
    operation, _, to, _ = parse(name)
    if operation == "cast":
        return with_flags(lambda x: x.astype(to), *operands)
    return with_flags(FUNCTIONS.get(operation) or getattr(np, operation), *operands)


def check(name, operands, count, offset=0):
    """One primitive at every level: plain, and with out in the place of each operand."""
    _, kind, to, form = parse(name)
    operands = [x[:count] if f == "v" else x[-1:] for x, f in zip(operands, form, strict=True)]
    wanted, flags = expected(name, operands)
    for level, table in LEVELS.items():
        out = Block(count, to, offset)
        raised = run(table[name], count, out, *operands)
        assert same(out.array, wanted) and out.intact(), (level, count)
        assert raised == flags, (level, count)
        for i, f in enumerate(form):
            if f == "v" and kind.itemsize == to.itemsize:
                out = Block(count, kind, offset)
                out.array[:] = operands[i]
                aliased = [out.array if j == i else x for j, x in enumerate(operands)]
                assert run(table[name], count, out, *aliased) == flags, (level, count, i)
                assert same(out.array.view(to), wanted) and out.intact(), (level, count, i)


def test_levels():
    assert LEVELS
    tables = list(LEVELS.values())
    assert all(list(table) == NAMES for table in tables)
    assert library.blocks_list(b"x86-64-v9") is None


@pytest.mark.parametrize("name", [name for name in NAMES if not name[3:].startswith(MOVING)])
def test_like_numpy(name):
    _, kind, _, form = parse(name)
    for i, operands in enumerate(data_sets(kind, len(form))):
        for count in COUNTS if i < 2 else (20, LONGEST):
            check(name, operands, count, offset=count % 5)


@pytest.mark.parametrize("name", [name for name in NAMES if "_b1_" in name])
def test_any_byte_is_true(name):
    operation, kind, to, form = parse(name)
    if kind.kind != "b":
        return
    generator = np.random.default_rng(1)
    operands = [generator.choice(np.array([0, 1, 2, 128, 255], np.uint8), LONGEST) for _ in form]
    places = [slice(None) if f == "v" else slice(1) for f in form]
    function = (lambda x: x.astype(to)) if operation == "cast" else getattr(np, operation)
    wanted = function(*(x[place] != 0 for x, place in zip(operands, places, strict=True)))
    for table in LEVELS.values():
        out = Block(LONGEST, to)
        run(table[name], LONGEST, out, *operands)
        assert same(out.array, wanted)


def random_bytes(count, size, seed):
    return np.random.default_rng(seed).bytes(count * int(size[1:])), size


@pytest.mark.parametrize("name", named("select"))
def test_select(name):
    _, _, size, form = name.split("_")
    x, y = (np.frombuffer(*random_bytes(LONGEST, SIZES[size], seed)) for seed in (1, 2))
    condition = np.random.default_rng(3).choice(np.array([0, 0, 1, 2, 128], np.uint8), LONGEST)
    for table, count in itertools.product(LEVELS.values(), COUNTS):
        x_form, y_form = (a[:count] if f == "v" else a[:1] for a, f in zip((x, y), form, strict=True))
        wanted = np.where(condition[:count] != 0, x_form, y_form).astype(SIZES[size])
        out = Block(count, SIZES[size], count % 5)
        assert run(table[name], count, out, condition, x_form, y_form) == 0
        assert same(out.array, wanted) and out.intact()
        for i in [i for i in (0, 1) if form[i] == "v"]:
            out.array[:] = (x_form, y_form)[i]
            aliased = [out.array if j == i else a for j, a in enumerate((x_form, y_form))]
            run(table[name], count, out, condition, *aliased)
            assert same(out.array, wanted) and out.intact()


@pytest.mark.parametrize("name", named("fill"))
def test_fill(name):
    size = SIZES[name.split("_")[2]]
    value = np.frombuffer(*random_bytes(1, size, 5))
    for table, count in itertools.product(LEVELS.values(), COUNTS):
        out = Block(count, size, count % 5)
        run(table[name], count, out, value)
        assert out.array.tobytes() == value.tobytes() * count and out.intact()


@pytest.mark.parametrize("name", named("swap"))
def test_swap(name):
    kind = name.split("_")[2]
    size, part = SIZES[kind], f"u{kind[0]}"
    x = np.frombuffer(*random_bytes(LONGEST, size, 6))
    for table, count in itertools.product(LEVELS.values(), COUNTS):
        wanted = x[:count].view(part).byteswap().tobytes()
        out = Block(count, size, count % 5)
        run(table[name], count, out, x)
        assert out.array.tobytes() == wanted and out.intact()
        out.array[:] = x[:count]
        run(table[name], count, out, out.array)
        assert out.array.tobytes() == wanted and out.intact()


def strided(size, stride):
    """A byte array, the offset of the first element in it, and the strided view of LONGEST elements."""
    itemsize = int(size[1:])
    length = LONGEST * abs(stride) + itemsize + 1
    memory = np.frombuffer(np.random.default_rng(8).bytes(length), np.uint8).copy()
    first = 1 if stride >= 0 else 1 + (LONGEST - 1) * -stride
    return memory, first, np.ndarray(LONGEST, size, memory, first, (stride,))


def strides(size):
    itemsize = int(size[1:])
    return (itemsize, -itemsize, 2 * itemsize, itemsize + 3, 0, -3 * itemsize, 4096)


@pytest.mark.parametrize("name", named("gather"))
def test_gather(name):
    size = SIZES[name.split("_")[2]]
    for stride in strides(size):
        memory, first, view = strided(size, stride)
        for table, count in itertools.product(LEVELS.values(), COUNTS):
            out = Block(count, size)
            start = memory.ctypes.data + first
            assert library.blocks_gather(table[name], count, out.array.ctypes.data, start, stride) == 0
            assert out.array.tobytes() == view[:count].tobytes() and out.intact()


@pytest.mark.parametrize("name", named("pairwise"))
def test_pairwise(name):
    """NumPy starts from 0.0, which turns -0.0 into 0.0 and leaves any other sum as it is."""
    kind = np.dtype(name.split("_")[2])
    generator = np.random.default_rng(11)
    data = generator.standard_normal(5000).astype(kind)
    for table, count in itertools.product(LEVELS.values(), (*range(1, 40), 127, 128, 129, 255, 1000, 4999)):
        for values in (data[:count], np.abs(data[:count]), np.full(count, -0.0, kind)):
            out = Block(1, kind)
            assert run(table[name], count, out, values) == 0
            wanted = np.add.reduce(values)
            assert same(out.array, np.array([wanted])) or (out.array == wanted == 0 and np.signbit(out.array))
            assert out.intact()


@pytest.mark.parametrize("name", named("scatter"))
def test_scatter(name):
    size = SIZES[name.split("_")[2]]
    data = np.frombuffer(*random_bytes(LONGEST, size, 9))
    for stride in strides(size):
        if stride == 0:
            continue
        memory, first, view = strided(size, stride)
        for table, count in itertools.product(LEVELS.values(), (0, 1, 2, 17, 512, LONGEST)):
            before = memory.copy()
            start = memory.ctypes.data + first
            library.blocks_scatter(table[name], count, start, stride, data.ctypes.data)
            actual = memory.copy()
            memory[:] = before
            view[:count] = data[:count]
            assert (actual == memory).all()


@pytest.mark.parametrize("level", LEVELS)
def test_environment_lowers_the_level(level):
    code = (
        "import ctypes, sys; library = ctypes.PyDLL(sys.argv[1]); library.blocks_init();"
        "library.blocks_level.restype = ctypes.c_char_p; library.blocks_find.restype = ctypes.c_void_p;"
        "print(library.blocks_level().decode(), library.blocks_find(b'tw_add_f8_vv') or 0,"
        "library.blocks_find(b'tw_add_f8_') or 0, library.blocks_find(b'') or 0)"
    )
    command = [sys.executable, "-c", code, str(native_library.path())]
    environment = {**os.environ, "TINYWEAVE_CPU_LEVEL": level}
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    name, found, *others = output.split()
    assert name == level
    assert int(found) != 0
    assert others == ["0", "0"]


# The C library's numbers of the exceptions on x86-64, and NumPy's.
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the exceptions' numbers are x86's")
@pytest.mark.parametrize(("exception", "flag"), [(1, 8), (4, 1), (8, 2), (16, 4)])
@pytest.mark.parametrize("long_double", [False, True])
def test_status_of_both_units(exception, flag, long_double):
    assert library.fpstatus_check(exception, long_double) == flag << 4
