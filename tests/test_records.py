"""tw.compile: structs as structured dtypes, variables at file scope, buffers of char."""

import ctypes
import gc
import subprocess
import sys
from array import array as array_of

import numpy as np
import pytest

import tinyweave as tw

SOURCE = """
#include <string.h>
struct point { double x, y; };
typedef struct {
    int id;
    char name[10];
    struct point at[2];
    unsigned char flags;
    float weight;
    struct point *next;
    union { int whole; float real; };
} thing;
struct opaque;

double norm(const struct point *p) { return p->x * p->x + p->y * p->y; }
void shift(int n, struct point p[n], double d) { for (int i = 0; i < n; i++) p[i].x += d; }
void origin(out struct point *p) { p->x = 1; p->y = 2; }
void line(int n, out struct point p[n]) { for (int i = 0; i < n; i++) p[i].y = i; }
int sum(const thing *t) { return t->id + (int)t->at[1].y + t->flags + t->name[1]; }
void fill(thing *t) { t->id = 7; strcpy(t->name, "hello"); t->at[1].x = 3; t->whole = 5; }
static struct point home = {5, 6};
struct point *mutable_home(void) { return &home; }
const struct point *fixed_home(int null) { return null ? 0 : &home; }
long address(struct opaque *o) { return (long)o; }
long place(const struct point *p) { return (long)p; }
"""


@pytest.fixture(scope="module")
def lib():
    return tw.compile(SOURCE)


POINT = np.dtype([("x", "f8"), ("y", "f8")])

# ---- Layout ----


def test_dtypes(lib):
    assert lib.dtypes["point"] == POINT
    thing = lib.dtypes["thing"]
    assert thing.names == ("id", "name", "at", "flags", "weight", "next", "whole", "real")
    assert thing["name"] == np.dtype("S10") and thing["next"] == np.dtype("u8")
    assert thing["at"].shape == (2,) and thing["at"].base == POINT
    assert thing.fields["whole"][1] == thing.fields["real"][1]
    assert thing.isalignedstruct


MEMBERS = {
    "char": "i1", "short": "i2", "int": "i4", "long": "i8", "unsigned char": "u1", "unsigned short": "u2",
    "unsigned": "u4", "unsigned long": "u8", "float": "f4", "double": "f8", "_Bool": "?",
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
def test_layout_is_the_compilers(tmp_path, packed):
    generator = np.random.default_rng(5)
    structs, lines = [], []
    for i in range(25):
        types = [list(MEMBERS)[k] for k in generator.integers(0, len(MEMBERS), generator.integers(1, 8))]
        members = " ".join(f"{name} m{k}{'[3]' if k % 4 == 3 else ''};" for k, name in enumerate(types))
        structs.append(f"struct {'__attribute__((packed)) ' * packed}s{i} {{ {members} }};")
        offsets = ", ".join(f"(int)offsetof(struct s{i}, m{k})" for k in range(len(types)))
        lines.append(f'printf("{"%d " * (len(types) + 1)}\\n", (int)sizeof(struct s{i}), {offsets});')
    text = "\n".join(structs)
    program = tmp_path / "layout.c"
    program.write_text(
        f"#include <stdio.h>\n#include <stddef.h>\n{text}\nint main(void) {{ {' '.join(lines)} }}"
    )
    subprocess.run(["cc", "-o", tmp_path / "layout", program], check=True)
    printed = subprocess.run([tmp_path / "layout"], capture_output=True, text=True, check=True).stdout
    functions = "\n".join(
        f"long size{i}(const struct s{i} *s) {{ return sizeof(*s); }}" for i in range(len(structs))
    )
    lib = tw.compile(text + functions)
    for i, line in enumerate(printed.splitlines()):
        dtype = lib.dtypes[f"s{i}"]
        expected = [int(number) for number in line.split()]
        assert [dtype.itemsize, *(dtype.fields[name][1] for name in dtype.names)] == expected
        assert getattr(lib, f"size{i}")(np.zeros((), dtype)) == dtype.itemsize


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("int a : 3;", "a bit-field"),
        ("int n; double a[];", "a flexible array member"),
    ],
)
def test_a_struct_that_numpy_has_not(body, reason):
    lib = tw.compile(f"struct s {{ {body} }};\nlong f(struct s *s) {{ return (long)s; }}")
    assert lib.f(None) == 0 and lib.f(16) == 16  # an address
    lib = tw.compile(
        f"struct s {{ {body} }};\nint f(int k, struct s a[k]) {{ return k; }}\nint g(void) {{ return 1; }}"
    )
    with pytest.raises(AttributeError, match=f"NumPy has no dtype for it: it has {reason}"):
        lib.f  # noqa: B018


