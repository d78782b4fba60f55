"""From a tree of nodes to a program, and from a program to tinyweave's expressions.

A program is a list of values in the order of computation: variables, constants, and operations on earlier
ones. Each operation is named as in numexpr, by what it does and the letters of its result and operands:
gt_bdd. OPCODES has each with its text in tinyweave's language, where numexpr's rules are spelt out: x % y of
double is (x - floor(x / y) * y). Most programs become one such expression; what it cannot say (STEPS) is
computed by NumPy, between expressions.
"""

import contextlib
import functools
import math
import operator
import os
import re
import threading
import typing
from contextvars import Context

import numpy
from numpy import asarray, ndarray

from .. import evaluate as _evaluate
from .. import expression as _expression
from . import expressions

__BLOCK_SIZE1__ = 1024
use_vml = False
MAX_THREADS = min(max(int(os.environ.get("NUMEXPR_MAX_THREADS") or 64), 1), 256)  # 256: tinyweave's own limit

# letter: kind, dtype
KINDS = {
    "b": ("bool", numpy.dtype(bool)),
    "i": ("int", numpy.dtype(numpy.int32)),
    "l": ("long", numpy.dtype(numpy.int64)),
    "f": ("float", numpy.dtype(numpy.float32)),
    "d": ("double", numpy.dtype(numpy.float64)),
    "c": ("complex", numpy.dtype(numpy.complex128)),
    "s": ("bytes", numpy.dtype(numpy.bytes_)),
}
LETTERS = {kind: letter for letter, (kind, _) in KINDS.items()} | {"str": "s", "none": "n"}
CASTS = {"b": "bool_", "i": "int32", "l": "int64", "f": "float32", "d": "float64", "c": "complex128"}

# A text may not grow beyond this by a value that is used more than once: x**50 of a long x.
SHARED_LENGTH = 2000
# Nor nest deeper: Python's parser has a limit of 200.
DEEPEST = 100


# --- the operations -------------------------------------------------------------------------------


INVERSE_POWER = "where(absolute({0}) == 1, power({0}, {1} & 1), 0)"  # an integer to a negative one


