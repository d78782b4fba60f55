"""numexpr's rules of kinds: what an operator or a function makes of its operands.

A kind is one of bool, int (32 bits), long (64), float (32), double (64), complex (128) and bytes. Expressions
are trees of nodes; operators and functions called with nodes make nodes, called with constants they compute
them. This is how a text becomes a tree (necompiler.stringToExpression), and how one is built by hand, from E:

    2 * E.a + E.b ** 2          # a and b are double
"""

import operator
import threading

import numpy

__all__ = ["E"]

double = numpy.float64
int_ = numpy.int32
long_ = numpy.int64
default_kind = "double"

type_to_kind = {
    bool: "bool",
    int_: "int",
    long_: "long",
    float: "float",  # in a signature: float32
    double: "double",
    complex: "complex",
    bytes: "bytes",
    str: "str",
}
kind_to_type = {kind: type_ for type_, kind in type_to_kind.items()}
kind_rank = ("bool", "int", "long", "float", "double", "complex", "none")
scalar_constant_types = tuple(type_to_kind) + (int,)

max_int32 = 2**31 - 1
min_int32 = -(2**31)

_LARGEST_POWER = 50  # "aggressive" turns a power up to this into multiplications
_CONSTANT_BITS = 128  # integers of constants are not computed beyond this

_STANDARD_BOOLEANS = (
    "You can't use Python's standard boolean operators in NumExpr expressions. You should use their bitwise "
    "counterparts instead: '&' instead of 'and', '|' instead of 'or', and '~' instead of 'not'."
)


class Context(threading.local):
    """The options of the expression that this thread reads."""

    optimization = "none"


_context = Context()


def get_optimization():
    return _context.optimization


def isConstant(value):
    """Whether value may stand as a constant."""
    return isinstance(value, scalar_constant_types)


def bestConstantType(value):
    """The type of the kind that a constant has; None for what is no constant."""
    if isinstance(value, (bytes, str)):
        return bytes
    if isinstance(value, (bool, numpy.bool_)):
        return bool
    if isinstance(value, long_):
        return long_
    if isinstance(value, double):
        return double
    if isinstance(value, numpy.float32):
        return float
    if isinstance(value, (int, numpy.integer)):
        return int_ if min_int32 <= value <= max_int32 else long_
    for converter in (float, complex):
        try:
            converted = converter(value)
        except Exception:
            continue
        if converted == value or numpy.isnan(converted):
            return converter
    return None


def getKind(value):
    return type_to_kind[bestConstantType(value)]


def commonKind(nodes):
    """The widest kind of the nodes."""
    kinds = [node.astKind for node in nodes]
    strings = kinds.count("bytes") + kinds.count("str")
    if strings:
        if strings < len(kinds):
            raise TypeError("strings can only be operated with strings")
        return "bytes"
    return max(kinds, key=kind_rank.index)


# --- constants ------------------------------------------------------------------------------------


def fold(function, *values):
    """function(*values) of constants, kept from growing without bounds."""
    if any(isinstance(value, (bytes, str)) for value in values) and function not in _COMPARISONS:
        raise TypeError("strings can only be compared")
    if function in _GROWING and all(isinstance(value, (int, numpy.integer)) for value in values):
        base, exponent = (int(value) for value in values)
        bits = base.bit_length() + exponent if function is operator.lshift else base.bit_length() * exponent
        small = (0,) if function is operator.lshift else (-1, 0, 1)
        if bits > _CONSTANT_BITS and base not in small:
            raise OverflowError("Python int too large to convert to C long")
    if function is operator.invert and isinstance(values[0], bool):
        return ~int(values[0])  # of a bool Python warns
    with numpy.errstate(all="ignore"):
        return function(*values)


_GROWING = (operator.pow, operator.lshift)
_COMPARISONS = (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge)


def _nodes(values):
    """Nodes of operands: constants become ConstantNodes."""
    nodes = [ConstantNode(value) if isConstant(value) else value for value in values]
    for node in nodes:
        if not isinstance(node, ExpressionNode):
            raise TypeError(f"unsupported object type: {type(node)}")
    return nodes


def allConstantNodes(nodes):
    return all(isinstance(node, ConstantNode) for node in nodes)


# --- operators ------------------------------------------------------------------------------------


def _binary(opcode, function, reversed=False, kind=None):
    def method(self, other):
        left, right = _nodes((other, self) if reversed else (self, other))
        if allConstantNodes((left, right)):
            return ConstantNode(fold(function, left.value, right.value))
        return OpNode(opcode, (left, right), kind)

    return method


