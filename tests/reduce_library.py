"""Sums as NumPy makes them, random operands of reductions, and the comparison with NumPy's results."""

import warnings

import evaluate_library as e
import numpy as np

import tinyweave as tw

REDUCTIONS = e.REDUCTIONS
DTYPES = "?bBhHiIlLqQefdgFDG"


def pairwise(values):
    """NumPy's sum of consecutive floats: eight accumulators in leaves of at most 128, halves above."""
    count = len(values)
    if count < 8:
        total = values.dtype.type(-0.0)
        for value in values:
            total += value
        return total
    if count <= 128:
        sums = values[:8].copy()
        for start in range(8, count - count % 8, 8):
            sums += values[start : start + 8]
        total = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]))
        for value in values[count - count % 8 :]:
            total += value
        return total
    half = count // 2 - count // 2 % 8
    return pairwise(values[:half]) + pairwise(values[half:])


def complex_pairwise(values):
    """The same of complex numbers: leaves of 64, four accumulators."""
    count = 2 * len(values)
    if count <= 128:
        parts = values.view(values.real.dtype)
        if count < 8:
            sums = np.array([-0.0, -0.0], parts.dtype)
            for start in range(0, count, 2):
                sums += parts[start : start + 2]
            return sums.view(values.dtype)[0]
        sums = parts[:8].copy()
        for start in range(8, count - count % 8, 8):
            sums += parts[start : start + 8]
        total = (sums[0:2] + sums[2:4]) + (sums[4:6] + sums[6:8])
        for start in range(count - count % 8, count, 2):
            total += parts[start : start + 2]
        return total.view(values.dtype)[0]
    half = (count // 2 - count // 2 % 8) // 2
    return complex_pairwise(values[:half]) + complex_pairwise(values[half:])


def outcome(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value, error = call(), None
        except Exception as raised:
            value, error = None, raised
    return value, error, [(warning.category, str(warning.message)) for warning in caught]


def difference(text, names, order=True):
    """What tells tw.evaluate(text) from the text in NumPy's hands, a str; None: nothing. Without
    `order` warnings may come fewer times: of a part that is computed once."""
    found, error, messages = outcome(lambda: tw.evaluate(text, names, {}))
    wanted, wanted_error, wanted_messages = outcome(lambda: eval(text, dict(vars(np)), names))
    if not issubclass(type(wanted_error), type(error)):
        return f"{error!r} instead of {wanted_error!r}"
    if error is not None:
        return None
    if messages != wanted_messages and (order or set(messages) != set(wanted_messages)):
        return f"warnings {messages} instead of {wanted_messages}"
    if type(found) is not type(wanted):
        return f"{type(found)} instead of {type(wanted)}"
    if found.dtype != wanted.dtype or found.shape != wanted.shape:
        return f"{found.dtype} {found.shape} instead of {wanted.dtype} {wanted.shape}"
    if isinstance(found, np.ndarray) and e.long_strides(found) != e.long_strides(wanted):
        return f"strides {found.strides} instead of {wanted.strides}"
    if not e.equal_bits(np.asarray(found), np.asarray(wanted)):
        return f"{found!r} instead of {wanted!r}"
    return None


def check(text, **names):
    message = difference(text, names)
    assert message is None, f"{text}: {message}"


# ---- At random ----

SHAPES = [(), (1,), (0,), (7,), (8,), (9,), (127,), (128,), (129,), (513,), (1031,), (8192,), (8193,)]
SHAPES += [
    (3, 5),
    (5, 1),
    (1, 5),
    (0, 3),
    (3, 0),
    (17, 130),
    (130, 17),
    (2, 513),
    (513, 2),
    (300, 40),
    (8, 8200),
]
SHAPES += [
    (3, 4, 5),
    (2, 1, 7),
    (20, 30, 40),
    (3, 129, 5),
    (5, 3, 129),
    (2, 3, 4, 5),
    (6, 1, 5, 7),
    (2, 3, 2, 3, 2),
]
LARGE = [
    (32767,),
    (32768,),
    (65537,),
    (4, 500, 60),
    (100, 1300),
    (1300, 100),
    (9, 9, 9, 90),
    (131101,),
    (3, 40009),
]


class Case:
    """A reduction of one operation over operands that lie in some way."""

    def __init__(self, random):
        self.random = random
        self.shape = random.choice(LARGE if random.random() < 0.1 else SHAPES)
        dtype = np.dtype(random.choice("dddffilq?DF") if random.random() < 0.7 else random.choice(DTYPES))
        buffers = e.Buffers()
        buffers.shared = lambda *arguments: None
        self.names = {"a": buffers.array(random, dtype, self.shape)}
        other = np.dtype(random.choice("dfl?D")) if random.random() < 0.3 else dtype
        self.names["b"] = buffers.array(random, other, e.sub_shape(random, self.shape))
        self.axes = list(range(len(self.shape)))
        operand = random.choice(
            ["a + b", "a*b", "a + 0", "a*2.5", "-a", "a < b", "a == b", "where(b, a, b)", "a"]
        )
        if operand == "a*2.5" and dtype.char == "?":
            operand = "a*b"
        self.text = self.reduction(operand)
        if random.random() < 0.2:
            self.text = random.choice(
                ["a - {}", "({} + 1)*2", "{0}/({0} + 1)", "where({} > 0, b, a)"]
            ).format(self.text)
        self.threads = random.choice([1, 1, 2, 3])

    def reduction(self, operand):
        random = self.random
        name = random.choice(REDUCTIONS)
        text = operand
        if random.random() < 0.65:
            text += f", axis={self.axis(name)}"
        if random.random() < 0.3:
            text += f", keepdims={random.choice([True, True, False])}"
        if name in ("sum", "prod", "mean") and random.random() < 0.1:
            text += f", dtype={random.choice(['float32', 'float64', 'complex128', 'int64'])}"
        if name in ("sum", "prod", "min", "max") and random.random() < 0.1:
            text += f", initial={random.choice(['0', '1', '-2.5', '100'])}"
        if name not in ("argmin", "argmax") and random.random() < 0.05:
            text += ", where=b > 0" + (
                "" if "initial" in text or name not in ("min", "max") else ", initial=3"
            )
        return f"{name}({text})"

    def axis(self, name):
        random = self.random
        count = len(self.shape)
        if random.random() < 0.1:
            return random.choice([None, count, -count - 1, (0, 0), (), (0, -count)])
        if not count:
            return None
        if random.random() < 0.4 and not name.startswith("arg"):
            axes = random.sample(self.axes, random.randrange(1, count + 1))
            return tuple(axis - count if random.random() < 0.3 else axis for axis in axes)
        return random.randrange(-count, count)

    def difference(self):
        tw.set_num_threads(self.threads)
        message = difference(self.text, self.names, False)
        if message is None and self.random.random() < 0.3:
            message = difference(self.text, self.names, False)
        return message

    def __str__(self):
        lines = [self.text]
        for name, value in self.names.items():
            lines.append(f"  {name}  {value.dtype!r} {value.shape} strides {value.strides}")
        return "\n".join([*lines, f"  threads {self.threads}"])