# ---- Arguments ----


def test_in(lib):
    assert lib.norm((3, 4)) == 25
    assert lib.norm(np.array((3, 4), POINT)) == 25
    assert lib.norm(np.array([(3, 4), (9, 9)], POINT)[0]) == 25
    assert lib.norm(np.zeros((2, 2), POINT)) == 0
    assert lib.norm([(1, 2), (3, 4)]) == 5
    assert lib.norm([np.array((3, 4), POINT)[()]]) == 25
    assert lib.norm(np.array((3, 4), [("x", "i4"), ("y", "f4")])) == 25  # casts safely
    assert lib.norm(np.array([(3, 4), (0, 0)], POINT)[::-1][1:]) == 25
    assert lib.norm(np.array((3, 4), POINT.newbyteorder())) == 25
    assert lib.sum((1, "ab", [(1, 2), (3, 4)], 5, 1.5, 0, 0, 0)) == 1 + 4 + 5 + ord("b")


def test_inout_and_out(lib):
    points = np.zeros(5, POINT)
    lib.shift(points[::2], 2)
    assert points["x"].tolist() == [2, 0, 2, 0, 2]
    lib.shift(points[1:2], 1)
    assert points["x"].tolist() == [2, 1, 2, 0, 2]
    thing = np.zeros((), lib.dtypes["thing"])
    lib.fill(thing)
    assert thing["id"] == 7 and thing["name"] == b"hello" and thing["at"][1]["x"] == 3
    things = np.zeros(2, lib.dtypes["thing"])
    lib.fill(things[1])  # a NumPy scalar is a view
    assert things["id"].tolist() == [0, 7]
    origin = lib.origin()
    assert isinstance(origin, np.void) and origin.tolist() == (1, 2) and lib.norm(origin) == 5
    assert lib.line(3)["y"].tolist() == [0, 1, 2]
    own = np.zeros((), POINT)
    assert lib.origin(out=own) is own and own["y"] == 2


def test_a_returned_struct_is_the_memory_itself(lib):
    home = lib.mutable_home()
    home["x"] = 11
    fixed = lib.fixed_home(0)
    assert fixed["x"] == 11 and lib.fixed_home(1) is None
    assert lib.place(home) == lib.place(fixed)  # it can be passed on as what it is
    with pytest.raises(ValueError, match="read-only"):
        fixed["x"] = 1
    home["x"] = 5


def test_handles(lib):
    assert lib.address(None) == 0 and lib.address(4096) == 4096
    assert lib.place(None) == 0 and lib.place(4096) == 4096


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda lib: lib.norm("x"), TypeError, r"norm\(\): 'p' must be an array of dtype .*; got str"),
        (lambda lib: lib.norm(np.zeros(3)), TypeError, "got dtype float64"),
        (lambda lib: lib.norm(np.zeros(1, [("x", "f8"), ("z", "f8")])), TypeError, "got dtype"),
        (lambda lib: lib.norm(np.zeros(1, [("x", "c16"), ("y", "f8")])), TypeError, "got dtype"),
        (lambda lib: lib.norm((1, "x")), TypeError, r"'p\.y' must be a real number, not str"),
        (lambda lib: lib.norm((1,)), ValueError, "has 1 value for the 2 members"),
        (lambda lib: lib.norm([3]), TypeError, "needs a tuple for a struct point, not int"),
        (lambda lib: lib.shift((1, 2), 3), TypeError, "got tuple"),
        (lambda lib: lib.shift(np.zeros(2, [("x", "f8"), ("y", "f4")]), 1), TypeError, "got dtype"),
        (lambda lib: lib.shift(np.zeros((2, 2), POINT), 1), ValueError, "has 2 dimensions, expected 1"),
        (lambda lib: lib.sum((2.5, "", [(1, 2), (3, 4)], 5, 1, 0, 0, 0)), TypeError, r"'t\.id' must be"),
        (lambda lib: lib.sum((2, "x" * 11, [(1, 2), (3, 4)], 5, 1, 0, 0, 0)), ValueError, "11 values for"),
        (lambda lib: lib.sum((2, "x", [(1, 2)], 5, 1, 0, 0, 0)), ValueError, "has 1 value for the 2 at"),
        (lambda lib: lib.sum((2, "x", 3, 5, 1, 0, 0, 0)), TypeError, "needs a sequence for 'at', not int"),
        (lambda lib: lib.sum((2, "x", [(1, 2), (3, 4)], 256, 1, 0, 0, 0)), OverflowError, r"'t\.flags'"),
    ],
)  # fmt: skip
def test_what_does_not_fit(lib, call, error, message):
    with pytest.raises(error, match=message):
        call(lib)


