"""Array expressions and assignments as nodes (src/frontend/formula.c), with Python's ast as the oracle."""

import contextlib
import gc
import random
import sys
import threading
import time
import traceback

import numpy as np
import pytest
from formula_library import Oracle, described, raise_at, read, repeat

pytestmark = pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")


def check(text, statements=False):
    """Compares all there is with the oracle's."""
    names, found, nodes = read(text, statements)
    oracle = Oracle(text, statements)
    assert list(names) == oracle.names
    assert [described(node) for node in nodes] == oracle.nodes
    assert [node[7:] for node in nodes] == oracle.places
    for mine, other in zip(found, oracle.statements, strict=True):
        assert mine[: len(other)] == other
    for i, node in enumerate(nodes):
        assert all(child < i for child in node[5])
    return nodes


# ---- Against Python's ast ----

EXPRESSIONS = """
a
1
a + b*a + b
2*a**2 - b//3 % c
a << 2 >> b & c | d ^ a
-a + +b + ~c
- -a
a < b
a < b < c
a < b <= c == d != e > f >= g
(a < b) < c
x if c else y
x if c else y if d else z
(x if c else y) + 1
a.real + a.imag + a.T
a.T.T
a[0]
a[-1]
a[1:-1]
a[::2, 1:n:3, ...]
a[None, :, ..., -1]
a[()]
a[i + 1]
a[b > 0]
a[b, c][0][::2]
a[[0, 2]] + a[[0, -2]] + a[[0, 2]]
a[[True, False], [1, 0]]
a[[]]
a[1,]
a["field"]
sin(a) + cos(a)**2 + sin(a)
abs(a) + absolute(a)
where(a < 0, -a, a)
matmul(a, b) + vecdot(a, b)
clip(a, 0, 1) + clip(a, 0) + clip(a, max=1) + clip(a, None, 1)
clip(a, max=1, min=b) + clip(a, a_min=0, a_max=b)
sum(a) + sum(a, 0) + sum(a, axis=0) + sum(a, (0, -1)) + sum(a, axis=None)
sum(a, -1, keepdims=True, dtype=float32, initial=b, where=c)
prod(a, dtype="int64") + mean(a, dtype=float) + any(a) + all(a) + argmin(a, 1) + argmax(a)
min(a) + amin(a) + max(a) + amax(a, axis=(0, 1))
float64(a) + int8(b) + bool(a) + int(a) + float(a) + complex(a) + longdouble(a) + bool_(a) + intp(a)
add(a, b, dtype=complex64, casting="unsafe", order="C")
jv(0, a) + jv(n, x, dtype=None)
sum + sum(sum)
sin
1 + 1.0 + True + 1j + "a" + b"a" + "a"
0.0 + -0.0 + 0j
1e999 - 1e999
18446744073709551615 + -9223372036854775808 + 9223372036854775808
0x_ff + 1_000
("a"
 "b")
(a +
   b
 * c)
é + ﬁ
größe*"ß" + größe[ö]
"𝔘𝔫𝔦" + 𝔘
"""


def expressions():
    pieces, text = [], ""
    for line in EXPRESSIONS.strip().split("\n"):
        text = f"{text}\n{line}" if text else line
        if text.count("(") == text.count(")"):
            pieces.append(text)
            text = ""
    return pieces


@pytest.mark.parametrize("text", expressions())
def test_expressions(text):
    check(text)


SIGNS = "+ - * / // % ** << >> & | ^"
BINARY_SIGNS = SIGNS.split()