def _divide(left, right):
    left, right = _nodes((left, right))
    if (
        get_optimization() != "none"
        and isinstance(right, ConstantNode)
        and left.astKind == right.astKind
        and left.astKind in ("float", "double", "complex")
    ):
        with numpy.errstate(all="ignore"):
            return OpNode("mul", (left, ConstantNode(1.0 / right.value)))
    kind = commonKind((left, right))
    return OpNode("div", (left, right), "double" if kind in ("bool", "int", "long") else kind)


def _power(base, exponent):
    base, exponent = _nodes((base, exponent))
    if not isinstance(exponent, ConstantNode):
        return OpNode("pow", (base, exponent))
    value = exponent.value
    integers = base.astKind in ("int", "long") and exponent.astKind in ("int", "long")
    if integers and value < 0:
        raise ValueError("Integers to negative integer powers are not allowed.")
    optimization = get_optimization()
    if optimization == "aggressive" and abs(value) <= _LARGEST_POWER and int(2 * value) == 2 * value:
        return _multiplied(base, value)
    if optimization != "none":
        if value == -1:
            return OpNode("div", (ConstantNode(1), base))
        if value == 0:
            return OpNode("ones_like", (base,))
        if value == 0.5:
            return OpNode("sqrt", (base,), _floating(base))
        if value == 1:
            return base
        if value == 2:
            return OpNode("mul", (base, base))
    return OpNode("pow", (base, exponent))


def _multiplied(base, exponent):
    """base ** exponent by squaring: x**5.5 is (x * ((x*x)*(x*x))) * sqrt(x)."""
    halves = int(abs(2 * exponent))
    whole, result, square = halves // 2, None, base
    while whole:
        if whole & 1:
            result = square if result is None else OpNode("mul", (result, square))
        whole >>= 1
        if whole:
            square = OpNode("mul", (square, square))
    if halves & 1:
        root = OpNode("sqrt", (base,), _floating(base))
        result = root if result is None else OpNode("mul", (result, root))
    if result is None:
        result = OpNode("ones_like", (base,))
    return _divide(ConstantNode(1), result) if exponent < 0 else result


def _floating(node):
    return "double" if node.astKind in ("int", "long") else commonKind((node,))


# --- nodes ----------------------------------------------------------------------------------------


class ExpressionNode:
    """A value of an expression: an op, a variable or a constant (astType); value tells which."""

    astType = "generic"

    def __init__(self, value=None, kind=None, children=None):
        self.value = value
        self.astKind = "none" if kind is None else kind
        self.children = () if children is None else tuple(children)

    def __repr__(self):
        return f"{type(self).__name__}({self.value}, {self.astKind}, {self.children})"

    def __bool__(self):
        raise TypeError(_STANDARD_BOOLEANS)

    @property
    def real(self):
        return OpNode("real", (self,), "double")

    @property
    def imag(self):
        return OpNode("imag", (self,), "double")

    def __neg__(self):
        return OpNode("neg", (self,))

    def __invert__(self):
        return OpNode("invert", (self,))

    def __pos__(self):
        return self

    __hash__ = None  # == makes a node

    __add__ = __radd__ = _binary("add", operator.add)
    __sub__ = _binary("sub", operator.sub)
    __rsub__ = _binary("sub", operator.sub, reversed=True)
    __mul__ = __rmul__ = _binary("mul", operator.mul)
    __truediv__ = _divide

    def __rtruediv__(self, other):
        return _divide(other, self)

    __floordiv__ = _binary("floordiv", operator.floordiv)
    __rfloordiv__ = _binary("floordiv", operator.floordiv, reversed=True)
    __mod__ = _binary("mod", operator.mod)
    __rmod__ = _binary("mod", operator.mod, reversed=True)
    __pow__ = _power
    __rpow__ = _binary("pow", operator.pow, reversed=True)
    __lshift__ = _binary("lshift", operator.lshift)
    __rlshift__ = _binary("lshift", operator.lshift, reversed=True)
    __rshift__ = _binary("rshift", operator.rshift)
    __rrshift__ = _binary("rshift", operator.rshift, reversed=True)
    __and__ = _binary("and", operator.and_)
    __rand__ = _binary("and", operator.and_, reversed=True)
    __or__ = _binary("or", operator.or_)
    __ror__ = _binary("or", operator.or_, reversed=True)
    __xor__ = _binary("xor", operator.xor)
    __rxor__ = _binary("xor", operator.xor, reversed=True)
    __gt__ = _binary("gt", operator.gt, kind="bool")
    __ge__ = _binary("ge", operator.ge, kind="bool")
    __lt__ = _binary("gt", operator.gt, reversed=True, kind="bool")
    __le__ = _binary("ge", operator.ge, reversed=True, kind="bool")
    __eq__ = _binary("eq", operator.eq, kind="bool")
    __ne__ = _binary("ne", operator.ne, kind="bool")


class LeafNode(ExpressionNode):
    leafNode = True