def test_read_only(lib):
    points = np.zeros(2, POINT)
    points.flags.writeable = False
    with pytest.raises(ValueError, match=r"shift\(\): 'p' is read-only"):
        lib.shift(points, 1)
    assert lib.norm(points) == 0


def test_references(lib):
    point, points = np.array((3, 4), POINT), np.zeros(3, POINT)
    scalar = points[1]
    before = [sys.getrefcount(o) for o in (POINT, point, points, scalar)]
    for _ in range(50):
        lib.norm(point), lib.norm((1, 2)), lib.shift(points, 1), lib.norm(scalar), lib.origin()
        lib.mutable_home(), lib.norm([scalar, (1, 2)])
        for bad in ("x", (1, "x"), [3], (1,)):
            with pytest.raises((TypeError, ValueError)):
                lib.norm(bad)
    gc.collect()
    assert [sys.getrefcount(o) for o in (POINT, point, points, scalar)] == before


# ---- Variables ----

VARIABLES = """
struct point { double x, y; };
int count = 3;
double table[2][3] = {{1, 2, 3}, {4, 5, 6}};
const double pi = 3.25;
char title[8] = "abc";
const char *version = "1.2";
void *handle;
struct point where = {1, 2}, many[3];
static int hidden = 1;
extern int elsewhere;
unsigned char small = 255;
_Bool flag = 1;
tw_complex z = {1, 2};
double (*callback)(double);
int total(void) { return count; }
double get(int i, int j) { return table[i][j]; }
"""


@pytest.fixture
def variables():
    return tw.compile(VARIABLES, force=True)


def test_reading(variables):
    assert (variables.count, variables.pi, variables.small, variables.flag) == (3, 3.25, 255, True)
    assert variables.flag is True and variables.z == 1 + 2j
    assert variables.title == b"abc" and variables.version == "1.2"
    assert variables.handle == 0 and variables.callback == 0
    assert np.array_equal(variables.table, [[1, 2, 3], [4, 5, 6]])
    assert variables.where.tolist() == (1, 2) and variables.many.shape == (3,)


def test_writing(variables):
    variables.count = 10
    assert variables.total() == 10
    variables.table = 7
    variables.table[1, 2] = 8
    assert variables.get(0, 0) == 7 and variables.get(1, 2) == 8
    variables.table = [[1, 2, 3], [4, 5, 6]]
    assert variables.get(1, 1) == 5
    variables.title = "xyz"
    assert variables.title == b"xyz"
    variables.where = (9, 8)
    variables.where["x"] = 3
    assert variables.where.tolist() == (3, 8)
    variables.many = [(1, 2), (3, 4), (5, 6)]
    assert variables.many["y"].tolist() == [2, 4, 6]
    variables.handle = 4096
    assert variables.handle == 4096
    variables.handle = None
    variables.z = 5
    assert variables.handle == 0 and variables.z == 5


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("pi", 3, AttributeError, r"'pi' is const \(const double pi\)"),
        ("version", "2", AttributeError, "'version' is const"),
        ("count", 2.5, TypeError, "'count' must be an integer, not float"),
        ("count", 2**40, OverflowError, "'count' does not fit C's int"),
        ("small", -1, OverflowError, "'small'"),
        ("table", [1, 2], ValueError, "broadcast"),
        ("table", 1j, TypeError, "complex"),
        ("title", "x" * 9, ValueError, "has 9 values for the 8"),
        ("where", (1, 2, 3), ValueError, "3 values for the 2 members"),
        ("absent", 3, AttributeError, "has no variable 'absent'"),
        ("hidden", 3, AttributeError, "has no variable 'hidden'"),
        ("total", 3, AttributeError, "has no variable 'total'"),
    ],
)
def test_what_cannot_be_set(variables, name, value, error, message):
    with pytest.raises(error, match=message):
        setattr(variables, name, value)