class Generator:
    """Random expressions."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, *choices):
        return self.random.choice(choices)

    def operand(self):
        return self.pick("a", "b", "xs", "é", "1", "2.5", "3j", "0", "True", "'s'", "0.0")

    def expression(self, depth):
        if depth == 0:
            return self.operand()
        make = self.pick(
            self.operand,
            self.binary,
            self.binary,
            self.unary,
            self.compare,
            self.condition,
            self.index,
            self.call,
        )
        return make(depth - 1) if make != self.operand else make()

    def some(self, depth):
        text = self.expression(depth)
        return self.pick(f"({text})", f"( {text}\n)", text if text.isalnum() else f"({text})")

    def binary(self, depth):
        sign = self.pick(*BINARY_SIGNS)
        return f"{self.some(depth)} {sign}{self.pick(' ', '')}{self.some(depth)}"

    def unary(self, depth):
        return self.pick("-", "+", "~") + self.some(depth)

    def compare(self, depth):
        text = self.some(depth)
        for _ in range(self.pick(1, 1, 2, 3)):
            text += self.pick(" < ", "<=", " == ", "!=", " > ", ">=") + self.some(depth)
        return text

    def condition(self, depth):
        return f"{self.some(depth)} if {self.some(depth)} else {self.some(depth)}"

    def item(self, depth):
        part = self.some(depth)
        return self.pick(part, f"{part}:", f":{part}", f"::{part}", "...", "None", "[0, -1]", "[True]", ":")

    def index(self, depth):
        items = ", ".join(self.item(depth) for _ in range(self.pick(1, 1, 2)))
        return f"({self.some(depth)})[{items}]{self.pick('', '.T', '.real')}"

    def call(self, depth):
        one, two, three = (self.some(depth) for _ in range(3))
        return self.pick(
            f"sin({one})",
            f"hypot({one}, {two})",
            f"where({one}, {two}, {three})",
            f"clip({one}, {two})",
            f"clip({one}, max={two}, min={three})",
            f"sum({one}, 0)",
            f"mean({one}, axis={two}, where={three})",
            f"float32({one})",
            f"gamma({one}, {two}, dtype=float32)",
            f"add({one}, {two}, dtype='f4')",
        )


@pytest.mark.parametrize("seed", range(10))
def test_random_expressions(seed):
    generator = Generator(seed)
    for _ in range(100):
        check(generator.expression(4).strip("\n"))


@pytest.mark.parametrize(
    "text",
    [
        "a = b",
        "a = a + 1",
        "a[i] = a[i] + 1; b[i] = a[i]",
        "a += b\nb -= a; c *= 2; c /= 2\nd //= 2; d %= 3; d **= 2\ne <<= 1; e >>= 1; e &= 3; e |= 4; e ^= a",
        "a[1:-1] += a[:-2] + a[2:]",
        "a[0][1:][b] = c[::2]",
        "  a = b\n  c = a",
        "\n    a = b  # comment\n\n    # c = d\n    c = (a +\n       b)\n    ",
        "\ta = b\n\tc = d\\\n\t + a",
        "größe = é; b = größe",
        "    größe = é; b[ö] = größe",
        "\n\n\n  a = 1\n  \n  b = 2",
        "a = 'x\\ny'\nb = a",
    ],
)
def test_statements(text):
    check(text, statements=True)


def test_statements_share_nothing():
    nodes = check("a = b + c\nb = b + c", statements=True)
    assert [node[0] for node in nodes].count(2) == 2
    _, statements, _ = read("a = b + c\nb = b + c", True)
    assert [statement[4] for statement in statements] == [0, 4]


def test_comments_at_the_margin_do_not_count():
    names, statements, nodes = read("    a = b\n# comment\n    c = d\n", True)
    assert names == ("b", "a", "d", "c")
    assert [statement[3] for statement in statements] == [1, 3]
    assert nodes[0][7:] == (1, 8, 1, 9)


# ---- Texts around an expression ----


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("  a + b  ", (1, 2, 1, 7)),
        ("\ta + b\t", (1, 1, 1, 6)),
        ("\n\n   a + b\n\n", (3, 3, 3, 8)),
        ("\r\n  a + b\r\n", (2, 2, 2, 7)),
        ("\r  a + b\r", (2, 2, 2, 7)),
        ("# sum\n  # of\n    a + b # two\n  # names\n  ", (3, 4, 3, 9)),
        ("\n    (a +\n  b)\n", (2, 5, 3, 3)),
        ("\r\n    (a +\r\n  b)\r\n", (2, 5, 3, 3)),
        ("\r    (a +\r  b)\r", (2, 5, 3, 3)),
        ("\f a + b", (1, 2, 1, 7)),
        ("a \\\n  + b", (1, 0, 2, 5)),
        ("  (é +\n   ü)", (1, 3, 2, 4)),
        (" é['ß'].real", (1, 1, 1, 12)),
    ],
)
def test_places_in_the_text_as_given(text, place):
    assert read(text)[2][-1][7:] == place


def test_a_str_subclass_is_a_text():
    class Text(str):
        def __str__(self):
            raise AssertionError

    assert read(Text("a + b"))[0] == ("a", "b")


def test_names_are_interned_and_normalised():
    names = read("abc_x + ﬁn")[0]
    assert names == ("abc_x", "fin")
    assert names[0] is sys.intern("abc_x")


# ---- Refusals: the marked part of the text, and a part of the message ----

REFUSED = [
    ("a and b", "a and b", "write &"),
    ("1 + (a or b)", "a or b", "write |"),
    ("not a", "not a", "write ~"),
    ("a + (b in c)", "b in c", "'in'"),
    ("a not in c", "a not in c", "'not in'"),
    ("a is b", "a is b", "write =="),
    ("a < b is not c", "a < b is not c", "write !="),
    ("a @ b + c", "a @ b", "matmul(a, b)"),
    ("lambda: a", "lambda: a", "lambda"),
    ("a + [b for b in c]", "[b for b in c]", "comprehension"),
    ("sum(b for b in c)", "(b for b in c)", "generator"),
    ("{b for b in c}", "{b for b in c}", "comprehension"),
    ("{b: b for b in c}", "{b: b for b in c}", "comprehension"),
    ("f'{a}' + b", "f'{a}'", "f-string"),
    ("(a := b)", "a := b", "':='"),
    ("a + {1}", "{1}", "a set"),
    ("a + {1: 2}", "{1: 2}", "a dict"),
    ("a + [1]", "[1]", "a list"),
    ("(a, b)", "(a, b)", "a tuple"),
    ("a, b", "a, b", "a tuple"),
    ("a[(1, 2), 3]", "(1, 2)", "a tuple inside an index"),
    ("a[[b]]", "b", "integers"),
    ("a[[1.0]]", "1.0", "integers"),
    ("a[[[1]]]", "[1]", "integers"),
    ("a[[-True]]", "-True", "integers"),
    ("a[*b]", "*b", "'*'"),
    ("a[b[c @ d]]", "c @ d", "matmul"),
    ("None", "None", "only in an index"),
    ("a + ...", "...", "only in an index"),
    ("a.b", "a.b", "'.b' is not allowed"),
    ("é + a.__class__", "a.__class__", "'.__class__'"),
    ("__import__('os')", "__import__", "__import__"),
    ("1 + __name__", "__name__", "not allowed"),
    ("np.sin(a)", "np.sin", "write sin(...)"),
    ("2*a.sum()", "a.sum", "write sum(...)"),
    ("np.linalg.norm(a)", "np.linalg.norm", "only NumPy's functions"),
    ("a[0](b)", "a[0]", "only NumPy's functions"),
    ("sin(a)(b)", "sin(a)", "only NumPy's functions"),
    ("(lambda x: x)(a)", "lambda x: x", "only NumPy's functions"),
    ("sin(*a)", "*a", "one by one"),
    ("hypot(a, *b)", "*b", "one by one"),
    ("sin(**a)", "**a", "one by one"),
    ("sin(a, **b)", "**b", "one by one"),
    ("sum(a, axis=[0])", "[0]", "a list"),
    ("a +", None, "invalid syntax"),
    ("a b", None, "invalid syntax"),
    ("é + é é", None, "invalid syntax"),
    ("(a", "(", "never closed"),
    ("'a", "'", "unterminated string"),
    ("a = b", None, "invalid syntax"),
    ("a; b", None, "invalid syntax"),
    ("a\nb", None, "invalid syntax"),
    ("import os", None, "invalid syntax"),
    ("a\0", "\0", "null character"),
    ("a +\n\0b", "\0", "null character"),
    ("é\ud800", "\ud800", "surrogate"),
    ("\ufeffa", None, "U+FEFF"),
    ("a\u00a0+ b", None, "U+00A0"),
    ("", "", "no expression"),
    (" \n # a\n", None, "no expression"),
    ("  \n  a +\n    b", None, "invalid syntax"),
    ("await a", None, ""),
    ("yield a", None, ""),
]

WRONG = [
    ("divmod(a, b)", "divmod", "divmod() has 2 results"),
    ("1 + frexp(a)", "frexp", "2 results"),
    ("modf(a)", "modf", "2 results"),
    ("sin()", "sin()", "takes 1 argument, not 0"),
    ("1 + hypot(a)", "hypot(a)", "takes 2 arguments, not 1"),
    ("sin(a, b)", "sin(a, b)", "takes 1 argument, not 2"),
    ("where(a)", "where(a)", "takes 3 arguments, not 1"),
    ("where(a, b, c, d)", "where(a, b, c, d)", "takes 3 arguments"),
    ("where(a, b, c, dtype=int)", "dtype=int", "takes no keyword 'dtype'"),
    ("clip(a)", "clip(a)", "min, a max or both"),
    ("clip(a, None)", "clip(a, None)", "min, a max or both"),
    ("clip(a, ...)", "clip(a, ...)", "Ellipsis"),
    ("clip()", "clip()", "not 0 arguments"),
    ("clip(a, 1, 2, 3)", "clip(a, 1, 2, 3)", "not 4 arguments"),
    ("clip(a, 1, min=2)", "min=2", "min twice"),
    ("clip(a, max=1, a_max=2)", "a_max=2", "max twice"),
    ("float64()", "float64()", "takes 1 argument, not 0"),
    ("float64(a, b)", "float64(a, b)", "takes 1 argument, not 2"),
    ("float64(a, dtype=int)", "dtype=int", "takes no keyword"),
    ("sum()", "sum()", "one array, and an axis, not 0"),
    ("sum(a, 0, int)", "sum(a, 0, int)", "one array, and an axis, not 3"),
    ("sum(a, b)", "b", "the axis, an integer"),
    ("min(a, b)", "b", "minimum(a, b)"),
    ("max(a, b)", "b", "maximum(a, b)"),
    ("sum(a, 0, axis=1)", "axis=1", "axis twice"),
    ("sum(a, axis=0, axis=1)", "axis=1", "twice"),
    ("sum(a, out=b)", "out=b", "takes no keyword 'out'"),
    ("add(a, b, where=b)", "where=b", "takes no keyword 'where'"),
    ("argmin(a, where=b)", "where=b", "takes no keyword 'where'"),
    ("sin(a, out=b)", "out=b", "takes no keyword 'out'"),
    ("sin(a, subok=b)", "subok=b", "takes no keyword 'subok'"),
    ("jv()", "jv()", "takes an argument"),
    ("jv(a, signature='d')", "signature='d'", "takes no keyword 'signature'"),
    ("sin(a, dtype=b)", "b", "float32"),
    ("sin(a, dtype=sin)", "sin", "float32"),
    ("sin(a, dtype='nothing')", "'nothing'", "float32"),
    ("sin(a, dtype='O')", "'O'", "float32"),
    ("sin(a, dtype=object)", "object", "float32"),
    ("sin(a, dtype=1)", "1", "float32"),
    ("sin(a, dtype=np.float32)", "np.float32", "float32"),
    ("sin(a, casting=b)", "b", "casting= takes a string"),
    ("sin(a, order=1)", "1", "order= takes a string"),
]

LARGE = [
    ("18446744073709551616", "18446744073709551616"),
    ("a + 0x1_0000000000000000", "0x1_0000000000000000"),
    ("a - -9223372036854775809", "-9223372036854775809"),
    ("a[[9223372036854775808]]", "[9223372036854775808]"),
    ("a[18446744073709551616:]", "18446744073709551616"),
]

REFUSED_STATEMENTS = [
    ("a = b = c", "a = b = c", "two assignments"),
    ("pass", "pass", "'pass'"),
    ("a = b; pass", "pass", "'pass'"),
    ("", "", "no assignment"),
    ("  \n# a = b", None, "no assignment"),
    ("a = b; a + b", "a + b", "an expression alone"),
    ("a @= b", "a @= b", "matmul"),
    ("a: int = 3", "a: int = 3", "annotation"),
    ("a: int", "a: int", "annotation"),
    ("del a", "del a", "'del'"),
    ("a = b\n  \nimport os", "import os", "only assignments"),
    ("if a: b = c", "if a: b = c", "only assignments"),
    ("return a", "return a", "only assignments"),
    ("a.real = b", "a.real", "cannot assign"),
    ("a.real[0] = b", "a.real[0]", "cannot assign"),
    ("a, b = c", "a, b", "cannot assign"),
    ("[a] = c", "[a]", "cannot assign"),
    ("*a, b = c", "*a, b", "cannot assign"),
    ("a = *b, c", "*b, c", "a tuple"),
    ("a[*b] = c", "*b", "'*'"),
    ("    a = b\n    b = c and d", "c and d", "write &"),
    ("__name__ = a", "__name__", "not allowed"),
    ("sin(a) = b", None, "cannot assign to function call"),
    ("  a = b\n c = d", None, "unexpected indent"),
    ("a = b\n  c = d", None, "unexpected indent"),
    ("a = yield", "yield", "'yield'"),
]


def marked(error):
    """The part of the text an error points to."""
    line = error.text or ""
    assert error.lineno == error.end_lineno
    return line[error.offset - 1 : error.end_offset - 1]


def line_of(text, number):
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[number - 1]


def refusal(text, statements, exception):
    with pytest.raises(exception) as caught:
        read(text, statements)
    if isinstance(caught.value, SyntaxError):
        error = caught.value
        assert error.filename == "<tinyweave>"
        assert error.text == line_of(text, error.lineno)
        assert 1 <= error.offset <= len(error.text) + 1
    else:
        assert type(caught.value) is exception
    return caught.value


@pytest.mark.parametrize(
    ("text", "part", "message", "statements"),
    [(*case, False) for case in REFUSED] + [(*case, True) for case in REFUSED_STATEMENTS],
)
def test_refused(text, part, message, statements):
    error = refusal(text, statements, SyntaxError)
    assert message in error.msg
    if part is not None:
        assert marked(error) == part


def check_caret(error, text, part):
    """The message ends with the line and carets under the part."""
    line, carets = str(error).split("\n")[-2:]
    assert line[4:] == text
    assert line[carets.index("^") : carets.rindex("^") + 1] == part


@pytest.mark.parametrize(("text", "part", "message"), WRONG)
def test_wrong_arguments(text, part, message):
    error = refusal(text, False, TypeError)
    assert message in str(error).split("\n")[0]
    check_caret(error, text, part)


@pytest.mark.parametrize(("text", "part"), LARGE)
def test_integers_beyond_64_bits(text, part):
    error = refusal(text, False, OverflowError)
    assert "64 bits" in str(error)
    check_caret(error, text, part)


@pytest.mark.parametrize("text", [None, b"a + b", 3, ["a"]])
def test_no_text(text):
    error = refusal(text, False, TypeError)
    assert "evaluate()" in str(error) and type(text).__name__ in str(error)


def test_python_prints_line_and_caret():
    error = refusal("\n  a + (b and c)", False, SyntaxError)
    printed = "".join(traceback.format_exception_only(error))
    assert printed.split("\n")[:3] == [
        '  File "<tinyweave>", line 2',
        "    a + (b and c)",
        "         ^^^^^^^",
    ]


def test_errors_of_later_lines():
    text = "\n    é = ü\r\n    ö = é +* ü\n"
    error = refusal(text, True, SyntaxError)
    assert (error.lineno, error.text, error.offset) == (3, "    ö = é +* ü", 12)
    text = "(é +\r\n   ö @ ü)"
    error = refusal(text, False, SyntaxError)
    assert (error.lineno, error.offset, error.end_offset) == (2, 4, 9)


def test_a_part_of_several_lines():
    error = refusal("(a +\n (b and\n  c))", False, SyntaxError)
    assert (error.lineno, error.offset, error.end_lineno, error.end_offset) == (2, 3, 3, 4)
    with pytest.raises(TypeError) as caught:
        read("(a +\n sin(b,\n  c))")
    assert str(caught.value).split("\n")[1:] == ["    sin(b,", "    ^^^^^^"]


def test_raise_at_a_node():
    with pytest.raises(ValueError, match="too odd") as caught:
        raise_at("\n \té + sin(a)*b", 4, ValueError, "too odd")
    assert str(caught.value) == "too odd\n    é + sin(a)*b\n        ^^^^^^^^"
    with pytest.raises(SyntaxError) as caught:
        raise_at("a = é\nb = sin(a)", 3, SyntaxError, "too odd", True)
    assert (caught.value.msg, marked(caught.value)) == ("too odd", "sin(a)")


def test_long_lines_are_cut_in_messages():
    text = "+".join(f"a{i}" for i in range(500)) + " + sin(a, b) + " + "+".join(["b"] * 500)
    with pytest.raises(TypeError) as caught:
        read(text)
    line, carets = str(caught.value).split("\n")[1:]
    assert len(line) == 4 + 120
    assert line[carets.index("^") : carets.rindex("^") + 1] == "sin(a, b)"
    with pytest.raises(SyntaxError) as caught:
        read(text.replace("sin(a, b)", "(a and b)"))
    assert caught.value.text is None
    with pytest.raises(SyntaxError) as caught:
        read("(a and b) + " + text)
    assert len(caught.value.text) == 1000
    assert marked(caught.value) == "a and b"


# ---- Sizes ----

LONG = {
    "terms": "+".join(["a"] * 1000),
    "many terms": "+".join(f"a{i % 7}*{i}" for i in range(10000)),
    "parentheses": "(" * 100 + "a" + ")" * 100,
    "nested sums": "(a + " * 100 + "a" + ")" * 100,
    "calls": "sin(" * 100 + "a" + ")" * 100,
    "indices": "a[" * 100 + "0" + "]" * 100,
    "signs": "-" * 450 + "a",
    "powers": "**".join(["a"] * 450),
    "comparisons": " < ".join(["a"] * 5000),
    "conditions": "a if b else " * 400 + "c",
    "attributes": "a" + ".T" * 450,
}


def deep(levels, function):
    """Calls the function that many calls of Python deep."""
    return function() if levels == 0 else deep(levels - 1, function)


@pytest.mark.parametrize("text", LONG.values(), ids=LONG.keys())
def test_long_texts_on_deep_stacks(text):
    expected = read(text)
    limit = sys.getrecursionlimit()
    frame, levels = sys._getframe(), 0
    while frame:
        frame, levels = frame.f_back, levels + 1
    sys.setrecursionlimit(1000)
    try:
        found = deep(950 - levels, lambda: read(text))
    finally:
        sys.setrecursionlimit(limit)
    assert found == expected


def test_deep_stacks_of_c():
    """Each call of the key function is one of C's, inside another."""
    text = LONG["terms"]
    expected = read(text)
    found = []

    def key(level):
        if level == 0:
            found.append(read(text))
        else:
            sorted([level - 1], key=key)
        return 0

    levels = 200
    key(levels)
    assert found == [expected]


