"""From a text to a tree of nodes, and numexpr's calls: evaluate, re_evaluate, validate, NumExpr.

The text is read by Python's parser and walked; it is never run. Names are names of variables, even those of
Python's own functions, and only numexpr's functions can be called.

A warm call looks up the text (_plan: its parse and names), then the dtypes of its arguments (_call: the
compiled expression), both in caches of 256 that forget the least recently used.
"""

import __future__

import ast
import functools
import operator
import os
import re
import sys
from weakref import ref

from numpy import asarray, ndarray

from . import expressions, interpreter
from .expressions import (  # noqa: F401 (found here by others)
    default_kind,
    double,
    int_,
    kind_to_type,
    long_,
    type_to_kind,
)
from .interpreter import KINDS, _quiet
from .interpreter import disassemble as disassemble
from .utils import CacheDict

is_cpu_amd_intel = False
use_vml = False
CACHED = 256

typecode_to_kind = {letter: kind for letter, (kind, _) in KINDS.items()} | {"s": "str", "n": "none"}
kind_to_typecode = {kind: letter for letter, kind in typecode_to_kind.items()} | {"bytes": "s"}
type_to_typecode = {type_: kind_to_typecode[kind] for type_, kind in type_to_kind.items()}
default_type = kind_to_type[default_kind]
scalar_constant_kinds = list(kind_to_typecode)

_numexpr_last = interpreter.Last()
_names_cache = CacheDict(CACHED)  # for others' use: nothing here reads it
_numexpr_cache = CacheDict(CACHED)


# --- reading the text -----------------------------------------------------------------------------

# What no expression needs: statements, slices, names with double underscores, attributes but real and imag.
# The point of a number is none: 1.5, 2.e-5, 1.5j.
_FORBIDDEN = re.compile(
    r"[;:\[]"
    r"|(^|\W)__\w+__($|\W)"
    r"|\.\b(?!(real|imag|\d*[eE]?[+-]?\d+|\d*[eE]?[+-]?\d+j|\d*j)\b)"
)


def _check_characters(text):
    packed = re.sub(r"'[^']*'", "", re.sub(r"\s+", "", text))
    if _FORBIDDEN.search(packed):
        raise ValueError(f"Expression {text} has forbidden control characters.")


_BINARY = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_UNARY = {ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Invert: operator.invert, ast.Not: operator.not_}
_COMPARISON = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}


class _Reader:
    """Walks a parsed text as Python would compute it, with nodes for the variables."""

    def __init__(self, types):
        self.types = types
        self.variables = {}

    def read(self, tree):
        method = getattr(self, type(tree).__name__, None)
        if method is None:
            raise TypeError(f"unsupported expression type: {type(tree).__name__}")
        return method(tree)

    def Constant(self, tree):
        if tree.value is Ellipsis:
            raise TypeError("unsupported expression type: <class 'ellipsis'>")
        return tree.value

    def Name(self, tree):
        if tree.id in expressions.functions:
            return expressions.functions[tree.id]
        if tree.id not in self.variables:
            kind = type_to_kind[self.types.get(tree.id, default_type)]
            self.variables[tree.id] = expressions.VariableNode(tree.id, kind)
        return self.variables[tree.id]

    def BinOp(self, tree):
        # a + b + c + ...: as long as one likes, without recursion
        chain = []
        while isinstance(tree, ast.BinOp):
            chain.append(tree)
            tree = tree.left
        value = self.read(tree)
        for tree in reversed(chain):
            value = self.operate(_BINARY.get(type(tree.op)), value, self.read(tree.right))
        return value

    def UnaryOp(self, tree):
        return self.operate(_UNARY[type(tree.op)], self.read(tree.operand))

    def Compare(self, tree):
        left, result = self.read(tree.left), True
        for op, right in zip(tree.ops, tree.comparators, strict=True):
            if not result:  # of a < b < c; a TypeError for a node
                break
            right = self.read(right)
            result = self.operate(_COMPARISON.get(type(op)), left, right)
            left = right
        return result

    def BoolOp(self, tree):
        wanted = isinstance(tree.op, ast.Or)
        for part in tree.values[:-1]:
            value = self.read(part)
            if bool(value) == wanted:
                return value
        return self.read(tree.values[-1])

    def IfExp(self, tree):
        return self.read(tree.body if self.read(tree.test) else tree.orelse)

    def Attribute(self, tree):
        value = self.read(tree.value)
        if tree.attr not in ("real", "imag") or not isinstance(
            value, (int, float, complex, expressions.ExpressionNode)
        ):
            raise AttributeError(f"{type(value).__name__!r} object has no attribute {tree.attr!r}")
        return getattr(value, tree.attr)

    def Call(self, tree):
        function = self.read(tree.func)
        if not callable(function):
            raise TypeError(f"{type(function).__name__!r} object is not callable")
        if any(keyword.arg is None for keyword in tree.keywords):
            raise TypeError("** is not supported")
        arguments = [self.read(argument) for argument in tree.args]
        return function(*arguments, **{keyword.arg: self.read(keyword.value) for keyword in tree.keywords})

    @staticmethod
    def operate(function, *values):
        if function is None or any(callable(value) for value in values):
            raise TypeError("unsupported operand")
        if any(isinstance(value, expressions.ExpressionNode) for value in values) or None in values:
            return function(*values)
        return expressions.fold(function, *values)


