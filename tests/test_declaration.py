"""The declarations of a C text (src/frontend/declaration.c)."""

import random
import re
import threading

import pytest
from declaration_library import (
    constant,
    described,
    generic,
    one,
    parameters,
    parse,
    read,
    refusal,
    variables,
)
from declaration_oracle import PRELUDE, Generator, Normaliser, plain
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyweave as tw

SAMPLE = """\
/* Smooths. */
typedef double grid[8][8], *row;
enum mode { SLOW, FAST = SLOW + 2 };
struct node { enum { LEAF = 3 } kind; struct node *next[LEAF]; };
static inline int (*pick(const struct node *restrict node, int (*compare)(row, grid)))[FAST];
extern void smooth(int m, int n, inout double a[static m][n], out T *total, ...) asm("x");
__attribute__((noreturn)) _Noreturn void stop(void (*)(int), size_t [*], char c[sizeof(int) * 2 ? 1 : -m]);
double table[] = { 1, (2), [3] = 4 }, *next = &table[1];
_Static_assert(1, "yes");
int sum(int n, const int a[n]) { int s = 0; for (int i = 0; i < n; i++) { s += a[i]; } return s; }
"""
WORDS = """
    int double void char unsigned long const static typedef extern inline struct union enum _Atomic restrict
    __attribute__ typeof asm _Static_assert sizeof T out inout size_t PyObject a b f
    ( ) [ ] { } ( ) * , ; = ... 1 0x2 'c' "s" + - ? : ~ & << <: %> . -> = < return if
"""
TOKENS = WORDS.split()


# ---- Against pycparser ----


def hides_an_enumerator(item):
    return re.search(r"\('E\d+', \(", repr(plain(item["type"]))) is not None


@pytest.mark.parametrize("seed", range(20))
def test_pycparser_reads_the_same(seed):
    theirs, ours = Generator(random.Random(seed)).texts(250)
    expected = Normaliser().unit("\n".join(PRELUDE.values()) + "\n" + theirs)[len(PRELUDE) :]
    assert len(expected) > 250
    found = read(ours)
    for item, other in zip(found, expected, strict=True):
        mine = (item["name"], item["storage"], item["inline"], item["definition"], plain(item["type"]))
        assert mine == other

    # what is printed, read again; not where a parameter hides an enumerator that a typedef used
    again = [item for item in found if "{...}" not in item["text"] and not hides_an_enumerator(item)]
    text = ours + "".join(f"\n{item['text']};" for item in again)
    for item, other in zip(again, read(text)[len(found) :], strict=True):
        assert plain(item["type"], known=True) == plain(other["type"], known=True)
        assert item["text"] == other["text"]


# ---- Types ----


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unsigned a;", ["unsigned int a"]),
        ("long unsigned int long a;", ["unsigned long long a"]),
        ("int a, *b, c[3], f(void);", ["int a", "int *b", "int c[3]", "int f(void)"]),
        ("int f();", ["int f()"]),
        ("void f(T) { }", ["void f(T)"]),
        ("typedef int name; nam\\\r\ne a; siz\\\ne_t b;", ["int name", "int a", "unsigned long b"]),
        ("int f(int, ...);", ["int f(int, ...)"]),
        ("int (*(*g[3])(void))[4];", ["int (*(*g[3])(void))[4]"]),
        ("double (*f)(double, void *);", ["double (*f)(double, void *)"]),
        ("char *const *volatile p;", ["char *const *volatile p"]),
        ("void f(int a[static const restrict 3]);", ["void f(int a[static const restrict 3])"]),
        ("void f(int n, double a[ 2*n ][n + 1][*]);", ["void f(int n, double a[2*n][n + 1][*])"]),
        (
            "void f(double [3], int (*)(void), double (*)[3]);",
            ["void f(double [3], int (*)(void), double (*)[3])"],
        ),
        ("typedef int A[3]; const A a;", ["int A[3]", "const int a[3]"]),
        ("typedef int F(double); F *f, g;", ["int F(double)", "int (*f)(double)", "int g(double)"]),
        ("typedef int a, b; b c;", ["int a", "int b", "int c"]),
        ("typedef int a, *b(a);", ["int a", "int *b(int)"]),
        ("struct { int x; } a; struct s b; enum { A } c;", ["struct {...} a", "struct s b", "enum {...} c"]),
        ("_Atomic int a; _Atomic(int *) b;", ["_Atomic int a", "int *_Atomic b"]),
        ("typeof(1 + 1) a;", ["typeof a"]),
        ("struct stat a; off_t b, *c;", ["struct stat a", "off_t b", "off_t *c"]),
        ("T (f)(T); T (*g)(T), (h)[3];", ["T f(T)", "T (*g)(T)", "T h[3]"]),
        ("in\\\nt a[1\\\n2];", ["int a[12]"]),
        ("int a<:3:>; int f(void) <% if (1) <% %> return 1; %> int b;", ["int a[3]", "int f(void)", "int b"]),
        (";; int a;;", ["int a"]),
        ('asm("nop"); __extension__ int a __attribute__((x)) = 3, b asm("c");', ["int a", "int b"]),
        ("int __attribute__((x)) * __attribute__((y)) f(void) __attribute__((z));", ["int *f(void)"]),
        ("int (__attribute__((x)) *f)(int __attribute__((y)) a __attribute__((z)));", ["int (*f)(int a)"]),
        ("_Alignas(16) double a; _Noreturn void f(void);", ["double a", "void f(void)"]),
        ("__thread int a; __signed *__restrict p;", ["int a", "int *restrict p"]),
    ],
)
def test_types(text, expected):
    assert described(text) == expected


