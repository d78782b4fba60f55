"""Macros, #if and the user's headers (src/frontend/preprocess.c, expand.c, condition.c)."""

import ctypes
import os
import random
import re
import shutil
import subprocess
import time

import native_library
import pytest
from text_library import KINDS, compile_text, encode, spellings

library = native_library.load()
library.preprocess_texts.argtypes = (ctypes.py_object, ctypes.py_object)
library.preprocess_texts.restype = ctypes.py_object

NUMBER, STRING, PUNCTUATOR = (KINDS.index(kind) for kind in ("number", "string", "punctuator"))
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="compares with gcc")


def tokens(*texts, folders=()):
    """[(kind, directive, first, spelling, line, column, label)], or (line, column, message, source)."""
    labelled = [("tw:code", encode(text)) for text in texts]
    result = library.preprocess_texts(labelled, [os.fsencode(folder) for folder in folders])
    if isinstance(result, list):
        assert KINDS[result[-1][0]] == "end"
        assert not any(token[1] for token in result)
    return result


def expand(*texts, folders=()):
    result = tokens(*texts, folders=folders)
    assert isinstance(result, list), result
    return [token[3].decode() for token in result[:-1]]


def line(*texts, folders=()):
    return " ".join(expand(*texts, folders=folders))


def gcc(text, *options):
    """(the tokens that gcc makes of a text, the lines that it calls an error)."""
    done = subprocess.run(
        ["gcc", "-E", "-P", "-std=gnu99", "-undef", "-w", "-fmax-include-depth=40", *options, "-"],
        input=text,
        capture_output=True,
        text=True,
    )
    # a note says where the macro with the error was used
    notes = re.findall(r"^<stdin>:(\d+):\d+: (?:error|note: in expansion)", done.stderr, re.MULTILINE)
    errors = {int(number) for number in notes}
    return spellings(done.stdout), errors


# ---- The standard's examples ----

STANDARD = [
    """#define x 3
#define f(a) f(x * (a))
#undef x
#define x 2
#define g f
#define z z[0]
#define h g(~
#define m(a) a(w)
#define w 0,1
#define t(a) a
#define p() int
#define q(x) x
#define r(x,y) x ## y
#define str(x) # x
f(y+1) + f(f(z)) % t(t(g)(0) + t)(1);
g(x+(3,4)-w) | h 5) & m
(f)^m(m);
p() i[q()] = { q(1), r(2,3), r(4,), r(,5), r(,) };
char c[2][6] = { str(hello), str() };
""",
    r"""#define str(s) # s
#define xstr(s) str(s)
#define debug(s, t) printf("x" # s "= %d, x" # t "= %s", \
x ## s, x ## t)
#define INCFILE(n) vers ## n
#define glue(a, b) a ## b
#define xglue(a, b) glue(a, b)
#define HIGHLOW "hello"
#define LOW LOW ", world"
debug(1, 2);
fputs(str(strncmp("abc\0d", "abc", '\4') // this goes away
== 0) str(: @\n), s);
xstr(INCFILE(2).h)
glue(HIGH, LOW);
xglue(HIGH, LOW)
""",
    """#define hash_hash # ## #
#define mkstr(a) # a
#define in_between(a) mkstr(a)
#define join(c, d) in_between(c hash_hash d)
char p[] = join(x, y);
""",
    """#define t(x,y,z) x ## y ## z
int j[] = { t(1,2,3), t(,4,5), t(6,,7), t(8,9,),
t(10,,), t(,11,), t(,,12), t(,,) };
""",
    """#define OBJ_LIKE (1-1)
#define FUNC_LIKE(a) ( a )
#define OBJ_LIKE /* white space */ (1-1) /* other */
#define FUNC_LIKE( a )( /* note the white space */ \\
a /* other stuff on this line
*/ )
OBJ_LIKE FUNC_LIKE(1)
""",
    """#define debug(...) fprintf(stderr, __VA_ARGS__)
#define showlist(...) puts(#__VA_ARGS__)
#define report(test, ...) ((test)?puts(#test):\\
printf(__VA_ARGS__))
debug("Flag");
debug("X = %d\\n", x);
showlist(The first, second, and third items.);
report(x>y, "x is %d but y is %d", x, y);
""",
]


