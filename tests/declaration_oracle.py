"""Random C declarations, and what pycparser makes of them in the form of native/declaration.c."""

from declaration_library import ATOMIC, CONST, OPERATORS, RESTRICT, VOLATILE
from pycparser import c_ast, c_parser

QUALIFIERS = {"const": CONST, "volatile": VOLATILE, "restrict": RESTRICT, "_Atomic": ATOMIC}
# C99 6.7.2, paragraph 2
SPELLINGS = {
    "_Bool": ["_Bool"],
    "char": ["char"],
    "signed char": ["signed char"],
    "unsigned char": ["unsigned char"],
    "short": ["short", "signed short", "short int", "signed short int"],
    "unsigned short": ["unsigned short", "unsigned short int"],
    "int": ["int", "signed", "signed int"],
    "unsigned int": ["unsigned", "unsigned int"],
    "long": ["long", "signed long", "long int", "signed long int"],
    "unsigned long": ["unsigned long", "unsigned long int"],
    "long long": ["long long", "signed long long", "long long int", "signed long long int"],
    "unsigned long long": ["unsigned long long", "unsigned long long int"],
    "float": ["float"],
    "double": ["double"],
    "long double": ["long double"],
    "void": ["void"],
}
NAMES = {tuple(sorted(words.split())): name for name, all_ in SPELLINGS.items() for words in all_}
PRELUDE = {
    "size_t": "typedef unsigned long size_t;",
    "int32_t": "typedef int int32_t;",
    "npy_double": "typedef double npy_double;",
    "PyObject": "typedef struct _object PyObject;",
}
# What pycparser does not know of stands in the text as a mark: (for pycparser, for the reader).
MARKS = {
    "@A": [("", ""), ("", '__attribute__((aligned(8), deprecated("(;{")))'), ("", "__attribute__(())")],
    "@X": [("", ""), ("", "__extension__")],
    "@L": [("", ""), ("", 'asm("label")'), ("", '__asm__ ("a" "b") __attribute__((unused))')],
    "@c": [("const", "const"), ("const", "__const"), ("const", "__const__")],
    "@v": [("volatile", "volatile"), ("volatile", "__volatile__")],
    "@r": [("restrict", "restrict"), ("restrict", "__restrict"), ("restrict", "__restrict__")],
    "@i": [("inline", "inline"), ("inline", "__inline"), ("inline", "__inline__")],
    "@s": [("signed", "signed"), ("signed", "__signed__")],
    "@/": [(" ", "/* ] */"), (" ", "// ;\n")],
    "@(": [("[", "["), ("[", "<:")],
    "@)": [("]", "]"), ("]", ":>")],
}


# ---- The generator ----