def test_bare_leaves_qualifiers_and_words_out():
    item = one("void f(const int n, inout const double a[static const 3], char *const *p);")
    assert item["text"] == "void f(const int n, inout const double a[static const 3], char *const *p)"
    assert item["bare"] == "void f(int n, double a[3], char **p)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # 6.7.5.3 paragraph 11: a name that can be a typedef's is one
        ("typedef int t; void f(int (t));", "void f(int (int))"),
        ("typedef int t; void f(int t);", "void f(int t)"),
        ("typedef int t; void f(int t, double a[t]);", "void f(int t, double a[t])"),
        ("typedef int t; void f(t t, int a);", "void f(int t, int a)"),
        ("typedef int t; void f(const t);", "void f(const int)"),
        ("typedef int t; void f(unsigned t);", "void f(unsigned int t)"),
        ("typedef int t; void f(t (*g)(t));", "void f(int (*g)(int))"),
        ("void f(int (x));", "void f(int x)"),
        ("void f(int (size_t));", "void f(int (unsigned long))"),
        ("void f(int ([3]), int (*), int ());", "void f(int [3], int *, int ())"),
        ("void f(T);", "void f(T)"),
        ("void f(T T);", "void f(T T)"),
        ("void f(register int a);", "void f(int a)"),
        ("typedef void nothing; int f(nothing);", "int f(void)"),
        ("void f(enum { A = 2 } e, int a[A]); int b[A];", "int b[A]"),
    ],
)
def test_names_of_types(text, expected):
    assert one(text)["text"] == expected


def test_scopes_of_enumerators():
    text = "enum { N = 4 }; void f(int N, int a[N]); int b[N]; void g(enum { N = 5 } e, int a[N]);"
    f, b, g = (item["type"][2] for item in read(text))
    assert f[0][1][3][2][:2] == (False, ("name", "N"))
    assert b[1] == ("constant", 4)
    assert g[0][1][3][2][1] == ("constant", 5)


def test_enumerators_in_bodies_of_structs_count():
    assert constant("B + C", "struct s { struct { enum { A = 7, B } x; } y; enum e { C = B * 2 } z; };") == 24


def test_no_prototype():
    assert one("int f();")["type"][2] == ((), False, True)
    assert one("int f(void);")["type"][2] == ((), False, False)
    assert one("int f(int, ...);")["type"][2][1:] == (True, False)


def test_nesting_of_types_is_counted():
    assert one("int a;")["depth"] == 0
    assert one("int *a[3];")["depth"] == 2
    assert one("typedef int *a; typedef a *b; void f(int, b);")["depth"] == 3