def lenient(text):
    """The text where its stray backslash is no error: between #if and #endif."""
    return f"#if 1\n{text}\n#endif\n"


@needs_gcc
@pytest.mark.parametrize("text", STANDARD)
def test_examples_of_the_standard(text):
    assert expand(lenient(text)) == gcc(text)[0]


def test_rescanning():
    assert line(STANDARD[0]).startswith(
        "f ( 2 * ( y + 1 ) ) + f ( 2 * ( f ( 2 * ( z [ 0 ] ) ) ) ) % f ( 2 * ( 0 ) ) + t ( 1 ) ; "
        "f ( 2 * ( 2 + ( 3 , 4 ) - 0 , 1 ) ) | f ( 2 * ( ~ 5 ) ) & f ( 2 * ( 0 , 1 ) ) ^ m ( 0 , 1 ) ;"
    )
    assert line(STANDARD[2]) == 'char p [ ] = "x ## y" ;'


# ---- By hand ----


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("int a;", "int a ;"),
        ("#define A a A b\nA", "a A b"),
        ("#define A B\n#define B A\nA B", "A B"),
        ("#define f(x) x f\nf(1)(2)(3)", "1 f ( 2 ) ( 3 )"),
        ("#define f(a) a*g\n#define g(a) f(a)\nf(2)(9)", "2 * 9 * g"),
        ("#define f(x) [x]\nf\n\n(\n1\n)f f", "[ 1 ] f f"),
        ("#define g(x) x\n#define f g(f\nf)", "f"),
        ("#define f (x)\nf", "( x )"),
        ("#define f\\\n(x) x\nf(2)", "2"),
        ("#define lo\\\nng 1\nlong l\\\r\nong", "1 1"),
        ("#define f(lo\\\nng) <lo\\\nng>long\nf(2)", "< 2 > 2"),
        ("#define f(x, y) x-y\nf((1,2), [3)]", "( 1 , 2 ) - [ 3 ]"),
        ("#define f(x, y) x-y\nf((1,2), 3)", "( 1 , 2 ) - 3"),
        ("#define f() 1\nf() f( ) f(2)", "1 1 f ( 2 )"),
        ("#define f(x) <x>\nf() f( ) f(1,2) f(", "< > < > f ( 1 , 2 ) f ("),
        ("#define f(x) <x>\n#define ONE 1\nf(ONE, f(ONE)) ONE", "f ( ONE , f ( ONE ) ) 1"),
        ("#define f(x, ...) x|__VA_ARGS__|\nf(1) f(1,) f(1,2,3)", "1 | | 1 | | 1 | 2 , 3 |"),
        ("#define f(x, r...) x|r|__VA_ARGS__\nf(1,2,3)", "1 | 2 , 3 | __VA_ARGS__"),
        ("#define f(x, ...) g(x, ## __VA_ARGS__)\nf(1) f(1,) f(1,f(2,3))",
         "g ( 1 ) g ( 1 ) g ( 1 , g ( 2 , 3 ) )"),
        ("#define f(x, r...) g(x, ## r)\nf(1) f(1,2,3)", "g ( 1 ) g ( 1 , 2 , 3 )"),
        ("#define f(...) g(a, ## __VA_ARGS__)\nf() f(1)", "g ( a ) g ( a , 1 )"),
        ("#define s(x) #x\ns(  a  +\n b/**/c \"\\n\" '\"' )", r'''"a + b c \"\\n\" '\"'"'''),
        ("#define s(...) #__VA_ARGS__\ns() s(a , b)", '"" "a , b"'),
        ("#define s(x) #x\n#define x(y) s(y)\n#define E\n#define f(x) -x\n"
         "x(a E b) x(aE) x((E-)) x(f( y)) x(a E-b)",
         '"a b" "aE" "(-)" "-y" "a -b"'),
        ("#define s(x) #x\ns(lo\\\nng \"a\\\nb\")", r'"long \"ab\""'),
        ("#define j(a,b) a##b\nj(+,+) j(1,e) j(L,'x') j(u8,\"s\") j(<,<=)", "++ 1e L'x' u8\"s\" <<="),
        ("#define j(a,b) a##b\nj(/,/) j(/,*) j(a,+) j(1 2,3 4) j(\"a\",\"b\")", '/ / / * a + 1 23 4 "a" "b"'),
        ("#define j(a,b) x a##b y\nj(,) j(1,) j(,2)", "x y x 1 y x 2 y"),
        ("#define o a ## b\n#define ab 1\no", "1"),
        ("%:define j(a) %:a a%:%:1\nj(x)", '"x" x1'),
        ("#define j(a, b) a##b\n#define xj(a, b) j(a, b)\nxj(__LINE__, __COUNTER__) __COUNTER__", "30 1"),
        ("a __LINE__\n\n__LINE__ __FILE__", 'a 1 3 "tw:code"'),
        ("#define f(x) x __LINE__\nf(\n\n__LINE__) __LINE__", "2 2 4"),
        ("#define X 1\n#undef X\nX\n#undef X\n#undef\n#define\n#\n#nope\n# 3 \"x\"\n#line 9\n#pragma x\nX",
         "X X"),
        ("#define f(x\n#define g(x,) 1\n#define h(x x) 1\n#define i ##\n#define j ## 1\n#define k 1 ##\n"
         "#define l(x,x) 1\n#define m(... , x) 1\n#define 3\n#define defined 1\n"
         "f g(1) h i j k l m(1) defined",
         "f g ( 1 ) h i j k l m ( 1 ) defined"),
        ("#define EMPTY\nEMPTY # define X 1\nX", "# define X 1 X"),
        ("#define A 1 #undef A\nA", "1 # undef A"),
        ("__x86_64__ _x", "1 _x" if os.uname().machine == "x86_64" else "__x86_64__ _x"),
        ("__SIZE_TYPE__ n; __UINTPTR_TYPE__ m;", "unsigned long n ; unsigned long m ;"),
        ("__DATE__ __func__", "__DATE__ __func__"),
        # a call's arguments with directives in them
        ("#define f(x) [x]\nf(1\n#if 0\n2\n#else\n+3\n#endif\n)", "[ 1 + 3 ]"),
        ("#define f(x) [x]\nf(\n#define A 1\nA\n#undef f\n) f(1)", "[ 1 ] f ( 1 )"),
        ("#define f(x) [x]\nf\n#define A 1\n(A)", "f ( 1 )"),
        ("#define f(x) [x] __LINE__\nf(\n#if __LINE__ == 3\nyes\n#endif\n)", "[ yes ] 2"),
    ],
)  # fmt: skip
def test_expansion(text, expected):
    assert line(text) == expected