class Generator:
    """Writes declarations; each is valid in both parsers' eyes."""

    def __init__(self, random):
        self.random = random
        self.count = 0
        self.typedefs = dict.fromkeys(PRELUDE, "object")
        self.enumerators = []
        self.hidden = [[]]  # parameters' names, list in list

    def fresh(self, letter):
        self.count += 1
        return f"{letter}{self.count}"

    def maybe(self, probability=0.5):
        return self.random.random() < probability

    def pick(self, *choices):
        return self.random.choice(choices)

    # -- expressions --

    def leaf(self, names):
        choices = ["3", "0x1f", "017", "10u", "7UL", "2LL", "'a'", "'\\n'", "1.5", "0"]
        choices += ["sizeof(int)", "sizeof (long[3])", "sizeof n", "(int)4", "f(1, 2)", "g[3]", "s.m", "p->q"]
        choices += self.enumerators[-5:] + list(names) + ["unknown"] + [f"{i}" for i in range(9)]
        return self.random.choice(choices)

    def expression(self, names=(), depth=0):
        if depth > 3 or self.maybe(0.4):
            return self.leaf(names)
        operators = [operator for operator in OPERATORS if operator not in ("-1", "~", "!", "?")]
        which = self.random.random()
        if which < 0.15:
            operator = self.pick("-", "~", "!", "+", "- -", "& ", "*")
            operand = self.grouped(names, depth + 1)
            return f"(*{operand})" if operator == "*" else f"{operator} {operand}"  # [* confuses pycparser
        if which < 0.25:
            parts = [self.expression(names, depth + 1) for _ in range(3)]
            return "({} ? {} : {})".format(*parts)
        operator = self.random.choice(operators)
        gap = self.pick(" ", "\n", "@/")
        left, right = self.expression(names, depth + 1), self.expression(names, depth + 1)
        return f"{left}{gap}{operator}{gap}{right}"

    def grouped(self, names, depth):
        inner = self.expression(names, depth)
        return f"({inner})" if len(inner) > 1 and " " in inner else inner

    # -- specifiers --

    def tag(self):
        """A struct, union or enum, with or without a body."""
        word = self.pick("struct", "union", "enum")
        name = self.fresh("tag")
        if word == "enum":
            return f"enum @A {name} {{ {self.enumeration()} }}" if self.maybe(0.6) else f"enum {name}"
        if self.maybe(0.6):
            return f"{word} {name}"
        inner = f"enum {{ {self.enumeration()} }} e;" if self.maybe(0.3) else "int (*x)(int), y[3];"
        return f"{word} {self.pick('', name)} {{ double m; struct {{ int n; }} s; {inner} }}"

    def enumeration(self):
        names = []
        for _ in range(self.random.randint(1, 3)):
            name = self.fresh("E")
            names.append(f"{name} = {self.value()}" if self.maybe() else name)
            self.enumerators.append(name)
        return ", ".join(names) + self.pick("", ",")

    def value(self):
        """An enumerator's value, on which unlimited integers and C's types agree."""
        plain = ["3", "0x1f", "017", "10u", "2LL", "'a'", "unknown", "sizeof(int)", "f(1)", "(int)4"]
        first = self.pick(*plain, *self.enumerators[-5:])
        return self.pick(first, f"{first} + 2", f"3 + ({first})", f"{first} == 3", f"{first} ? 4 : 5")

    def base(self, nested):
        """(the words of a type, what kind it is)"""
        usable = [name for name in self.typedefs if not any(name in names for names in self.hidden)]
        which = self.random.random()
        if usable and which < 0.35:
            name = self.random.choice(usable[-12:] + usable[:4])
            return [name], self.typedefs[name]
        if which < 0.45 and not nested:
            return [self.tag()], "object"
        if which < 0.5:
            return [self.pick("struct S", "union U")], "object"
        name = self.random.choice(list(SPELLINGS))
        words = self.random.choice(SPELLINGS[name]).split()
        return [word.replace("signed", "@s") if word == "signed" else word for word in words], (
            "void" if name == "void" else "object"
        )

    def specifiers(self, storage=(), nested=False):
        words, kind = self.base(nested)
        qualifiers = [self.pick("@c", "@v") for _ in range(self.random.choice([0, 0, 0, 1, 1, 2]))]
        if kind == "function":
            qualifiers = []
        words = words + qualifiers + list(storage)
        self.random.shuffle(words)
        return " ".join(words), kind

    # -- declarators --

    def declarator(self, name, kind, nested=0):
        """(a declarator around the name, the kind of what it declares)"""
        steps = []
        outer = kind
        for _ in range(self.random.choice([0, 0, 1, 1, 2, 2, 3, 4])):
            allowed = ["pointer", "pointer"]
            if outer not in ("function", "void"):
                allowed.append("array")
            if outer in ("object", "void", "pointer"):
                allowed.append("function")
            outer = self.random.choice(allowed)
            steps.append(outer)
        text, bracket = name, bool(name) and name not in self.typedefs
        for i, step in enumerate(reversed(steps)):
            last = i == len(steps) - 1
            if step == "pointer":
                words = self.random.sample(["@c", "@v", "@r", "@A"], self.random.choice([0, 0, 1, 2]))
                text = "*" + " ".join(words) + " " + text
                bracket = True
                following = None if last else steps[len(steps) - 2 - i]
                if following in ("array", "function"):
                    text = f"({self.pick('', '@A')} {text})"
            elif step == "array":
                # what is qualified or static is a parameter's outermost array
                outermost = i == 0 and nested
                text += self.extent(outermost)
            else:
                text += self.parameters(nested + 1)
            if bracket and self.maybe(0.1):
                text = f"({text})"
        return text, (steps[-1] if steps else kind)

    def extent(self, outermost):
        names = [name for name in self.hidden[-1] if name and name not in self.typedefs]
        if not outermost:
            return f"@({self.expression(names)}@)"
        words = self.random.sample(["@c", "@r", "static"], self.random.choice([0, 0, 1, 2]))
        if "static" in words or self.maybe():
            return f"@({' '.join(words)} {self.expression(names)}@)"
        return f"[{' '.join(words)} {self.pick('', '*')}]"

    def parameters(self, nested):
        if nested > 2 or self.maybe(0.2):
            return self.pick("()", "(void)", "( void )")
        self.hidden.append([])
        items = [self.parameter(nested) for _ in range(self.random.randint(1, 3))]
        self.hidden.pop()
        return f"({', '.join(items)}{self.pick('', '', ', ...')})"

    def parameter(self, nested):
        words, kind = self.specifiers(self.pick((), (), (), ("register",)), nested=True)
        if kind == "void":
            words, kind = words + " *", "pointer"
            name = self.pick("", self.fresh("p"))
            self.hidden[-1].append(name)
            return f"{words} {name} @A"
        reused = [name for name in self.typedefs if name.startswith("t") and self.maybe(0.05)]
        reused += [name for name in self.enumerators[-3:] if self.maybe(0.2)]
        name = self.random.choice(["", self.fresh("p"), self.fresh("p"), *reused[:2]])
        if name in self.typedefs:  # pycparser does not find it in brackets
            array = self.extent(False) if kind != "function" else ""
            text = self.pick("", "* ") + name + self.pick("", array)
        else:
            text, _ = self.declarator(name, kind, nested)
        if name:
            self.hidden[-1].append(name)
        return f"{words} {text} @A"

    # -- declarations --

    def declaration(self):
        storage = self.pick((), (), ("extern",), ("static",), ("typedef",), ("typedef",), ("static", "@i"))
        if self.maybe(0.08):
            return f"@X {self.tag()};"
        words, kind = self.specifiers(storage)
        declarators = []
        added = {}
        for _ in range(self.random.choice([1, 1, 1, 2, 3])):
            name = self.fresh("t" if "typedef" in storage else "v")
            text, made = self.declarator(name, kind)
            if "typedef" in storage:
                added[name] = made if made in ("array", "function", "void") else "object"
            last = self.pick("", "= {1, 2}", "= f(1, (2, 3))") if not storage and made == "object" else ""
            declarators.append(f"{text} @L {last}")
        self.typedefs.update(added)  # in C the next declarator sees it, in pycparser the next declaration
        body = text.endswith(")") and made == "function" and "typedef" not in storage
        if body and len(declarators) == 1 and self.maybe() and text.startswith((name, "*")):
            return f"@X {words} {text} {{ if (a) {{ b(c); }} return (struct S){{1}}; }}"
        return f"@X {words} {', '.join(declarators)};"

    def texts(self, count):
        """The text for pycparser and the text for the reader."""
        template = "\n".join(self.declaration() for _ in range(count))
        ours = theirs = ""
        for i, piece in enumerate(template.split("@")):
            if i == 0:
                ours = theirs = piece
                continue
            their, our = self.random.choice(MARKS["@" + piece[0]])
            space = "" if piece[0] in "()" else " "
            theirs += f"{space}{their}{space}{piece[1:]}"
            ours += f"{space}{our}{space}{piece[1:]}"
        return theirs, ours