def _opcodes():
    """name_letters: an operator's sign, or a text with {0}, {1}, {2} for the operands."""
    table = {}

    def add(name, signatures, text):
        for signature in signatures.split():
            table[f"{name}_{signature}"] = text

    for name, sign, kinds in (
        ("add", "+", "ilfdc"),
        ("sub", "-", "ilfdc"),
        ("mul", "*", "ilfdc"),
        ("div", "/", "fdc"),
        ("div", "//", "il"),  # only 1 / bool
        ("mod", "%", "il"),  # 0 for a divisor of 0, as numexpr has it
        ("floordiv", "//", "il"),
        ("lshift", "<<", "il"),
        ("rshift", ">>", "il"),
        ("and", "&", "bil"),
        ("or", "|", "bil"),
        ("xor", "^", "bil"),
    ):
        add(name, " ".join(3 * kind for kind in kinds), sign)
    for name, sign, kinds in (
        ("gt", ">", "ilfds"),
        ("ge", ">=", "ilfds"),
        ("eq", "==", "bilfdsc"),
        ("ne", "!=", "bilfdsc"),
    ):
        add(name, " ".join("b" + 2 * kind for kind in kinds), sign)
    add("mod", "fff ddd", "({0} - floor({0} / {1}) * {1})")
    add("floordiv", "fff ddd", "floor({0} / {1})")
    add("pow", "fff ddd ccc", "power({0}, {1})")
    add("pow", "iii lll", f"where({{1}} < 0, {INVERSE_POWER}, power({{0}}, maximum({{1}}, 0)))")
    add("neg", "ii ll ff dd cc", "(-{0})")
    add("invert", "bb ii ll", "(~{0})")
    add("where", "bbbb ibii lbll fbff dbdd cbcc", "where({0}, {1}, {2})")
    add("copy", "bb ii ll ff dd cc ss", "{0}")
    add("round", "ii ll", "{0}")
    for kind in "ilfdc":
        add("ones_like", 2 * kind, f"{CASTS[kind]}(logical_or({{0}}, True))")
    for signature in ("ib", "li", "fi", "fl", "di", "dl", "df", "ci", "cl", "cf", "cd"):
        add("cast", signature, f"{CASTS[signature[0]]}({{0}})")

    for name in expressions.ELEMENTARY:
        add(name, "ff dd cc", f"{name}({{0}})")
    add("absolute", "ff dd", "absolute({0})")
    add("absolute", "cc", "complex128(absolute({0}))")
    add("conjugate", "ff dd cc", "conjugate({0})")
    add("ceil", "ff dd", "ceil({0})")
    add("floor", "ff dd", "floor({0})")
    add("trunc", "ff dd", "trunc({0})")
    add("round", "ff dd cc", "rint({0})")
    add("sign", "ff dd cc ii ll", "sign({0})")
    add("real", "dc", "{0}.real")
    add("imag", "dc", "{0}.imag")
    for name in ("isnan", "isfinite", "isinf"):
        add(name, "bf bd bc", f"{name}({{0}})")
    add("signbit", "bf bd", "signbit({0})")
    for name in ("fmod", "arctan2", "hypot", "nextafter", "copysign", "maximum", "minimum"):
        add(name, "fff ddd", f"{name}({{0}}, {{1}})")

    add("complex", "cdd", None)
    add("contains", "bss", None)
    add("sum", "lln ffn ddn ccn", "sum({0}{axis})")
    add("sum", "iin", "sum({0}{axis}, dtype='int32')")
    add("prod", "lln ffn ddn ccn", "prod({0}{axis})")
    add("prod", "iin", "prod({0}{axis}, dtype='int32')")
    for name in ("min", "max"):
        add(name, "iin lln", f"{name}({{0}}{{axis}})")
        add(name, "ffn ddn", None)
    return table


OPCODES = _opcodes()

# How tight Python's operators bind.
LEVELS = {
    sign: level
    for level, signs in enumerate(
        (("==", "!=", ">", ">="), "|", "^", "&", ("<<", ">>"), "+-", ("*", "/", "//", "%"))
    )
    for sign in signs
}
TIGHTEST = 9  # names, calls, what stands in parentheses


class Text(typing.NamedTuple):
    """A part of an expression: how tight it binds, how deep its parentheses nest."""

    text: str
    level: int = TIGHTEST
    depth: int = 0

    def at(self, level):
        """With parentheses, unless it binds that tight."""
        return self if self.level >= level else Text(f"({self.text})", TIGHTEST, self.depth + 1)


def _formatted(template, operands, axis=None):
    """The Text of an operation on Texts."""
    if template == "{0}":
        return operands[0]
    if template in LEVELS:
        level = LEVELS[template]
        left, right = operands[0].at(level if level else 1), operands[1].at(level + 1)  # no a < b < c
        return Text(f"{left.text} {template} {right.text}", level, max(left.depth, right.depth))
    if re.search(r"[-+*/&<=~.]", template):
        operands = [operand.at(TIGHTEST) for operand in operands]
    text = template.format(
        *[operand.text for operand in operands], axis="" if axis is None else f", axis={axis}"
    )
    return Text(text, TIGHTEST, max(operand.depth for operand in operands) + 3)


_REDUCTIONS = ("sum", "prod", "min", "max")


def _is_reduction(opcode):
    return opcode.partition("_")[0] in _REDUCTIONS and opcode[-1] == "n"


def _complex(real, imag):
    real, imag = numpy.broadcast_arrays(real, imag)
    result = numpy.empty(real.shape, numpy.complex128)
    result.real, result.imag = real, imag
    return result


def _contains(haystack, needle):
    return numpy.strings.find(haystack, needle) >= 0