def test_kinds_of_what_is_made():
    result = tokens('#define j(a,b) #a a##b\nj(1,2) j(-,>) j(x,y) __LINE__ __FILE__ j(L,"s")')
    kinds = [KINDS[token[0]] for token in result]
    assert kinds == ["string", "number", "string", "punctuator", "string", "identifier"] + [
        "number", "string", "string", "string", "end"]  # fmt: skip


def test_places():
    text = "int x;\n#define f(a) a + a\n#define g f\n  int y = g(\n1) ;\n#define E\nE z"
    places = [(token[3].decode(), *token[4:6], token[2]) for token in tokens(text)]
    assert places == [
        ("int", 1, 1, 1), ("x", 1, 5, 0), (";", 1, 6, 0),
        ("int", 4, 3, 1), ("y", 4, 7, 0), ("=", 4, 9, 0),
        ("1", 4, 11, 0), ("+", 4, 11, 0), ("1", 4, 11, 0), (";", 5, 4, 0),
        ("z", 7, 3, 1), ("", 7, 4, 0),
    ]  # fmt: skip


def test_no_directives_no_change():
    text = "int a;\n  f(x,\\\ny)"
    result = tokens(text, "b")
    assert [token[3] for token in result] == [
        b"int",
        b"a",
        b";",
        b"f",
        b"(",
        b"x",
        b",",
        b"y",
        b")",
        b"b",
        b"",
    ]
    assert [token[4:6] for token in result][-3:] == [(3, 2), (1, 1), (1, 2)]


def test_several_sources():
    assert line("#define A 1\nA", "A B", "#define B 2\nA B") == "1 1 B 1 2"
    assert line("#define f(x) [x]\nf", "(1)", "f(", "1)") == "f ( 1 ) f ( 1 )"
    assert line("#if 0", "A", "#endif\nB") == "A B"
    assert line("", "", "#define A 1\n", "A") == "1"
    assert line() == ""
    assert tokens() == [(KINDS.index("end"), 0, 0, b"", 1, 1, None)]


