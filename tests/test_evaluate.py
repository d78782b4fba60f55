"""tw.evaluate and tw.expression: what NumPy gives, in one pass."""

# ruff: noqa: F841 (the texts read the locals of the test)

import gc
import pickle
import sys
import threading
import warnings

import evaluate_library as t
import numpy as np
import pytest
from scipy import special

import tinyweave as tw

NUMBERS = "?bBhHiIlLqQefdgFDG"
ARITHMETIC = ["+", "-", "*", "/", "//", "%", "**", "<<", ">>", "&", "|", "^"]
COMPARISONS = ["<", "<=", "==", "!=", ">", ">="]
NAMESPACE = dict(vars(np))


@pytest.fixture(autouse=True)
def one_thread():
    threads = tw.get_num_threads()
    yield
    tw.set_num_threads(threads)


def check(text, reference=None, errors=None, **names):
    """The text means to evaluate what it means to Python with NumPy's functions: dtype, shape, strides, bits,
    exception and warnings."""
    wanted = t.Outcome(lambda: eval(reference or text, NAMESPACE, names), errors)
    found = t.Outcome(lambda: tw.evaluate(text, names, {}), errors)
    message = t.difference(found, wanted)
    assert message is None, f"{text}: {message}"
    assert found.error is not None or found.warnings == wanted.warnings, text
    return found


