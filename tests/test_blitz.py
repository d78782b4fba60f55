"""tw.blitz: statements in place, with NumPy's own as the oracle."""

import random
import sys
import threading
import warnings

import blitz_library
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinyweave as tw

FUNCTIONS = {name: getattr(np, name) for name in ("sin", "sqrt", "where", "minimum", "sum", "any", "float32")}
DTYPES = "?bBhHiIlLqQefdgFDG"
CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
BOTH = pytest.mark.parametrize("times", [1, 2])  # new, and with all that was kept


@pytest.fixture
def threads():
    """Sets the number of threads; it is put back behind the test."""
    before = tw.get_num_threads()
    yield tw.set_num_threads
    tw.set_num_threads(before)


def warned(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(warning.message) for warning in caught]


def outcome(call):
    try:
        return warned(call), None
    except Exception as error:
        return [], error


def views(names):
    """The same names over a copy of their memory: what was shared stays shared."""
    copies = {}

    def copy(array):
        base = array
        while isinstance(base.base, np.ndarray):
            base = base.base
        if id(base) not in copies:
            copies[id(base)] = base, base.copy(order="K")
        new = copies[id(base)][1]
        if array is base:
            return new
        offset = array.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        raw = np.ndarray((new.nbytes,), np.uint8, new.data if new.flags.c_contiguous else new.T.data)
        made = np.ndarray(array.shape, array.dtype, raw.data, offset, array.strides)
        made.flags.writeable = array.flags.writeable
        return made

    made = {}
    for name, value in names.items():
        made[name] = copy(value) if isinstance(value, np.ndarray) else value
    return made


def check(text, python=None, **names):
    """blitz of the text is what `python`, else the text, is to Python; there a[...] is a whole target."""
    other = views(names)
    found = outcome(lambda: tw.blitz(text, names, {}))
    wanted = outcome(lambda: exec(python or text, dict(FUNCTIONS), other))
    assert found[0] == wanted[0]
    assert issubclass(type(wanted[1]), type(found[1])), (found[1], wanted[1])
    for name, value in other.items():
        np.testing.assert_array_equal(names[name], value, strict=isinstance(value, np.ndarray))
    return found[1]


# ---- One statement ----


@pytest.mark.parametrize("sign", blitz_library.IN_PLACE)
@pytest.mark.parametrize("dtype", DTYPES)
def test_in_place_operators(sign, dtype):
    """Each operator between all dtypes: the same values, or an error of the same type."""
    for other in DTYPES:
        for value in (np.array([3, 1, 2, 1, 5], other), 2, 2.5, True, np.dtype(other).type(3)):
            target = np.array([1, 2, 3, 4, 0], dtype)
            check(f"a {sign}= b", a=target, b=value)


@pytest.mark.parametrize("dtype", DTYPES)
def test_assignment_casts_as_setitem(dtype):
    for other in DTYPES:
        values = np.array([1, 0, 250, 3]).astype(other)
        check("a = b + b", "a[...] = b + b", a=np.zeros(4, dtype), b=values)
        check("a = b", "a[...] = b", a=np.zeros(4, dtype), b=values)
        check("a[1:3] = b[::2]*1", a=np.zeros(4, dtype), b=values)
    check("a = 300", "a[...] = 300", a=np.zeros(4, dtype))
    check("a = a + 300", "a[...] = a + 300", a=np.ones(4, dtype))


def laid_out(kind):
    """An array of 12 by 10 numbers, laid out in some way."""
    values = np.arange(120.0).reshape(12, 10)
    if kind == "fortran":
        return np.array(values, order="F")
    if kind == "unaligned":
        raw = np.zeros(values.nbytes + 1, np.uint8)
        array = raw[1:].view(float).reshape(values.shape)
        array[...] = values
        return array
    if kind == "swapped":
        return values.astype(">f8")
    if kind == "strided":
        array = np.zeros((24, 30))[::2, ::3]
        array[...] = values
        return array
    if kind == "negative":
        return values[::-1, ::-1].copy()[::-1, ::-1]
    if kind == "transposed":
        return values.reshape(10, 12).T
    return values


LAYOUTS = ["plain", "fortran", "unaligned", "swapped", "strided", "negative", "transposed"]


@BOTH
@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.parametrize("other", LAYOUTS)
def test_targets_of_any_layout(kind, other, times):
    for _ in range(times):
        check("a = b*2 + a", "a[...] = b*2 + a", a=laid_out(kind), b=laid_out(other))
        check("a += b; b -= a", a=laid_out(kind), b=laid_out(other))
        check("a[1:, ::-2] = b[:-1, 1::2]*3", a=laid_out(kind), b=laid_out(other))