# ---- Random macros ----

NAMES = ("A", "B", "C", "D", "E", "F")
EXPANSION_LIMIT = 1000  # tokens; programs that make more are left out


class Program:
    """A text of a few macros and their uses, brackets paired."""

    def __init__(self, choose):
        self.choose = choose
        self.parameters = {}  # of each function-like macro defined so far

    def atom(self, locals_):
        kinds = ["a", "1", "+", "AB", ".", "-", "<", "x", *NAMES, *locals_, *locals_]
        return self.choose.choice(kinds)

    def call(self, depth, locals_):
        name = self.choose.choice(list(self.parameters) or NAMES)
        count = self.parameters.get(name, 1)
        if count < 0:
            count = -count + self.choose.randrange(2)
        arguments = (self.tokens(depth - 1, locals_, 3) for _ in range(count))
        return (
            name
            + self.choose.choice(("(", " (", "( "))
            + self.choose.choice((",", ", ")).join(arguments)
            + ")"
        )

    def piece(self, depth, locals_, body):
        draw = self.choose.random()
        if depth > 0 and draw < 0.25:
            return self.call(depth, locals_)
        if depth > 0 and draw < 0.32:
            return "(" + self.tokens(depth - 1, locals_, 3) + ")"
        if body and locals_ and draw < 0.42:
            return "#" + self.choose.choice(locals_)
        if body and draw < 0.58:
            words = ["a", "x", "1", "A", "B", "C", *locals_, *locals_, *locals_]
            count = self.choose.choice((2, 2, 3))
            return self.choose.choice(("##", " ## ")).join(self.choose.choice(words) for _ in range(count))
        return self.atom(locals_)

    def tokens(self, depth, locals_=(), limit=5, body=False):
        count = self.choose.randrange(limit + 1)
        pieces = [self.piece(depth, locals_, body) for _ in range(count)]
        return self.choose.choice((" ", " ", "  ", " /**/ ")).join(pieces)

    def define(self):
        name = self.choose.choice(NAMES)
        draw = self.choose.random()
        locals_ = [] if draw < 0.35 else self.choose.sample(("x", "y", "A", "_p"), self.choose.randrange(4))
        header = ""
        self.parameters.pop(name, None)
        if draw >= 0.35:
            variadic = self.choose.random() < 0.2
            spelled = [*locals_, "..."] if variadic else locals_
            header = "(" + ", ".join(spelled) + ")"
            self.parameters[name] = -len(spelled) if variadic else max(len(locals_), 1) if locals_ else 0
            locals_ = [*locals_, "__VA_ARGS__"] if variadic else locals_
        return f"#define {name}{header} {self.tokens(2, locals_, 5, True)}"

    def line(self):
        draw = self.choose.random()
        if draw < 0.4:
            return self.define()
        if draw < 0.46:
            return f"#undef {self.choose.choice(NAMES)}"
        if draw < 0.55:
            name, other = self.choose.choice(NAMES), self.choose.choice(NAMES)
            test = self.choose.choice(
                (f"#ifdef {name}", f"#ifndef {name}", f"#if defined {name} && defined({other})")
            )
            middle = self.choose.choice(("", f"\n#elif defined {other}\n{self.text()}"))
            return f"{test}\n{self.text()}{middle}\n#else\n{self.line()}\n#endif"
        return self.text()

    def text(self):
        joint = self.choose.choice((" ", " ", "\n"))
        return joint.join(self.piece(3, (), False) for _ in range(1 + self.choose.randrange(4)))

    def make(self):
        lines = [self.define() for _ in range(2 + self.choose.randrange(3))]
        lines += [self.line() for _ in range(3 + self.choose.randrange(5))]
        lines += [self.text()]
        # names that no program defines end what an earlier one left
        return "\n".join(lines) + "".join(f"\n#undef {name}" for name in NAMES)


def split(spelled, count):
    """The tokens of each program, by the marks between them."""
    parts, last = [], []
    for spelling in spelled:
        if spelling == f"MARK{len(parts)}":
            parts.append(last)
            last = []
        else:
            last.append(spelling)
    assert len(parts) == count and not last
    return parts


