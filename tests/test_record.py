"""Structs, unions and enums of the declaration reader (src/frontend/record.c, layout.c, attribute.c)."""

import ctypes
import json
import random
import shutil
import subprocess

import native_library
import pytest
from text_library import compile_text

library = native_library.load()
library.declaration_unit.argtypes = (ctypes.py_object,)
library.declaration_unit.restype = ctypes.py_object
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="compares with gcc")


def records(text):
    """{name of a declaration: ((size, alignment) or None, record or None)}"""
    result = library.declaration_unit(text.encode())
    assert isinstance(result[0], list), result
    return {name: (layout, record) for name, layout, record in result[0]}


def record(text, name="x"):
    return records(text)[name][1]


def why_not(text):
    """(why_not, the member it is about) of the type of x."""
    found = record(text)
    assert found["complete"]
    return found["why_not"], found["culprit"]


def refusal(text):
    result = library.declaration_unit(text.encode())
    assert isinstance(result[0], int), result
    return result[0], result[2]


def places(found, before=""):
    """[(path of a member, offset)], anonymous members' own members as the outer one's."""
    result = []
    for name, bits, offset, layout, _, inner in found["members"]:
        assert bits == -1 and layout is not None
        if name is None:
            result += [(path, offset + place) for path, place in places(inner)]
        else:
            result.append((before + name, offset))
    return result


# ---- Against gcc and libtcc ----

BASICS = ["char", "signed char", "unsigned char", "short", "unsigned short", "int", "unsigned", "long"]
BASICS += ["unsigned long long", "float", "double", "_Bool", "void *", "int (*)(int)", "size_t", "enum e"]


class Generator:
    """Writes structs; none with what has a why_not, unless gcc and libtcc agree on it."""

    def __init__(self, choose):
        self.choose = choose
        self.count = 0
        self.made = []

    def fresh(self, letter):
        self.count += 1
        return f"{letter}{self.count}"

    def declared(self, depth, pack, basic=False):
        """A type and a declarator."""
        name = self.fresh("m")
        draw = 1 if basic else self.choose.random()
        if depth > 0 and draw < 0.15:
            return f"{self.body(depth - 1, pack)} {name}"
        if self.made and draw < 0.35:
            return f"{self.choose.choice(self.made)} {name}"
        basic = self.choose.choice(BASICS)
        if "(*)" in basic:
            return basic.replace("(*)", f"(*{name})")
        extent = self.choose.choice(["", "", "", "[3]", "[sizeof(int) * 2]", "[2][E1]", "[(char)257 + 1]"])
        return f"{basic} {name}{extent}"

    def member(self, depth, pack):
        draw = self.choose.random()
        if depth > 0 and draw < 0.1:
            return f"{self.body(depth - 1, pack)};"
        if pack or draw < 0.8:
            return self.declared(depth, pack) + ";"
        attribute = self.choose.choice(
            [
                "_Alignas(16) {}",
                "_Alignas(double) {}",
                "{} __attribute__((packed))",
                "{} __attribute__((aligned))",
            ]
            + ["{} __attribute__((packed, aligned(2)))", "{} __attribute__((__aligned__(32), unused))"]
        )
        return attribute.format(self.declared(depth, pack, "_Alignas" in attribute)) + ";"

    def body(self, depth, pack=False):
        word = self.choose.choice(["struct", "struct", "struct", "union"])
        before = self.choose.choice(["", "", "", "__attribute__((packed))"])
        after = self.choose.choice(
            ["", "", "", "__attribute__((aligned(8)))", "__attribute__((packed, aligned(4)))"]
        )
        members = " ".join(self.member(depth, pack) for _ in range(self.choose.randint(1, 4)))
        return f"{word} {before} {{ {members} }} {after}"

    def typedef(self):
        name = self.fresh("t")
        pack = self.choose.choice([0, 0, 0, 1, 2, 4, 8, 16])
        text = f"typedef {self.body(2, pack > 0)} {name};"
        self.made.append(name)
        if pack:
            text = f"#pragma pack(push, {pack})\n{text}\n#pragma pack(pop)"
        return name, text