# ---- The prelude ----


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("size_t", ("basic", 0, "unsigned long", None, None)),
        ("int32_t", ("basic", 0, "int", None, None)),
        ("npy_double", ("basic", 0, "double", None, None)),
        ("bool", ("basic", 0, "_Bool", None, None)),
        ("tw_complex", ("basic", 0, "tw_complex", None, None)),
        ("tw_complexf", ("basic", 0, "tw_complexf", None, None)),
        ("Py_complex", ("basic", 0, "tw_complex", None, None)),
        ("PyObject", ("struct", 0, "_object", None, "PyObject")),
        ("FILE", ("struct", 0, "_IO_FILE", None, "FILE")),
        ("Py_buffer", ("struct", 0, None, None, "Py_buffer")),
        ("va_list", ("named", 0, "__builtin_va_list", None, "va_list")),
        ("int8_tt", ("named", 0, "int8_tt", None, None)),
        ("sin", ("named", 0, "sin", None, None)),
        ("tw_argument", ("named", 0, "tw_argument", None, None)),
        ("INT_MAX", ("named", 0, "INT_MAX", None, None)),
    ],
)
def test_prelude(name, expected):
    assert one(f"{name} x;")["type"] == expected
    kind, _, _, target, known = one(f"const {name} *x;")["type"]
    assert (kind, known) == ("pointer", None)
    assert target == (expected[0], 1, *expected[2:])


def test_prelude_type_with_a_known_part():
    kind, _, _, target, known = one("PyCapsule_Destructor d;")["type"]
    assert (kind, known) == ("pointer", "PyCapsule_Destructor")
    assert target[2][0][0][3][3] == ("struct", 0, "_object", None, "PyObject")
    assert one("PyCapsule_Destructor d;")["text"] == "PyCapsule_Destructor d"


def test_own_declarations_win():
    assert described("typedef float size_t; size_t a;") == ["float size_t", "float a"]
    assert described("size_t a; typedef float size_t; size_t b;")[-1] == "float b"
    assert one("typedef PyObject mine; mine *a;")["text"] == "PyObject *a"
    assert refusal("double size_t; size_t a;") == (1, "'size_t' is not a type")
    # the prelude's own types are made of the prelude's names
    assert one("typedef int PyObject; PyCapsule_Destructor d;")["type"][3][2][0][0][3][3][0] == "struct"


# ---- out and inout ----


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("void f(out double *x, inout int *y);", [("x", "out"), ("y", "inout")]),
        ("void f(const out double *x);", [("x", "out")]),
        ("void f(out T *x, inout struct s *y, out size_t *z);", [("x", "out"), ("y", "inout"), ("z", "out")]),
        ("void f(double out, int inout);", [("out", ""), ("inout", "")]),
        ("void f(out double *out);", [("out", "out")]),
        ("typedef int out; void f(out x, out *inout);", [("x", ""), ("inout", "")]),
        ("double out; void f(out double *x);", [("x", "out")]),
        ("void out(void); void f(double *inout);", [("inout", "")]),
    ],
)
def test_words(text, expected):
    assert parameters(text) == expected


def test_words_are_names_elsewhere():
    assert described("double out; int inout(int out);") == ["double out", "int inout(int out)"]
    assert described("void f(void (out double *));")[0] == "void f(void (out double *))"


def test_places_of_parameters():
    ((name, word, token, _, first, last),) = one("int f(out const double (*a)[3] __attribute__((x)));")[
        "type"
    ][2][0]
    assert (name, word, token, first, last) == ("a", 1, "out", "out", "]")


# ---- T ----


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("T f(int a);", True),
        ("int f(const T *a);", True),
        ("void f(int (*g)(T));", True),
        ("extern void f(T a[3]);", True),
        ("inline void f(T a) {}", True),
        ("void f(int n, char a[sizeof(T)]);", True),
        ("typedef T pair[2]; void f(pair a);", True),
        ("typedef T pair[2]; static void f(pair a);", False),
        ("double heat(double T);", False),
        ("double heat(double T, double a[T]);", False),
        ("typedef float T; T f(T a);", False),
        ("T f(T a); typedef float T;", False),
        ("static T f(T a);", False),
        ("static T f(T); T f(T a) { return a; }", False),
        ("T a; T *b;", False),
        ("T (*f)(T);", False),
        ("typedef T own;", False),
        ("struct s { T a; }; void f(struct s *s);", False),
        ("double f(double a) { T b = (T)a; return b; }", False),
        ("struct T { int x; }; void f(struct T a);", False),
        ("T a; void f(int b);", False),
    ],
)
def test_type_variables(text, expected):
    assert generic(text) is expected
    assert variables(text.replace("T", "U")) == (2 if expected else 0)


def test_two_type_variables():
    assert variables("U f(T a);") == 3
    assert variables("typedef int T; U f(T a);") == 2