def compare_programs(programs):
    """How many of the programs were compared: those that gcc finds right. Fails with one that differs."""
    found = {program: tokens(program) for program in programs}
    programs = [program for program in programs if isinstance(found[program], list)]
    programs = [program for program in programs if len(found[program]) < EXPANSION_LIMIT]
    text, ends = "", []
    for number, program in enumerate(programs):
        text += f"{program}\nMARK{number}\n"
        ends.append(text.count("\n"))
    spelled, errors = gcc(text)
    compared, start = 0, 0
    for program, end, expected in zip(programs, ends, split(spelled, len(programs)), strict=True):
        wrong = any(start < number <= end for number in errors)
        start = end
        if not wrong:
            compared += 1
            assert [token[3].decode() for token in found[program][:-1]] == expected, program
    return compared


@needs_gcc
@pytest.mark.parametrize("seed", range(8))
def test_random_macros(seed):
    choose = random.Random(seed)
    programs = [Program(choose).make() for _ in range(500)]
    assert compare_programs(programs) > 150


# ---- #if ----


def condition(choose, depth):
    """An integer constant expression."""
    if depth == 0 or choose.random() < 0.15:
        return choose.choice(
            [
                "0",
                "1",
                "2",
                "3",
                "7",
                "63",
                "64",
                "0x10",
                "010",
                "0b101",
                "1u",
                "2UL",
                "3ll",
                "5uLL",
                "-1",
                "~0",
            ]
            + [
                "'a'",
                r"'\n'",
                r"'\x41'",
                r"'\377'",
                "'ab'",
                "L'a'",
                r"L'\x1234'",
                "X",
                "Y",
                "Z",
                "NOPE",
                "F(3)",
                "F",
            ]
            + [
                "defined X",
                "defined(NOPE)",
                "0x7fffffffffffffff",
                "9223372036854775807",
                "18446744073709551615",
            ]
        )
    draw = choose.random()
    if draw < 0.15:
        return choose.choice("+-!~") + " " + condition(choose, depth - 1)
    if draw < 0.3:
        return f"({condition(choose, depth - 1)})"
    if draw < 0.4:
        parts = [condition(choose, depth - 1) for _ in range(3)]
        return f"{parts[0]} ? {parts[1]} : {parts[2]}"
    operators = ["||", "&&", "|", "^", "&", "==", "!=", "<", ">", "<=", ">=", "<<", ">>"] + [*"+-*/%"]
    return f"{condition(choose, depth - 1)} {choose.choice(operators)} {condition(choose, depth - 1)}"


@needs_gcc
def test_random_conditions():
    choose = random.Random(0)
    expressions = [condition(choose, 1 + n % 5) for n in range(3000)]
    text = "#define X 5\n#define Y X - 3\n#define Z (1 ? X : Y)\n#define F(x) (x + 1)\n"
    text += "".join(f"#if {e}\n{n}\n#else\nno\n#endif\n" for n, e in enumerate(expressions))
    expected, errors = gcc(text)
    for number in errors - {1, 2, 3, 4}:  # divisions by zero
        expected[(number - 5) // 5] = "no"
    found = expand(text)
    assert len(found) == len(expected) == len(expressions)
    assert [e for e, a, b in zip(expressions, found, expected, strict=True) if a != b] == []
    assert 500 < sum(a != "no" for a in found) < 2500 and len(errors) < 1000


def is_true(expression):
    return line(f"#define A A\n#if {expression}\nyes\n#endif") == "yes"


@pytest.mark.parametrize(
    "expression",
    ["1", "1 || 1/0", "!(0 && 1/0)", "1 ? 2 : 1/0", "(0, 1)", "-1 > 0u", "(1 ? -1 : 0u) > 0", "1 << 40 > 1"]
    + ["-1 >> 1 == -1", "'a' == 97", "'ab' == 24930", r"'\377' < 0", "L'a' == 97", "0b11 == 3", "010 == 8"]
    + ["-9223372036854775807 - 1 < 0", "(-9223372036854775807 - 1) / -1 < 0", "18446744073709551615 == -1"]
    + ["(-9223372036854775807 - 1) % -1 == 0", "1 << 64 == 0", "1 << -1 == 0", "-1 >> 100 == -1"]
    + ["defined A", "defined(A)", "!defined B", "__LINE__ == 2", "__STDC_VERSION__ >= 199901L", "A == 0"]
    + ["__TINYC__", "!defined __GNUC__", "!true", "!__has_attribute(x)", "__has_include(<stdio.h>)"]
    + ['!__has_include("nope.h")', "defined __has_include", "(2 || 1/0)", "1 == 1L", "defi\\\nned A"],
)
def test_true(expression):
    assert is_true(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "1 +",
        "(1",
        "1)",
        "1 1",
        "1/0",
        "1%0",
        "+",
        "()",
        "1 ? 2",
        "1 ? : 1",
        "1, 1",
        "'a",
        "''",
        "1.0",
        "1e3",
    ]
    + [
        "08",
        "0x",
        "1lul",
        "1x",
        "18446744073709551616",
        '"a"',
        "a = 1",
        "1 || 1/0 )",
        "defined",
        "defined(",
        "1 #",
    ]
    + [
        "defined (A",
        "defined 1",
        "__has_include",
        "__has_include(",
        "__has_include(<",
        "__has_include(x)",
        "f(1)",
    ]
    + [
        '__has_include("',
        "__has_include(<a.h>",
        "1 ? 1 : 1/",
        "1 @",
        "'abc\\q'",
        "u'\\",
        "(" * 2000 + "1" + ")" * 2000,
    ]
    + ["!" * 5000 + "0", "1 ? " * 5000 + "1" + ": 1" * 5000, "0 && f(1)", "1" * 5000, "'" + "a" * 5000 + "'"],
)
def test_malformed_is_false(expression):
    assert not is_true(expression)