def test_long_texts_on_a_small_stack():
    results = []
    size = threading.stack_size(512 * 1024)
    try:
        thread = threading.Thread(target=lambda: results.extend(read(text) for text in LONG.values()))
        thread.start()
    finally:
        threading.stack_size(size)
    thread.join()
    assert results == [read(text) for text in LONG.values()]


def in_threads(work, count=4):
    """Runs work(number) in threads; what they raised."""
    errors = []

    def run(number):
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_threads():
    texts = list(LONG.values()) + expressions()[:20]
    expected = [repr(read(text)) for text in texts]

    def work(shift):
        for i in range(len(texts)):
            number = (i + 7 * shift) % len(texts)
            assert repr(read(texts[number])) == expected[number]

    assert in_threads(work) == []


def test_garbage_collections_let_other_threads_in():
    texts = [LONG["terms"], *expressions()[:20]]
    threshold, interval = gc.get_threshold(), sys.getswitchinterval()

    def collected(*_):
        sum(range(10))

    def work(_):
        for text in texts * 30:
            read(text)

    gc.callbacks.append(collected)
    gc.set_threshold(50)
    sys.setswitchinterval(1e-6)
    try:
        assert in_threads(work) == []
        assert gc.isenabled()
    finally:
        gc.callbacks.remove(collected)
        gc.set_threshold(*threshold)
        sys.setswitchinterval(interval)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("+".join(["a"] * 100000), "too long, or nests too deep"),
        ("(" * 300 + "a" + ")" * 300, "too many nested parentheses"),
        ("-" * 501 + "a", "nests deeper than 500 levels"),
        ("-" * 100000 + "a", "too long, or nests too deep"),
        ("a if b else " * 600 + "c", "nests deeper than 500 levels"),
        ("a" + ".T" * 600, "nests deeper than 500 levels"),
        (" " * 1000001, "the limit is 1000000"),
        ("a + " + " " * 999996 + "b", "the limit is 1000000"),
        ("<".join(f"a{i}" for i in range(40000)), "more than 100000 different parts"),
    ],
)
def test_limits(text, message):
    with pytest.raises(SyntaxError, match=message) as caught:
        read(text)
    assert caught.value.filename == "<tinyweave>"