# Operations that are no text: computed by NumPy from whole arrays. min and max of numbers ignore NaN.
STEPS = {
    "complex_cdd": _complex,
    "contains_bss": _contains,
    "min_ffn": numpy.fmin.reduce,
    "min_ddn": numpy.fmin.reduce,
    "max_ffn": numpy.fmax.reduce,
    "max_ddn": numpy.fmax.reduce,
}


@functools.cache
def _signature(name, result, operands):
    """The letters of the operands that an operation is found for, each the given one or a wider one."""

    def widened(letters):
        if not letters:
            yield ""
            return
        order = "bilfdc"
        first = order[order.index(letters[0]) :] if letters[0] in order else letters[0]
        for rest_first in first:
            for rest in widened(letters[1:]):
                yield rest_first + rest

    for letters in widened(operands):
        if f"{name}_{result}{letters}" in OPCODES:
            return letters
    raise NotImplementedError(f"couldn't find matching opcode for '{name}_{result}{operands}'")


# --- the program ----------------------------------------------------------------------------------


class Value:
    """A variable (content: its name), a constant (its value), or an operation on earlier values (opcode)."""

    __slots__ = ("axis", "content", "letter", "operands", "what")

    def __init__(self, what, letter, content, operands=(), axis=None):
        self.what, self.letter, self.content = what, letter, content
        self.operands, self.axis = operands, axis


def constant_of_kind(value, kind):
    if kind == "float":
        return numpy.float32(value)
    if isinstance(value, str):
        return value.encode("ascii")
    with numpy.errstate(all="ignore"):
        return expressions.kind_to_type[kind](value)


class _Builder:
    """Puts the nodes of a tree in order, with an operation for each, and casts. Equal ones are one."""

    def __init__(self):
        self.values = []
        self.known = {}

    def value(self, what, letter, content, operands=(), axis=None):
        key = (what, letter, repr(content) if what == "constant" else content, operands, axis)
        index = self.known.get(key)
        if index is None:
            index = self.known[key] = len(self.values)
            self.values.append(Value(what, letter, content, operands, axis))
        return index

    def constant(self, value, letter):
        with contextlib.suppress(OverflowError):  # it may be cast yet
            value = constant_of_kind(value, KINDS[letter][0])
        return self.value("constant", letter, value)

    def cast(self, index, letter, node=None):
        if self.values[index].letter == letter:
            return index
        if node is not None and node.astType == "constant":
            return self.constant(node.value, letter)
        source = _signature("cast", letter, self.values[index].letter)
        return self.value("op", letter, f"cast_{letter}{source}", (self.cast(index, source),))

    def operation(self, name, letter, operands, nodes=(), axis=None):
        letters = "".join(self.values[index].letter for index in operands)
        raw = "n" if name in _REDUCTIONS else ""
        wanted = _signature(name, letter, letters + raw)
        nodes = nodes or (None,) * len(operands)
        operands = tuple(map(self.cast, operands, wanted, nodes))
        return self.value("op", letter, f"{name}_{letter}{wanted}", operands, axis)

    def node(self, node, children):
        letter = LETTERS[node.astKind]
        if node.astType == "variable":
            return self.value("variable", letter, node.value)
        if node.astType == "constant":
            return self.constant(node.value, letter)
        nodes = [child for child in node.children if child.astType != "raw"]
        axis = node.children[-1].value if len(nodes) < len(node.children) else None
        return self.operation(node.value, letter, children, nodes, axis)

    def tree(self, root):
        """Children before parents, left before right, without recursion. Returns the root's index."""
        done = {}
        stack = [root]
        while stack:
            node = stack[-1]
            children = [child for child in node.children if child.astType != "raw"]
            missing = [child for child in children if id(child) not in done]
            if missing:
                stack.extend(reversed(missing))
                continue
            stack.pop()
            if id(node) not in done:
                done[id(node)] = self.node(node, tuple(done[id(child)] for child in children))
        return done[id(root)]

    def needed(self, root):
        """The values that the root needs, in order: without constants that were cast, and the like."""
        kept, stack = set(), [root]
        while stack:
            index = stack.pop()
            if index not in kept:
                kept.add(index)
                stack.extend(self.values[index].operands)
        places = {index: place for place, index in enumerate(sorted(kept))}
        for index in places:
            value = self.values[index]
            value.operands = tuple(places[operand] for operand in value.operands)
            if value.what == "constant":
                value.content = constant_of_kind(value.content, KINDS[value.letter][0])
        return [self.values[index] for index in places]


