"""Constants and variables of the declaration reader (src/frontend/constant.c, number.c, literal.c)."""

import ctypes
import math
import random
import re
import shutil
import struct
import subprocess

import native_library
import pytest

library = native_library.load()
library.declaration_unit.argtypes = (ctypes.py_object,)
library.declaration_unit.restype = ctypes.py_object
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="compares with gcc")


def unit(text):
    result = library.declaration_unit(text if isinstance(text, bytes) else text.encode())
    assert isinstance(result[0], list), result
    return result


def constants(text):
    """{name: value}"""
    return {name: value for name, value, _, _ in unit(text)[1]}


def macro(body, before=""):
    """The value of a macro with that body; None: it is no constant."""
    return constants(f"{before}\n#define X {body}\n").get("X")


def single(value):
    return struct.unpack("f", struct.pack("f", value))[0]


# ---- Numbers ----


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("3", 3),
        ("(3)", 3),
        ("-3", -3),
        ("+3u", 3),
        ("-1u", 2**32 - 1),
        ("-1UL", 2**64 - 1),
        ("~0", -1),
        ("~0u", 2**32 - 1),
        ("~0ull", 2**64 - 1),
        ("0xFFFFFFFF", 2**32 - 1),
        ("0xFFFFFFFFFFFFFFFF", 2**64 - 1),
        ("0x7fffffff", 2**31 - 1),
        ("4294967295", 2**32 - 1),
        ("1 << 31", -(2**31)),
        ("1u << 31", 2**31),
        ("1L << 40", 2**40),
        ("2147483647 + 1", -(2**31)),
        ("1 << 32", None),
        ("1 << -1", None),
        ("-8 >> 1", -4),
        ("-8u >> 1", 2**31 - 4),
        ("1 / 0", None),
        ("1 % 0", None),
        ("0 && 1 / 0", 0),
        ("1 || n", 1),
        ("-7 / 2 * 10 + -7 % 2", -31),
        ("(-2147483647 - 1) / -1", -(2**31)),
        ("-1 < 0u", 0),
        ("-1 < 0ul", 0),
        ("-1l < 0u", 1),
        ("1 ? -1 : 0u", 2**32 - 1),
        ("sizeof(int) * 3", 12),
        ("sizeof(int) - 5", 2**64 - 1),
        ("'a'", 97),
        ("'\\xff'", -1),
        ("(unsigned char)'\\377'", 255),
        ("L'\\xff'", 255),
        ("(char)300", 44),
        ("(short)0x8000", -(2**15)),
        ("(size_t)-1", 2**64 - 1),
        ("(long long)1.9", 1),
        ("(int)-1.9", -1),
        ("(_Bool)0.5", 1),
        ("(int)1e10", None),
        ("(unsigned long)1e19", 10**19),
        ("(unsigned long)-1.5", None),
        ("(int)(0.0 / 0.0)", None),
        ("(unsigned char)1 - 2", -1),
        ("(enum { A })3", 3),
        ("(void *)0", None),
        ("1.5", 1.5),
        ("1.", 1.0),
        (".5e1", 5.0),
        ("0x1.8p1", 3.0),
        ("0x.8P0", 0.5),
        ("1e3f", 1000.0),
        ("0.1f", single(0.1)),
        ("0.1L", 0.1),
        ("1e8f + 1", 1e8),
        ("0.1 + 0.2", 0.1 + 0.2),
        ("1 / 2.0", 0.5),
        ("-(1.5 * 2)", -3.0),
        ("1.5 < 2", 1),
        ("!0.5", 0),
        ("1.5 ? 2 : 3", 2),
        ("1 ? 2 : 3.0", 2.0),
        ("(float)1 / 3", single(1 / 3)),
        ("(double)7 / 2", 3.5),
        ("1.0 / 0.0", math.inf),
        ("1e999", math.inf),
        ("1.5 % 2", None),
        ("1.5 << 2", None),
        ("~1.5", None),
        ("1.5 & 1", None),
        ("1.5x", None),
        ("1e", None),
        ("12ab", None),
        ("09", None),
        ("0x", None),
        ("1uu", None),
        ("1lul", None),
        ("1lL", None),
        ("1" * 500, None),
        ("'ab'", None),
        ("'\u00e9'", None),
        ("u'a'", None),
        ("'\\q'", None),
        ("n", None),
        ("f(3)", None),
        ("int", None),
        ("3,", None),
        ("3 4", None),
        ("(3", None),
        ("{ 3 }", None),
        ("3;", None),
        ("", None),
        ("__LINE__", None),
        ("__FILE__", None),
        ("__COUNTER__ + 1", None),
        ("X", None),
        ("do { } while (0)", None),
    ],
)  # fmt: skip
def test_numbers(body, expected):
    found = macro(body)
    assert found == expected and type(found) is type(expected)