def test_read_only_targets():
    a = np.arange(5.0)
    a.flags.writeable = False
    for text in ("a = a + 1", "a += 1", "a[1:] = 2", "a[0] = 2"):
        with pytest.raises(ValueError, match="read-only"):
            tw.blitz(text, {"a": a})
    with pytest.raises(ValueError, match="read-only"):
        tw.blitz("a += 1", {"a": np.broadcast_to(a, (3, 5))})


def test_targets_of_no_dimension_and_of_no_elements():
    check("a = b + 1", "a[...] = b + 1", a=np.array(1.0), b=np.array(2.0))
    check("a += 1", a=np.array(1.0))
    check("a += b", a=np.zeros((0, 3)), b=np.zeros((0, 1)))
    check("a = b", "a[...] = b", a=np.zeros((0, 3)), b=np.zeros((0, 1)))
    check("a += b", a=np.zeros((0, 3)), b=np.zeros((2, 3)))
    check("a = 1 / b + c", "a[...] = 1 / b + c", a=np.zeros((0, 1)), b=np.zeros(1), c=np.zeros((0, 1)))


def test_target_whose_elements_are_one():
    base = np.zeros(3)
    target = np.lib.stride_tricks.as_strided(base, (4, 3), (0, 8))
    tw.blitz("a = b + 1", {"a": target, "b": np.arange(12.0).reshape(4, 3)})
    np.testing.assert_array_equal(base, [10, 11, 12])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a = b + 1", np.ones((3, 1))),
        ("a += b", np.ones(4)),
        ("a = b*2", np.ones((1, 1, 3, 4))),
        ("a += b", np.ones((1, 3, 4))),
        ("a = b", np.ones((2, 4))),
        ("a += b*1", np.ones((2, 4))),
    ],
)
def test_values_of_other_shapes(text, value):
    check(text, text.replace("a =", "a[...] ="), a=np.zeros((3, 4)), b=value)


@pytest.mark.parametrize("target", [[1.0, 2.0], (1, 2), 5, 2.5, np.float64(3)])
def test_target_that_is_no_array(target):
    with pytest.raises(TypeError, match="only an array is assigned to, not"):
        tw.blitz("a = b", {"a": target, "b": 1.0})
    with pytest.raises(TypeError, match="only an array is assigned to, not"):
        tw.blitz("c = b; a += b", {"a": target, "b": 1.0, "c": np.zeros(2)})


def test_target_of_an_element_of_a_list():
    a = [1.0, 2.0]
    with pytest.raises(TypeError, match="only an array is assigned to, not list"):
        tw.blitz("a[0] = 5")
    assert a == [1.0, 2.0]


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_subclasses_as_targets():
    matrix = np.matrix([[1.0, 2], [3, 4]])
    tw.blitz("m = m * m", {"m": matrix})
    np.testing.assert_array_equal(matrix, [[1, 4], [9, 16]])
    masked = np.ma.array([1.0, 2], mask=[0, 1])
    tw.blitz("m += 1", {"m": masked})
    np.testing.assert_array_equal(masked.data, [2, 3])


@BOTH
@pytest.mark.parametrize(
    "index", ["m", "a > 2", "[0, 3, 3]", "i", "2", "-1", "None, 1:3", "...", "i[1:], ..."]
)
def test_indices_of_targets(index, times):
    for _ in range(times):
        names = {"a": np.arange(6.0), "m": np.array([1, 0, 1, 0, 0, 1], bool), "i": np.array([4, 1, 1])}
        check(f"a[{index}] = 7", **names)
        check(f"a[{index}] += 7", **names)
        check(f"a[{index}] = a[{index}] * 2", **names)


def test_python_scalar_beyond_the_dtype():
    check("a += 300", a=np.ones(3, np.uint8))
    check("a = 300", "a[...] = 300", a=np.ones(3, np.uint8))
    check("a **= -1", a=np.ones(3, int))


# ---- Overlap ----

SHIFTS = ["a", "a[:-2]", "a[1:-1]", "a[2:]", "a[::-1]", "a[-2:0:-1]", "a[::2]", "a[1::2]", "a[None]"]