class NumExpr:
    """A compiled expression of given kinds: called with its arrays, in the order of `input_names`.

    An array of another dtype is cast to the kind's, as far as `casting` allows.
    """

    def __init__(self, root, input_names=None, types=()):
        builder = _Builder()
        index = builder.tree(root)
        if root.astType != "op":
            index = builder.operation("copy", builder.values[index].letter, (index,))
        self._values = builder.needed(index)
        for value in self._values[:-1]:
            if value.what == "op" and _is_reduction(value.content):
                raise RuntimeError("invalid program: reduction operations must occur last")
        found = {value.content: value.letter for value in self._values if value.what == "variable"}
        if input_names and set(input_names) != set(found):
            raise ValueError(
                f"input names ({list(input_names)}) don't match those found in expression ({set(found)})"
            )
        self.input_names = tuple(input_names or sorted(found))
        letters = "".join(found[name] for name in self.input_names)
        self.signature = letters.encode()
        self._dtypes = tuple(KINDS[letter][1] for letter in letters)
        self._prepared = {}

    def __repr__(self):
        return f"<tinyweave.numexpr.NumExpr {self.program.decode()!r}>"

    @property
    def constants(self):
        return tuple(value.content for value in self._values if value.what == "constant")

    @property
    def constsig(self):
        return "".join(value.letter for value in self._values if value.what == "constant").encode()

    @property
    def tempsig(self):
        return "".join(value.letter for value in self._values[:-1] if value.what == "op").encode()

    @property
    def fullsig(self):
        return self._values[-1].letter.encode() + self.signature + self.constsig + self.tempsig

    @property
    def program(self):
        """What tinyweave computes, in its own language."""
        return "; ".join(str(step) for step in self.prepare(self._dtypes).steps).encode()

    def prepare(self, dtypes, casting="same_kind"):
        """The Call for arguments of these dtypes, which are cast as `casting` allows; else TypeError."""
        for number, (dtype, kind) in enumerate(zip(dtypes, self._dtypes, strict=True), 1):
            if not _castable(dtype, kind, casting):
                raise TypeError(
                    f"Iterator operand {number} dtype could not be cast from {dtype!r} to {kind!r} "
                    f"according to the rule {casting!r}"
                )
        foreign = tuple(dtype.type is not kind.type for dtype, kind in zip(dtypes, self._dtypes, strict=True))
        call = self._prepared.get(foreign)
        if call is None:
            call = self._prepared[foreign] = Call(self, foreign)
        return call

    def __call__(self, *args, out=None, order="K", casting="safe", ex_uses_vml=False):
        if len(args) != len(self.input_names):
            raise ValueError("number of inputs doesn't match program")
        arrays = [
            arg if type(arg) is ndarray else asarray(arg, None if isinstance(arg, ndarray) else dtype)
            for arg, dtype in zip(args, self._dtypes, strict=True)
        ]
        call = self.prepare([array.dtype for array in arrays], casting)
        return call.into(arrays, out, order, casting)

    run = __call__


def _castable(dtype, kind, casting):
    if kind.type is numpy.bytes_:
        return dtype.type is numpy.bytes_
    return numpy.can_cast(dtype, kind, casting)


# --- running it -----------------------------------------------------------------------------------


_quiet = Context()
_quiet.run(numpy.seterr, all="ignore")