def test_deleting_and_what_is_not_there(variables):
    with pytest.raises(AttributeError, match="cannot be deleted"):
        del variables.count
    for name in ("hidden", "elsewhere", "absent"):
        assert not hasattr(variables, name)
    generic = tw.compile("int n = 3; T f(T x) { return x + n; }")
    with pytest.raises(AttributeError, match="a generic source has one for each dtype"):
        generic.n  # noqa: B018


def test_an_array_outlives_the_library():
    table = tw.compile("double table[3] = {1, 2, 3}; int f(void) { return 1; }", force=True).table
    gc.collect()
    tw.cache.clear()
    assert table.tolist() == [1, 2, 3]


def test_variables_of_a_shared_library(tmp_path):
    (tmp_path / "own.c").write_text(
        'int count = 7; const char *name = "own"; int get(void) { return count; }'
    )
    library = tmp_path / "libown.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "own.c"], check=True)
    lib = tw.compile(libraries=[library], declare="extern int count; const char *name; int get(void);")
    assert lib.count == 7 and lib.name == "own"
    lib.count = 8
    assert lib.get() == 8


def test_a_library_of_variables_only():
    lib = tw.compile('int table[] = {1, 2}; char name[] = "abc"; extern int late[]; int late[3];')
    assert lib.table.tolist() == [1, 2] and lib.late.shape == (3,) and lib.name == b"abc"


# ---- Constants ----


def test_constants(tmp_path):
    (tmp_path / "own.h").write_text("#define FROM_HEADER 'a'\nenum { LAST = 1L << 40 };\n")
    lib = tw.compile(
        """
        #include "own.h"
        #define N 10
        #define MASK (~0ull)
        #define HALF 0.5
        #define NAME "tiny" "weave"
        #define TWICE (2 * N)
        #define CALL(x) x
        #define UNKNOWN f(3)
        enum color { RED, GREEN = 5, BLUE };
        typedef enum { NONE = -1 } kind;
        enum color next(enum color c) { return c + 1; }
        """,
        include_dirs=[tmp_path],
        define_macros={"GIVEN": 7},
    )
    assert (lib.N, lib.TWICE, lib.MASK, lib.HALF, lib.NAME) == (10, 20, 2**64 - 1, 0.5, "tinyweave")
    assert (lib.RED, lib.GREEN, lib.BLUE, lib.NONE) == (0, 5, 6, -1)
    assert (lib.FROM_HEADER, lib.LAST, lib.GIVEN) == (97, 2**40, 7)
    assert lib.next(lib.GREEN) == lib.BLUE
    assert not hasattr(lib, "UNKNOWN") and not hasattr(lib, "CALL") and "N" in dir(lib)
    with pytest.raises(AttributeError, match="'N' is a constant of the library"):
        lib.N = 3
    generic = tw.compile("enum { SIZE = 3 }; T f(T x) { return x * SIZE; }")
    assert generic.SIZE == 3


# ---- char ----


def test_buffers_of_char():
    lib = tw.compile("""
    void upper(char *s) { for (; *s; s++) if (*s >= 'a') *s -= 32; }
    int length(int n, const char s[n]) { return n; }
    """)
    buffer = bytearray(b"hello\0")
    lib.upper(buffer)
    assert buffer == b"HELLO\0"
    strings = np.array([b"abc"], "S8")
    lib.upper(strings)
    assert strings[0] == b"ABC"
    own = ctypes.create_string_buffer(b"zz")
    lib.upper(own)
    assert own.value == b"ZZ"
    for array in (np.array([97, 0], "u1"), np.array([97, 0], "i1")):
        lib.upper(array)
        assert array[0] == 65
    assert lib.length(b"four") == 4 and lib.length(bytearray(3)) == 3 and lib.length(memoryview(b"ab")) == 2
    with pytest.raises(TypeError, match=r"upper\(\): 's'"):
        lib.upper(b"abc")
    with pytest.raises(TypeError, match=r"upper\(\): 's'"):
        lib.upper("abc")
    with pytest.raises(ValueError, match="read-only"):
        lib.upper(memoryview(b"abc"))