@pytest.mark.parametrize("size", [6, 600, 40_000])
@pytest.mark.parametrize("target", SHIFTS)
def test_overlap_is_computed_as_if_nothing_was_stored_yet(size, target):
    for source in SHIFTS:
        for text in (f"{target} = {source}*2", f"{target} += {source}", f"{target} = {source}"):
            text = text.replace("a =", "a[...] =", 1) if target == "a" and "+=" not in text else text
            check(text, a=np.arange(float(size)))


def test_overlap_of_two_dimensions():
    for text in (
        "a = a.T + 1",
        "a += a.T",
        "a = a[::-1]*2",
        "a = a[0] + a",
        "a += a[:, :1]",
        "a[1:] = a[:-1]",
    ):
        check(text, text.replace("a =", "a[...] =", 1), a=np.arange(10_000.0).reshape(100, 100))


def test_overlap_that_numpys_own_assignment_gets_wrong():
    """In one dimension, with different strides in one direction."""
    base = np.arange(1026)
    wanted = base[::2].copy()
    tw.blitz("a = b", {"a": base[190:703], "b": base[::2]})
    np.testing.assert_array_equal(base[190:703], wanted)
    base = np.arange(1026)
    tw.blitz("a[190:703] = a[::2]", {"a": base})
    np.testing.assert_array_equal(base[190:703], wanted)


def test_overlap_through_another_dtype():
    a = np.arange(8.0)
    check("a[1:] = b[:-1]*1", a=a, b=a.view("i8"))
    check("a[2:] = b[:6]*1", a=a, b=a.view("f4")[1:])


# ---- Several statements ----

SEVERAL = [
    "a = b + c; b = a * 2; a = a - b",
    "a += b; b += c; c += a",
    "a[1:] = b[:-1] + 1; b[1:] = a[:-1] + 1",
    "a = a + 1; b = b * a[0]",
    "a = a + 1; b = b * a[i][1]",
    "a = a + 1; b = b + sum(a)",
    "a = a + 1; b[:] = 0; b[i] = a[i]; a = b + a",
    "a += 1; b = where(a > 2, b, c); c = b - a",
    "a += 1; b = (b if a[0] > 1 else c)*2; c -= b",
    "a += 1; a[m] = 0; b = a + b",
    "a[::-1] = b + a; b = a[::-1] + a",
    "a += 1; b += a[::2][:1] + a[-1:]; c = b + a",
    "a[:] = b; a[...] = a + c; a[m] -= c[m]; b = a",
    "d += a[2]; a = a * d; d = sum(a); b = b - d",
    "a += 1; z += 1; b = b*z + a; z *= 2; c = c + z",
    "a += 1; e = e + a.T[i][:3]; a[:3] = a[3:] + e[1]",
    "e += 1; c[:3] = e[:, 1] + e[0, 0]; e[:, ::-1] = e[:, :]; e = e*2",
    "k += a; a[:3] = a[3:] + k[i]; k[i] -= 1; b = a + k",
    "a = b; b = c; c = a",
    "a **= 2; b **= 0.5; c /= b; a //= c; b %= 3",
    "f = a + b; a += f; f = a * 2; f += 1",
    "x = c[m]; a[m] = x + 1",
    "f = (a + b)[1:]; f = f + 1; a[1:] = f; g = f; g = g + 1; b[1:] = f",
    "s = sum(a); a = a - s; s = a",
]


def several_names():
    a, b, c = np.arange(6.0), np.linspace(1, 2, 6), np.array([3.0, 1, 4, 1, 5, 9])
    e = np.arange(9.0).reshape(3, 3)
    return {
        "a": a,
        "b": b,
        "c": c,
        "d": np.array(2.0),
        "e": e,
        "k": a[::-1],
        "z": b[1:2].reshape(()),
        "i": np.array([0, 5, 2]),
        "m": np.array([1, 0, 0, 1, 1, 0], bool),
    }


def as_numpy(text, names):
    """The text with `a = x` of names there are as `a[...] = x`."""
    lines, known = [], set(names)
    for line in text.split(";"):
        target, rest = line.strip().split(" ", 1)
        if rest.startswith("=") and "[" not in target:
            if target not in known:
                known.add(target)
                lines.append(f"{target} = copied({rest[1:]})")
                continue
            target = f"whole({target})[...]"
        lines.append(f"{target} {rest}")
    return "\n".join(lines)


def whole(value):
    if not isinstance(value, np.ndarray):
        raise TypeError("no array")
    return value


FUNCTIONS["whole"] = whole
FUNCTIONS["copied"] = lambda value: value.copy() if isinstance(value, np.ndarray) else value