# ---- Expressions ----


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 4 - 3", 3),
        ("1 << 2 + 1", 8),
        ("1 < 2 == 1", 1),
        ("5 & 3 | 8 ^ 1", 9),
        ("0 || 2 && 3", 1),
        ("0 ? 1 : 2 ? 3 : 4", 3),
        ("~0", -1),
        ("!5", 0),
        ("- -3", 3),
        ("+3", 3),
        ("-7 / 2", -3),
        ("-7 % 3", -1),
        ("-8 >> 1", -4),
        ("0x10 + 010 + 0b11", 27),
        ("10uLL", 10),
        ("'a' + '\\n'", 107),
        ("'\\0' + '\\''", 39),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775807 - 1", -(2**63)),
        ("0 && n", 0),
        ("1 || 1 / 0", 1),
        ("1 ? 2 : n", 2),
        ("9223372036854775808", None),
        ("9223372036854775807 + 1", None),
        ("-9223372036854775807 - 2", None),
        ("-(-9223372036854775807 - 1)", None),
        ("(-9223372036854775807 - 1) / -1", None),
        ("(-9223372036854775807 - 1) % -1", None),
        ("4611686018427387904 * 2", None),
        ("1 / 0", None),
        ("1 % 0", None),
        ("1 << 62", 2**62),
        ("1 << 63", None),
        ("1 << 64", None),
        ("1 << -1", None),
        ("-1 << 1", None),
        ("1 >> 64", None),
        ("n", None),
        ("1 + n", None),
        ("1.5", None),
        ("1e3", None),
        ("0x1p3", None),
        ("09", None),
        ("12ab", None),
        ("1" * 100, None),
        ("'ab'", None),
        ("L'a'", 97),
        ("u'a'", None),
        ("'\\x41' + '\\101'", 130),
        ("'\\xff'", -1),
        ("sizeof(int)", 4),
        ("sizeof(int[3][5])", 60),
        ("sizeof(T)", None),
        ("sizeof(int[n])", None),
        ("sizeof(struct unknown)", None),
        ("sizeof(struct { char c; double d; }) + _Alignof(short)", 18),
        ("sizeof(int){1}", None),
        ("sizeof n", None),
        ("sizeof (n)", None),
        ("sizeof(void)", None),
        ("(int)3", 3),
        ("(unsigned char)-1", 255),
        ("(signed char)200", -56),
        ("(_Bool)7", 1),
        ("(unsigned)-1", 2**32 - 1),
        ("(short)(1 << 15)", -(2**15)),
        ("(unsigned short)-1", 2**16 - 1),
        ("(size_t)-1", None),
        ("(long)-1", -1),
        ("(enum { A })3", 3),
        ("(int)n", None),
        ("(double)3", None),
        ("(int *)3", None),
        ("(T)3", None),
        ("(T *)3", None),
        ("(struct s){1}.a[0]", None),
        ("f(3)", None),
        ('"s" "t"[0]', None),
        ("({ 3; })", None),
        ("a ?: 3", None),
        ("a = 3", None),
        ("a->b.c++", None),
        ("_Generic(1, int: 3)", None),
    ],
)
def test_constants(expression, expected):
    assert constant(expression) == expected


def test_enumerators():
    text = "enum e { A, B = 5, C, D = -1, E, F = sizeof(int), G, H = 0x7fffffffffffffff, I };"
    values = [constant(name, text) for name in "ABCDEFGHI"]
    assert values == [0, 5, 6, -1, 0, 4, 5, 2**63 - 1, None]
    assert one(text + "int a[I];")["type"][2][1] == ("other",)


# ---- Declarations ----


def test_storage_and_definitions():
    items = read(
        "static inline int f(void) { return 1; } extern int a; typedef int t; int b = 3; int g(void);"
    )
    assert [(i["name"], i["storage"], i["inline"], i["definition"]) for i in items] == [
        ("f", "static", True, True),
        ("a", "extern", False, False),
        ("t", "typedef", False, False),
        ("b", "", False, False),
        ("g", "", False, False),
    ]


def test_places_of_declarations():
    items = read('static int f(void) asm("g") __attribute__((x)), *a = {1};\nint const b[3];')
    assert [(item["first"], item["last"]) for item in items] == [
        ("static", ")"),
        ("static", "a"),
        ("int", "]"),
    ]