# ---- pycparser's trees in our form ----


def divide(a, b):
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def shift_left(a, b):
    if a < 0 or not 0 <= b < 64:
        raise ValueError
    return a << b


def shift_right(a, b):
    if not 0 <= b < 64:
        raise ValueError
    return a >> b


COMPUTE = {
    "*": lambda a, b: a * b,
    "/": divide,
    "%": lambda a, b: a - b * divide(a, b),
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "<<": shift_left,
    ">>": shift_right,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "&": lambda a, b: a & b,
    "^": lambda a, b: a ^ b,
    "|": lambda a, b: a | b,
}
UNARY = {"-1": lambda a: -a, "~": lambda a: ~a, "!": lambda a: not a}
SPELLED = {number: operator for operator, number in OPERATORS.items()}


def evaluate(expression):
    """The value of an expression in our form; ValueError or ZeroDivisionError if it has none."""
    kind, *operands = expression
    if kind == "constant":
        return operands[0]
    if kind not in SPELLED:
        raise ValueError
    operator = SPELLED[kind]
    first = evaluate(operands[0])
    if operator == "?":
        return evaluate(operands[1] if first else operands[2])
    if operator in ("&&", "||"):
        decided = bool(first) == (operator == "||")
        return int(bool(first) if decided else bool(evaluate(operands[1])))
    value = UNARY[operator](first) if operator in UNARY else COMPUTE[operator](first, evaluate(operands[1]))
    if not -(2**63) <= value < 2**63:
        raise ValueError
    return int(value)


def value_of(expression):
    try:
        return None if expression is None else evaluate(expression)
    except (ValueError, ZeroDivisionError):
        return None


