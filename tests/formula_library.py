"""Formulas as tests read them, and what they should be by Python's own ast module."""

import ast
import ctypes
import struct
import textwrap

import native_library
import numpy as np

library = native_library.load()
for name, arguments in (
    ("formula_tuple", (ctypes.py_object, ctypes.c_int)),
    ("formula_repeat", (ctypes.py_object, ctypes.c_int, ctypes.c_int)),
    (
        "formula_raise_at",
        (ctypes.py_object, ctypes.c_int, ctypes.c_int, ctypes.py_object, ctypes.py_object),
    ),
):
    function = getattr(library, name)
    function.restype = ctypes.py_object
    function.argtypes = arguments

KINDS = ("constant", "name", "operator", "condition", "attribute", "subscript", "slice", "tuple", "call")
FUNCTIONS = ("ufunc", "where", "clip", "reduction", "cast", "named")
NAMES = """
Add Sub Mult Div FloorDiv Mod Pow LShift RShift BitAnd BitOr BitXor Lt LtE Eq NotEq Gt GtE USub UAdd Invert
"""
OPERATORS = NAMES.split()
REDUCTIONS = ("sum", "prod", "min", "max", "mean", "any", "all", "argmin", "argmax")
ALIASES = {"amin": "min", "amax": "max", "int": "int_", "float": "float64", "complex": "complex128"}


def read(text, statements=False):
    """names, statements, nodes"""
    return library.formula_tuple(text, statements)


def repeat(text, count, statements=False):
    library.formula_repeat(text, statements, count)


def raise_at(text, node, exception, message, statements=False):
    library.formula_raise_at(text, statements, node, exception, message)


def key_of(value):
    """A constant's identity: its type and bits."""
    if type(value) is float:
        return float, struct.pack("d", value)
    if type(value) is complex:
        return complex, struct.pack("dd", value.real, value.imag)
    if isinstance(value, np.ndarray):
        assert not value.flags.writeable
        return np.ndarray, str(value.dtype), value.shape, value.tobytes()
    return type(value), value


def described(node):
    """(kind, what it is, keywords, children, elementwise)"""
    kind, operation, index, thing, keywords, children, elementwise, *_ = node
    kind = KINDS[kind]
    what = {
        "constant": lambda: key_of(thing),
        "name": lambda: index,
        "operator": lambda: OPERATORS[operation],
        "attribute": lambda: thing,
        "call": lambda: (FUNCTIONS[operation], index if FUNCTIONS[operation] == "named" else thing),
    }.get(kind, lambda: None)()
    return kind, what, keywords, children, elementwise


