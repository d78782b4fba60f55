"""Random lists of assignments, and what NumPy makes of them with `a = x` read as `a[...] = x`."""

import gc
import operator
import sys
import warnings

import evaluate_library as e
import numpy as np

import tinyweave as tw

IN_PLACE = {
    "+": operator.iadd,
    "-": operator.isub,
    "*": operator.imul,
    "/": operator.itruediv,
    "//": operator.ifloordiv,
    "%": operator.imod,
    "**": operator.ipow,
    "<<": operator.ilshift,
    ">>": operator.irshift,
    "&": operator.iand,
    "|": operator.ior,
    "^": operator.ixor,
}
# Their bits do not depend on how operands lie: a difference would spread over the statements behind.
FUNCTIONS = ["sqrt", "square", "abs", "minimum", "maximum", "add", "multiply", "negative", "sign", "isnan"]
SHAPES = [(7,), (128,), (129,), (513,), (3000,), (3, 5), (4, 130), (40, 7), (2, 3, 4), (1,), (0,), (3, 0)]
LARGE = [(32767,), (32769,), (65537,), (200, 400)]


def equal(x, y):
    """Whether two arrays have the same bits; the last ones of complex products depend on how operands lie."""
    if e.equal_bits(x, y):
        return True
    if x.dtype.kind != "c":
        return False
    with np.errstate(all="ignore"):
        close = abs(x - y) <= 1e-4 * (abs(x) + abs(y))
    return bool((close | ~np.isfinite(x) & ~np.isfinite(y)).all())


class Assignment:
    """One statement: its text, and what it does to a dictionary of names."""

    def __init__(self, name, index, sign, value):
        self.name = name
        self.index = index  # a node whose value is the index, or None
        self.sign = sign
        self.value = value
        target = name if index is None else f"{name}[{index.text}]"
        self.text = f"{target} {sign}= {value.text}"

    def run(self, names, plain):
        value = self.value.compute(names, plain)
        if not self.sign and self.index is None and self.name not in names:
            names[self.name] = np.array(value) if isinstance(value, np.ndarray) else value
            return
        target = names[self.name]
        if not isinstance(target, np.ndarray):
            raise TypeError("no array")
        index = ... if self.index is None else self.index.compute(names, plain)
        if not self.sign:
            target[index] = np.array(value) if isinstance(value, np.ndarray) else value
        elif plain and isinstance(target[index], np.ndarray):
            result = e.BINARY[self.sign](target[index].copy(), value)
            item = target[index]
            np.copyto(item, result, "same_kind")
            target[index] = item
        elif self.index is None:
            IN_PLACE[self.sign](target, value)
        else:
            target[index] = IN_PLACE[self.sign](target[index], value)