def _tree(parsed, types, optimization):
    """The tree of nodes of a parsed text, with variables of these types."""
    context = expressions._context
    before, context.optimization = context.optimization, optimization
    try:
        value = _Reader(types).read(parsed)
    finally:
        context.optimization = before
    if expressions.isConstant(value):
        return expressions.ConstantNode(value)
    if not isinstance(value, expressions.ExpressionNode):
        raise TypeError(f"unsupported expression type: {type(value)}")
    return value


def _parse(text, sanitize):
    if not isinstance(text, str):
        raise ValueError("must specify expression as a string")
    if sanitize:
        _check_characters(text)
    return ast.parse(text, "<expr>", "eval").body


def _sanitizes(sanitize):
    """What None stands for: NUMEXPR_SANITIZE, else True."""
    return bool(int(os.environ.get("NUMEXPR_SANITIZE", "1"))) if sanitize is None else sanitize


def stringToExpression(s, types, context, sanitize=True):
    """The tree of nodes of a text. `types` are of its variables, double unless given."""
    return _tree(_parse(s, sanitize), types, context.get("optimization", "none"))


def expressionToAST(ex):
    """The tree itself: there is one kind of tree here."""
    return ex


def typeCompileAst(ast):
    """Checks that there is an operation for each node of the tree (else NotImplementedError). Returns it."""
    interpreter._Builder().tree(ast)
    return ast


def _variables(root):
    """The names of a tree's variables, sorted."""
    names, stack, seen = set(), [root], set()
    while stack:
        node = stack.pop()
        if id(node) not in seen:
            seen.add(id(node))
            stack.extend(node.children)
            if node.astType == "variable":
                names.add(node.value)
    return sorted(names)


def getExprNames(text, context, sanitize=True):
    """The names of a text's variables, and False: whether it uses VML."""
    return _variables(stringToExpression(text, {}, context, sanitize)), False


context_info = [
    ("optimization", ("none", "moderate", "aggressive"), "aggressive"),
    ("truediv", (False, True, "auto"), "auto"),
]


def getContext(kwargs, _frame_depth=1, frame_depth=None):
    """The options of an expression, checked, with defaults. truediv has no effect: / is a true division."""
    given = dict(kwargs)
    context = {}
    for name, allowed, default in context_info:
        context[name] = given.pop(name, default)
        if context[name] not in allowed:
            raise ValueError(f"{name!r} must be one of {allowed}")
    if given:
        raise ValueError(f"Unknown keyword argument {given.popitem()[0]!r}")
    if context["truediv"] == "auto":
        caller = sys._getframe(_frame_depth + 1).f_globals
        context["truediv"] = caller.get("division") == __future__.division
    return context


# --- the arguments --------------------------------------------------------------------------------