def _quietly(function, *args):
    """function(*args) as under numpy.errstate(all="ignore"), in a fraction of that one's time."""
    return _quiet.copy().run(function, *args)


class Step:
    """A part of a call. text: a tinyweave expression of the names v0, v1 ...; else `function` of NumPy."""

    def __init__(self, text, names, axis=None, function=None):
        self.text, self.names = text, names  # names: indexes into the values of the call
        self.function = _expression(text) if function is None else function
        self.arguments = (axis,) if function is not None and function not in (_complex, _contains) else ()

    def __str__(self):
        if self.text is not None:
            return self.text
        return f"{self.function}({', '.join(f'v{name}' for name in self.names)})"

    def run(self, values):
        return self.function(*[values[name] for name in self.names], *self.arguments)


class Call:
    """A program for arguments of certain dtypes: one expression, or several steps."""

    def __init__(self, program, foreign):
        self.letter = program._values[-1].letter
        self.axis = program._values[-1].axis
        self.reduces = _is_reduction(program._values[-1].content)
        self.input_count = len(program.input_names)
        self.constants = []  # values 0 to input_count - 1 are the arguments, then these, then steps' results
        self.steps = []
        self.copied = None  # the value that the program only copies
        self._translate(program, foreign)
        if len(self.steps) == 1 and self.steps[0].text is not None and self.axis is None:
            self._shorten(*self.steps)

    def _shorten(self, step):
        """A call that is one expression of its arguments is that expression."""
        inputs = list(range(self.input_count))
        if step.names == inputs:
            self.compute = step.function
        elif len(inputs) > 1 and sorted(step.names) == inputs:
            function, ordered = step.function, operator.itemgetter(*step.names)
            self.compute = lambda *arguments: function(*ordered(arguments))

    def _translate(self, program, foreign):
        inputs = {name: number for number, name in enumerate(program.input_names)}
        values = program._values
        uses = [0] * len(values)
        for value in values:
            for operand in value.operands:
                uses[operand] += 1
        constant_names = {}
        texts = []
        pending = []  # steps t0, t1 ...: (text, names, axis, function)
        for index, value in enumerate(values):
            if value.what == "variable":
                number = inputs[value.content]
                text = f"v{number}"
                texts.append(
                    Text(f"{CASTS[value.letter]}({text})", TIGHTEST, 1) if foreign[number] else Text(text)
                )
                continue
            if value.what == "constant":
                texts.append(None)  # depends on its neighbours
                continue
            operands = self._operand_texts(values, value, texts, constant_names)
            if value.content in STEPS:
                places = [self._placed(text, pending).text for text in operands]
                pending.append((None, places, value.axis, STEPS[value.content]))
                texts.append(Text(f"t{len(pending) - 1}"))
                continue
            template = self._template(value, values)
            for place, text in enumerate(operands):
                repeated = template.count(f"{{{place}}}") > 1
                if text.depth > DEEPEST or len(text.text) > SHARED_LENGTH and repeated:
                    operands[place] = self._placed(text, pending)
            text = _formatted(template, operands, value.axis)
            if index == len(values) - 1:
                if value.content in ("real_dc", "imag_dc"):
                    text = Text(f"positive({text.text})")  # not a view of the argument
            elif uses[index] > 1 and len(text.text) > SHARED_LENGTH:
                text = self._placed(text, pending)
            texts.append(text)
        self._number(texts[-1].text, pending, constant_names)

    @staticmethod
    def _template(value, values):
        if value.content in ("pow_iii", "pow_lll"):
            exponent = values[value.operands[1]]
            if exponent.what == "constant":
                return INVERSE_POWER if exponent.content < 0 else OPCODES["pow_ddd"]
        return OPCODES[value.content]

    @staticmethod
    def _operand_texts(values, value, texts, constant_names):
        """Constants are bare beside a value of their kind, else in a cast."""
        operands = [values[operand] for operand in value.operands]
        computed = {operand.letter for operand in operands if operand.what != "constant"}
        result = []
        for index, operand in zip(value.operands, operands, strict=True):
            text = texts[index]
            if operand.what == "constant":
                literal = _literal(operand.content)
                if literal is None:
                    name = f"c{len(constant_names)}"
                    text = Text(constant_names.setdefault(index, (name, operand))[0])
                elif operand.letter in computed:
                    text = Text(literal)
                else:
                    text = Text(f"{CASTS[operand.letter]}({literal})", TIGHTEST, 1)
            result.append(text)
        return result

    @staticmethod
    def _placed(text, pending):
        """A name for the text: itself if it is one, else a new step's."""
        if re.fullmatch(r"[vtc]\d+", text.text):
            return text
        pending.append((text.text, None, None, None))
        return Text(f"t{len(pending) - 1}")

    def _number(self, text, pending, constant_names):
        """Turns names v, c and t into the places of values: arguments, constants, results of steps."""
        for _, operand in constant_names.values():
            self.constants.append(
                asarray(operand.content, KINDS[operand.letter][1] if operand.letter != "s" else None)
            )
        places = {name: self.input_count + place for place, (name, _) in enumerate(constant_names.values())}
        first = self.input_count + len(self.constants)
        places |= {f"v{number}": number for number in range(self.input_count)}
        places |= {f"t{number}": first + number for number in range(len(pending))}
        if text in places:
            if not text.startswith("t"):
                self.copied = places[text]
        else:
            pending.append((text, None, None, None))
        for step_text, names, axis, function in pending:
            if function is not None:
                self.steps.append(Step(None, [places[name] for name in names], axis, function))
            else:
                renamed, order = _renamed(step_text, places)
                self.steps.append(Step(renamed, order))

    def compute(self, *arguments):
        """The result of arrays of the right dtypes. Replaced by the expression, where it is one."""
        return self._last(arguments, None, "K", "same_kind")

    def _last(self, arguments, out, order, casting):
        values = [*arguments, *self.constants]
        if self.axis is not None and self.axis >= max((array.ndim for array in arguments), default=0):
            raise ValueError("reduction axis is out of bounds")
        if self.copied is not None:
            source = values[self.copied]
            if out is None:
                dtype = source.dtype if self.letter == "s" else KINDS[self.letter][1]
                return numpy.array(source, dtype=dtype, order=order, copy=True)
            return _store(source, out, casting)
        for step in self.steps[:-1]:
            values.append(asarray(step.run(values)))
        step = self.steps[-1]
        plain = out is None and order == "K"
        if plain or step.text is None or self.reduces:
            result = asarray(step.run(values), order=None if order == "K" else order)
            return result if out is None else _store(result, out, casting)
        names = {f"v{name}": values[name] for name in step.names}
        return _evaluate(step.text, names, {}, out=out, order=order, casting=casting)

    def into(self, arguments, out=None, order="K", casting="same_kind"):
        """The result as a new array, or in `out`; checked and without floating-point warnings."""
        target = out
        if out is not None:
            if not isinstance(out, ndarray):
                raise ValueError("out keyword parameter is not an array")
            if self.reduces and self.axis is None and out.size != 1:
                raise ValueError("out argument must have size 1 for a full reduction")
            if not arguments and out.size != 1:
                raise ValueError("output for a constant expression must have size 1")
            target = out if type(out) is ndarray else out.view(ndarray)
        elif order == "K":
            result = _quietly(self.compute, *arguments)
            return result if type(result) is ndarray else asarray(result)
        result = _quietly(self._last, arguments, target, order, casting)
        return asarray(result) if out is None else out


