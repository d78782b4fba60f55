"""Random array expressions with their operands, and what NumPy makes of them.

A case is made from a source of random numbers, a random.Random or Hypothesis's own. Its tree is computed by
NumPy in two ways: as it stands, and with every operand of a function copied into consecutive memory, since
some of NumPy's loops of floats give other bits for strided operands than for their copies.
"""

import operator
import random
import sys
import time
import warnings

import numpy as np
from scipy import special

import tinyweave as tw

BOOLEAN, INTEGERS, FLOATS, COMPLEX = "?", "bBhHiIlLqQ", "efdg", "FDG"
NUMBERS = BOOLEAN + INTEGERS + FLOATS + COMPLEX
COMMON = "ddddfffiiill??D"
OTHERS = ["M8[s]", "M8[D]", "m8[s]", "m8[ms]", "U3", "S3"]

BINARY = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
    "<<": operator.lshift,
    ">>": operator.rshift,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
}
COMPARISONS = ["<", "<=", "==", "!=", ">", ">="]
UNARY = {"-": operator.neg, "+": operator.pos, "~": operator.invert}
REDUCTIONS = ["sum", "prod", "min", "max", "mean", "any", "all", "argmin", "argmax"]
CASTS = {
    **{name: getattr(np, name) for name in ("int8", "uint8", "int16", "int32", "uint32", "int64", "uint64")},
    **{name: getattr(np, name) for name in ("float16", "float32", "float64", "longdouble", "complex64")},
    "bool": np.bool_,
    "int": np.int_,
    "float": np.float64,
    "complex": np.complex128,
}


def _ufuncs(module):
    found = {}
    for name in dir(module):
        function = getattr(module, name)
        if isinstance(function, np.ufunc) and function.nout == 1 and function.signature is None:
            found.setdefault(function.__name__, name)
    return {name: getattr(module, name) for name in sorted(found.values())}


UFUNCS = _ufuncs(np)
SPECIAL = {
    f"special_{name}": function
    for name, function in _ufuncs(special).items()
    if function.nin <= 4 and name in ("expit", "logit", "xlogy", "erf", "gammaln", "entr", "log1p", "cbrt")
}
FREQUENT = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "sqrt",
    "square",
    "exp",
    "log",
    "sin",
    "minimum",
    "maximum",
]

SIZES = [0, 1, 2, 3, 7, 16, 127, 128, 129, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 2049]
LARGE = [32767, 32768, 32769, 65537, 131073]

CONSTANTS = ["0", "1", "2", "3", "7", "255", "256", "1000", "2147483648", "18446744073709551615"]
CONSTANTS += [
    "0.0",
    "0.5",
    "1.0",
    "2.0",
    "2.5",
    "1e-300",
    "1e300",
    "70000.0",
    "3e38",
    "1e400",
    "2j",
    "0.5j",
    "True",
]
EXPONENTS = ["0", "1", "2", "3", "-1", "-2", "0.5", "1.0", "2.0", "-1.0", "-0.5", "True", "10"]


# ---- Outcomes ----


def bits(array):
    """The array's bytes by element, with one NaN for all, and without what pads a long double."""
    array = np.ascontiguousarray(array)
    if array.dtype.hasobject:
        return array
    array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype.kind == "c":
        array = array.reshape(-1).view(array.real.dtype)
    if array.dtype.kind == "f":
        array = array.copy()
        with np.errstate(all="ignore"):
            array[np.isnan(array)] = abs(array.dtype.type("nan"))
    raw = array.reshape(-1).view("u1").reshape(array.size, -1) if array.size else np.zeros((0, 1), "u1")
    return raw[:, :10] if array.dtype.char == "g" else raw


def equal_bits(result, *wanted):
    """Whether every element is that of one of the wanted arrays."""
    found = bits(result)
    others = [bits(other) for other in wanted]
    equal = np.zeros(found.shape[:1], bool)
    for other in others:
        if other.shape == found.shape:
            equal |= (found == other).all(axis=1)
    return bool(equal.all())


def long_strides(array):
    """Those that mean something: of the axes longer than 1."""
    if array.size == 0:
        return ()
    return tuple(s for s, extent in zip(array.strides, array.shape, strict=True) if extent > 1)


class Outcome:
    """A value or an exception, the warnings, and what numpy.seterrcall's function was told."""

    def __init__(self, call, errors=None):
        self.value = self.error = None
        self.calls = []
        with warnings.catch_warnings(record=True) as caught, np.errstate(**(errors or {})):
            warnings.simplefilter("always")
            previous = np.seterrcall(lambda kind, flag: self.calls.append(kind))
            try:
                self.value = call()
            except Exception as error:
                self.error = error.with_traceback(None)
            finally:
                np.seterrcall(previous)
        self.warnings = [(warning.category.__name__, str(warning.message)) for warning in caught]