class Normaliser:
    def __init__(self):
        self.typedefs = {}
        self.scopes = [{}]  # name -> value of an enumerator, or "ordinary"

    def find(self, name):
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        return None

    # -- expressions --

    def constant(self, node):
        text = node.value
        if node.type == "char":
            return ("constant", {"'a'": 97, "'\\n'": 10}[text])
        digits = text.rstrip("uUlL")
        if "." in digits:
            return ("other",)
        octal = len(digits) > 1 and digits[0] == "0" and digits.isdigit()
        return ("constant", int(digits, 8) if octal else int(digits, 0))

    def expression(self, node):
        if node is None:
            return None
        if isinstance(node, c_ast.Constant):
            return self.constant(node)
        if isinstance(node, c_ast.ID):
            if node.name == "*":
                return ("star",)
            found = self.find(node.name)
            if found is None or found == "ordinary":
                return ("name", node.name)
            return ("other",) if found == "unknown" else ("constant", found)
        if isinstance(node, c_ast.BinaryOp):
            return (OPERATORS[node.op], self.expression(node.left), self.expression(node.right))
        if isinstance(node, c_ast.TernaryOp):
            parts = (node.cond, node.iftrue, node.iffalse)
            return (OPERATORS["?"], *(self.expression(part) for part in parts))
        if isinstance(node, c_ast.UnaryOp) and node.op in ("-", "~", "!", "+"):
            inner = self.expression(node.expr)
            return inner if node.op == "+" else (OPERATORS["-1" if node.op == "-" else node.op], inner)
        if isinstance(node, c_ast.UnaryOp) and node.op == "sizeof" and isinstance(node.expr, c_ast.Typename):
            return ("constant", 24 if isinstance(node.expr.type, c_ast.ArrayDecl) else 4)
        return ("constant", 4) if isinstance(node, c_ast.Cast) else ("other",)

    # -- types --

    def enumerators(self, node):
        value = 0
        for item in node.values.enumerators if node.values else ():
            if item.value is not None:
                value = value_of(self.expression(item.value))
            self.scopes[-1][item.name] = "unknown" if value is None else value
            value = None if value is None or value == 2**63 - 1 else value + 1

    def inside(self, node):
        """The enumerators in a struct's body."""
        if isinstance(node, c_ast.Enum):
            self.enumerators(node)
        for _, child in node.children():
            self.inside(child)

    def qualify(self, kind, qualifiers):
        name, own, detail, target, known = kind
        if name == "function" or qualifiers == 0:
            return kind
        if name == "array":
            return (name, own, detail, self.qualify(target, qualifiers), known)
        return (name, own | qualifiers, detail, target, known)

    def named(self, names):
        if len(names) == 1 and names[0] in self.typedefs:
            return self.typedefs[names[0]]
        name = NAMES[tuple(sorted(names))]
        return ("void", 0, None, None, None) if name == "void" else ("basic", 0, name, None, None)

    def bits(self, words):
        result = 0
        for word in words:
            result |= QUALIFIERS.get(word, 0)
        return result

    def base(self, node):
        if isinstance(node, c_ast.IdentifierType):
            return self.named(node.names)
        self.inside(node)
        return (type(node).__name__.lower(), 0, node.name, None, None)

    def type(self, node):
        """From the outside in, as scopes go: the words in front come first."""
        parts = []
        while not isinstance(node, c_ast.TypeDecl):
            parts.append(node)
            node = node.type
        made = self.qualify(self.base(node.type), self.bits(node.quals))
        for part in reversed(parts):
            made = self.derive(part, made)
        return made

    def derive(self, node, target):
        if isinstance(node, c_ast.PtrDecl):
            return ("pointer", self.bits(node.quals), None, target, None)
        if isinstance(node, c_ast.ArrayDecl):
            extent = self.expression(node.dim)
            detail = ("static" in node.dim_quals, extent, value_of(extent))
            return ("array", self.bits(node.dim_quals), detail, target, None)
        return ("function", 0, self.function(node), target, None)

    def function(self, node):
        if node.args is None:
            return ((), False, True)
        self.scopes.append({})
        items = []
        variadic = False
        for item in node.args.params:
            if isinstance(item, c_ast.EllipsisParam):
                variadic = True
                continue
            kind = self.type(item.type)
            items.append((item.name, kind))
            if item.name:
                self.scopes[-1][item.name] = "ordinary"
        self.scopes.pop()
        if items == [(None, ("void", 0, None, None, None))]:
            items = []
        return (tuple(items), variadic, False)

    # -- declarations --

    def unit(self, text):
        """(name, storage, inline, definition, type) of each declaration."""
        result = []
        for node in c_parser.CParser().parse(text).ext:
            definition = isinstance(node, c_ast.FuncDef)
            node = node.decl if definition else node
            kind = self.type(node.type) if self.is_declarator(node) else self.base(node.type)
            if not self.is_declarator(node):
                continue
            storage = [word for word in node.storage if word in ("extern", "static", "typedef")]
            inline = "inline" in (getattr(node, "funcspec", None) or [])
            if isinstance(node, c_ast.Typedef):
                self.typedefs[node.name] = kind
            else:
                self.scopes[0][node.name] = "ordinary"
            result.append((node.name, "".join(storage), inline, definition, kind))
        return result

    def is_declarator(self, node):
        return not isinstance(node.type, (c_ast.Struct, c_ast.Union, c_ast.Enum))


def plain(kind, known=False):
    """A type of ours without places, and without what pycparser does not know of."""
    name, qualifiers, detail, target, prelude = kind
    if name == "function":
        items, variadic, no_prototype = detail
        detail = (tuple((item[0], plain(item[3], known)) for item in items), variadic, no_prototype)
    return (name, qualifiers, detail, plain(target, known) if target else None, prelude if known else None)