def warned(call):
    """The messages of the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(warning.message) for warning in caught]


def raised(error, text, names=None, **options):
    """The message."""
    with pytest.raises(error) as caught:
        tw.evaluate(text, names or {}, {}, **options)
    assert type(caught.value) is error
    return str(caught.value)


def sample(dtype, count=12, shift=0):
    """Values with the hard ones among them."""
    dtype = np.dtype(dtype)
    with np.errstate(all="ignore"):
        values = np.array(t.special_values(dtype), dtype)
    return np.resize(np.roll(values, shift), count)


# ---- Types ----


@pytest.mark.parametrize("left", NUMBERS)
def test_operators_of_all_types(left):
    for number, right in enumerate(NUMBERS):
        a, b = sample(left), sample(right, shift=1 + number)
        for sign in ARITHMETIC + COMPARISONS:
            check(f"a {sign} b", a=a, b=b)


@pytest.mark.parametrize("dtype", NUMBERS)
def test_operators_with_numbers(dtype):
    a = sample(dtype)
    for number in (True, 1, 3, -1, 300, 2.5, 1e300, 1j, np.float32(1.5), np.int8(-3), np.array(2.5)):
        for sign in ARITHMETIC + COMPARISONS:
            check(f"a {sign} x", a=a, x=number)
            check(f"x {sign} a", a=a, x=number)


@pytest.mark.parametrize("dtype", NUMBERS)
def test_unary_operators_and_attributes(dtype):
    a = sample(dtype)
    for text in ("-a", "+a", "~a", "a.real + 1", "a.imag + 1", "-a.T", "abs(a)"):
        check(text, a=a)


def test_every_ufunc_of_numpy():
    operands = {"a": "d", "b": "f", "c": "l", "d": "?", "e": "D", "f": "e", "g": "B"}
    for name, function in t.UFUNCS.items():
        for x in operands:
            names = {x: sample(operands[x]), "y": sample(operands[x], shift=2), "z": sample("d", shift=3)}
            check(f"{name}({', '.join([x, 'y', 'z'][: function.nin])})", **names)


@pytest.mark.parametrize("name", ["expit", "xlogy", "gammaln", "jv", "erf", "entr"])
def test_ufuncs_of_scipy(name):
    function = getattr(special, name)
    for dtype in "dfl":
        a, b = sample(dtype, 600), sample(dtype, 600, 3)
        with np.errstate(all="ignore"):
            wanted = function(*[a + 1, b][: function.nin])
            found = tw.evaluate(
                f"f({', '.join(['a + 1', 'b'][: function.nin])})", {"f": function, "a": a, "b": b}
            )
        assert t.equal_bits(found, wanted)


def test_where_with_a_callers_ufunc():
    """SciPy's loops move the pointers that NumPy's masked loops go on with."""
    x = np.linspace(0.1, 5, 10001)
    chosen, out = x > 2, np.zeros_like(x)
    assert tw.evaluate("f(x)", {"f": special.gamma, "x": x}, where=chosen, out=out) is out
    assert (out == np.where(chosen, special.gamma(x), 0)).all()


def test_what_may_be_called_by_a_name():
    a = np.linspace(0.1, 1, 7)
    assert (tw.evaluate("plus(a, a)", {"plus": np.hypot, "a": a}) == np.hypot(a, a)).all()
    assert raised(TypeError, "f(a)", {"f": len, "a": a}) == (
        "evaluate(): 'f' must be an array, a number, a string or a list of them, or a numpy.ufunc "
        "to be called, not builtin_function_or_method"
    )
    assert raised(TypeError, "f(a)", {"f": 2, "a": a}).startswith(
        "'f' must be a numpy.ufunc to be called, not int"
    )
    assert "runs Python code" in raised(TypeError, "f(a)", {"f": np.frompyfunc(abs, 1, 1), "a": a})
    assert "has 2 results" in raised(TypeError, "f(a)", {"f": np.modf, "a": a})


@pytest.mark.parametrize("to", sorted(t.CASTS))
@pytest.mark.parametrize("dtype", NUMBERS)
def test_casts(dtype, to):
    a = np.arange(7).astype(dtype)
    type_ = t.CASTS[to]
    found = t.Outcome(lambda: tw.evaluate(f"{to}(a + a)", {"a": a}))
    assert t.difference(found, t.Outcome(lambda: (a + a).astype(type_))) is None


def test_powers():
    for dtype in NUMBERS:
        a = sample(dtype)
        for exponent in (0, 1, 2, 3, -1, -2, 0.5, 1.0, 2.0, -1.0, -0.5, True, 2j, 10, 2**63):
            check("a ** x", a=a, x=exponent)
            check(f"a ** ({exponent!r})", a=a)


def test_where_and_clip():
    c = np.array([True, False, True, False] * 3)
    for dtype in NUMBERS:
        a, b = sample(dtype), sample("f", shift=3)
        check("where(c, a, b)", a=a, b=b, c=c)
        check("where(a, 1, b) + where(c, a, 2)", a=a, b=b, c=c)
        check("clip(a, 1, 3)", a=a)
        check("clip(a + a, None, b)", a=a, b=b)
        check("clip(a, b, 3.5) * 2", a=a, b=b)
    check("where(c, 300, a)", a=sample("B"), c=c)
    check("where(c, 1e300, a)", a=sample("f"), c=c)


@pytest.mark.parametrize("number", [300, 2.5, 1j, True])
def test_clip_of_a_number(number):
    a = np.array([1.5, 2], "f2")
    check("clip(x, a, None)", x=number, a=a)
    check("clip(x, None, a) * 2", x=number, a=a)
    check("clip(x, a, a)", x=number, a=a)


def test_clip_of_integers():
    a = np.array([0, 5, 100], "b")
    for low in (-300, 0, np.int8(3), np.array([0, 400, 4]), np.array([0, 4e5, 4])):
        for high in (127, 128, 300, 2**64 - 1, 7, np.int16(300)):
            check("clip(a, x, y)", a=a, x=low, y=high)
            check("clip(a + a, x, y)", a=a, x=low, y=high)
            check("clip(a, y, x)", a=a, x=low, y=high)


def test_times_and_strings():
    times, spans = sample_times("M8[s]"), sample_times("m8[ms]")
    check("a + b", a=times, b=spans)
    check("(a - a) // b", a=times, b=spans)
    check("where(a == a, a, a)", a=times)
    texts = np.array(["a", "b", "ab"])
    check("a == 'b'", a=texts)
    check("where(a < 'b', 1.5, 2)", a=texts)


def sample_times(dtype):
    return np.array([0, 1, -1, 5, 1000, "NaT"], dtype)


# ---- Python's numbers ----


def test_operators_between_numbers_are_pythons():
    for text in (
        "2 ** 10",
        "7 // 2",
        "1 / 3",
        "True + True",
        "(-1) ** 0.5",
        "5 % -3",
        "1 << 62",
        "-2 ** 63",
        "not_ + 1",
    ):
        check(text, not_=1)
    assert raised(ZeroDivisionError, "1 / 0")
    assert "does not fit into 64 bits" in raised(OverflowError, "9 ** 9 ** 9")
    assert "does not fit into 64 bits" in raised(OverflowError, "2 ** 64")
    assert "does not fit into 64 bits" in raised(OverflowError, "x + 1", {"x": 2**64})


def test_weak_numbers():
    for dtype in "bBhHiIlLefd":
        a = np.ones(3, dtype)
        for number in (100, 255, 256, -1, 2**31, 2**63, 1e5, 1e39, 0.1, 1j):
            check("a + x", a=a, x=number)
            check("a == x", a=a, x=number)
            check("x < a", a=a, x=number)
    assert (
        raised(OverflowError, "a + 300", {"a": np.ones(3, "B")})
        == "Python integer 300 out of bounds for uint8"
    )


def test_where_numbers_are_scalars_the_result_is_one():
    a = np.array(2.5)
    for text in ("a + 1", "sqrt(a)", "a < 3", "where(a, 1, 2)", "a * a + x"):
        check(text, a=a, x=np.float32(1))


# ---- Layouts ----


def layouts(shape, dtype):
    """Arrays of that shape in every kind of memory."""
    values = (np.arange(int(np.prod(shape))) % 11 + 0.5).astype(dtype).reshape(shape)
    wide = np.zeros([2 * extent for extent in shape], dtype)[tuple(slice(None, None, 2) for _ in shape)]
    raw = np.zeros(values.nbytes + 1, "u1")[1:].view(dtype).reshape(shape)
    back = np.zeros(shape, dtype)[tuple(slice(None, None, -1) for _ in shape)]
    axes = np.zeros(shape[1:] + shape[:1], dtype).transpose((len(shape) - 1, *range(len(shape) - 1)))
    for array in (wide, raw, back, axes):
        array[...] = values
    repeated = np.broadcast_to(values[:1], shape)
    swapped = values.astype(values.dtype.newbyteorder("S"))
    return [
        values,
        np.asfortranarray(values),
        wide,
        raw,
        back,
        axes,
        repeated,
        swapped,
        values[:1],
        values[..., :1],
    ]


@pytest.mark.parametrize("dtype", "dfilDegG?")
def test_layouts(dtype):
    arrays = layouts((3, 4, 5), dtype)
    for a in arrays:
        for b in arrays:
            check("a * b + a", a=a, b=b)
        check("(a + 1).T * 2", a=a)
        check("abs(a) - a[:, ::-1] * a[::-1, 1:2]", a=a)


@pytest.mark.parametrize(
    "shape", [(), (0,), (1,), (0, 3), (3, 0, 2), (1, 1), (1,) * 64, (2,) * 5 + (1,) * 59]
)
def test_shapes(shape):
    a = np.full(shape, 1.5)
    check("a * 2 + a", a=a)
    check("where(a < 1, a, a + 1)", a=a)
    check("a + b", a=a, b=np.ones(1))
    check("sum(a * a)", a=a)


def test_shapes_that_do_not_fit():
    message = raised(ValueError, "a * 2 + b", {"a": np.ones(3), "b": np.ones(4)})
    assert message == "operands could not be broadcast together with shapes (3,) (4,) "
    check("a + b", a=np.ones((2, 3)), b=np.ones(2))


def test_subclasses_are_arrays():
    matrix, masked = np.matrix([[1.0, 2], [3, 4]]), np.ma.array([[1.0, 2], [3, 4]], mask=[[0, 1], [0, 0]])
    result = tw.evaluate("m * m + x", {"m": matrix, "x": masked})
    assert type(result) is np.ndarray
    assert (result == np.asarray(matrix) * np.asarray(matrix) + np.asarray(masked)).all()
    assert type(tw.evaluate("m", {"m": matrix})) is np.ndarray
    check("a + 1", reference="array(a) + 1", a=[1, 2, 3])
    check("a * b", reference="array(a) * b", a=[[1.5], [2]], b=np.arange(3))


def test_what_is_no_operand():
    assert raised(TypeError, "a + 1", {"a": {}}) == (
        "evaluate(): 'a' must be an array, a number, a string or a list of them, not dict"
    )
    assert "whose elements run Python code" in raised(TypeError, "a + 1", {"a": np.array([None])})


# ---- Sizes and threads ----

SIZES = [1, 127, 128, 129, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025]
SIZES += [32767, 32768, 32769, 65535, 65536, 65537, 300_000]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("size", SIZES)
def test_sizes(size, threads):
    tw.set_num_threads(threads)
    a, b = np.linspace(-3, 3, size), np.arange(size) % 7
    check("(a * b + 1) * a - b / 7", a=a, b=b)
    check("where(a > b, a.real, f) + complex64(b)", a=a, b=b, f=np.float32(1.5))
    check("sqrt(a) + 1 / b", a=a, b=b)
    check("a[::-1] * b + 1", a=a, b=b)
    check("sum(a * b)", a=a, b=b)


@pytest.mark.parametrize("rows", [1, 3, 300, 700])
@pytest.mark.parametrize("columns", [1, 2, 127, 128, 129, 513])
def test_rows(rows, columns):
    a = np.arange(rows * columns, dtype="f4").reshape(rows, columns)
    for threads in (1, 3):
        tw.set_num_threads(threads)
        for left in (a, np.asfortranarray(a), np.repeat(a, 2, 1)[:, ::2]):
            check("a * b + c", a=left, b=a[:1], c=a[:, :1])
            check("sum(a * b, axis=0)", a=left, b=a[:1])
            check("max(a - b, axis=1)", a=left, b=a[:1])


def test_results_do_not_depend_on_the_threads():
    a = np.random.default_rng(1).standard_normal(400_000).astype("f4")
    results = []
    for threads in (1, 2, 3):
        tw.set_num_threads(threads)
        results.append(
            [tw.evaluate(text, {"a": a}).tobytes() for text in ("sin(a) * a + exp(a)", "sum(a * a)")]
        )
    assert results[0] == results[1] == results[2]


def test_several_threads_at_once():
    tw.set_num_threads(2)
    expression = tw.expression("a * 2 + sqrt(b)")
    wrong = []

    def work(seed):
        numbers = np.random.default_rng(seed)
        for size in (3, 700, 40_000, 200_000) * 5:
            a, b = numbers.random(size), numbers.random(size)
            x = float(seed)
            if not (
                np.array_equal(expression(a, b), a * 2 + np.sqrt(b))
                and np.array_equal(tw.evaluate("a * x - b"), a * x - b)
                and np.array_equal(tw.evaluate(f"a * {seed} + b"), a * seed + b)
            ):
                wrong.append((seed, size))

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


# ---- Conditions, chains, subscripts ----


def test_a_condition_with_a_scalar_computes_one_branch():
    a = np.zeros(3)
    names = {"a": a, "c": True}
    assert warned(lambda: tw.evaluate("a + 1 if c else 1 / a", names)) == []
    assert warned(lambda: tw.evaluate("a + 1 if a.T[0] else 1 / a", names)) != []
    assert tw.evaluate("a[9] if c < 0 else 5", names) == 5
    check("x if c else y", c=False, x=np.ones(2), y=[1, 2][0])


def test_a_condition_with_an_array_is_where():
    a = np.arange(-3.0, 4)
    check("a if a > 0 else -a * 2", reference="where(a > 0, a, -a * 2)", a=a)
    check("(1 if a > 0 else 2) + a", reference="where(a > 0, 1, 2) + a", a=a.astype("f4"))


def test_chained_comparison():
    a, b, c = np.arange(5.0), np.array([3, 1, 2, 5, 4]), np.float32(4)
    check("a < b < c", reference="(a < b) & (b < c)", a=a, b=b, c=c)
    check("0 <= a - 1 < b != c", reference="(0 <= a - 1) & (a - 1 < b) & (b != c)", a=a, b=b, c=c)


@pytest.mark.parametrize(
    "index",
    ["0", "-1", "1:", "::-1", "..., 1", "None, 1", ":, None", "1, 2, 3", "[0, 2]", "..., [1, 0]", "(1,)", "m"]
    + [
        "i",
        "-i",
        "i:i + 2",
        "::i",
        "m[:, 0, 0], 1",
        "None",
        "...",
        "1:1",
        "[0, 1], [1, 2]",
        "True",
        "x",
        "()",
    ],
)
def test_subscripts(index):
    a = np.arange(60.0).reshape(3, 4, 5)
    names = {"a": a, "i": 1, "m": a > 30, "x": (slice(1, 3), Ellipsis, None)}
    check(f"a[{index}] * 2 + 1", **names)
    check(f"(a + 1)[{index}]", **names)


def test_errors_of_subscripts():
    a = np.ones((2, 3))
    for text in ("a[5] + 1", "a[0, 0, 0]", "a[1.5]", "a[i]"):
        check(text, a=a, i=np.array([7]))
    assert "only an array has an index" in raised(TypeError, "x[0]", {"x": 1.5})


# ---- out= ----


def test_out():
    a = np.arange(6.0).reshape(2, 3)
    out = np.zeros((2, 3))
    assert tw.evaluate("a * 2", out=out) is out and (out == a * 2).all()
    assert tw.evaluate("a * 3", out=(out,)) is out and (out == a * 3).all()
    assert tw.expression("a * 4")(a, out=out) is out and (out == a * 4).all()
    for target in (
        np.zeros((2, 3), order="F"),
        np.zeros((4, 6))[::2, ::-2],
        np.zeros(49, "u1")[1:].view("d").reshape(2, 3),
    ):
        assert tw.evaluate("a * 2", out=target) is target and (target == a * 2).all()
    swapped = np.zeros((2, 3), ">f8")
    assert (tw.evaluate("a * 2", out=swapped) == a * 2).all()
    for text in ("a", "a[::-1]", "sum(a)", "where(a, 1, 2)", "a.T.T"):
        assert (tw.evaluate(text, out=out) == tw.evaluate(text)).all()


def test_out_of_a_subclass():
    a, out = np.ones((2, 2)), np.matrix([[0.0, 0], [0, 0]])
    assert tw.evaluate("a * 2", out=out) is out
    assert (out == 2).all()


@pytest.mark.parametrize("size", [5, 700, 70_000])
@pytest.mark.parametrize("text", ["a + b * 2", "b * 2", "sqrt(b) + a", "where(b > 3, a, b)", "b[::-1] + a"])
def test_out_upon_an_operand(text, size):
    def operands():
        memory = np.arange(size + 8.0)
        return memory, {"a": memory[4 : size + 4], "b": memory[2 : size + 2]}

    for threads in (1, 3):
        tw.set_num_threads(threads)
        for place in (
            slice(0, size),
            slice(2, size + 2),
            slice(4, size + 4),
            slice(8, size + 8),
            slice(size + 7, 7, -1),
        ):
            memory, names = operands()
            wanted_memory, wanted_names = operands()
            wanted_memory[place] = eval(text, NAMESPACE, wanted_names)
            tw.evaluate(text, names, {}, out=memory[place])
            assert (memory == wanted_memory).all(), place


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


def test_out_that_cannot_be_written():
    out = np.zeros(3)
    out.flags.writeable = False
    assert raised(ValueError, "a + 1", {"a": np.ones(3)}, out=out) == "output array is read-only"
    assert "must be" in raised(TypeError, "a + 1", {"a": np.ones(3)}, out=[1, 2, 3])


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


@pytest.mark.parametrize("exponent", [2, -1, 0.5, 2.0, -1.0])
@pytest.mark.parametrize("dtype", "dFg")
def test_powers_that_are_other_functions_with_out(dtype, exponent):
    a = (np.arange(1, 40) / 7).astype(dtype)
    for out in (np.zeros(39, dtype), np.zeros((2, 39), dtype), np.zeros(39, "D")):
        tw.evaluate("a ** x", {"a": a, "x": exponent}, out=out)
        assert (out == (a**exponent).astype(out.dtype)).all()


# ---- dtype=, casting=, order=, where= ----


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "f4"},
        {"dtype": "D"},
        {"dtype": "i4"},
        {"dtype": "i4", "casting": "unsafe"},
        {"casting": "no"},
    ]
    + [{"order": order} for order in "CFAK"]
    + [{"dtype": "f4", "order": "F"}, {"casting": "safe"}, {"casting": "equiv", "dtype": "d"}],
)
def test_options(options):
    a, b = np.arange(6.0).reshape(2, 3), np.arange(6, dtype="i4").reshape(2, 3)
    for text, call in (
        ("a * 2 + b", lambda **o: np.add(a * 2, b, **o)),
        ("sqrt(a + b)", lambda **o: np.sqrt(a + b, **o)),
    ):
        found = t.Outcome(lambda text=text: tw.evaluate(text, {"a": a, "b": b}, {}, **options))
        assert t.difference(found, t.Outcome(lambda call=call: call(**options))) is None


def test_where_option():
    a, mask = np.arange(6.0), np.arange(6) % 2 == 0
    out = np.full(6, -1.0)
    assert tw.evaluate("a * 2 + 1", out=out, where=mask) is out
    np.testing.assert_array_equal(out, np.where(mask, a * 2 + 1, -1))
    out[:] = -1
    assert warned(lambda: tw.evaluate("1 / a", {"a": a}, out=out, where=a > 0)) == []


def test_errors_of_options():
    a = {"a": np.ones(3)}
    for options in (
        {"order": "X"},
        {"casting": "maybe"},
        {"dtype": "what"},
        {"out": np.ones(3), "where": np.ones(4, bool)},
    ):
        with pytest.raises((ValueError, TypeError)):
            tw.evaluate("a + 1", a, {}, **options)
    with pytest.raises(TypeError, match="unexpected keyword argument 'axis'"):
        tw.evaluate("a + 1", a, axis=1)
    with pytest.raises(TypeError, match="missing required argument 'expr'"):
        tw.evaluate()
    with pytest.raises(TypeError, match="the text must be str, not int"):
        tw.evaluate(5)


# ---- Floating-point errors ----


def test_warnings_are_numpys_in_its_order():
    a, b = np.array([0.0, 1e300, -1]), np.array([0.0, 1e300, 2])
    for text in (
        "1 / a + log(a)",
        "log(a) + 1 / a",
        "a * b + sqrt(a)",
        "exp(b) - exp(b + 1)",
        "a // b % a",
        "1 / (a - b) + 1 / b",
    ):
        found = check(text, a=a, b=b)
        assert found.warnings
    check("f(a) + 1", reference="f(a) + 1", a=a, f=np.log1p)


@pytest.mark.parametrize("size", [3, 5000, 200_000])
def test_one_bad_element_in_many(size):
    for place in (0, size // 2, size - 1):
        a = np.ones(size)
        a[place] = 0
        for threads in (1, 3):
            tw.set_num_threads(threads)
            found = check("2 * a + 1 / a * 3", a=a)
            assert found.warnings == [("RuntimeWarning", "divide by zero encountered in divide")]


@pytest.mark.parametrize("mode", ["ignore", "warn", "raise", "call"])
@pytest.mark.parametrize("kind", ["divide", "over", "under", "invalid"])
def test_errstate(kind, mode):
    a = np.array([0.0, 1e300, 1e-300, -1, np.inf])
    for text in ("1 / a", "a * a", "sqrt(a) + 1", "a - a", "log(a) * exp(a)"):
        check(text, errors={kind: mode}, a=a)


def test_errstate_log_and_print():
    class Log:
        def __init__(self):
            self.texts = []

        def write(self, text):
            self.texts.append(text)

    a = np.zeros(3)
    log = Log()
    with np.errstate(divide="log", call=log):
        tw.evaluate("1 / a")
    assert log.texts == ["Warning: divide by zero encountered in divide\n"]


def test_an_error_comes_from_the_first_operation():
    a = np.zeros(3)
    message = "divide by zero encountered in divide"
    with np.errstate(all="raise"), pytest.raises(FloatingPointError, match=message):
        tw.evaluate("sqrt(1 / a - 1) + log(a)")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="encountered in log"):
            tw.evaluate("log(a) + 1 / a")


def test_integers_to_negative_powers():
    message = raised(ValueError, "a ** b + 1", {"a": np.arange(1, 4), "b": np.array([1, -1, 2])})
    assert message == "Integers to negative integer powers are not allowed."
    names = {"a": np.arange(1, 4), "b": np.array([1, -1, 2]), "c": np.zeros(3)}
    found = check("1 / c + a ** b", **names)
    assert type(found.error) is ValueError
    assert found.warnings == [("RuntimeWarning", "divide by zero encountered in divide")]
    check("1 / c + a ** b", errors={"all": "raise"}, **names)


def test_the_first_error_is_raised():
    found = check("1 / a + (x << 1.5)", errors={"all": "raise"}, a=np.zeros(3), x=np.float64(2))
    assert type(found.error) is FloatingPointError


def test_what_an_empty_result_is_made_of_is_computed():
    names = {"a": np.zeros(1), "b": np.zeros((0, 1))}
    assert warned(lambda: tw.evaluate("1 / a + b", names)) == ["divide by zero encountered in divide"]


@pytest.mark.parametrize("left", [1, 1.0, True, np.float64(1)])
def test_comparison_of_complex_numbers_is_named_as_numpys(left):
    names = {"x": left, "a": np.array([complex("nan")])}
    wanted = warned(lambda: left < names["a"])
    assert wanted == warned(lambda: tw.evaluate("x < a", names)) != []


def test_a_tiny_number_underflows_as_in_numpy():
    names = {"a": np.ones(3, "f4"), "c": np.array([True, False, True])}
    with np.errstate(under="warn"):
        wanted = warned(lambda: np.where(names["c"], 1e-300, names["a"]))
        assert wanted == warned(lambda: tw.evaluate("where(c, 1e-300, a)", names))


@pytest.mark.parametrize("sign", ["<", "<=", ">", ">="])
def test_comparison_with_a_number_on_either_side(sign):
    a = np.arange(5.0)
    check(f"2.0 {sign} a", a=a)
    check(f"a {sign} 2.0", a=a)
    check(f"x {sign} a", a=a, x=np.float64(2))


def test_strides_of_a_cast_of_repeated_axes():
    a = np.broadcast_to(np.ones((4, 1, 2), "f4"), (4, 5, 2))
    found, wanted = tw.evaluate("abs(float64(a))"), abs(a.astype("f8"))
    assert found.strides == wanted.strides


# ---- Reductions ----


@pytest.mark.parametrize("shape", [(127, 1), (1, 127)])
def test_sum_of_truth_values(shape):
    a, b = np.arange(127.0), np.array([7], ">i4")
    check("sum(a < b)", a=a, b=b)
    check("sum(a < b, axis=-1)", a=a.reshape(shape), b=b)


@pytest.mark.parametrize("name", t.REDUCTIONS)
@pytest.mark.parametrize("dtype", NUMBERS)
def test_reductions(dtype, name):
    a = np.resize(sample(dtype, 40), (3, 40, 5))
    for left in (a, np.asfortranarray(a), a[:, ::2]):
        check(f"{name}(a)", a=left)
        check(f"{name}(a + a) + 1", a=left)
        for axis in (0, 1, 2, -1):
            check(f"{name}(a + a, axis={axis})", a=left)
        check(f"a - {name}(a + a, axis=1, keepdims=True)", a=left)


# ---- Names ----


def test_names_of_the_caller():
    a = np.arange(3.0)
    number = 2
    assert (tw.evaluate("a * number") == a * 2).all()
    assert (tw.evaluate("  \n  a * number  # twice\n") == a * 2).all()
    assert (tw.evaluate("a * number", {"a": a + 1, "number": 3}) == (a + 1) * 3).all()
    assert (tw.evaluate("a * number", {"a": a}, {"number": 4}) == a * 4).all()
    assert (tw.evaluate(expr="a * number", local_dict={"a": a, "number": 5}) == a * 5).all()


def test_a_name_that_is_missing():
    assert raised(NameError, "1 + missing", {}).startswith("evaluate(): name 'missing' is not defined")
    assert raised(NameError, "1 + missing", {}).endswith("    1 + missing\n        ^^^^^^^")


def test_names_may_be_what_python_calls_else():
    for name in ("out", "x1", "_", "é", "dtype", "a0", "s", "n", "tw_kernel"):
        assert (tw.evaluate(f"{name} * 2", {name: np.ones(2)}) == 2).all()


# ---- Texts ----


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "a.__class__",
        "a.tolist()",
        "(lambda: 1)()",
        "[x for x in a]",
        "open('x')",
    ]
    + [
        "a.base",
        "a.ctypes",
        "f'{a}'",
        "a @ a",
        "a and a",
        "a or a",
        "not a",
        "a is a",
        "a in a",
        "a := 1",
        "{1: 2}",
        "{1}",
    ]
    + [
        "*a",
        "a; a",
        "a = 1",
        "await a",
        "yield",
        "import os",
        "print(a)",
        "eval('1')",
        "getattr(a, 'T')",
        "a.T.base",
    ]
    + [
        "a[a.__len__()]",
        "np.sin(a)",
        "sum(a, out=a)",
        "sin(a, out=a)",
        "sum(*a)",
        "a if a",
        "",
        "1 +",
        "(",
        "None",
        "...",
    ],
)
def test_texts_that_are_refused(text):
    with pytest.raises((SyntaxError, TypeError, NameError)):
        tw.evaluate(text, {"a": np.ones(3)}, {})


def test_no_code_of_the_operands_runs():
    class Array(np.ndarray):
        def __array_ufunc__(self, *arguments, **keywords):
            raise AssertionError

        __add__ = __mul__ = __getitem__ = __array_function__ = __array_ufunc__

    class Number(float):
        def __add__(self, other):
            raise AssertionError

        __radd__ = __float__ = __index__ = __add__

    assert (tw.evaluate("a * x + a[0]", {"a": np.ones(3).view(Array), "x": Number(2)}) == 3).all()


def test_a_syntax_error_points_into_the_text():
    with pytest.raises(SyntaxError) as caught:
        tw.evaluate("a + (b and c)")
    error = caught.value
    assert (error.filename, error.lineno, error.text[error.offset - 1 : error.end_offset - 1]) == (
        "<tinyweave>",
        1,
        "b and c",
    )


@pytest.mark.parametrize("count", [1000, 10_000])
def test_many_terms(count):
    a, b = np.arange(5.0), np.arange(5) * 0.5
    text = " + ".join(["a", "b"] * (count // 2))
    wanted = a
    for i in range(1, count):
        wanted = wanted + (b if i % 2 else a)
    assert t.equal_bits(tw.evaluate(text), wanted)


def test_many_names():
    names = {f"x{i}": np.full(3, float(i)) for i in range(1000)}
    assert (tw.evaluate(" + ".join(names), names) == sum(range(1000))).all()
    assert (tw.expression(" + ".join(names))(*names.values()) == sum(range(1000))).all()


def test_deep_texts():
    a = np.ones(3)
    assert (tw.evaluate("(" * 100 + "a" + " + 1)" * 100) == 101).all()
    assert (tw.evaluate("-(" * 90 + "a" + ")" * 90) == 1).all()


# ---- Expressions ----


def test_expression():
    expression = tw.expression("a * x + b[::-1]")
    a, b = np.arange(3.0), np.arange(3)
    assert expression.text == "a * x + b[::-1]" and expression.names == ("a", "x", "b")
    assert expression.source == ""
    for found in (expression(a, 2, b), expression(a, b=b, x=2), expression(b=b, x=2, a=a)):
        assert (found == a * 2 + b[::-1]).all()
    assert "tw_kernel" in expression.source
    assert repr(expression) == "tinyweave.expression('a * x + b[::-1]')"
    assert tw.expression("a * x + b[::-1]") is expression


def test_errors_of_expressions():
    expression = tw.expression("a + b")
    for arguments, keywords, message in (
        ((1,), {}, "missing a value for 'b'"),
        ((1, 2, 3), {}, r"takes 2 values \(3 given\)"),
        ((1,), {"a": 2}, "multiple values for 'a'"),
        ((1, 2), {"c": 3}, "has no name 'c'"),
    ):
        with pytest.raises(TypeError, match=message):
            expression(*arguments, **keywords)


def test_pickling():
    expression = tw.expression("a * 2 + b")
    copy = pickle.loads(pickle.dumps(expression))
    assert copy.text == expression.text and copy(1, 2) == 4


# ---- What is kept ----


def test_warm_calls_do_not_compile(counts):
    a, b = np.arange(1000.0), np.arange(1000)
    expression = tw.expression("a * 3.25 + b")
    expression(a, b)
    with counts() as c:
        for _ in range(50):
            expression(a, b)
            tw.evaluate("a * 3.25 + b")
            expression(a[::2], b[::-2])
            expression(a.reshape(10, 100), b[:100])
            expression(a, b, out=a)
        assert c.compiles == 0 and c.disk_hits == 0
        expression(a.astype("f4"), b)
        assert c.compiles + c.disk_hits + c.memory_hits == 1


def test_the_same_steps_are_compiled_once(counts):
    a, number = np.arange(10.0), 7.5
    tw.evaluate("a * number - 77 + a")
    with counts() as c:
        b = a
        tw.evaluate("b * number - 78 + b")
        assert c.compiles == 0


@pytest.mark.parametrize(
    "text",
    [
        "a * 2 + b",
        "a[1:] + b[0]",
        "sum(a * b)",
        "a if x else b",
        "where(a > 1, a, 1e300)",
        "a.T",
        "a + c",
        "a[9]",
    ]
    + [
        "a + missing",
        "a +",
        "1 / z",
        "i ** n",
        "float32(a) + b",
        "special(a)",
        "mean(a + b, axis=0)",
        "a + 300 * s",
    ],
)
def test_references(text):
    names = {
        "a": np.arange(5.0),
        "b": np.arange(5),
        "c": np.ones(4),
        "x": 1,
        "z": np.zeros(3),
        "special": special.erf,
    }
    names |= {"i": np.arange(1, 4), "n": np.array([-1, 1, 1]), "s": np.ones(3, "B"), "o": np.zeros(5)}
    values = [*names.values(), np.dtype("d"), np.dtype("f"), np.dtype("l"), np.dtype("?"), text, tw.evaluate]

    def run():
        for options in ({}, {"out": names["o"]}, {"dtype": "f4"}, {"order": "F"}):
            try:
                tw.evaluate(text, names, {}, **options)
            except Exception as error:
                error.__traceback__ = None

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        for _ in range(3):
            run()
        gc.collect()
        before = [sys.getrefcount(value) for value in values]
        for _ in range(100):
            run()
        gc.collect()
        after = [sys.getrefcount(value) for value in values]
    assert max(abs(x - y) for x, y in zip(before, after, strict=True)) < 20


def test_memory_does_not_grow(python_cached):
    done = python_cached("""
        def resident():
            return int(open("/proc/self/statm").read().split()[1]) * 4096

        a, b = np.arange(1000.0), np.arange(1000)
        def run(start, count):
            for i in range(start, start + count):
                tw.evaluate(f"a * {i} + b", {"a": a, "b": b})
                tw.expression(f"sum(a - {i}) + (b ** {i % 5})[1:]")(a, b)
                try:
                    tw.evaluate(f"a + {i} + missing", {"a": a})
                except NameError:
                    pass
        run(0, 2000)
        before = resident()
        run(2000, 4000)
        print((resident() - before) / 4000)
    """)
    assert float(done.out) < 300


def test_flags_that_others_left_are_not_a_reductions():
    a, b = np.array([-np.inf, 0], "f2"), np.ones(2, "f4")
    check("all(-(a // b))", a=a, b=b)