def test_only_bytes_and_texts_are_buffers_of_char():
    """C would write over the pointers of objects, and no float is a char."""
    lib = tw.compile("""
    void clear(int n, char s[n]) { for (int i = 0; i < n; i++) s[i] = 0; }
    int total(int n, const char s[n]) { int t = 0; for (int i = 0; i < n; i++) t += s[i]; return t; }
    """)
    for value in (np.array([None]), np.zeros(3), np.array(["abc"]), array_of("d", [1.0])):
        with pytest.raises(TypeError, match=r"clear\(\): 's'"):
            lib.clear(value)
        with pytest.raises(TypeError, match=r"total\(\): 's'"):
            lib.total(value)


def test_strided_buffers_of_char():
    lib = tw.compile("""
    void clear(int n, char s[n]) { for (int i = 0; i < n; i++) s[i] = 'x'; }
    int total(int n, const char s[n]) { int t = 0; for (int i = 0; i < n; i++) t += s[i]; return t; }
    """)
    buffer = bytearray(b"abcd")
    lib.clear(memoryview(buffer)[::2])
    assert buffer == b"xbxd"
    strings = np.array([b"ab", b"cd", b"ef"])
    assert lib.total(strings[::2]) == sum(b"abef")
    with pytest.raises(ValueError, match=r"clear\(\): 's' must be C-contiguous"):
        lib.clear(strings[::2])
    assert sys.getrefcount(strings) == 2


def test_texts_are_rows_of_char():
    lib = tw.compile(
        "void mark(int n, int w, char s[n][w]) { for (int i = 0; i < n; i++) s[i][w - 1] = 'a' + i; }"
    )
    names = np.array([b"xyz", b"xyz"])
    lib.mark(names)
    assert names.tolist() == [b"xya", b"xyb"]


def test_buffers_of_unsigned_char():
    lib = tw.compile("void fill(int n, unsigned char b[n]) { for (int i = 0; i < n; i++) b[i] = 200; }")
    buffer = bytearray(3)
    lib.fill(buffer)
    assert buffer == b"\xc8" * 3
    with pytest.raises(TypeError, match=r"fill\(\): 'b'"):
        lib.fill(np.zeros(3, "i1"))


def test_texts_are_not_cut():
    variables = tw.compile("char names[2][4]; int f(void) { return 0; }")
    variables.names = ["abcd", b"e"]
    assert variables.names.tolist() == [b"abcd", b"e"]
    with pytest.raises(ValueError, match="'names' has 5 values for the 4 bytes"):
        variables.names = ["abcde", "f"]
    with pytest.raises(TypeError, match="'names' must be str or bytes"):
        variables.names = [1, 2]
    with pytest.raises(ValueError, match=r"'names' has shape \(3,\), which does not broadcast to \(2,\)"):
        variables.names = ["a", "b", "c"]
    assert variables.names.tolist() == [b"abcd", b"e"]


# ---- Limits and overlap ----


def test_more_dimensions_than_numpy_has():
    many = "[1]" * 70
    lib = tw.compile(f"int deep{many}; struct s {{ int a{many}; }}; int f(struct s *p) {{ return p == 0; }}")
    with pytest.raises(AttributeError, match="more dimensions than NumPy"):
        lib.deep  # noqa: B018
    assert lib.f(None) == 1 and "s" not in lib.dtypes
    with pytest.raises(tw.CompileError, match="at most 64 dimensions"):
        tw.compile(f"static int x{many}; int (*f(void)){many} {{ return &x; }}")


def test_overlap_of_what_is_no_array():
    """Addresses have no extent, scalars and bytearrays the memory they stand for."""
    lib = tw.compile("""
    struct pair { int a, b; };
    int same(struct pair *a, struct pair *b) { return a == b; }
    void both(char *a, char *b) {}
    """)
    pairs = np.zeros(3, lib.dtypes["pair"])
    assert lib.same(None, None) == lib.same(16, 16) == 1
    assert lib.same(None, pairs) == lib.same(pairs, 16) == lib.same(pairs[0], pairs[1]) == 0
    for a, b in ((pairs[0], pairs[0]), (pairs[0], pairs), (pairs[::2], pairs[2])):
        with pytest.raises(ValueError, match="'a' and 'b' share memory"):
            lib.same(a, b)
    assert lib.same(pairs[::2], pairs[1]) == 0
    buffer = bytearray(8)
    lib.both(buffer, bytearray(8))
    lib.both(memoryview(buffer)[:4], memoryview(buffer)[4:])
    with pytest.raises(ValueError, match="'a' and 'b' share memory"):
        lib.both(buffer, memoryview(buffer)[4:])