def getType(a):
    """The type, for a signature, of an array."""
    return _type_of(a.dtype)


def _type_of(dtype):
    kind, size = dtype.kind, dtype.itemsize
    if kind == "i":
        return long_ if size > 4 else int_
    if kind == "u":
        return long_ if size >= 4 else int_
    if kind == "f":
        return double if size > 4 else float
    if kind in "bcS":
        return {"b": bool, "c": complex, "S": bytes}[kind]
    if kind == "U":
        raise ValueError("NumExpr 2 does not support Unicode as a dtype.")
    raise ValueError(f"unknown type {dtype.name}")


def _arguments(names, local_dict, global_dict, frame):
    """The arrays of these names, from the dictionaries or the frame's."""
    snapshot = local_dict is None
    if snapshot:
        local_dict = frame.f_locals
    arrays = []
    for name in names:
        try:
            value = local_dict[name]
        except KeyError:
            value = (frame.f_globals if global_dict is None else global_dict)[name]
        arrays.append(value if type(value) is ndarray else asarray(value))
    if snapshot and _SNAPSHOTS and sys.getrefcount(local_dict) <= 3 and frame.f_code.co_flags & _FUNCTION:
        # The frame keeps this copy of its variables, which nobody else holds, and the arrays with it.
        local_dict.clear()
    return arrays


_SNAPSHOTS = sys.version_info < (3, 13)
_FUNCTION = 0x1  # CO_OPTIMIZED: its variables are not in f_locals itself


def getArguments(names, local_dict=None, global_dict=None, _frame_depth=2):
    """The arrays of these names, from local_dict (the caller's locals) or global_dict (its globals)."""
    return _arguments(names, local_dict, global_dict, sys._getframe(_frame_depth))


# --- the calls ------------------------------------------------------------------------------------


class _Plan:
    """A text that was read: its names, and how to compile it for dtypes."""

    def __init__(self, text, optimization, sanitize):
        self.parsed = _parse(text, sanitize)
        self.optimization = optimization
        self.names = _variables(_tree(self.parsed, {}, optimization))

    def program(self, dtypes, compiled=None):
        """The program for variables of these dtypes."""
        return (compiled or _compiled)(self, tuple(map(_type_of, dtypes)))


@functools.lru_cache(CACHED)
def _plan(text, optimization="aggressive", sanitize=True):
    return _Plan(text, optimization, sanitize)


@functools.lru_cache(CACHED)
def _compiled(plan, types):
    """The program of a plan for variables of these types: dtypes of one kind share it."""
    types = dict(zip(plan.names, types, strict=True))
    return interpreter.NumExpr(_tree(plan.parsed, types, plan.optimization), plan.names)


@functools.lru_cache(CACHED)
def _call(plan, dtypes):
    """The program of a plan, and its call for arrays of these dtypes."""
    program = plan.program(dtypes)
    return program, program.prepare(dtypes)


def _planned(ex, sanitize, kwargs, frame_depth, plan=_plan):
    if not isinstance(ex, str):
        raise ValueError("must specify expression as a string")
    context = getContext(kwargs, frame_depth)
    return plan(ex, context["optimization"], _sanitizes(sanitize))