def test_deep_conditions():
    for opening, closing in (("(", ")"), ("!!", ""), ("1 && (0 || (", "))"), ("1 ? 2 + (", ") : 3")):
        assert is_true(opening * 249 + "1" + closing * 249)


def test_conditionals():
    text = "#if 0\na\n#elif 1\nb\n#elif 1\nc\n#else\nd\n#endif\n#ifdef X\n#else\ne\n#endif"
    assert line(text) == "b e"
    assert line("#if 0\n#if 1\n#else\n#endif\n#elif 0\n#else\nx\n#endif") == "x"
    assert line("#if 0\n#error don't\n@ '\n#nope\n#define X 1\n#endif\nX") == "X"
    assert line("#if 1\na\n#elif 1/0 (\nb\n#endif") == "a"
    assert line("#ifdef\na\n#endif\n#ifndef\nb\n#endif\n#ifdef 3\nc\n#endif\n#if\nd\n#endif") == ""
    assert line("#else\na\n#endif\n#endif\n#elif 1\nb\n#if 1\n#else\n#else\nc\n#endif\n#if 0\nd") == "a b"


def test_predefined_as_libtcc_has_them():
    names = set(re.findall(r'"#define (\w+)', native_source("preprocess.c")))
    names -= (
        {"__x86_64__", "__x86_64", "__amd64__", "__aarch64__"}
        if os.uname().machine != "x86_64"
        else {"__aarch64__", "__uint128_t"}
    )
    assert len(names) > 30
    for name in [*names, "__LINE__", "__FILE__", "__COUNTER__"]:
        assert compile_text(f"#ifndef {name}\n#error none\n#endif\nint x;") == [], name
    for name in names:
        if re.search(rf'"#define {name} \(?[-0-9]', native_source("preprocess.c")):
            value = line(f"#if 1\n{name}\n#endif")
            assert compile_text(f"#if {name} != {value}\n#error other\n#endif\nint x;") == [], name
    for name in ("__GNUC__", "__STDC_IEC_559__", "__OPTIMIZE__", "_REENTRANT", "linux", "__SIZEOF_INT128__"):
        text = f"#ifdef {name}\n#error is\n#endif\nint x;"
        assert compile_text(text) == [] and line(text) == "int x ;", name


def native_source(name):
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.path.join(folder, "src", "frontend", name)
    if not os.path.exists(path):
        pytest.skip("needs the sources")
    with open(path) as file:
        return file.read()


# ---- Headers ----


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(**texts):
        for name, text in texts.items():
            path = tmp_path / (name.replace("__", "/") + ".h")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