def _store(result, out, casting):
    if not numpy.can_cast(result.dtype, out.dtype, casting):
        raise TypeError(
            f"Iterator requested dtype could not be cast from {result.dtype!r} to {out.dtype!r}, "
            f"the operand 0 dtype, according to the rule {casting!r}"
        )
    numpy.copyto(out.reshape(result.shape) if out.size == result.size == 1 else out, result, casting)
    return out


def _literal(value):
    """The constant as text; None for what has none, as nan."""
    if isinstance(value, bytes):
        return None
    if isinstance(value, (bool, numpy.bool_)):
        return repr(bool(value))
    if isinstance(value, (int, numpy.integer)):
        return f"({int(value)})" if value < 0 else str(int(value))
    if isinstance(value, complex):
        plain = all(math.isfinite(part) and math.copysign(1, part) > 0 for part in (value.real, value.imag))
        return f"({value.real!r}+{value.imag!r}j)" if plain else None
    value = float(value)
    if not math.isfinite(value):
        return None
    return f"({value!r})" if math.copysign(1, value) < 0 else repr(value)


def _renamed(text, places):
    """The text with the names v<place>, and the places in the order in which they first appear."""
    order = {}

    def rename(match):
        place = places[match[0]]
        order[place] = None
        return f"v{place}"

    return re.sub(r"\b[vct]\d+\b", rename, text), list(order)