class Oracle:
    """The nodes of a text, from the ast module's tree, by recursion and a dictionary."""

    def __init__(self, text, statements=False):
        self.lines = text.split("\n")
        self.names = []
        self.statements = []
        self.nodes = []
        self.places = []
        if statements:
            source = textwrap.dedent(text)
            self.shift = [
                len(line) - len(dedented)
                for line, dedented in zip(self.lines, source.split("\n"), strict=True)
            ]
            for statement in ast.parse(source).body:
                self.statement(statement)
        else:
            self.shift = [0] * len(self.lines)
            self.equal = {}
            self.statements = [(-1, -1, self.visit(ast.parse(text, mode="eval").body))]

    def statement(self, tree):
        self.equal = {}
        first = len(self.nodes)
        if isinstance(tree, ast.Assign):
            value = self.visit(tree.value)
            target, operation = self.visit(tree.targets[0]), -1
        else:
            target, operation = self.visit(tree.target), OPERATORS.index(type(tree.op).__name__)
            value = self.visit(tree.value)
            sign = type(tree.op).__name__
            self.add((tree,), "operator", sign, (target, value), elementwise=True)
        self.statements.append((target, operation, value, self.place(tree)[0], first))

    def place(self, first, last=None):
        def column(line, offset):
            prefix = " " * self.shift[line - 1]
            text = prefix + self.lines[line - 1][len(prefix) :]
            return len(prefix) + len(text[len(prefix) :].encode()[:offset].decode())

        last = last or first
        return (
            first.lineno,
            column(first.lineno, first.col_offset),
            last.end_lineno,
            column(last.end_lineno, last.end_col_offset),
        )

    def add(self, place, kind, what=None, children=(), keywords=None, elementwise=False):
        node = kind, what, keywords, tuple(children), elementwise
        if node not in self.equal:
            self.equal[node] = len(self.nodes)
            self.nodes.append(node)
            self.places.append(self.place(*place))
        return self.equal[node]

    def visit(self, tree):
        return getattr(self, type(tree).__name__)(tree)

    def name(self, name):
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name)

    def operator(self, place, tree, *children):
        return self.add(place, "operator", type(tree).__name__, children, elementwise=True)

    def Name(self, tree):
        return self.add((tree,), "name", self.name(tree.id))

    def Constant(self, tree):
        return self.add((tree,), "constant", key_of(tree.value))

    def BinOp(self, tree):
        return self.operator((tree,), tree.op, self.visit(tree.left), self.visit(tree.right))

    def UnaryOp(self, tree):
        return self.operator((tree,), tree.op, self.visit(tree.operand))

    def Compare(self, tree):
        operands = [tree.left, *tree.comparators]
        left = self.visit(tree.left)
        result = None
        for i, sign in enumerate(tree.ops):
            right = self.visit(operands[i + 1])
            number = self.operator((operands[i], operands[i + 1]), sign, left, right)
            if i > 0:
                number = self.operator((operands[0], operands[i + 1]), ast.BitAnd(), result, number)
            result, left = number, right
        return result

    def IfExp(self, tree):
        children = [self.visit(part) for part in (tree.test, tree.body, tree.orelse)]
        return self.add((tree,), "condition", None, children)

    def Attribute(self, tree):
        return self.add((tree,), "attribute", tree.attr, [self.visit(tree.value)])

    def Subscript(self, tree):
        children = [self.visit(tree.value), self.visit(tree.slice)]
        return self.add((tree,), "subscript", None, children)

    def Slice(self, tree):
        parts = (tree.lower, tree.upper, tree.step)
        return self.add((tree,), "slice", None, [-1 if part is None else self.visit(part) for part in parts])

    def Tuple(self, tree):
        return self.add((tree,), "tuple", None, [self.visit(item) for item in tree.elts])

    def List(self, tree):
        value = np.array(ast.literal_eval(tree))
        value = value if value.dtype == bool else value.astype(np.intp)
        value.flags.writeable = False
        return self.add((tree,), "constant", key_of(value))

    def Call(self, tree):
        name = ALIASES.get(tree.func.id, tree.func.id)
        function = getattr(np, name, None)
        if name == "clip":
            return self.clip(tree)
        if name in REDUCTIONS:
            kind = "reduction"
        elif name == "where":
            kind = "where"
        elif isinstance(function, np.ufunc):
            kind = "ufunc"
        elif isinstance(function, type) and issubclass(function, np.generic):
            kind = "cast"
        else:
            kind, function = "named", self.name(name)
        children = [self.visit(item) for item in tree.args]
        keywords = ["axis"][: len(tree.args) - 1] if kind == "reduction" else []
        for keyword in tree.keywords:
            keywords.append(keyword.arg)
            children.append(
                self.dtype(keyword.value) if keyword.arg == "dtype" else self.visit(keyword.value)
            )
        elementwise = kind in ("where", "cast") or (kind == "ufunc" and function.signature is None)
        return self.add(
            (tree,), "call", (kind, function), children, tuple(keywords) or None, elementwise and not keywords
        )

    def dtype(self, tree):
        if isinstance(tree, ast.Constant):
            value = tree.value if tree.value is None else np.dtype(tree.value)
        else:
            value = np.dtype(getattr(np, ALIASES.get(tree.id, tree.id)))
        return self.add((tree,), "constant", key_of(value))

    def clip(self, tree):
        children = [self.visit(item) for item in tree.args] + [None] * (3 - len(tree.args))
        for keyword in tree.keywords:
            children[1 if "min" in keyword.arg else 2] = self.visit(keyword.value)
        for i, child in enumerate(children):
            if child is None:
                children[i] = self.add((tree,), "constant", key_of(None))
        return self.add((tree,), "call", ("clip", np.clip), children, elementwise=True)