def test_nan():
    assert math.isnan(macro("0.0 / 0.0"))
    assert math.copysign(1, macro("-0.0")) == -1


OPERANDS = [
    "1",
    "3u",
    "7l",
    "0x80000000",
    "2147483647",
    "5ul",
    "-1",
    "(char)200",
    "(unsigned short)65535",
    "'a'",
]
OPERANDS += ["1.5", "0.1f", "2.0", "E", "sizeof(long)", "(short)-3", "18446744073709551615u"]
OPERATORS = ["+", "-", "*", "/", "%", "<<", ">>", "<", ">", "<=", ">=", "==", "!=", "&", "|", "^", "&&", "||"]


def refused(folder, text, names):
    """Those whose macro gcc finds wrong: a floating operand of & where && did not look."""
    source = folder / "refused.c"
    source.write_text(text + "void f(void) {" + "".join(f"(void)({name});\n" for name in names) + "}")
    done = subprocess.run(["gcc", "-w", "-fsyntax-only", source], capture_output=True, text=True)
    lines = source.read_text().splitlines()
    wrong = {lines[int(number) - 1] for number in re.findall(r"refused.c:(\d+):\d+: error", done.stderr)}
    return {line.split()[1] for line in wrong if line.startswith("#define")}


def expression(choose, depth):
    if depth == 0 or choose.random() < 0.2:
        return choose.choice(OPERANDS)
    draw = choose.random()
    inner = expression(choose, depth - 1)
    if draw < 0.15:
        return f"({choose.choice('-~!+')} {inner})"
    if draw < 0.25:
        return f"(({choose.choice(['int', 'unsigned', 'char', 'float', 'double', 'long', '_Bool'])}){inner})"
    other = expression(choose, depth - 1)
    if draw < 0.35:
        return f"({expression(choose, depth - 1)} ? {inner} : {other})"
    return f"({inner} {choose.choice(OPERATORS)} {other})"


@needs_gcc
@pytest.mark.parametrize("seed", range(2))
def test_random_expressions(seed, tmp_path):
    """gcc prints what it computes, with the type's kind."""
    choose = random.Random(seed)
    bodies = [expression(choose, 3) for _ in range(1500)]
    text = "enum { E = 4 };\n" + "".join(f"#define X{i} {body}\n" for i, body in enumerate(bodies))
    found = {name: value for name, value in constants(text).items() if name != "E"}
    assert len(found) > 700
    for name in refused(tmp_path, text, found):
        found.pop(name, None)
    prints = "".join(
        f'print("{name}", _Generic({name}, float: 2, double: 2, unsigned: 1, unsigned long: 1, default: 0),'
        f" (unsigned long)(long)(_Generic({name}, float: 0, double: 0, default: {name})),"
        f" (double)({name}));\n"
        for name in found
    )
    source = tmp_path / "constants.c"
    source.write_text(
        "#include <stdio.h>\nstatic void print(const char *n, int k, unsigned long v, double d)"
        '{ printf("%s %d %lu %.17g\\n", n, k, v, d); }\n' + text + f"int main(void) {{ {prints} return 0; }}"
    )
    subprocess.run(["gcc", "-w", "-fwrapv", "-o", tmp_path / "constants", source], check=True)
    done = subprocess.run([tmp_path / "constants"], check=True, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(found)
    for line in lines:
        name, kind, integer, floating = line.split()
        expected = float(floating) if kind == "2" else int(integer)
        if kind == "0" and expected >= 2**63:
            expected -= 2**64
        value = found[name]
        assert type(value) is type(expected), (bodies[int(name[1:])], value, line)
        assert value == expected or (value != value and expected != expected), (bodies[int(name[1:])], value)


# ---- Strings ----


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('"abc"', b"abc"),
        ('""', b""),
        ('"a" "b"\t"c"', b"abc"),
        ('("a" "b")', b"ab"),
        ('(("a"))', b"a"),
        (r'"\n\t\\\"\'\?\a\b\f\v\r\e"', b"\n\t\\\"'?\a\b\f\v\r\x1b"),
        (r'"\0\101\x41\x0041\18"', b"\0AAA\x018"),
        (r'"\u00e9\U0001f600\u0041"', "\u00e9\U0001f600A".encode()),
        ('"\u00e9"', "\u00e9".encode()),
        (r'"\q"', None),
        (r'"\x"', None),
        (r'"\u12"', None),
        (r'"\U00110000"', None),
        ('L"a"', None),
        ('u8"a"', None),
        ('"a" + 1', None),
        ('"a"[0]', None),
        ('("a" "b"', None),
        ('()', None),
    ],
)  # fmt: skip
def test_strings(body, expected):
    assert macro(body) == expected


def test_line_continuations():
    assert macro('"a\\\nb" "\\\\\nn"') == b"ab\n"
    assert macro("12\\\n3") == 123