@BOTH
@pytest.mark.parametrize("separator", ["; ", "\n", "\n\n# then\n"])
@pytest.mark.parametrize("text", SEVERAL)
def test_several_statements(text, separator, times):
    for _ in range(times):
        names = several_names()
        error = check(text.replace("; ", separator), as_numpy(text, names), **names)
        assert error is None or "s = a" in text  # a scalar


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("size", [32_767, 32_768, 32_769, 65_536, 65_537, 150_001])
def test_groups_on_threads(size, count, threads):
    threads(count)
    generator = np.random.default_rng(size)
    names = {name: generator.standard_normal(size) for name in "abc"}
    text = "a = b*c + a; b -= a/3; c = sqrt(a*a) + b; a += c; b[1:] += c[:-1]; c = b + a; a = a[::-1] + c"
    check(text, as_numpy(text, names), **names)


def test_more_statements_than_go_together():
    names = {f"a{i}": np.full(5, float(i)) for i in range(20)}
    text = "; ".join(f"a{(i * 7) % 20} += a{(i * 3) % 20} * {i}" for i in range(60))
    check(text, **names)


def test_indented_text():
    a, b = np.zeros(3), np.ones(3)
    tw.blitz("""
        a = b + 1   # one
        b = a*2;  a += b
    """)
    np.testing.assert_array_equal(a, np.full(3, 6.0))
    np.testing.assert_array_equal(b, np.full(3, 4.0))


def test_refused_steps_read_what_was_stored_before():
    """What blocks cannot compute is computed first: not before the statements it reads from."""
    for _ in range(3):
        names = {"a": np.zeros(3), "b": np.ones(3), "s": np.array(["x", "y", "z"]), "c": np.zeros(3)}
        text = "a = a + 1; c = where(s == 'y', a, b) * 2 + a; b = c + 1"
        check(text, as_numpy(text, names), **names)
        text += "; a += (s == 'x')*b; b = b*2 + a; c = where(s == 'z', b, a)*3; a = b + c; b = (s > 'x') + a"
        check(text, as_numpy(text, names), **names)


# ---- Names ----


def test_new_names_are_made_in_local_dict():
    names = {"a": np.arange(4.0)}
    assert tw.blitz("t = a + 1; u = a; n = 2; v = a[:n]; s = sum(a); u += t", names) is None
    assert sorted(names) == ["a", "n", "s", "t", "u", "v"]
    np.testing.assert_array_equal(names["t"], [1, 2, 3, 4])
    np.testing.assert_array_equal(names["u"], [1, 3, 5, 7])
    np.testing.assert_array_equal(names["a"], np.arange(4.0))
    np.testing.assert_array_equal(names["v"], [0, 1])
    assert not np.shares_memory(names["v"], names["a"])
    assert type(names["s"]) is np.float64


def test_missing_names():
    a = np.arange(4.0)
    with pytest.raises(NameError, match=r"'nowhere' is not defined"):
        tw.blitz("nowhere = a + 1")
    for text in ("t = nowhere", "t += a", "t[1:] = a", "t = t + a", "t = t", "u = t; t = a", "a = t(a)"):
        names = {"a": a}
        with pytest.raises(NameError, match="is not defined in local_dict, and no global"):
            tw.blitz("a = a + 1\n" + text, names, {})
        assert list(names) == ["a"]
        np.testing.assert_array_equal(a, np.arange(4.0))


def test_the_callers_names():
    a, b = np.zeros(3), np.ones(3)
    tw.blitz("a = b*2")
    np.testing.assert_array_equal(a, [2, 2, 2])
    names = {"b": np.full(3, 5.0)}
    tw.blitz("a = b", names, {"a": a})
    np.testing.assert_array_equal(a, [5, 5, 5])
    assert list(names) == ["b"]
    assert (b == 1).all()


# ---- Errors ----


@pytest.mark.parametrize(
    "last",
    [
        "b = a",
        "b[:] = a*2",
        "b += a[1:]",
        "b[0] = a",
        "t = a*2; b = t",
        "b = sum(e, axis=0)",
        "b = e.T[0] + b",
        "b = a + b",
        "b[7:] = b[:2]",
        "b = b[1:, 2]",
        "b = b[9]",
        "b = a if e[0, 0] else a",
        "b = float(a)",
        "b = clip(a, None, 2)",
    ],
)
def test_wrong_shape_leaves_every_target(last):
    names = {"a": np.arange(4.0), "b": np.zeros(5), "e": np.ones((3, 4))}
    before = {name: value.copy() for name, value in names.items()}
    with pytest.raises((ValueError, IndexError)):
        tw.blitz("a += 1\na[1:] = 3; " + last, names)
    for name, value in before.items():
        np.testing.assert_array_equal(names[name], value)
    assert sorted(names) == ["a", "b", "e"]