def test_headers(folder):
    folder(
        a='#include "sub/b.h"\nint a;\n',
        sub__b="#include <c.h>\nint b B;",
        one__c="#define B 1\n",
        two__c="no",
    )
    text = '#include "a.h"\n#include <stdio.h>\n#include "nope.h"\nB'
    result = tokens(text, folders=["one", "two"])
    assert [(token[3], token[6], token[4]) for token in result] == [
        (b"int", "sub/b.h", 2), (b"b", "sub/b.h", 2), (b"1", "sub/b.h", 2), (b";", "sub/b.h", 2),
        (b"int", "a.h", 2), (b"a", "a.h", 2), (b";", "a.h", 2), (b"1", "tw:code", 4), (b"", "tw:code", 4),
    ]  # fmt: skip
    assert line(text, folders=["two"]) == "no int b B ; int a ; B"


def test_guards(folder):
    folder(
        guard="#ifndef G\n#define G\nint g;\n#endif\n", once="#pragma once\nint o;\n", plain="int p;\n",
        all='#include "guard.h"\n#include "once.h"\n#include "./plain.h"\n',
    )  # fmt: skip
    text = '#include "all.h"\n#include <all.h>\n#include "./once.h"\n#undef G\n#include "guard.h"'
    assert line(text, folders=["."]) == "int g ; int o ; int p ; int p ; int g ;"


def test_header_files_and_lines(folder):
    folder(a="#define f(x) x __LINE__\n\n__FILE__ __LINE__ f(\n1)\n")
    assert line('#include "a.h"\n__FILE__ __LINE__\n f(2)') == '"a.h" 3 1 3 "tw:code" 2 2 3'


def test_headers_by_other_names(folder, tmp_path):
    folder(a="#ifdef X\n1\n#else\n#define X\n0\n#endif\n")
    (tmp_path / "link.h").symlink_to("a.h")
    assert line('#include "a.h"\n#include "link.h"\n#include "./a.h"') == "0 1 1"


def test_headers_that_are_not_followed(folder):
    folder(a="int a;\n", broken="/* never closed", open="#if 1\nint o;\n#if 0\n", call="#define f(x) [x]\nf(")
    assert line('#define H "a.h"\n#include H\n#include\n#include "a.h\n#include_next "a.h"\nx') == "x"
    assert line('#if 0\n#include "a.h"\n#endif\n#include "broken.h"\nx') == "x"
    assert line('#include "open.h"\nx\n#endif\ny') == "int o ; x y"
    assert line('#include "call.h"\n1) f\n#include "a.h"\n(2)') == "f ( 1 ) f int a ; ( 2 )"
    assert line('#define f(x) [x]\nf(\n#include "a.h"\n)') == "[ ]"


def test_has_include(folder):
    folder(a="#define A 1\n")
    text = '#if __has_include("a.h") && __has_include(<a.h>)\n#include "a.h"\n#endif\nA'
    assert line(text, folders=["."]) == "1"
    assert line('#define N "a.h"\n#if __has_include(N)\nx\n#endif\n') == ""


def test_headers_one_in_another(folder):
    folder(**{f"h{n}": f'#include "h{n + 1}.h"\nint h{n};\n' for n in range(32)}, h32="int end;\n")
    assert line('#include "h1.h"').startswith("int end ; int h31 ;")
    spot = tokens('\n  #include "h0.h"')
    assert spot[:2] == (2, 3) and spot[3] == 0
    assert spot[2] == "#include: more than 32 headers one in another, at 'h32.h' (line 1 of 'h31.h')"


def test_recursive_headers(folder):
    folder(a='int a;\n#include "b.h"\n', b='#include "a.h"\n', self='#if 1\n#include "self.h"\n#endif\n')
    assert "32 headers one in another" in tokens('#include "a.h"')[2]
    assert "32 headers one in another" in tokens('#include "self.h"')[2]


def test_headers_that_double(folder):
    folder(**{f"h{n}": f'#include "h{n + 1}.h"\n' * 2 for n in range(31)}, h31="int x;\n")
    start = time.perf_counter()
    assert "expand to more than 2000000 tokens (line" in tokens('#include "h0.h"')[2]
    folder(left_out="#if 0\n" + "x\n" * 100000 + "#endif\n")
    assert "expand to more than 2000000 tokens" in tokens('#include "left_out.h"\n' * 400)[2]
    assert isinstance(tokens('#include "left_out.h"\n' * 100), list)
    assert time.perf_counter() - start < 10