def test_the_longest_texts():
    assert read("a + " + " " * 999995 + "b")[0] == ("a", "b")
    names, statements, nodes = read("a = b\n" * 30000, True)
    assert (len(statements), len(nodes)) == (30000, 60000)


def test_many_statements_behind_a_long_one():
    text = "a = " + "<".join(f"a{i}" for i in range(20000)) + "\na = b" * 15000
    assert len(read(text, True)[1]) == 15001


def test_reading_is_linear():
    def measure(count):
        text = "é < " + " < ".join(f"é{i}" for i in range(count))
        start = time.perf_counter()
        read(text)
        return time.perf_counter() - start

    assert min(measure(16000) for _ in range(3)) < 40 * min(measure(1600) for _ in range(3))


def test_short_texts_are_quick():
    best = {}
    for text in ("a + b", "2*a + 3*b*sin(c)"):
        for _ in range(5):
            start = time.perf_counter()
            repeat(text, 1000)
            best[text] = min(best.get(text, 1), (time.perf_counter() - start) / 1000)
    assert best["a + b"] < 200e-6  # a few microseconds; 20 or more with a thread


def test_references_are_given_back():
    texts = [case[0] for case in REFUSED + WRONG + LARGE] + expressions()

    def run():
        for text in texts:
            for statements in (False, True):
                with contextlib.suppress(SyntaxError, TypeError, OverflowError):
                    read(text, statements)

    run()
    objects = [None, Ellipsis, np.sin, np.sum, np.float64, np.clip, "real", "axis"]

    def measure():
        gc.collect()
        return [*map(sys.getrefcount, objects), sys.getallocatedblocks() / 10]

    run()
    before = measure()
    for _ in range(100):
        run()
    # what one of the texts kept would be 100 or more; other code's None come and go
    for count, later in zip(before, measure(), strict=True):
        assert abs(later - count) < 90