def test_wrong_shape_points_into_the_text():
    with pytest.raises(ValueError, match=r"a \+= 1; b = a\n +\^"):
        tw.blitz("a += 1; b = a", {"a": np.zeros(3), "b": np.zeros(4)})


def test_an_exception_in_the_middle():
    names = {"a": np.arange(3.0), "b": np.zeros(3), "i": np.arange(3), "c": np.ones(3)}
    with pytest.raises(TypeError, match="Cannot cast"):
        tw.blitz("a += 1; b = a; i += a; c = a", names)
    np.testing.assert_array_equal(names["a"], [1, 2, 3])
    np.testing.assert_array_equal(names["b"], [1, 2, 3])
    np.testing.assert_array_equal(names["c"], [1, 1, 1])


ERRORS = [
    "a = b / z; c += 1",
    "c += 1; a /= z; b += 1",
    "c += 1; a += b / z; b += 1",
    "c += 1; a = a * b; b = b / z + a; c = 5",
    "a = b * 1e308 * 10; c += 1",
]


@pytest.mark.parametrize("text", ERRORS)
def test_floating_point_errors_that_raise(text):
    def names():
        return {"a": np.arange(1.0, 4), "b": np.arange(2.0, 5), "c": np.zeros(3), "z": np.zeros(3)}

    with np.errstate(all="raise"):
        check(text, as_numpy(text, names()), **names())
    with np.errstate(all="warn"):
        check(text, as_numpy(text, names()), **names())
    with np.errstate(all="ignore"):
        check(text, as_numpy(text, names()), **names())
    found, wanted = names(), names()
    for call in (
        lambda: tw.blitz(text, found),
        lambda: exec(as_numpy(text, wanted), dict(FUNCTIONS), wanted),
    ):
        with warnings.catch_warnings(), pytest.raises(RuntimeWarning):
            warnings.simplefilter("error")
            call()
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value)


def test_calls_for_floating_point_errors_see_what_numpys_do():
    seen = []
    names = {"a": np.ones(3), "z": np.zeros(3)}
    before = np.seterrcall(lambda kind, flag: seen.append(names["a"].copy()))
    try:
        with np.errstate(all="call"):
            tw.blitz("a = a + 1; a = a / z; a = 5", names)
    finally:
        np.seterrcall(before)
    np.testing.assert_array_equal(seen, [[2, 2, 2]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a + 1", "an expression alone"),
        ("a = b = 1", "two assignments"),
        ("a, b = 1, 2", "a tuple outside an index"),
        ("del a", "only assignments"),
        ("a.real = 1", "cannot assign"),
        ("a @= b", "not allowed"),
        ("", "no assignment"),
        ("f(a)[0] = 1", "cannot assign"),
        ("for i in a: b = i", "only assignments"),
    ],
)
def test_what_is_no_assignment(text, message):
    with pytest.raises(SyntaxError, match=message):
        tw.blitz(text, {"a": np.zeros(3), "b": np.zeros(3)})


# ---- weave's ----


def test_weaves_signature():
    a, b = np.zeros(3), np.ones(3)
    assert tw.blitz("a = b", check_size=0, verbose=2) is None
    assert tw.blitz("a = b + a", {"a": a, "b": b}, {}, 1, 0) is None
    np.testing.assert_array_equal(a, [2, 2, 2])
    assert tw.blitz(expr="a = b", local_dict=None, global_dict=None) is None
    for call in (
        lambda: tw.blitz(),
        lambda: tw.blitz("a = b", None, None, 1, 0, 0),
        lambda: tw.blitz("a = b", expr="a = b"),
        lambda: tw.blitz("a = b", size=1),
        lambda: tw.blitz(5),
    ):
        with pytest.raises(TypeError):
            call()