def test_bodies_and_initialisers_are_skipped():
    text = """
    int f(void) { struct s { int x; } y = {1}; int (*g)(int) = h; if (g(1)) { } T *a = (T *){0};
                  return sizeof(int); }
    struct { int a; } b = { .a = (1, 2) }, *c[] = { &b, 0 };
    int d(void) { struct __attribute__((packed)) { int x; } y; while (1) { } for (int i = 0; i < 1;) { } }
    """
    assert [item["name"] for item in read(text)] == ["f", "b", "c", "d"]


# ---- Comments ----


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/* a */ int x;", "/* a */"),
        ("/* a */\nint x;", "/* a */"),
        ("/* a\n   b */  \n  int x;", "/* a\n   b */"),
        ("// a\nint x;", "// a"),
        ("// a\n  // b\r\n// c\r\nint x;", "// a\n  // b\r\n// c"),
        ("// a\n\n// b\nint x;", "// b"),
        ("// a\\\nb\nint x;", "// a\\\nb"),
        ("/* a */\n/* b */\nint x;", "/* b */"),
        ("/* a */\n// b\nint x;", "// b"),
        ("int y; // y\n// x\nint x;", "// x"),
        ('char *s = "/* no */", c = \'"\';\n/* a " */\nint x;', '/* a " */'),
        ("#error don't\n/* a */\nint x;", "/* a */"),
        ("/* a */\n__extension__ int x;", "/* a */"),
        ("/* a */ static int y, x;", "/* a */"),
        ("/**/\nint x;", "/**/"),
        ("/* a */\n\nint x;", None),
        ("/* a */\n#define N 3\nint x;", None),
        ("/* a */ /* b */ int x;", None),
        ("int y; /* y */\nint x;", None),
        ("int y; /* y */ int x;", None),
        ("int y; // y\nint x;", None),
        ("/* a */ int y;\nint x;", None),
        ("/* a */;\nint x;", None),
        ("int x;", None),
        ("#define WORD double\n/* a */\nWORD x;", None),
        ("/* no */\n#define WORD /* a */ double\n\nWORD x;", None),
        ("#define W \\\n/* no */ double\nint y;\n         W x;", None),
    ],
)
def test_comments(text, expected):
    comment = one(text)["comment"]
    assert comment == (expected.encode() if expected is not None else None)


def test_comments_behind_a_macros_word():
    items = read("#define W double\n/* a */\nint a;\n/* b */\nW b;\n/* c */\nint c;")
    assert [item["comment"] for item in items] == [b"/* a */", None, b"/* c */"]