class Case(e.Case):
    """Statements, their names, numpy.errstate's settings, threads."""

    def __init__(self, random):
        self.random = random
        self.reductions = True
        self.buffers = e.Buffers()
        self.names = {}
        self.pool = []
        self.options = {}
        self.indexes = 0
        self.shape = random.choice(LARGE if random.random() < 0.05 else SHAPES)
        self.plain_arrays = random.random() < 0.6
        self.dtype = np.dtype(random.choice("dddfli?D"))
        self.arrays = [self.new_array() for _ in range(random.randrange(2, 6))]
        self.new_names = []
        self.window = self.pick_window()
        self.scratch = {name: np.array(value) for name, value in self.names.items()}
        self.statements = [self.working_statement() for _ in range(random.choice([1, 1, 2, 3, 4, 6, 10]))]
        self.text = self.join([statement.text for statement in self.statements])
        self.threads = random.choice([1, 1, 2, 3])
        self.errors = self.pick_errors()
        self.strict = random.random() < 0.08

    def join(self, texts):
        text = texts[0]
        for other in texts[1:]:
            text += self.random.choice(["\n", "; ", "\n\n# more\n"]) + other
        return text

    # -- Names --

    def new_array(self):
        """An array of the case's shape, most often; it may be a view of another one's memory."""
        random = self.random
        name = f"a{len(self.names)}"
        dtype = self.dtype if random.random() < 0.8 else np.dtype(random.choice(e.NUMBERS))
        if self.plain_arrays:
            array = np.zeros(self.shape, dtype)
            self.buffers.fill(random, array)
        else:
            array = self.buffers.array(random, dtype, self.shape)
        kind = random.random()
        if kind < 0.1 and self.names:
            array = random.choice(list(self.names.values()))
        elif kind < 0.2 and self.names and array.ndim:
            other = random.choice(list(self.names.values()))
            array = other[::-1] if other.ndim and other.shape[0] > 1 else other
        elif kind < 0.25:
            array = self.buffers.array(random, dtype, e.sub_shape(random, self.shape))
        elif kind < 0.27:
            array = array[(0,) * array.ndim + (...,)] if array.size else array
        self.names[name] = array
        return name

    def pick_window(self):
        """A slice by axis, moved by 0, 1 or 2: all of one extent."""
        if min(self.shape) < 3 or self.random.random() < 0.5:
            return None
        return [self.random.random() < 0.7 for _ in self.shape]

    # -- Indexes --

    def index(self, array):
        random = self.random
        if self.window is not None and array.shape == self.shape and random.random() < 0.8:
            return self.window_index()
        kind = random.random()
        if kind < 0.1 and array.ndim:
            return self.named_index(e.contents(random, np.dtype(bool), array.size).reshape(array.shape))
        if kind < 0.2 and array.ndim and array.shape[0]:
            numbers = [random.randrange(-array.shape[0], array.shape[0]) for _ in range(4)]
            return self.named_index(np.array(numbers))
        if kind < 0.25:
            count = random.randrange(3)
            return self.constant_index(f":{count}", slice(0, count))
        if kind < 0.3 and array.ndim:
            condition = random.choice(self.arrays)
            return e.Node(f"{condition} > 0", lambda names: names[condition] > 0)
        texts, parts = [], []
        for extent in array.shape[: random.randrange(1, array.ndim + 1) if array.ndim else 0]:
            text, part = self.index_part(extent)
            texts.append(text)
            parts.append(part)
        if not texts:
            return self.constant_index("...", ...)
        return self.constant_index(", ".join(texts), tuple(parts))

    def window_index(self):
        texts, parts = [], []
        for moved in self.window:
            start = self.random.randrange(3)
            text, part = {
                0: (":-2", slice(None, -2)),
                1: ("1:-1", slice(1, -1)),
                2: ("2:", slice(2, None)),
            }[start]
            if moved and self.random.random() < 0.15:
                text, part = {
                    0: ("-3::-1", slice(-3, None, -1)),
                    1: ("-2:0:-1", slice(-2, 0, -1)),
                    2: (":1:-1", slice(None, 1, -1)),
                }[start]
            texts.append(text if moved else ":")
            parts.append(part if moved else slice(None))
        return self.constant_index(", ".join(texts), tuple(parts))

    def constant_index(self, text, value):
        return e.Node(text, lambda names: value)

    def named_index(self, value):
        name = f"i{self.indexes}"
        self.indexes += 1
        self.names[name] = self.scratch[name] = value
        return e.Node(name, lambda names: names[name])

    # -- Values --

    def leaf(self):
        random = self.random
        kind = random.random()
        if kind < 0.15:
            return self.constant(random.choice(["0", "1", "2", "3", "0.5", "2.5", "True", "1j", "300"]))
        name = random.choice(self.arrays + self.new_names)
        node = e.Node(name, lambda names: names[name])
        node.value = self.scratch[name]
        if name in self.new_names or kind < 0.9 and self.window is None:
            return node
        return self.item(node, self.index(self.names[name]))

    def item(self, node, index):
        """An array at an index; what a comparison of arrays as an index reads is read when it is computed."""
        name = node.text

        def compute(names):
            return names[name][index.compute(names)]

        item = e.Node(f"{name}[{index.text}]", compute)
        try:
            with np.errstate(all="ignore"):
                item.value = compute(self.scratch)
        except Exception as error:
            item.value = error
        return item

    array_leaf = leaf

    def inner(self, depth):
        random = self.random
        make = random.choices(
            [self.binary, self.comparison, self.unary, self.call, self.where, self.cast],
            [30, 3, 5, 6, 3, 3],
        )[0]
        if random.random() < 0.06:
            make = random.choice([self.reduction, self.condition, self.power, self.clip, self.attribute])
        return self.finish(make(depth - 1))

    def call(self, depth):
        name = self.random.choice(FUNCTIONS)
        function = e.UFUNCS.get(name, getattr(np, name))
        children = tuple(self.node(depth) for _ in range(function.nin))
        arguments = ", ".join(child.text for child in children)
        return e.Node(f"{name}({arguments})", lambda *values: function(*values), children, True, function)

    def cast(self, depth):
        """To a float or a complex number: what others become beyond an integer's range differs."""
        name = self.random.choice(["float32", "float64", "longdouble", "complex64", "bool"])
        type_ = e.CASTS[name]

        def compute(value):
            return value.astype(type_) if isinstance(value, np.ndarray) else type_(value)

        operand = self.node(depth)
        return e.Node(f"{name}({operand.text})", compute, (operand,), True)

    # -- Statements --

    def working_statement(self):
        """A statement that works, but rarely."""
        for _ in range(20):
            made = self.statement()
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                try:
                    made.run(self.scratch, False)
                except Exception:
                    if self.random.random() < 0.02:
                        break
                else:
                    break
        if made.index is None and made.name not in self.names and made.name in self.scratch:
            self.new_names = sorted({*self.new_names, made.name})
        return made

    def statement(self):
        random = self.random
        value = self.node(random.choice([0, 1, 1, 2, 3]))
        kind = random.random()
        if kind < 0.06:
            return Assignment(f"n{len(self.new_names)}", None, "", value)
        name = random.choice(self.arrays + self.new_names if kind < 0.2 else self.arrays)
        indexed = name in self.names and random.random() < (0.3 if self.window is None else 0.9)
        index = self.index(self.names[name]) if indexed else None
        sign = random.choice(["+", "-", "*", "+", "-", "*", *IN_PLACE]) if random.random() < 0.45 else ""
        return Assignment(name, index, sign, value)

    # -- Running them --

    def outcome(self, call):
        """The outcome, with the memory and the names it left; all is put back behind it."""
        names = dict(self.names)

        def strict():
            if self.strict:
                warnings.simplefilter("error")
            call(names)

        def keep():
            try:
                strict()
            finally:
                made = sorted(names.keys() - self.names.keys())
                outcome_names.extend((name, names[name]) for name in made)

        outcome_names = []
        outcome = self.run(keep)
        outcome.names = [
            (name, value.copy(order="K") if isinstance(value, np.ndarray) else value)
            for name, value in outcome_names
        ]
        return outcome

    def numpy(self, names, plain=False):
        for statement in self.statements:
            statement.run(names, plain)

    def compare(self):
        before = [array.copy() for array in self.memory()]
        found = self.outcome(lambda names: tw.blitz(self.text, names, {}))
        if self.random.random() < 0.3:
            found = self.outcome(lambda names: tw.blitz(self.text, names, {}))
        self.failed = found.error is not None
        wanted = self.outcome(self.numpy)
        early = isinstance(found.error, (ValueError, IndexError)) and wanted.error is not None
        if early and len(self.statements) > 1 and self.same(found.memory, before):
            return None
        message = e.difference(found, wanted)
        if message is not None:
            return message
        if self.same(found.memory, wanted.memory) and self.same_names(found, wanted):
            return None
        if self.is_undefined(wanted):
            return None
        other = self.outcome(lambda names: self.numpy(names, True))
        if type(other.error) is type(wanted.error) and self.same(found.memory, other.memory):
            return None
        for array, x, y in zip(self.memory(), found.memory, wanted.memory, strict=True):
            if not equal(x, y):
                name = [key for key, value in self.names.items() if value is array]
                return f"memory of {name} differs: {x!r} instead of {y!r}"
        return f"names differ: {found.names} instead of {wanted.names}"

    def is_undefined(self, wanted):
        """Whether NumPy leaves open what is stored: floats beyond an integer, a ** that fails midway."""
        if "negative integer powers" in str(wanted.error):
            return True
        self.errors = {"all": "warn"}
        warned = self.outcome(self.numpy).warnings
        return any("in cast" in message for _, message in warned)

    def same(self, memory, other):
        return all(equal(x, y) for x, y in zip(memory, other, strict=True))

    def same_names(self, found, wanted):
        if [name for name, _ in found.names] != [name for name, _ in wanted.names]:
            return False
        for (_, x), (_, y) in zip(found.names, wanted.names, strict=True):
            if type(x) is not type(y) or np.asarray(x).dtype != np.asarray(y).dtype:
                return False
            if np.shape(x) != np.shape(y) or not equal(np.asarray(x), np.asarray(y)):
                return False
        return True

    def difference(self):
        """What blitz makes otherwise than NumPy does, a str; None: nothing."""
        tw.set_num_threads(self.threads)
        message = self.compare()
        if message is not None or self.failed:
            return message
        for _ in range(2):  # the second time without what was left by others, which may go in between
            before = self.reference_counts()
            self.outcome(lambda names: tw.blitz(self.text, names, {}))
            if self.reference_counts() == before:
                return None
            gc.collect()
        return "references are lost or kept"

    def reference_counts(self):
        return [sys.getrefcount(value) for value in self.names.values() if isinstance(value, np.ndarray)]

    def __str__(self):
        self.compiled = self.strict
        return super().__str__()