def program(found):
    """C that prints the sizes and offsets of every record as JSON."""
    lines = []
    for name, (_, made) in found.items():
        numbers = [f"sizeof({name})", f"_Alignof({name})"]
        numbers += [f"offsetof({name}, {path})" for path, _ in places(made)]
        values = ", ".join(f"(int){number}" for number in numbers)
        lines.append(f'print("{name}", {len(numbers)}, (int[]){{{values}}});')
    return "\n".join(lines)


PRINT = """
static int first = 1;
static void print(const char *name, int count, int *values)
{
    printf("%s\\"%s\\": [", first ? "{" : ",", name);
    first = 0;
    for (int i = 0; i < count; i++) { printf("%s%d", i ? "," : "", values[i]); }
    printf("]");
}
"""


def measured(text, found, folder):
    source = folder / "records.c"
    source.write_text(
        f"#include <stdio.h>\n#include <stddef.h>\n{text}\n{PRINT}"
        f'int main(void) {{ {program(found)} printf("}}"); return 0; }}'
    )
    subprocess.run(["gcc", "-w", "-o", str(folder / "records"), str(source)], check=True)
    done = subprocess.run([str(folder / "records")], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def usable(found):
    return {name: pair for name, pair in found.items() if pair[0] is not None and pair[1]["kind"] != "enum"}


@needs_gcc
@pytest.mark.parametrize("seed", range(4))
def test_random_records(seed, tmp_path):
    generator = Generator(random.Random(seed))
    text = "enum e { E0, E1 = 2 };\n" + "\n".join(generator.typedef()[1] for _ in range(150))
    all_ = records(text)
    assert len(all_) == 150
    found = {name: pair for name, pair in all_.items() if pair[0] is not None}
    assert all(pair[1]["why_not"] for name, pair in all_.items() if name not in found)
    assert len(found) > 100
    expected = measured(text, found, tmp_path)
    for name, (layout, made) in found.items():
        numbers = [*layout, *(offset for _, offset in places(made))]
        assert numbers == expected[name], (name, text)
    checks = "".join(
        f"typedef char size_{name}[sizeof({name}) == {layout[0]} ? 1 : -1];\n"
        f"typedef char alignment_{name}[_Alignof({name}) == {layout[1]} ? 1 : -1];\n"
        + "".join(
            f"typedef char {path}_of_{name}[__builtin_offsetof({name}, {path}) == {offset} ? 1 : -1];\n"
            for path, offset in places(made)
        )
        for name, (layout, made) in found.items()
    )
    assert compile_text(f"typedef unsigned long size_t;\n{text}\n{checks}") == []


def test_libtcc_checks_sizes():
    assert compile_text("typedef char size[sizeof(int) == 4 ? 1 : -1];") == []
    assert compile_text("typedef char size[sizeof(int) == 5 ? 1 : -1];") != []


# ---- By hand ----


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("struct s { int a, *b; char c[3]; };", [("a", 0), ("b", 8), ("c", 16)]),
        ("union s { int a; double b; };", [("a", 0), ("b", 0)]),
        ("struct s { char a; struct { int b; union { char c; double d; }; }; };",
         [("a", 0), ("b", 8), ("c", 16), ("d", 16)]),
        ("struct s { char a; struct { int x; } b; };", [("a", 0), ("b", 4)]),
        ("struct s { char a; int (*f)(struct s *, int n); struct s *next; enum { A } e;; };",
         [("a", 0), ("f", 8), ("next", 16), ("e", 24)]),
        ("struct s { const char *a; volatile short b; _Static_assert(1, \"\"); size_t c; };",
         [("a", 0), ("b", 8), ("c", 16)]),
        ("typedef double row[3]; struct s { char a; row b, *c; };", [("a", 0), ("b", 8), ("c", 32)]),
        ("typedef int wide __attribute__((aligned(16))); struct s { char a; wide b; };",
         [("a", 0), ("b", 16)]),
        ("#pragma pack(2)\nstruct s { char a; int b; };\n#pragma pack()\n", [("a", 0), ("b", 2)]),
        ("#pragma pack(push)\n#pragma pack(1)\n#pragma pack(pop)\nstruct s { char a; int b; };",
         [("a", 0), ("b", 4)]),
        ("#pragma pack(1)\n#pragma pack(push, 4)\nstruct s { char a; double b; };", [("a", 0), ("b", 4)]),
    ],
)  # fmt: skip
def test_offsets(text, expected):
    word = "union" if text.startswith("union s") else "struct"
    found = record(f"{text} {word} s x;")
    assert found["why_not"] is None and found["name"] == "s"
    assert places(found) == expected
    checks = (
        f'_Static_assert(__builtin_offsetof({word} s, {name}) == {offset}, "");' for name, offset in expected
    )
    assert compile_text(f"typedef unsigned long size_t;\n{text}" + "".join(checks)) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("struct { int a; int b : 3; } x;", ("a bit-field", "b")),
        ("struct { int a, : 3; } x;", ("a bit-field", None)),
        ("struct { int : 0; } x;", ("a bit-field", None)),
        ("struct { int n; double a[]; } x;", ("a flexible array member", "a")),
        ("struct { int n; double a[0]; } x;", ("a flexible array member", "a")),
        ("struct { long double a[3]; } x;", ("a long double", "a")),
        ("struct { struct { int a : 3; } b; } x;", ("a bit-field", "b")),
        ("struct { struct t b; } x;", ("a member whose size is not known", "b")),
        ("struct { foo b; } x;", ("a member whose size is not known", "b")),
        ("struct { T b; } x;", ("a member whose size is not known", "b")),
        ("struct { int b[n]; } x;", ("a member whose size is not known", "b")),
        ("struct { int b[1l << 62]; } x;", ("a member whose size is not known", "b")),
        ("struct { int b[1l << 60], c[1l << 60]; } x;", ("more bytes than memory could have", None)),
        ("struct { int b[1l << 60]; char c[1l << 62], d[1l << 62]; } x;",
         ("more bytes than memory could have", "d")),
        ("struct { } x;", ("no members", None)),
        ("struct { int a __attribute__((aligned(2))); } x;", ("an alignment below that of its type", "a")),
        ("struct { int a __attribute__((mode(DI))); } x;", ("a member whose size is not known", "a")),
        ("struct { int a __attribute__((vector_size(16))); } x;", ("a member whose size is not known", "a")),
        ("struct __attribute__((ms_struct)) { int a; } x;", ("an attribute that is not known here", None)),
        ("struct __attribute__((aligned(3))) { int a; } x;", ("an attribute that is not known here", None)),
        ("struct __attribute__((aligned(n))) { int a; } x;", ("an attribute that is not known here", None)),
        ("#pragma pack(1)\nstruct { char c; _Alignas(8) int a; } x;",
         ("an alignment of its own under #pragma pack", "a")),
        ("#pragma pack(ONE)\nstruct { char c; int a; } x;",
         ("a #pragma pack that is not understood here", None)),
        ("#pragma pack(push, label, 1)\nstruct { char c; int a; } x;",
         ("a #pragma pack that is not understood here", None)),
        ("#pragma pack(pop)\nstruct { char c; int a; } x;",
         ("a #pragma pack that is not understood here", None)),
        ("#pragma pack 1\nstruct { char c; int a; } x;",
         ("a #pragma pack that is not understood here", None)),
        ("struct { char c;\n#pragma pack(1)\nint a; } x;",
         ("a #pragma pack that is not understood here", None)),
    ],
)  # fmt: skip
def test_why_not(text, expected):
    assert why_not(text) == expected
    assert records(text)["x"][0] is None