# ---- Refusals ----


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("\nint f(a)\nint a; { }", 2, "'int f(a)' is a K&R definition: give the types in the parameter list"),
        ("int f(a) { }", 1, "'int f(a)' is a K&R definition: give the types in the parameter list"),
        (
            "static double f(a, b) double a, b; { }",
            1,
            "'static double f(a, b)' is a K&R definition: give the types in the parameter list",
        ),
        ("f(int a) { }", 1, "'f' has no type: C99 has no implicit int"),
        ("static x;", 1, "'x' has no type: C99 has no implicit int"),
        ("x = 3;", 1, "'x' has no type: C99 has no implicit int"),
        ("foo;", 1, "'foo' has no type: C99 has no implicit int"),
        ("int f(const);", 1, "expected a type, found ')'"),
        ("const *p;", 1, "expected a type, found '*'"),
        ("&x;", 1, "expected a type, found '&'; references are C++"),
        ("void f(double &x);", 1, "expected ',' or ')', found '&'; references are C++"),
        ("void f(T &x);", 1, "expected ',' or ')', found '&'; references are C++"),
        ("int &r;", 1, "expected a name, found '&'; references are C++"),
        ("T &&f();", 1, "expected a name, found '&&'; references are C++"),
        ("class grid { };", 1, "'class' is C++, and this is C"),
        ("namespace a { }", 1, "'namespace' is C++, and this is C"),
        ("using namespace std;", 1, "'using' is C++, and this is C"),
        ("template <class U> U f(U a);", 1, "'template' is C++, and this is C"),
        ("std::size_t n;", 1, "expected a name, found '::', which is C++"),
        ("int a::b;", 1, "expected ';', found '::', which is C++"),
        ("vector<int> v;", 1, "expected a name, found '<'; templates are C++"),
        ('extern "C" { }', 1, "'extern \"C\"' is C++, and this is C"),
        ("int a;\na b;", 2, "'a' is not a type"),
        ("int f(int T, T x);", 1, "'T' is not a type"),
        ("int f(int a, 3);", 1, "expected a type, found '3'"),
        ("int f(int a,);", 1, "expected a type, found ')'"),
        ("int f(...);", 1, "expected a type, found '...'"),
        ("int f(int, ..., int);", 1, "expected ')', found ','"),
        ("int f(static int a);", 1, "'static' cannot stand here"),
        ("int f(int a = 3);", 1, "expected ',' or ')', found '='"),
        ("int f(const void);", 1, "parameter 1 has the type void"),
        ("int f(void, int);", 1, "parameter 1 has the type void"),
        ("int f(int, void x);", 1, "parameter 2 has the type void"),
        ("int f(out);", 1, "expected a type behind 'out', found ')'"),
        ("int f(inout *x);", 1, "expected a type behind 'inout', found '*'"),
        ("int f(out inout int x);", 1, "'inout' behind 'out': a parameter takes one of them"),
        ("auto x = 3;", 1, "'auto' cannot stand here"),
        ("static extern int x;", 1, "'extern' is a second storage class"),
        ("int int x;", 1, "'int' once too often in one type"),
        ("long long long x;", 1, "'long' once too often in one type"),
        ("const short double x;", 1, "'const short double' is not a type"),
        ("unsigned void x;", 1, "'unsigned void' is not a type"),
        (
            "struct s { int x; }\ndouble f(void);",
            2,
            "'double' behind the type 'struct': a second type; is a ';' missing?",
        ),
        ("foo struct s x;", 1, "'struct' behind the type 'foo': a second type; is a ';' missing?"),
        ("double _Complex z;", 1, "'_Complex' is not supported: use tw_complex or tw_complexf"),
        ("int f(void)[3];", 1, "'f' returns an array"),
        ("int f(void)(int);", 1, "'f' returns a function"),
        ("int a[3](void);", 1, "'a' is an array of functions"),
        ("void a[3];", 1, "'a' is an array of void"),
        ("typedef int A[3];\nA f(void);", 2, "'f' returns an array"),
        ("int a[3", 1, "this '[' is never closed"),
        ("int a[3};", 1, "'}' closes the '[' of line 1"),
        ("int a;\n}", 2, "'}' closes nothing"),
        ("int a[3 4];", 1, "expected ']', found '4'"),
        ("int a[+];", 1, "expected an expression, found ']'"),
        ("int a[1 +];", 1, "expected an expression, found ']'"),
        ("int a[x.3];", 1, "expected ']', found '.3'"),
        ("int a[x.(y)];", 1, "expected a member's name, found '('"),
        ("int a[int];", 1, "expected an expression, found 'int'"),
        ("int a b;", 1, "expected ';', found 'b'"),
        ("int a", 1, "expected ';', found the end of the text"),
        ("int a = ;", 1, "expected an initializer, found ';'"),
        ("int a = 3", 1, "expected ';', found the end of the text"),
        ("int", 1, "expected a name, found the end of the text"),
        ("int for;", 1, "expected a name, found 'for'"),
        ("for (;;) { }", 1, "expected a type, found 'for'"),
        ("int (a;);", 1, "expected ')', found ';'"),
        ("struct;", 1, "expected a name or '{' behind 'struct', found ';'"),
        ("enum { };", 1, "expected an enumerator, found '}'"),
        ("enum { A B };", 1, "expected '}', found 'B'"),
        ("enum x: int;", 1, "expected a name, found ':'"),
        (
            "int f(void) { int g(int a) { return a; } return 1; }",
            1,
            "a function inside a function is not C99",
        ),
        (
            "int f(void) {\nif (1) {\n static struct s *g() __attribute__((x)) { } } }",
            3,
            "a function inside a function is not C99",
        ),
        ("int f(void) {\nsize_t g(int a) { return a; } }", 2, "a function inside a function is not C99"),
        ("int a, f(void) { }", 1, "expected ';', found '{'"),
        ("typedef int F(void);\nF f { }", 2, "expected ';', found '{'"),
        ("typedef int f(void) { }", 1, "expected ';', found '{'"),
    ],
)
def test_refusals(text, line, message):
    assert refusal(text) == (line, message)


def test_refusal_of_a_long_name_is_cut():
    assert len(refusal("static " + "x" * 5000 + ";")[1]) < 200


# ---- Limits ----

DEEP = 600