# ---- Structs by value ----

BY_VALUE = """
typedef struct { int id; char name[6]; float w; struct { double x, y; } at[2]; } thing;
struct point { double x, y; };
struct point add(struct point a, struct point b) { a.x += b.x; a.y += b.y; return a; }
thing move(thing t, struct point d) { t.at[1].x += d.x; t.id++; t.name[0] = 'Z'; return t; }
"""


def test_structs_by_value():
    lib = tw.compile(BY_VALUE)
    total = lib.add((1, 2), np.array((3, 4), POINT))
    assert isinstance(total, np.void) and total.tolist() == (4, 6) and total.dtype == POINT
    assert lib.add(total, total)["y"] == 12
    moved = lib.move((1, "abc", 2.5, [(1, 2), (3, 4)]), (10, 0)).tolist()
    assert moved[:3] == (2, b"Zbc", 2.5) and moved[3][1].tolist() == (13, 4)
    structure = lib.add.ctypes.argtypes[0]
    assert lib.add.ctypes(structure(1, 2), structure(3, 4)).x == 4
    for value in ([(1, 2)], np.zeros(2, POINT)):
        with pytest.raises(ValueError, match=r"add\(\): 'a' has 1 dimension, expected 0"):
            lib.add(value, (1, 2))
    with pytest.raises(TypeError, match=r"'a' must be an array of dtype .*; got NoneType"):
        lib.add(None, (1, 2))
    assert tw.compile(headers="<stdlib.h>", functions="div").div(17, 5).tolist() == (3, 2)


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ("struct s { int a : 3; };", "a struct that has a bit-field is not passed by value"),
        ("struct __attribute__((packed)) s { char c; double d; };", "do not lie one behind the other"),
        ("struct s { int n; union { int i; float f; }; };", "do not lie one behind the other"),
    ],
)
def test_structs_that_are_not_passed_by_value(declaration, message):
    lib = tw.compile(f"{declaration}\nint f(struct s x) {{ return 0; }}\nint g(void) {{ return 1; }}")
    with pytest.raises(AttributeError, match=message):
        lib.f  # noqa: B018


def test_libraries_take_structs_by_value(tmp_path):
    """What libtcc would pass otherwise than gcc is refused, all else is right."""
    types = ["char", "short", "int", "long", "float", "double"]
    shapes = [[a] for a in types] + [[a, b] for a in types for b in types]
    shapes += [["float"] * 3, ["float"] * 4, ["double"] * 3, ["int"] * 3, ["char", "char", "short", "int"]]
    shapes += [["long", "double", "float"], ["double", "double", "int"]]
    structs, functions = [], []
    for i, members in enumerate(shapes):
        fields = " ".join(f"{name} m{k};" for k, name in enumerate(members))
        sums = " ".join(f"a.m{k} += b.m{k} + n;" for k in range(len(members)))
        structs.append(f"struct s{i} {{ {fields} }};")
        functions.append(f"struct s{i} f{i}(struct s{i} a, int n, struct s{i} b) {{ {sums} return a; }}")
    text = "\n".join(structs + functions)
    (tmp_path / "value.c").write_text(text)
    library = tmp_path / "libvalue.so"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, tmp_path / "value.c"], check=True)
    prototypes = "\n".join(structs + [f"{line.split('{')[0].strip()};" for line in functions])
    foreign, own = tw.compile(libraries=[library], declare=prototypes), tw.compile(text)
    passed = 0
    for i, members in enumerate(shapes):
        a, b = tuple(range(1, 1 + len(members))), tuple(range(10, 10 + len(members)))
        expected = tuple(x + y + 3 for x, y in zip(a, b, strict=True))
        assert getattr(own, f"f{i}")(a, 3, b).tolist() == expected
        if hasattr(foreign, f"f{i}"):
            passed += 1
            assert getattr(foreign, f"f{i}")(a, 3, b).tolist() == expected, members
    assert passed >= 25


def test_structs_larger_than_any_dtype():
    lib = tw.compile(declare="struct big { int a[1000000000]; }; void free(struct big *p);")
    assert lib.free(None) is None and lib.dtypes == {}