# --- a readable listing ---------------------------------------------------------------------------


def disassemble(program):
    """The operations of a NumExpr: [operation, result, operand, ...], with r0 the result, r1 ... the inputs,
    c the constants, t temporaries, which are used again once their value is not needed any more."""
    values = program._values
    names = {}
    for number, name in enumerate(program.input_names, 1):
        index = next(
            i for i, value in enumerate(values) if value.what == "variable" and value.content == name
        )
        names[index] = f"r{number}[{name}]"
    constants = [index for index, value in enumerate(values) if value.what == "constant"]
    for number, index in enumerate(constants, 1 + len(program.input_names)):
        names[index] = f"c{number}[{values[index].content}]"
    first = 1 + len(program.input_names) + len(constants)

    last_use = {operand: index for index, value in enumerate(values) for operand in value.operands}
    registers, free, result_register = {}, [], None
    count = 0
    for index, value in enumerate(values):
        if value.what != "op":
            continue
        for operand in dict.fromkeys(value.operands):
            if last_use[operand] == index and operand in registers:
                free.append((values[operand].letter, registers[operand]))
        last = index == len(values) - 1
        if last and _is_reduction(value.content):
            registers[index] = result_register = -1
            continue
        fitting = next((entry for entry in free if entry[0] == value.letter), None)
        if fitting is not None:
            free.remove(fitting)
            registers[index] = fitting[1]
        else:
            registers[index] = count
            count += 1
        if last:
            result_register = registers[index]
    order = [register for register in range(count) if register != result_register]
    texts = {register: f"t{first + number}" for number, register in enumerate(order)}
    texts[result_register] = "r0"
    names |= {index: texts[register] for index, register in registers.items()}

    listing = []
    for index, value in enumerate(values):
        if value.what == "op":
            line = [value.content.encode(), names[index].encode()]
            line += [names[operand].encode() for operand in value.operands]
            if _is_reduction(value.content):
                line.append(value.axis)
            line += [None] * (4 - len(line))
            listing.append(line[:4] if len(line) <= 4 else line)
            if len(line) > 4:
                listing.append([b"noop", None, None, None])
    return listing


# --- the last expression of each thread -----------------------------------------------------------


class Last(threading.local):
    """What re_evaluate runs again."""

    record = None  # (NumExpr, names, reference to out, order, casting, dtypes and Call for them or None)

    def __getitem__(self, key):
        if self.record is None:
            raise KeyError(key)
        program, names, out, order, casting = self.record[:5]
        kwargs = {"out": out, "order": order, "casting": casting, "ex_uses_vml": False}
        return {"ex": program, "argnames": list(names), "kwargs": kwargs}[key]

    @property
    def l(self):  # noqa: E743
        return self


opcodes = {name.encode(): number for number, name in enumerate(OPCODES)}