@pytest.mark.parametrize(
    "text",
    [
        "int " + "(" * DEEP + "a" + ")" * DEEP + ";",
        "int " + "*" * DEEP + "a;",
        "int a" + "[1]" * DEEP + ";",
        "int a[" + "(" * DEEP + "1" + ")" * DEEP + "];",
        "int a[" + "- " * DEEP + "1];",
        "int a[1" + " + 1" * DEEP + "];",
        "int a[" + "1 ? 1 : " * DEEP + "1];",
        "int a[" + "sizeof " * DEEP + "1];",
        "int a[" + "(int)" * DEEP + "1];",
        "void f(" + "void (*)(" * DEEP + ")" * DEEP + ");",
        "struct { " * DEEP + "} " * DEEP + ";",
        "int f(void) " + "{" * DEEP + "}" * DEEP,
        "_Atomic(" * DEEP + "int" + ")" * DEEP + " a;",
        "int a[" + "sizeof(int[" * (DEEP // 2) + "1" + "])" * (DEEP // 2) + "];",
        "typedef int t0;" + "".join(f"typedef t{i} *t{i + 1};" for i in range(DEEP)),
        "typedef int t0;" + "".join(f"typedef void t{i + 1}(t{i} *);" for i in range(DEEP)),
    ],
    ids=range(16),
)
def test_deep_nesting_is_refused(text):
    line, message = refusal(text)
    assert message.startswith("nested too deeply: more than 500 ")


@pytest.mark.parametrize(
    "text",
    [
        "int " + "(" * 450 + "a" + ")" * 450 + ";",
        "int " + "*" * 450 + "a;",
        "int a[" + "(" * 450 + "1" + ")" * 450 + "];",
        "void f(" + "void (*)(" * 200 + ")" * 200 + ");",
        "enum { A };" + "".join(f"int a{i}[A + {i}], f{i}(int, double *);" for i in range(3000)),
        "typedef int t0;" + "".join(f"typedef t{i} t{i + 1};" for i in range(3000)),
        "int f(void) { " + "struct s { int x; } " * 20000 + "}",
        "int f(void) { " + "size_t (*a)(int) " * 20000 + "}",
        "int " + "__attribute__((x)) " * 20000 + "a;",
        "// a\nint f(void);\n" * 10000,
    ],
    ids=range(10),
)
def test_what_is_long_or_not_so_deep_is_read(text):
    assert read(text)


def test_deepest_texts_fit_a_threads_stack():
    text = "void f(" + "void (*)(" * 240 + ")" * 240 + ");"
    results = []
    thread = threading.Thread(target=lambda: results.append(parse(text)))
    thread.start()
    thread.join()
    assert isinstance(results[0][0], list)


# ---- Hostile texts ----


def test_every_beginning_of_a_text():
    count = 0
    while True:
        result = parse(SAMPLE, count)
        if isinstance(result[0], list) and len(result[0]) == len(read(SAMPLE)):
            break
        assert isinstance(result[0], list) or result[2], count
        count += 1
    assert count > 200


def test_every_token_left_out():
    words = SAMPLE.split(" ")
    for i in range(len(words)):
        result = parse(" ".join(words[:i] + words[i + 1 :]))
        assert isinstance(result[0], list) or result[2]


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=40))
def test_any_tokens(words):
    result = parse(" ".join(words))
    assert isinstance(result[0], list) or (result[0] >= 1 and result[2])


def close(words):
    """The same words with brackets that pair up: more of the text is then looked at."""
    open_, result = [], []
    pairs = {"(": ")", "[": "]", "{": "}", "<:": ":>"}
    for word in words:
        if word in (")", "]", "}", ":>", "%>"):
            if open_:
                result.append(open_.pop())
            continue
        result.append(word)
        if word in pairs:
            open_.append(pairs[word])
    return result + open_[::-1]


@settings(max_examples=2500, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=40).map(close))
def test_any_tokens_with_brackets_that_pair_up(words):
    result = parse("int " + " ".join(words) + ";")
    assert isinstance(result[0], list) or (result[0] >= 1 and result[2])


def test_types_that_double_each_other():
    """A type walked through in full would take as long as its text is exponential."""
    chain = "".join(f"typedef int (*t{i + 1})(t{i}, t{i});" for i in range(60))
    with pytest.raises(tw.CompileError, match="a type made of more than 20000 others"):
        tw.compile(f"typedef int (*t0)(void); {chain} int f(t60 x) {{ return 1; }}")