def same_error(found, wanted):
    """NumPy has classes of its own below TypeError."""
    both = isinstance(wanted.error, TypeError) and type(found.error) is TypeError
    return both or type(found.error) is type(wanted.error)


def told(outcome):
    """An operator of two scalars is NumPy's "scalar add", or "add" where options make it a ufunc's call."""
    warned = {(kind, message.replace(" in scalar ", " in ")) for kind, message in outcome.warnings}
    return warned, set(outcome.calls)


def difference(found, wanted, other=None):
    """What tells two outcomes apart, a str; None: nothing. What `other()` raises, tells and gives is right
    too."""
    also = wanted
    if other is not None and not (same_error(found, wanted) and told(found) == told(wanted)):
        also = other()
        wanted = wanted if same_error(found, wanted) else also
    if not same_error(found, wanted):
        return f"error {found.error!r} instead of {wanted.error!r}"
    if found.error is not None:
        return None
    if told(found) not in (told(wanted), told(also)):
        return f"told {told(found)} instead of {told(wanted)}"
    value, expected = found.value, wanted.value
    if type(value) is not type(expected):
        return f"{type(value)} instead of {type(expected)}"
    if not isinstance(value, (np.ndarray, np.generic)):
        return None if repr(value) == repr(expected) else f"{value!r} instead of {expected!r}"
    if value.dtype != expected.dtype or value.dtype.char != expected.dtype.char:
        return f"dtype {value.dtype!r} instead of {expected.dtype!r}"
    if value.shape != expected.shape:
        return f"shape {value.shape} instead of {expected.shape}"
    if isinstance(value, np.ndarray) and long_strides(value) != long_strides(expected):
        return f"strides {value.strides} instead of {expected.strides}, shape {value.shape}"
    if equal_bits(value, expected):
        return None
    if other is not None:
        also = other()
        if also.error is None and equal_bits(value, expected, also.value):
            return None
    unequal = np.flatnonzero((bits(value) != bits(expected)).any(axis=1))
    first = unequal[0]
    return (
        f"{len(unequal)} elements of {value.size} differ, the first is {first}: "
        f"{np.asarray(value).flat[first]!r} instead of {np.asarray(expected).flat[first]!r}"
    )


# ---- Trees ----


class TooLarge(Exception):
    """A tree that nobody wants to compute."""


def _integer_fits(value):
    return not (type(value) is int and not -(2**63) <= value < 2**64)


def _checked(function):
    """Python's operator; of its integers beyond 64 bits an OverflowError, before they are computed."""

    def compute(x, y):
        if type(x) in (int, bool) and type(y) in (int, bool):
            far = y > 64 and (
                function is operator.lshift and x != 0 or function is operator.pow and abs(x) > 1
            )
            if far:
                raise OverflowError
        result = function(x, y)
        if not _integer_fits(result):
            raise OverflowError
        return result

    return compute


def _plain(value):
    """As a function of blocks would have it: consecutive."""
    return np.array(value, order="C") if isinstance(value, np.ndarray) and value.ndim else value


def _consecutive(values):
    """The operands, each of the whole shape where it is an array."""
    arrays = [value for value in values if isinstance(value, np.ndarray) and value.ndim]
    if not arrays:
        return values
    shape = np.broadcast_shapes(*(array.shape for array in arrays))
    return [
        np.array(np.broadcast_to(value, shape), order="C")
        if isinstance(value, np.ndarray) and value.ndim
        else value
        for value in values
    ]


class Node:
    """A part of an expression: its text, and how it comes from its children's values."""

    def __init__(self, text, function, children=(), elementwise=False, ufunc=None, condition=False):
        self.text = text
        self.function = function
        self.children = children
        self.elementwise = elementwise
        self.ufunc = ufunc  # what options of the result are given to
        self.condition = condition
        self.value = None

    def compute(self, names, plain=False):
        if self.condition:
            return self.choose(names, plain)
        values = [child.compute(names, plain) for child in self.children]
        return self.apply(names, values, plain)

    def choose(self, names, plain):
        """x if c else y: of a scalar c one branch alone."""
        condition = self.children[0].compute(names, plain)
        if not isinstance(condition, np.ndarray) or condition.ndim == 0:
            return self.children[1 if condition else 2].compute(names, plain)
        values = [condition, *(child.compute(names, plain) for child in self.children[1:])]
        return self.apply(names, values, plain)

    def apply(self, names, values, plain=False):
        if not self.children:
            return self.function(names)
        if plain and self.elementwise:
            values = _consecutive(values)
        elif plain:
            values = [_plain(value) for value in values]
        return self.function(*values)

    def depth(self):
        return 1 + max((child.depth() for child in self.children), default=0)