class VariableNode(LeafNode):
    astType = "variable"

    def __init__(self, value=None, kind=None, children=None):
        super().__init__(value, kind)


class ConstantNode(LeafNode):
    astType = "constant"

    def __init__(self, value=None, children=None):
        # A Python float is double; a float32 stays one.
        super().__init__(value, "double" if isinstance(value, float) else getKind(value))

    @property
    def real(self):
        return ConstantNode(complex(self.value).real)

    @property
    def imag(self):
        return ConstantNode(complex(self.value).imag)

    def __neg__(self):
        return ConstantNode(-self.value)

    def __invert__(self):
        return ConstantNode(fold(operator.invert, self.value))


class RawNode:
    """A number that is part of an operation: a reduction's axis."""

    astType = "raw"
    astKind = "none"
    children = ()

    def __init__(self, value):
        self.value = value


class OpNode(ExpressionNode):
    astType = "op"

    def __init__(self, opcode=None, args=None, kind=None):
        if kind is None and args is not None:
            kind = commonKind(args)
        if kind == "bool":
            opcode = {"add": "or", "mul": "and"}.get(opcode, opcode)
        super().__init__(opcode, kind, args)


class FuncNode(OpNode):
    def __init__(self, opcode=None, args=None, kind=None):
        super().__init__(opcode, args, "bool" if opcode in _PREDICATES else kind)


_PREDICATES = ("isnan", "isfinite", "isinf", "signbit")


class Expression:
    """E.name is the double variable of that name."""

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return VariableNode(name, default_kind)


E = Expression()


# --- functions ------------------------------------------------------------------------------------

# fmt: off
ELEMENTARY = (
    "sqrt", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh",
    "arctanh", "log", "log1p", "log10", "log2", "exp", "expm1",
)
# fmt: on
_KEEP_INTEGERS = ("copy", "ones_like", "round", "sign")


def func(function, minkind=None, maxkind=None):
    """The numexpr function that computes what a NumPy one does. Integers become double unless it keeps them;
    other kinds are raised to minkind and lowered to maxkind."""
    name = function.__name__

    def call(*args):
        nodes = _nodes(args)
        if not nodes:
            raise TypeError(f"{name}() takes an argument")
        if allConstantNodes(nodes):
            with numpy.errstate(all="ignore"):
                value = function(*[node.value for node in nodes])
            if isinstance(value, numpy.ndarray):  # of copy and ones_like
                value = value.item() if value.dtype.kind in "bi" else value[()]
            return ConstantNode(value)
        kind = commonKind(nodes)
        if kind in ("int", "long"):
            kind = kind if name in _KEEP_INTEGERS else "double"
        else:
            if kind == "bytes" and minkind:
                raise ValueError(f"{name}() takes no strings")
            if minkind and kind_rank.index(minkind) > kind_rank.index(kind):
                kind = minkind
            if maxkind and kind_rank.index(maxkind) < kind_rank.index(kind):
                kind = maxkind
        return FuncNode(name, nodes, kind)

    call.__name__ = name
    return call


def where_func(condition, chosen, other):
    condition, chosen, other = _nodes((condition, chosen, other))
    if isinstance(condition, ConstantNode):
        return chosen if condition.value else other
    return FuncNode("where", (condition, chosen, other))


def contains_func(haystack, needle):
    return FuncNode("contains", _nodes((haystack, needle)), "bool")


def _reduction(name):
    def call(a, axis=None):
        if isinstance(axis, ConstantNode):
            axis = axis.value
        if axis is not None:
            axis = operator.index(axis)
            if axis < 0:
                raise ValueError("negative axis are not supported")
            if axis > 254:
                raise ValueError("cannot encode axis")
        (node,) = _nodes((a,))
        return FuncNode(name, (node, RawNode(axis)), node.astKind)

    call.__name__ = name
    return call


functions = {
    "copy": func(numpy.copy),
    "ones_like": func(numpy.ones_like),
    "abs": func(numpy.absolute, "float"),
    "conj": func(numpy.conj, "complex"),
    "complex": func(complex, "complex"),
    "real": func(numpy.real, "double", "double"),
    "imag": func(numpy.imag, "double", "double"),
    "ceil": func(numpy.ceil, "float", "double"),
    "floor": func(numpy.floor, "float", "double"),
    "where": where_func,
    "contains": contains_func,
}
functions.update((name, func(getattr(numpy, name), "float")) for name in (*ELEMENTARY, "arctan2", "fmod"))
functions.update(
    (name, func(getattr(numpy, name), "double"))
    for name in (
        "hypot",
        "nextafter",
        "copysign",
        "maximum",
        "minimum",
        "round",
        "trunc",
        "sign",
        *_PREDICATES,
    )
)
functions.update((name, _reduction(name)) for name in ("sum", "prod", "min", "max"))