# ---- Broken texts ----

WORDS = """
a b é sin sum where clip float64 dtype axis 1 2.5 0x1f 1j 'text' "x" b'y' f'{a}' None ... True + - * / // % **
@ ~ << >> & | ^ < > <= >= == != = += := ( ) [ ] { } , : ; . -> if else and or not in is lambda for await yield
import del pass return class def print 99999999999999999999999 1e999 08 1_ 0b2 $ ? ! ` # \\ 𝔘
"""
TOKENS = [*WORDS.split(), *"\n\t\r\f\0\u00a0\u2028\ufeff\ud800"]


def broken(generator):
    kind = generator.random.randrange(4)
    if kind == 0:
        size = generator.random.randrange(40)
        data = bytes(generator.random.randrange(256) for _ in range(size))
        return data.decode(
            generator.pick("latin-1", "ascii", "utf-8"), generator.pick("surrogateescape", "replace")
        )
    if kind == 1:
        words = [generator.pick(*TOKENS) for _ in range(generator.random.randrange(20))]
        return generator.pick("", " ").join(words)
    text = generator.expression(3)
    if kind == 2:
        text = f"  a = {text}\n  b[0] += {generator.expression(1)}"
    for _ in range(generator.random.randrange(4)):
        start = generator.random.randrange(len(text) + 1)
        end = min(len(text), start + generator.random.randrange(4))
        text = text[:start] + generator.pick("", *TOKENS) + text[end:]
    return text


@pytest.mark.parametrize("seed", range(8))
def test_broken_texts(seed):
    generator = Generator(seed)
    for _ in range(600):
        text = broken(generator)
        for statements in (False, True):
            try:
                read(text, statements)
            except SyntaxError as error:
                assert error.filename == "<tinyweave>", text
                assert error.text == line_of(text, error.lineno), text
                assert 1 <= error.offset <= len(error.text) + 1, text
                assert (error.end_lineno, error.end_offset) > (error.lineno, error.offset), text
            except (TypeError, OverflowError) as error:
                assert "^" in str(error).split("\n")[-1], text