def test_large_header_read_once(folder):
    folder(a="#pragma once\n" + "1,\n" * 1100000)
    assert len(expand('#include "a.h"\n#include "a.h"')) == 2200000


# ---- Hostile texts ----

SPELL = "# and ## in macros spell more than 16777216 bytes"


def doubling(body, count=60, leaf="x"):
    """Macros that each use the one before twice."""
    return f"#define M0 {leaf}\n" + "".join(
        f"#define M{n + 1} " + body.replace("M", f"M{n}") + "\n" for n in range(count)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (doubling("M M") + "M60", "expand to more than 2000000 tokens"),
        (doubling("M M").replace("x", "") + "M60", "expand to more than 2000000 tokens"),
        ("#define d(x) x x\n" + "d(" * 40 + "1" + ")" * 40, "expand to more than 2000000 tokens"),
        ("#define d(x) x x\n" + "d(" * 40 + ")" * 40, None),
        ("#define e(x)" + " x" * 20000 + "\n#define f() " + "e()" * 20000 + "\nf()",
         "more than 2000000 tokens"),
        ("#define c(a,b) a##b\n#define d(a,b) c(a,b)\n"
         + doubling("d(M,M)", leaf="x" * 100000) + "M60",
         SPELL),
        ("#define s(a) #a\n#define t(a) s(a)\n" + doubling("t(M M)") + "M60", SPELL),
        ("#define f(x) x\n" + "f(" * 600 + ")" * 600, "more than 500 macro calls stand one in another"),
        ("#define f(" + ",".join(f"a{n}" for n in range(300)) + ")\nf()", "more than 256 parameters"),
        ("#define N " + "n" * 100000 + "\n#define O" + " N" * 10000 + "\nO O", "more than 2000000 tokens"),
        ("#define f(x) f\nf" + "(1)" * 100000, None),
        ("#define f(x) x\n" + "f(" * 100000, None),
        ("#define f(x, y) x\n" + "f(" * 20000 + ")" * 20000, None),
        ("#define f(x) x g\n#define g(x) x f\nf" + "(1)" * 50000, None),
        ("#define A(x) B(x)\n#define B(x) A(x)\n" + "A(1) " * 10000, None),
        ("".join(f"#define a{n} a{n + 1}\n" for n in range(20000)) + "a0 " * 20, None),
        ("".join(f"#define n{n}\n" for n in range(50000)), None),
        ("#define f(...) __VA_ARGS__\nf(" + "," * 200000 + ")", None),
        ("#define f(x) x\nf(" + "," * 200000 + ")", None),
        ("#define s(x) #x\ns(\"" + r"\"" * 200000 + '")', None),
        ("#if 1\n" * 1000 + "x\n" + "#endif\n" * 1000, None),
        ("#if 0\n" * 1000 + "x\n" + "#endif\n" * 1000, None),
        ("#if 0\n#elif 1\n" * 1000 + "x\n" + "#endif\n" * 1000, None),
        ("#if " + "1 + " * 100000 + "1\nx\n#endif", None),
        ("#define f(x) 1\n#if f(\nx\n#endif\n#if f\nx\n#endif\n#if defined f(\n#endif", None),
    ],
)  # fmt: skip
def test_hostile(text, message):
    start = time.perf_counter()
    result = tokens(text)
    assert time.perf_counter() - start < 3
    if message is None:
        assert isinstance(result, list)
    else:
        assert isinstance(result, tuple), len(result)
        assert message in result[2] and result[3] == 0


def test_place_of_a_limit():
    text = doubling("M M") + "int a;\n  M3 M50;"
    assert tokens(text)[:2] == (text.count("\n") + 1, 6)


def test_deep_conditionals_are_followed():
    text = "#if 1\n" * 1000 + "x\n" + "#else\ny\n#endif\n" * 1000
    assert line(text) == "x"


def test_pieces_of_directives():
    """Whatever a line is cut to, nothing breaks."""
    lines = (
        "#define f(x, ...) x ## __VA_ARGS__ #x\n#if defined(f) && f(1, 2) ? 'a' : (3)\n#endif\nf(1, f(2))\n"
    )
    for cut in range(len(lines)):
        for text in (lines[:cut], lines[cut:], lines[:cut] + "\n" + lines[cut:]):
            assert isinstance(tokens(f"#if 1\n{text}"), list)