# ---- Which ----


def test_macros_of_macros_and_enumerators():
    text = """
    #define A 3
    #define B (A * C)
    #define C D
    enum { D = 5, E = B, F = 1u << 31, G = ~0u, H = n, I };
    #define NAME "x" SUFFIX
    #define SUFFIX "y"
    #define f(x) x + 1
    #define CALL f(A)
    #define TYPE int
    #define EMPTY
    struct s { enum { IN_STRUCT = 9 } e; };
    void g(enum { IN_PROTOTYPE } e);
    typedef short t;
    #define SIZE sizeof(t) + sizeof(struct s)
    """
    assert unit(text)[1] == [
        ("D", 5, False, "tw:code"),
        ("E", 15, False, "tw:code"),
        ("F", 2**31, False, "tw:code"),
        ("G", 2**32 - 1, False, "tw:code"),
        ("IN_STRUCT", 9, False, "tw:code"),
        ("A", 3, True, "tw:code"),
        ("B", 15, True, "tw:code"),
        ("C", 5, True, "tw:code"),
        ("NAME", b"xy", True, "tw:code"),
        ("SUFFIX", b"y", True, "tw:code"),
        ("CALL", 4, True, "tw:code"),
        ("SIZE", 6, True, "tw:code"),
    ]


def test_macros_alive_at_the_end():
    text = """
    #define A 1
    #undef A
    #define B 1
    #define C 2
    #undef B
    #define B 3
    #if 0
    #define D 4
    #endif
    #define N M
    #define M 7
    """
    assert constants(text) == {"C": 2, "B": 3, "N": 7, "M": 7}
    assert list(constants(text)) == ["C", "B", "N", "M"]


def test_macros_leave_generic_units_alone():
    assert constants("#define X sizeof(T)\n") == {}
    assert constants("#define X ((T)3)\nint a;") == {}


def test_names_that_both_are():
    assert unit("enum { A = 1 };\n#define A A\n")[1] == [
        ("A", 1, False, "tw:code"),
        ("A", 1, True, "tw:code"),
    ]


def test_macros_that_double_each_other_are_left_out():
    doubling = "#define A0 1\n" + "".join(f"#define A{i + 1} A{i} + A{i}\n" for i in range(60))
    found = constants(doubling + "#define LAST 3\n")
    assert found["A3"] == 8 and found["LAST"] == 3 and "A40" not in found
    many = doubling + "".join(f"#define B{i} A59\n" for i in range(3000)) + "#define LAST 3\n"
    assert constants(many)["A3"] == 8


def test_deep_macros_are_left_out():
    assert macro("(" * 450 + "1" + ")" * 450) == 1
    assert macro("(" * 600 + "1" + ")" * 600) is None
    assert macro("- " * 600 + "1") is None


# ---- Variables ----


@pytest.mark.parametrize(
    ("text", "initialized", "elements"),
    [
        ("int x;", False, -1),
        ("int x = 3;", True, -1),
        ("int x[] = {1, 2, 3};", True, 3),
        ("int x[] = {1, 2, 3,};", True, 3),
        ("int x[] = {};", True, 0),
        ("int x[] = {f(1, 2), (3, 4)};", True, 2),
        ("int x[5] = {1, 2, 3};", True, -1),
        ("int x[] = {[5] = 1, 2};", True, -1),
        ("int x[][2] = {{1, 2}, {3, 4}, {5}};", True, 3),
        ("int x[][2] = {1, 2, 3, 4};", True, -1),
        ("struct { int a, b; } x[] = {{1, 2}, {3, 4}};", True, 2),
        ("struct { int a, b; } x[] = {1, 2, 3, 4};", True, -1),
        ("const char *x[] = {\"a\" \"b\", \"c\"};", True, 2),
        ('char x[] = "abc";', True, 4),
        ('char x[] = "abc" "\\0d";', True, 6),
        ('char x[] = {"abc"};', True, -1),
        ("char x[] = {'a', 'b'};", True, 2),
        ('char x[] = L"abc";', True, -1),
        ("int x[] = {1}, y = 3;", True, 1),
    ],
)  # fmt: skip
def test_variables(text, initialized, elements):
    name, _, has, count, _ = unit(text)[2][0]
    assert (name, has, count) == ("x", initialized, elements)


def test_const_variables():
    text = "const int a = 1; int *const b; const int *c; const double d[3]; extern int e; static int f;"
    assert [(name, storage, spelled) for name, storage, _, _, spelled in unit(text)[2]] == [
        ("a", 0, "const int a"),
        ("b", 0, "int *const b"),
        ("c", 0, "const int *c"),
        ("d", 0, "const double d[3]"),
        ("e", 1, "int e"),
        ("f", 2, "int f"),
    ]