def test_pack_is_kept_so_many_times():
    push = "#pragma pack(push, 1)\n"
    assert why_not(push * 7 + "struct { char c; int a; } x;") == (None, None)
    assert why_not(push * 8 + "struct { char c; int a; } x;")[0]


def test_pointers_do_not_need_what_they_point_to():
    assert records("struct s; struct s *x;")["x"][0] == (8, 8)
    assert records("struct s y;")["y"][0] is None


def test_a_tag_defined_in_a_struct_is_no_member():
    found = record("struct s { char a; struct t { int x; }; struct t b; }; struct s x;")
    assert places(found) == [("a", 0), ("b", 4)]


# ---- Tags ----


def test_tags_share_a_record():
    found = records(
        "struct s; typedef struct s *a; struct s *b; void f(struct s *, struct t *);"
        "struct s { struct s *next; struct t *t; }; struct t { int x; }; struct s c; void g(struct t *);"
    )
    assert len({found[name][1]["id"] for name in "abc"}) == 1
    assert found["a"][1]["complete"] and found["a"][1]["size"] == 16
    assert found["c"][0] == (16, 8)
    inner = found["c"][1]["members"][1]
    assert inner[0] == "t" and inner[5] is None


def test_tags_of_a_prototype_are_the_files_unless_it_defines_them():
    found = records(
        "int f(struct s *p, int n[sizeof(struct t *)]); struct s { int a; } x; struct t { long b; } y;"
    )
    assert found["x"][0] == (4, 4) and found["y"][0] == (8, 8)
    found = records(
        "struct s { int a; }; void f(struct s { char b; } p, char c[sizeof(struct s)]); struct s x;"
    )
    assert found["x"][0] == (4, 4)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("struct s { int a; };\nstruct s { int a; };", 2, "'struct s' has its members already"),
        ("struct s {\nstruct s { int a; } b; };", 2, "'struct s' has its members already"),
        ("struct s;\nunion s { int a; };", 2, "'s' is a struct"),
        ("enum s { A };\nstruct s *x;", 2, "'s' is an enum"),
        ("struct s { int f(void); };", 1, "'f' is a function, and no member can be one"),
        ("struct s {\nint f() { return 1; } };", 2, "'f' is a function, and no member can be one"),
        ("struct s { int a }; ", 1, "expected ';', found '}'"),
        ("struct s { int; a };", 1, "expected a name, found '}'"),
        ("struct s { static int a; };", 1, "'static' cannot stand here"),
        ("struct s { public: int a; };", 1, "'public' is C++, and this is C"),
        ("struct s { int a = 3; };", 1, "expected ';', found '='"),
        ("struct s : t { int a; };", 1, "expected a name, found ':'"),
    ],
)  # fmt: skip
def test_refusals(text, line, message):
    assert refusal(text) == (line, message)