def test_five_point_average():
    """The example of weave's tutorial."""
    for dtype in "fdD":
        generator = np.random.default_rng(1)
        a, b = np.zeros((30, 40), dtype), generator.standard_normal((30, 40)).astype(dtype)
        expected = a.copy()
        expected[1:-1, 1:-1] = (b[1:-1, 1:-1] + b[2:, 1:-1] + b[:-2, 1:-1] + b[1:-1, 2:] + b[1:-1, :-2]) / 5.0
        tw.blitz("a[1:-1,1:-1] = (b[1:-1,1:-1] + b[2:,1:-1] + b[:-2,1:-1] + b[1:-1,2:] + b[1:-1,:-2]) / 5.")
        np.testing.assert_array_equal(a, expected)


def test_fdtd_update():
    generator = np.random.default_rng(2)
    ex, ca_x, cb_y_x, cb_z_x, hy, hz = (generator.standard_normal((10, 12, 14)) for _ in range(6))
    expected = ex.copy()
    expected[:, 1:, 1:] = (
        ca_x[:, 1:, 1:] * expected[:, 1:, 1:]
        + cb_y_x[:, 1:, 1:] * (hz[:, 1:, 1:] - hz[:, :-1, 1:])
        - cb_z_x[:, 1:, 1:] * (hy[:, 1:, 1:] - hy[:, 1:, :-1])
    )
    tw.blitz(
        "ex[:,1:,1:] = ca_x[:,1:,1:] * ex[:,1:,1:]"
        "+ cb_y_x[:,1:,1:] * (hz[:,1:,1:] - hz[:,:-1,1:])"
        "- cb_z_x[:,1:,1:] * (hy[:,1:,1:] - hy[:,1:,:-1])"
    )
    np.testing.assert_array_equal(ex, expected)


@pytest.mark.parametrize("size", [5, 60, 500])
def test_relaxation_in_place(size, threads):
    threads(2)
    u = np.random.default_rng(3).standard_normal((size, size))
    expected = u.copy()
    for _ in range(3):
        expected[1:-1, 1:-1] = (
            expected[:-2, 1:-1] + expected[2:, 1:-1] + expected[1:-1, :-2] + expected[1:-1, 2:]
        ) / 4
        tw.blitz("u[1:-1,1:-1] = (u[:-2,1:-1] + u[2:,1:-1] + u[1:-1,:-2] + u[1:-1,2:])/4")
    np.testing.assert_array_equal(u, expected)


# ---- Resources ----


def test_warm_calls_compile_nothing(counts):
    def call():
        a, b, c = np.zeros(5), np.ones(5), np.ones((2, 5))
        tw.blitz("a = b*2 + 1; b = a - b; c[0] = a; c += b", {"a": a, "b": b, "c": c})

    call()
    with counts() as counted:
        for _ in range(5):
            call()
    assert counted.compiles == counted.disk_hits == 0


def test_references():
    names = several_names()
    values = list(names.values())
    before = [sys.getrefcount(value) for value in values]
    for text in SEVERAL[:-1]:
        for _ in range(2):
            tw.blitz(text, dict(names), {})
    for text in ("a += 1; i += a", "a += 1; b[0] = a", "a = b[i", "a = nowhere"):
        with pytest.raises((TypeError, ValueError, SyntaxError, NameError)):
            tw.blitz(text, dict(names), {})
    assert [sys.getrefcount(value) for value in values] == before


def test_python_threads_at_once():
    text = "a = b + a; b = a*2 - b; a[1:] -= b[:-1]"
    wanted = [np.arange(70_000.0), np.ones(70_000)]
    for _ in range(20):
        exec(as_numpy(text, "ab"), dict(FUNCTIONS), dict(zip("ab", wanted, strict=True)))
    results = []

    def work():
        a, b = np.arange(70_000.0), np.ones(70_000)
        for _ in range(20):
            tw.blitz(text, {"a": a, "b": b})
        results.append(
            np.array_equal(a, wanted[0], equal_nan=True) and np.array_equal(b, wanted[1], equal_nan=True)
        )

    with np.errstate(all="ignore"):
        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert results == [True] * 4


# ---- Everything at random ----


@settings(max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=CHECKS)
@given(st.randoms(use_true_random=False))
def test_small_statements(source):
    """What Hypothesis finds it also makes as small as it can."""
    case = blitz_library.Case(source)
    message = case.difference()
    assert message is None, f"{message}\n{case}"


@pytest.mark.parametrize("start", range(0, 600, 50))
def test_random_statements(start, threads):
    threads(1)
    for seed in range(start, start + 50):
        case = blitz_library.Case(random.Random(seed))
        message = case.difference()
        assert message is None, f"seed {seed}: {message}\n{case}"