def evaluate(
    ex,
    local_dict=None,
    global_dict=None,
    out=None,
    order="K",
    casting="same_kind",
    sanitize=None,
    _frame_depth=3,
    disable_cache=False,
    **kwargs,
):
    """Computes an expression of arrays, element by element, by numexpr's rules.

    ex: the text, as "2*a + 3*b".
    local_dict, global_dict: where its names are looked up; the caller's locals and globals unless given.
    out: an array for the result, which is returned.
    order: of a new result: 'C', 'F', 'A' or 'K'.
    casting: of the arguments to their kinds and of the result to `out`, as in numpy.can_cast.
    sanitize: whether to refuse texts with ; : [ or attributes but .real and .imag. None: unless
        NUMEXPR_SANITIZE is 0. The text is never run in either case.
    disable_cache: compile it anew, and do not keep it for re_evaluate.
    optimization: 'none', 'moderate' or 'aggressive' (the default): which powers become multiplications.
    truediv: accepted; / is always a true division.

    Returns a numpy.ndarray, of no dimensions if all arguments have none.
    Raises KeyError for an unknown name, ValueError and TypeError for what is no expression or argument,
    NotImplementedError for operations that numexpr lacks.

    >>> a = numpy.arange(3)
    >>> evaluate("a**2 + 1")
    array([1, 2, 5])
    """
    if kwargs or sanitize is not None or disable_cache:
        planner = _plan.__wrapped__ if disable_cache else _plan
        plan = _planned(ex, sanitize, kwargs, _frame_depth - 2, planner)
    else:
        try:
            plan = _plan(ex)
        except (ValueError, TypeError):  # forbidden, or no text
            plan = _planned(ex, None, kwargs, _frame_depth - 2)

    arrays = _arguments(plan.names, local_dict, global_dict, sys._getframe(_frame_depth - 2))
    dtypes = tuple([array.dtype for array in arrays])
    if disable_cache:
        program = plan.program(dtypes, _compiled.__wrapped__)
        return program.prepare(dtypes, casting).into(arrays, out, order, casting)
    program, call = _call(plan, dtypes)
    kept = None if out is None else ref(out)
    _numexpr_last.record = (program, plan.names, kept, order, casting, dtypes, call)
    if out is None and order == "K" and casting == "same_kind":
        result = _quiet.copy().run(call.compute, *arrays)
        return result if type(result) is ndarray else asarray(result)
    return program.prepare(dtypes, casting).into(arrays, out, order, casting)


def validate(
    ex,
    local_dict=None,
    global_dict=None,
    out=None,
    order="K",
    casting="safe",
    _frame_depth=2,
    sanitize=None,
    **kwargs,
):
    """Checks an expression and its names as `evaluate` would, without computing it.

    Returns None, and re_evaluate() may follow; or the exception. It raises nothing.
    """
    try:
        plan = _planned(ex, sanitize, kwargs, _frame_depth - 1)
        frame = sys._getframe(_frame_depth - 1)
        arrays = _arguments(plan.names, local_dict, global_dict, frame)
        program = plan.program([array.dtype for array in arrays])
        kept = None if out is None else ref(out)
        _numexpr_last.record = (program, plan.names, kept, order, casting, None, None)
    except Exception as error:
        return error
    return None


def re_evaluate(local_dict=None, global_dict=None, _frame_depth=2):
    """Computes this thread's last expression again, of what its names stand for now.

    Arguments of other dtypes are cast to the kinds of before. RuntimeError if there was no expression.
    """
    record = _numexpr_last.record
    if record is None:
        raise RuntimeError(
            "A previous evaluate() execution was not found, please call `validate` or `evaluate` once before "
            "`re_evaluate`"
        )
    program, names, out, order, casting, dtypes, call = record
    arrays = _arguments(names, local_dict, global_dict, sys._getframe(_frame_depth - 1))
    if dtypes != tuple([array.dtype for array in arrays]):
        call = program.prepare([array.dtype for array in arrays], casting)
    if out is None and order == "K":
        result = _quiet.copy().run(call.compute, *arrays)
        return result if type(result) is ndarray else asarray(result)
    return call.into(arrays, None if out is None else out(), order, casting)


def NumExpr(ex, signature=(), sanitize=True, **kwargs):
    """Compiles an expression, a text or a tree of E's variables, for arrays of given types.

    signature: (name, type) of each variable, in the order of the arguments, of the types bool, numpy.int32,
        numpy.int64, float (float32), numpy.float64, complex and bytes. Without one all are double, by name.

    Returns a callable of the arrays, with the keywords out, order and casting (by default 'safe').
    """
    context = getContext(kwargs)
    types = dict(signature)
    if isinstance(ex, str):
        ex = stringToExpression(ex, types, context, sanitize)
    for type_ in types.values():
        type_to_typecode[type_]  # KeyError for what is none
    return interpreter.NumExpr(ex, [name for name, _ in signature])