def test_deep_records_are_refused():
    chain = "".join(f"struct s{i + 1} {{ struct s{i} a; }};" for i in range(600))
    assert refusal("struct s0 { int a; };" + chain)[1].startswith("nested too deeply: more than 500 structs")
    array = "".join(f"struct s{i + 1} {{ struct s{i} a[1]; }};" for i in range(600))
    assert refusal("struct s0 { int a; };" + array)[1].startswith("nested too deeply: more than 500 structs")
    pointers = "".join(f"struct s{i + 1} {{ struct s{i} *a; }};" for i in range(600))
    assert record("struct s0 { int a; };" + pointers + "struct s600 x;")["size"] == 8


def test_operators_in_types_in_sizeof_count_together():
    text = "int a[" + ("-" + " -" * 100 + "sizeof(int[") * 100 + "1" + "])" * 100 + "];"
    assert refusal(text)[1].startswith("nested too deeply")


# ---- Enumerations ----


@pytest.mark.parametrize(
    ("body", "size", "is_signed"),
    [
        ("A", 4, False),
        ("A = -1, B", 4, True),
        ("A = 0x7fffffff, B", 4, False),
        ("A = 0xffffffff", 4, False),
        ("A = 0x100000000", 8, False),
        ("A = -0x80000001l", 8, True),
        ("A = sizeof(long), B = (char)65", 4, False),
    ],
)
def test_enums(body, size, is_signed):
    found = record(f"enum e {{ {body} }}; enum e x;")
    assert (found["size"], found["why_not"]) == (size, None)
    assert found["basic"] == {(4, True): 6, (4, False): 7, (8, True): 8, (8, False): 9}[size, is_signed]
    sign = "<" if is_signed else ">"
    check = f'_Static_assert(sizeof(enum e) == {size}, ""); _Static_assert((enum e)-1 {sign} 0, "");'
    assert compile_text(f"enum e {{ {body} }}; {check}") == []


@pytest.mark.parametrize("body", ["A = n", "A = -1, B = 0xffffffff", "A } __attribute__((packed"])
def test_enums_of_unknown_size(body):
    end = "))" if "(" in body else "}"
    assert why_not(f"enum {{ {body} {end} x;")[0] == "values of an enum that cannot be computed here"