def fast_power(ufunc, values):
    """NumPy computes a ** 2, a ** -1 and a ** 0.5 of arrays by other functions."""
    if ufunc is np.power and isinstance(values[0], np.ndarray):
        inexact = values[0].dtype.kind in "fc"
        fast = {(int, 2): np.square, (int, -1): inexact and np.reciprocal, (float, 0.5): inexact and np.sqrt}
        found = fast.get((type(values[1]), values[1]) if type(values[1]) in (int, float) else None)
        if found:
            return found, values[:1]
    return ufunc, values


# ---- Operands ----


def special_values(dtype):
    if dtype.kind == "b":
        return [True, False]
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return [0, 1, 2, 3, limits.max, limits.min, limits.max - 1, limits.max // 2, 7]
    if dtype.kind == "f":
        limits = np.finfo(dtype)
        tiny = limits.smallest_subnormal
        return [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.5,
            2.0,
            np.inf,
            -np.inf,
            np.nan,
            limits.max,
            limits.tiny,
            tiny,
            -tiny,
            1e3,
        ]
    return [0, 1, -1, 1j, complex(np.nan, 1), complex(np.inf, -0.0), complex(-0.0, 0.0), 1 + 2j, 1e30]


def contents(random, dtype, size):
    """That many values: small, or of the whole range, or odd ones, or a mixture."""
    numbers = np.random.default_rng(random.randrange(2**32))
    kind = random.choice(["small", "small", "small", "wide", "odd", "mixed", "mixed", "positive", "bits"])
    if dtype.kind in "US":
        return numbers.choice(np.array(["", "a", "b", "ab", "abc"], dtype), size)
    if dtype.kind in "Mm":
        return numbers.choice(np.array([0, 1, -1, 5, 1000, "NaT"], dtype), size)
    if dtype.kind == "b":
        return numbers.integers(0, 2, size).astype(bool)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        low, high = (0 if dtype.kind == "u" or kind == "positive" else -10, 10)
        values = numbers.integers(low, high, size).astype(dtype)
        wide = numbers.integers(limits.min, limits.max, size, dtype=dtype, endpoint=True)
    else:
        with np.errstate(all="ignore"):
            values = (numbers.standard_normal(size) * 3).astype(dtype)
            wide = (values * 10.0 ** numbers.integers(-40, 40, size)).astype(dtype)
            if dtype.kind == "c":
                values = values + (numbers.standard_normal(size) * 1j).astype(dtype)
            if kind == "positive":
                values = np.abs(values).astype(dtype)
    with np.errstate(all="ignore"):
        odd = numbers.choice(np.array(special_values(dtype), dtype), size)
    if kind == "bits" and dtype.kind in "fc" and dtype.char not in "gG":
        parts = np.frombuffer(numbers.bytes(size * dtype.itemsize), np.zeros(1, dtype).real.dtype)
        return np.where(np.isnan(parts), abs(parts.dtype.type("nan")), parts).view(dtype)
    if kind == "mixed":
        rare = numbers.random(size) < 0.9
        return np.where(rare, values, odd).astype(dtype)
    return {"wide": wide, "odd": odd}.get(kind, values)


def sub_shape(random, shape):
    """A shape that broadcasts to the given one."""
    if random.random() < 0.6:
        return shape
    shape = tuple(1 if random.random() < 0.3 else extent for extent in shape)
    return shape[random.randrange(len(shape) + 1) :] if random.random() < 0.5 else shape


class Buffers:
    """Memory that several operands of a case may share."""

    def __init__(self):
        self.made = []

    def array(self, random, dtype, shape):
        """An array of that dtype and shape, laid out in some way."""
        layout = random.choice(
            ["C", "C", "C", "F", "axes", "strided", "strided", "unaligned", "swapped", "shared"]
        )
        if layout == "shared":
            shared = self.shared(random, dtype, shape)
            if shared is not None:
                return shared
        if layout == "swapped" and dtype.kind in "iufcMmU":
            dtype = dtype.newbyteorder("S")
        if layout == "unaligned" and dtype.alignment > 1:
            raw = np.zeros(int(np.prod(shape)) * dtype.itemsize + 1, "u1")
            array = raw[1:].view(dtype).reshape(shape)
        elif layout == "axes":
            order = list(range(len(shape)))
            random.shuffle(order)
            array = np.zeros([shape[axis] for axis in order], dtype).transpose(np.argsort(order))
        elif layout == "strided":
            array = self.strided(random, dtype, shape)
        else:
            array = np.zeros(shape, dtype, order="F" if layout == "F" else "C")
        self.fill(random, array)
        if random.random() < 0.1 and array.ndim:
            array = self.repeated(random, array)
        return array

    def fill(self, random, array):
        values = contents(random, array.dtype.newbyteorder("="), array.size)
        array[...] = values.reshape(array.shape)
        base = array if array.base is None else array.base
        self.made.append(base if base.dtype == array.dtype else array)

    def strided(self, random, dtype, shape):
        steps = [
            random.choice([1, 1, 2, 3, -1, -2]) if len(shape) < 6 or extent > 1 else 1 for extent in shape
        ]
        whole = [extent * abs(step) for extent, step in zip(shape, steps, strict=True)]
        base = np.zeros(whole, dtype, order=random.choice("CF"))
        return base[(*(slice(None, None, step) for step in steps), ...)]

    def repeated(self, random, array):
        """One axis with stride 0."""
        axis = random.randrange(array.ndim)
        if array.shape[axis] == 0:
            return array
        one = array[(slice(None),) * axis + (slice(0, 1),)]
        return np.broadcast_to(one, array.shape)

    def shared(self, random, dtype, shape):
        """Another view of memory in use."""
        bases = [base for base in self.made if base.dtype == dtype and base.ndim == 1]
        if not bases or len(shape) != 1:
            return None
        base = random.choice(bases)
        if base.size < shape[0]:
            return None
        start = random.randrange(base.size - shape[0] + 1)
        view = base[start : start + shape[0]]
        return view[::-1] if random.random() < 0.3 else view


def python_scalar(random):
    return random.choice(
        [0, 1, 2, -1, 3, 100, 300, -129, 2**31, 2**40, 2**63, -(2**63), 2**64 - 1]
        + [0.0, 0.5, -0.5, 1.0, 2.0, 1.5, 1e5, 1e40, 1e-50, float("nan"), float("inf")]
        + [1j, 2 + 0.5j, True, False]
    )


def random_dtype(random):
    kind = random.random()
    if kind < 0.55:
        return np.dtype(random.choice(COMMON))
    if kind < 0.97:
        return np.dtype(random.choice(NUMBERS))
    return np.dtype(random.choice(OTHERS))


def random_shape(random):
    kind = random.random()
    if kind < 0.35:
        return (random.choice(SIZES),)
    if kind < 0.37:
        return (random.choice(LARGE),)
    if kind < 0.375:
        return random.choice([(513, 300), (3, 40000), (40000, 3), (2, 300, 129)])
    if kind < 0.38:
        shape = [1] * random.randrange(6, 65)
        for _ in range(random.randrange(7)):
            shape[random.randrange(len(shape))] = 2
        return tuple(shape)
    if kind < 0.45:
        return (random.choice([2, 3, 5, 40]), random.choice([127, 128, 129, 255, 512, 513]))
    if kind < 0.47:
        return (random.choice([300, 700]), random.choice([5, 64, 127, 129]))
    dimensions = random.randrange(6)
    return tuple(
        random.choice([1, 2, 3, 4, 5, 7, 11, 0] if random.random() < 0.1 else [1, 2, 3, 4, 5])
        for _ in range(dimensions)
    )


# ---- Cases ----


class Case:
    """A text, its names, and options."""

    def __init__(self, random, reductions=True, depth=None):
        self.random = random
        self.reductions = reductions
        self.buffers = Buffers()
        self.names = {}
        self.pool = []  # nodes made, which may be used once more
        self.shape = random_shape(random)
        self.root = self.node(random.choice([1, 2, 2, 3, 3, 4, 5]) if depth is None else depth)
        self.text = self.root.text
        self.threads = random.choice([1, 1, 2, 3])
        self.errors = self.pick_errors()
        self.compiled = random.random() < 0.3
        self.options = {}
        self.pick_options()

    # -- Making the tree --

    def node(self, depth):
        """A node with its value; one that fails is rarely taken."""
        random = self.random
        for _ in range(6):
            node = self.leaf() if depth <= 0 else self.inner(depth)
            failed = isinstance(node.value, Exception)
            if not failed or (not isinstance(node.value, TooLarge) and random.random() < 0.03):
                return node
        return self.array_leaf()

    def finish(self, node):
        """Computes the node's value from its children's."""
        values = [child.value for child in node.children]
        failed = next((value for value in values if isinstance(value, Exception)), None)
        if failed is not None:
            node.value = failed
            return node
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                shapes = [np.shape(value) for value in values]
                if node.elementwise and np.prod(np.broadcast_shapes(*shapes), dtype=float) > 3e5:
                    raise TooLarge
                if node.condition and np.ndim(values[0]) == 0:
                    node.value = values[1 if values[0] else 2]
                else:
                    node.value = node.apply(self.names, values)
                if np.size(node.value) > 300_000 or np.asarray(node.value).dtype.hasobject:
                    raise TooLarge
            except Exception as error:
                node.value = error
        self.pool.append(node)
        return node

    def name(self, value):
        name = f"a{len(self.names)}"
        self.names[name] = value
        node = Node(name, lambda names: names[name])
        node.value = np.asarray(value) if isinstance(value, (list, np.ndarray)) else value
        return node

    def array_leaf(self):
        random = self.random
        return self.name(self.buffers.array(random, random_dtype(random), sub_shape(random, self.shape)))

    def leaf(self):
        random = self.random
        kind = random.random()
        if kind < 0.12 and any(name not in SPECIAL for name in self.names):
            name = random.choice([name for name in self.names if name not in SPECIAL])
            node = Node(name, lambda names: names[name])
            value = self.names[name]
            node.value = np.asarray(value) if isinstance(value, (list, np.ndarray)) else value
            return node
        if kind < 0.3:
            return self.constant(random.choice(CONSTANTS))
        if kind < 0.36:
            return self.name(python_scalar(random))
        if kind < 0.42:
            dtype = random_dtype(random)
            return self.name(contents(random, dtype, 1)[0])
        if kind < 0.45:
            return self.name(np.array(contents(random, random_dtype(random), 1)[0]))
        if kind < 0.47:
            return self.name(contents(random, np.dtype(random.choice("dl?")), 3).tolist())
        return self.array_leaf()

    def constant(self, text):
        value = eval(text)
        node = Node(text, lambda names: value)
        node.value = value
        return node

    def inner(self, depth):
        random = self.random
        if self.pool and random.random() < 0.05:
            return random.choice(self.pool)
        kinds = [
            (self.binary, 30),
            (self.comparison, 6),
            (self.unary, 6),
            (self.power, 5),
            (self.call, 22),
            (self.where, 5),
            (self.clip, 4),
            (self.cast, 4),
            (self.condition, 3),
            (self.chain, 2),
            (self.subscript, 6),
            (self.attribute, 3),
            (self.leaf_node, 4),
        ]
        if self.reductions:
            kinds.append((self.reduction, 6))
        make = random.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]
        return self.finish(make(depth - 1))

    def leaf_node(self, depth):
        return self.leaf()

    def binary(self, depth):
        sign = self.random.choice(["+", "-", "*", "/", "+", "-", "*", "//", "%", "<<", ">>", "&", "|", "^"])
        left, right = self.node(depth), self.node(self.random.randrange(depth + 1))
        if self.random.random() < 0.3:
            left, right = right, left
        if sign == "%" and isinstance(left.value, (str, bytes)):
            sign = "+"  # it would format
        return self.operator(sign, left, right)

    def operator(self, sign, left, right):
        ufunc = {
            "+": np.add,
            "-": np.subtract,
            "*": np.multiply,
            "/": np.divide,
            "//": np.floor_divide,
            "%": np.remainder,
            "**": np.power,
            "<<": np.left_shift,
            ">>": np.right_shift,
            "&": np.bitwise_and,
            "|": np.bitwise_or,
            "^": np.bitwise_xor,
            "<": np.less,
            "<=": np.less_equal,
            "==": np.equal,
            "!=": np.not_equal,
            ">": np.greater,
            ">=": np.greater_equal,
        }[sign]
        return Node(f"({left.text} {sign} {right.text})", _checked(BINARY[sign]), (left, right), True, ufunc)

    def comparison(self, depth):
        return self.operator(
            self.random.choice(COMPARISONS), self.node(depth), self.node(self.random.randrange(depth + 1))
        )

    def power(self, depth):
        base = self.node(depth)
        if self.random.random() < 0.75:
            text = self.random.choice(EXPONENTS)
            exponent = self.constant(text)
        else:
            exponent = self.node(self.random.randrange(depth + 1))
        return self.operator("**", base, exponent)

    def unary(self, depth):
        sign = self.random.choice("--+~")
        operand = self.node(depth)
        ufunc = {"-": np.negative, "+": np.positive, "~": np.invert}[sign]

        def compute(x):
            result = UNARY[sign](x)
            if not _integer_fits(result):
                raise OverflowError
            return result

        return Node(f"({sign}{operand.text})", compute, (operand,), True, ufunc)

    def call(self, depth):
        random = self.random
        if random.random() < 0.1:
            name = random.choice(list(SPECIAL))
            function = SPECIAL[name]
            self.names[name] = function
        else:
            name = random.choice(FREQUENT if random.random() < 0.4 else list(UFUNCS))
            function = UFUNCS[name]
        children = [self.node(depth)]
        if random.random() < 0.03:
            return self.call_with_dtype(name, function, children[0])
        children += [self.node(random.randrange(depth + 1)) for _ in range(function.nin - 1)]
        arguments = ", ".join(child.text for child in children)
        return Node(
            f"{name}({arguments})", lambda *values: function(*values), tuple(children), True, function
        )

    def call_with_dtype(self, name, function, operand):
        dtype = self.random.choice(NUMBERS)
        others = [self.constant("2") for _ in range(function.nin - 1)]
        texts = [operand.text, *(other.text for other in others), f"dtype={dtype!r}"]
        return Node(
            f"{name}({', '.join(texts)})", lambda *values: function(*values, dtype=dtype), (operand, *others)
        )

    def where(self, depth):
        children = (self.condition_node(depth), self.node(depth), self.node(self.random.randrange(depth + 1)))
        return Node(f"where({', '.join(child.text for child in children)})", np.where, children, True)

    def condition_node(self, depth):
        if self.random.random() < 0.8:
            return self.finish(self.comparison(depth))
        return self.node(depth)

    def clip(self, depth):
        random = self.random
        children = [
            self.node(depth),
            self.node(random.randrange(depth + 1)),
            self.node(random.randrange(depth + 1)),
        ]
        missing = random.choice([None, None, 1, 2])
        texts = [child.text for child in children]
        if missing is not None:
            texts[missing] = "None"
            del children[missing]

        def compute(array, *bounds):
            bounds = list(bounds)
            if missing is not None:
                bounds.insert(missing - 1, None)
            return np.clip(array, *bounds)

        return Node(f"clip({', '.join(texts)})", compute, tuple(children), True)

    def cast(self, depth):
        name = self.random.choice(list(CASTS))
        type_ = CASTS[name]
        operand = self.node(depth)

        def compute(value):
            return value.astype(type_) if isinstance(value, np.ndarray) else type_(value)

        return Node(f"{name}({operand.text})", compute, (operand,), True)

    def condition(self, depth):
        random = self.random
        condition = self.node(0) if random.random() < 0.4 else self.condition_node(depth)
        x, y = self.node(depth), self.node(random.randrange(depth + 1))
        text = f"({x.text} if {condition.text} else {y.text})"
        return Node(text, np.where, (condition, x, y), False, None, condition=True)

    def chain(self, depth):
        random = self.random
        x, y, z = self.node(depth), self.node(random.randrange(depth + 1)), self.node(0)
        first, second = random.choice(COMPARISONS), random.choice(COMPARISONS)
        left = self.finish(self.operator(first, x, y))
        right = self.finish(self.operator(second, y, z))
        node = self.operator("&", left, right)
        node.text = f"({x.text} {first} {y.text} {second} {z.text})"
        return node

    def attribute(self, depth):
        operand = self.node(depth)
        name = self.random.choice(["real", "imag", "T"])
        base = f"({operand.text})" if operand.text[0].isdigit() else operand.text
        return Node(f"{base}.{name}", lambda value: getattr(value, name), (operand,))

    def subscript(self, depth):
        random = self.random
        operand = self.node(depth)
        shape = np.shape(operand.value) if not isinstance(operand.value, Exception) else ()
        texts, parts = [], []
        for extent in shape[: random.randrange(len(shape) + 1) if random.random() < 0.3 else None]:
            text, part = self.index_part(extent)
            texts.append(text)
            parts.append(part)
        if random.random() < 0.2:
            place = random.randrange(len(parts) + 1)
            texts.insert(place, "None")
            parts.insert(place, None)
        if random.random() < 0.15:
            texts.append("...")
            parts.append(Ellipsis)
        if not texts:
            texts, parts = ["..."], [Ellipsis]
        index = parts[0] if len(parts) == 1 else tuple(parts)

        def compute(value):
            if not isinstance(value, np.ndarray):
                raise TypeError
            return value[index]

        base = operand.text if operand.text.isidentifier() else f"({operand.text})"
        return Node(f"{base}[{', '.join(texts)}]", compute, (operand,))

    def index_part(self, extent):
        random = self.random
        kind = random.random()
        if kind < 0.12 and extent:
            number = random.randrange(-extent, extent)
            return str(number), number
        if kind < 0.17 and extent:
            numbers = [random.randrange(-extent, extent) for _ in range(random.randrange(1, 4))]
            return str(numbers), numbers
        if kind < 0.22:
            mask = contents(random, np.dtype(bool), extent)
            name = f"a{len(self.names)}"
            self.names[name] = mask
            return name, mask
        bound = [None, None, 0, 1, 2, -1, -2, extent // 2]
        start, stop, step = (
            random.choice(bound),
            random.choice(bound),
            random.choice([None, None, 1, 2, -1, -2, 3]),
        )
        texts = ["" if part is None else str(part) for part in (start, stop, step)]
        text = f"{texts[0]}:{texts[1]}" + (f":{texts[2]}" if step is not None else "")
        return text, slice(start, stop, step)

    def reduction(self, depth):
        random = self.random
        operand = self.node(depth)
        name = random.choice(REDUCTIONS)
        dimensions = np.ndim(operand.value) if not isinstance(operand.value, Exception) else 0
        keywords = {}
        dtype = (
            random.choice("dlfiDeg") if name in ("sum", "prod", "mean") and random.random() < 0.1 else None
        )
        if random.random() < 0.6 and dimensions:
            keywords["axis"] = random.randrange(-dimensions, dimensions)
            if random.random() < 0.3 and not name.startswith("arg"):
                axes = random.sample(range(dimensions), random.randrange(dimensions + 1))
                keywords["axis"] = tuple(axes)
        if random.random() < 0.4:
            keywords["keepdims"] = True
        text = "".join(f", {key}={value!r}" for key, value in keywords.items())
        if dtype:
            keywords["dtype"] = np.dtype(dtype)
            text += f", dtype={dtype!r}"
        if name not in ("mean", "any", "all", "argmin", "argmax") and random.random() < 0.1:
            keywords["initial"] = 3
            text += ", initial=3"
        function = getattr(np, name)
        return Node(f"{name}({operand.text}{text})", lambda value: function(value, **keywords), (operand,))

    # -- Options --

    def pick_errors(self):
        random = self.random
        if random.random() < 0.75:
            return {}
        if random.random() < 0.5:
            return {"all": random.choice(["ignore", "raise", "call", "warn"])}
        kinds = ["divide", "over", "under", "invalid"]
        return {random.choice(kinds): random.choice(["ignore", "raise", "call", "warn"]) for _ in range(2)}

    def pick_options(self):
        random = self.random
        value = self.root.value
        if not isinstance(value, (np.ndarray, np.generic)) or random.random() < 0.75:
            return
        if random.random() < 0.8:
            self.options["out"] = self.pick_out(np.asarray(value))
        elif self.root.ufunc is not None:
            self.options.update(self.pick_others(np.asarray(value)))

    def pick_out(self, value):
        """An array for the result: new, or upon an operand."""
        random = self.random
        dtype = value.dtype if random.random() < 0.75 else np.dtype(random.choice(NUMBERS))
        bases = [
            base for base in self.buffers.made if base.dtype == dtype and base.flags.writeable and base.ndim
        ]
        if bases and random.random() < 0.6:
            base = random.choice(bases)
            if base.shape == value.shape and random.random() < 0.5:
                return base if random.random() < 0.6 else base[(slice(None, None, -1),) * base.ndim]
            if base.size >= value.size and base.flags.c_contiguous and value.ndim:
                start = random.randrange(base.size - value.size + 1)
                flat = base.reshape(-1)[start : start + value.size]
                return (flat[::-1] if random.random() < 0.3 else flat).reshape(value.shape)
        shape = value.shape
        if random.random() < 0.1:
            shape = random.choice([(2, *shape), shape[1:], (*shape, 1)])
        if len(shape) > 8:
            shape = value.shape
        buffers = Buffers()
        array = buffers.array(random, dtype, shape)
        while not array.flags.writeable and random.random() < 0.95:
            array = buffers.array(random, dtype, shape)
        return array

    def pick_others(self, value):
        random = self.random
        options = {}
        if random.random() < 0.5:
            options["dtype"] = np.dtype(random.choice(NUMBERS))
        if random.random() < 0.3:
            options["casting"] = random.choice(["no", "equiv", "safe", "same_kind", "unsafe"])
        if random.random() < 0.4:
            options["order"] = random.choice("CFAK")
        # SciPy's loops move the pointers they are given, so that NumPy's where= goes wrong with them.
        if random.random() < 0.4 and value.ndim and self.root.ufunc not in SPECIAL.values():
            options["where"] = contents(random, np.dtype(bool), value.size).reshape(value.shape)
            options["out"] = self.pick_out(value)
        return options

    # -- Computing it --

    def operands(self):
        """The names' values as NumPy sees them."""
        return {
            name: np.asarray(value) if isinstance(value, (list, np.ndarray)) else value
            for name, value in self.names.items()
        }

    def numpy(self, plain=False):
        """What NumPy makes of it."""
        names = self.operands()
        if self.options and self.root.ufunc is not None and not (plain and "out" in self.options):
            children = [child.compute(names, plain) for child in self.root.children]
            ufunc, children = fast_power(self.root.ufunc, children)
            if plain:
                children = _consecutive(children)
            return ufunc(*children, **self.options)
        value = self.root.compute(names, plain)
        if "out" in self.options:
            np.copyto(self.options["out"], value)
            return self.options["out"]
        return value

    def tinyweave(self):
        if self.compiled and set(self.options) <= {"out"}:
            expression = tw.expression(self.text)
            return expression(**{name: self.names[name] for name in expression.names}, **self.options)
        return tw.evaluate(self.text, self.names, {}, **self.options)

    def memory(self):
        """Every array that may be written to."""
        arrays = [
            *self.buffers.made,
            *(value for value in self.names.values() if isinstance(value, np.ndarray)),
        ]
        if "out" in self.options:
            out = self.options["out"]
            arrays.append(out)
            if isinstance(out.base, np.ndarray) and out.base.dtype == out.dtype:
                arrays.append(out.base)
        return [array for array in arrays if array.flags.writeable]

    def run(self, call):
        """The outcome of a call, with all memory as it was before put back behind it."""
        memory = self.memory()
        before = [array.copy() for array in memory]
        outcome = Outcome(call, self.errors)
        outcome.memory = [array.copy() for array in memory]
        if "out" in self.options and outcome.value is not None:
            outcome.value = (
                outcome.value.copy(order="K") if outcome.value is not self.options["out"] else outcome.value
            )
            outcome.same = outcome.value is self.options["out"]
            outcome.value = outcome.value.copy()
        for array, contents_ in zip(memory, before, strict=True):
            array[...] = contents_
        return outcome

    def difference(self):
        """What evaluate makes otherwise than NumPy does, a str; None: nothing."""
        tw.set_num_threads(self.threads)
        counted = [value for value in self.names.values() if isinstance(value, np.ndarray)]
        counts = [sys.getrefcount(value) for value in counted]
        message = self.compare()
        if message is None and not self.failed and [sys.getrefcount(value) for value in counted] != counts:
            return "references are lost or kept"
        return message

    def compare(self):
        found = self.run(self.tinyweave)
        if self.random.random() < 0.2:
            found = self.run(self.tinyweave)  # with all that was kept from the first time
        wanted = self.run(self.numpy)
        self.failed = found.error is not None
        if self.failed and "is not for strings" in str(found.error):
            return None  # "ab" * 256 of Python's strings is refused
        message = difference(found, wanted, lambda: self.run(lambda: self.numpy(True)))
        if message is None and found.error is None:
            if "out" in self.options and not found.same:
                return "the result is not out"
            other = None
            for array, x, y in zip(self.memory(), found.memory, wanted.memory, strict=True):
                if not equal_bits(x, y):
                    other = other or self.run(lambda: self.numpy(True))
                    if other.error is not None:
                        return "memory differs"
                    place = next(i for i, z in enumerate(self.memory()) if z is array)
                    if not equal_bits(x, y, other.memory[place]):
                        return f"memory differs: {x!r} instead of {y!r}"
        return message

    def __str__(self):
        lines = [f"text    {self.text}"]
        for name, value in self.names.items():
            if isinstance(value, np.ndarray):
                short = np.array2string(value.reshape(-1)[:12], threshold=12).replace("\n", "")
                value = f"{value.dtype!r} {value.shape} strides {value.strides} {short}"
            lines.append(f"  {name}  {value!r}" if not isinstance(value, str) else f"  {name}  {value}")
        for name, value in self.options.items():
            if isinstance(value, np.ndarray):
                shares = [
                    key
                    for key, other in self.names.items()
                    if isinstance(other, np.ndarray) and np.may_share_memory(other, value)
                ]
                value = f"{value.dtype!r} {value.shape} strides {value.strides} shares memory with {shares}"
            lines.append(f"  {name}= {value}")
        lines.append(f"  threads {self.threads}, errstate {self.errors}, compiled {self.compiled}")
        return "\n".join(lines)


def fuzz(make, count, seed):
    """Runs the cases make(generator) gives for so many seeds; 1 if anything differs, else 0."""
    found, start = 0, time.monotonic()
    for number in range(seed, seed + count):
        case = make(random.Random(number))
        message = case.difference()
        if message is not None:
            found += 1
            print(f"seed {number}: {message}\n{case}\n", flush=True)
        if number % 10_000 == 9_999:
            done = number + 1 - seed
            print(f"{done} cases, {found} differences, {time.monotonic() - start:.0f} s", flush=True)
    print(f"{count} cases from seed {seed}: {found} differences, {time.monotonic() - start:.0f} s")
    return 1 if found else 0
