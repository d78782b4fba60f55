"""Arithmetic for any T: tw_add and its kin against NumPy, over real and complex types."""

import itertools
import operator

import numpy as np
import pytest

import tinyweave as tw

LETTERS = "bBhHiIlLfdFD"
SPECIAL = [0.0, -0.0, 1.0, -2.5, 3.7, 1e30, -1e-30, float("inf"), float("-inf"), float("nan")]


def values(letter, count=200):
    """Numbers of a type: special ones, and random ones from a fixed seed."""
    random = np.random.default_rng(0)
    dtype = np.dtype(letter)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        some = random.integers(limits.min, limits.max, count, dtype, endpoint=True)
        return np.concatenate([some, np.array([0, 1, limits.min, limits.max], dtype)])
    if dtype.kind == "f":
        return np.concatenate([random.normal(size=count), SPECIAL]).astype(dtype)
    pairs = [complex(x, y) for x, y in itertools.product(SPECIAL, SPECIAL)]
    return np.concatenate([random.normal(size=(count, 2)).view("D")[:, 0], pairs]).astype(dtype)


def couples(letter):
    """Every value with one of each kind of the others."""
    x = values(letter)
    y = np.concatenate([x[-12:], x[:5]])
    return np.repeat(x, len(y)), np.tile(y, len(x))


def apply(expression, *arrays, out="T", letters=LETTERS):
    """The C expression in x, y, z ... over the arrays, whose dtype is T."""
    names = "xyzwvutsr"[: len(arrays)]
    arguments = ", ".join(f"const T {name}_[n]" for name in names)
    loads = " ".join(f"T {name} = {name}_[i];" for name in names)
    lib = tw.compile(
        f"void f(long n, {arguments}, out {out} r[n])"
        f"{{ for (long i = 0; i < n; i++) {{ {loads} r[i] = {expression}; }} }}",
        T=letters,
    )
    return lib.f(*arrays)


def same_bits(left, right):
    """The same but for the sign and payload of NaN."""
    left, right = np.asarray(left), np.asarray(right)
    assert left.dtype == right.dtype and left.shape == right.shape
    if left.dtype.kind == "c":
        return same_bits(left.real, right.real) and same_bits(left.imag, right.imag)
    if left.dtype.kind != "f":
        return np.array_equal(left, right)
    nan = np.isnan(left)
    return np.array_equal(nan, np.isnan(right)) and left[~nan].tobytes() == right[~nan].tobytes()


def nearly(left, right, ulps=4):
    """The same special values; finite ones within some ulp of the larger part."""
    left, right = np.asarray(left), np.asarray(right)
    finite = np.isfinite(right)
    size = np.abs(right[finite])
    error = np.abs(left[finite].astype("D") - right[finite].astype("D"))
    return (
        left.dtype == right.dtype
        and np.array_equal(np.isnan(left), np.isnan(right))
        and np.array_equal(np.isinf(left), np.isinf(right))
        and bool(np.all(error <= ulps * np.finfo(left.dtype).eps * size + np.finfo(left.dtype).tiny))
    )


def elementwise(function, *arrays):
    """NumPy's scalars: the array loops of complex products may round otherwise."""
    return np.array([function(*numbers) for numbers in zip(*arrays, strict=True)], arrays[0].dtype)


# ---- Operators ----

OPERATORS = {
    "tw_add(x, y)": lambda x, y: x + y,
    "tw_sub(x, y)": lambda x, y: x - y,
    "tw_mul(x, y)": lambda x, y: x * y,
    "tw_neg(x)": lambda x, y: -x,
    "tw_conj(x)": lambda x, y: np.conj(x),
    "tw_add(x, y, x)": lambda x, y: x + y + x,
    "tw_mul(x, y, x, y)": lambda x, y: x * y * x * y,
    "tw_add(x, tw_mul(y, x), tw_neg(y))": lambda x, y: x + y * x + -y,
}


@pytest.mark.parametrize("letter", LETTERS)
@pytest.mark.parametrize("expression", OPERATORS)
def test_operators(expression, letter):
    x, y = couples(letter)
    with np.errstate(all="ignore"):
        expected = elementwise(OPERATORS[expression], x, y)
    assert same_bits(apply(expression, x, y), expected)


@pytest.mark.parametrize("letter", "fdFD")
def test_division(letter):
    x, y = couples(letter)
    with np.errstate(all="ignore"):
        assert same_bits(apply("tw_div(x, y)", x, y), elementwise(lambda x, y: x / y, x, y))


@pytest.mark.parametrize("letter", "fdFD")
@pytest.mark.parametrize("count", range(2, 9))
def test_sums_and_products_go_from_left_to_right(letter, count):
    arrays = [np.roll(values(letter), i) for i in range(count)]
    names = ", ".join("xyzwvuts"[:count])
    for name, function in (("tw_add", operator.add), ("tw_mul", operator.mul)):
        with np.errstate(all="ignore"):
            expected = arrays[0]
            for array in arrays[1:]:
                expected = elementwise(function, expected, array)
        assert same_bits(apply(f"{name}({names})", *arrays), expected)


@pytest.mark.parametrize("letter", LETTERS)
def test_parts(letter):
    x = values(letter)
    assert same_bits(apply("tw_cast(T, tw_real(x))", x), x.real.astype(letter))
    assert same_bits(apply("tw_cast(T, tw_imag(x))", x), x.imag.astype(letter))


@pytest.mark.parametrize("letter", LETTERS)
def test_abs(letter):
    x = values(letter)
    with np.errstate(all="ignore"):
        expected = np.array([abs(number) for number in x], x.dtype)
        assert same_bits(apply("tw_cast(T, tw_abs(x))", x), expected)


@pytest.mark.parametrize("letter", "fdFD")
def test_squared_magnitude_and_angle(letter):
    x = values(letter)
    with np.errstate(all="ignore"):
        squared = (x.real * x.real + x.imag * x.imag if x.dtype.kind == "c" else x * x).astype(x.dtype)
        assert same_bits(apply("tw_cast(T, tw_abs2(x))", x), squared)
        assert nearly(apply("tw_cast(T, tw_arg(x))", x), np.angle(x).astype(letter))


@pytest.mark.parametrize("letter", LETTERS)
def test_equality(letter):
    x, y = couples(letter)
    assert np.array_equal(apply("tw_eq(x, y)", x, y, out="int"), x == y)
    assert np.array_equal(apply("tw_eq(x, 0)", x, out="int"), x == 0)
    assert np.array_equal(apply("!tw_eq(x, x)", x, out="int"), np.isnan(x))


# ---- Functions ----

FUNCTIONS = {
    **{
        name: getattr(np, name)
        for name in ("sqrt", "exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh")
    },
    **{"a" + name: getattr(np, "arc" + name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
}


@pytest.mark.parametrize("letter", "fdFD")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name, letter):
    x = values(letter)
    with np.errstate(all="ignore"):
        result, expected = apply(f"tw_{name}(x)", x), FUNCTIONS[name](x)
    if np.dtype(letter).kind == "f":
        expected = expected.astype(letter)
    else:
        # Where a part is infinite C leaves some signs open; NumPy's own differ between platforms.
        finite = np.isfinite(x)
        result, expected = result[finite], expected[finite]
    assert nearly(result, expected)


def test_functions_of_integers_are_in_double():
    lib = tw.compile("double f(T x) { return tw_add(tw_sqrt(x), tw_pow(x, 3), tw_arg(tw_neg(x))); }", T="il")
    assert lib.f(np.int32(4)) == 2 + 64 + np.pi


@pytest.mark.parametrize("letter", "fdFD")
def test_power(letter):
    x = values(letter)
    x = x[np.isfinite(x)]
    for exponent in (0, 1, 2, 3, 5, -1, -4, 0.5, 101, *([0.5 + 2j, -1j] if letter in "FD" else [])):
        y = np.full_like(x, exponent)
        with np.errstate(all="ignore"):
            result, expected = apply("tw_pow(x, y)", x, y), np.power(x, y)
        assert nearly(result, expected, 32 * (abs(exponent) + 1)), exponent


# ---- Operands of several types ----

MIXED = [("F", "f", "F"), ("f", "F", "F"), ("F", "d", "D"), ("d", "F", "D"), ("D", "F", "D"), ("F", "F", "F")]


@pytest.mark.parametrize("left, right, result", MIXED)
@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
def test_mixed_operands(name, left, right, result):
    function = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}[name]
    lib = tw.compile(
        "int size(T x, U y) { return sizeof(tw_NAME(x, y)); }"
        "tw_complex value(T x, U y) { return tw_cast(tw_complex, tw_NAME(x, y)); }".replace("NAME", name),
        T="fdFD",
        U="fdFD",
    )
    x, y = np.dtype(left).type(1.5), np.dtype(right).type(-2.25)
    assert lib.size(x, y) == np.dtype(result).itemsize
    assert lib.value(x, y) == function(x, y)


def test_snippets_too():
    z, w, x = 1 + 2j, np.complex64(3 - 1j), 2.5
    assert tw.inline("return_val = tw_add(z, w, x, 1);", ["z", "w", "x"]) == z + w + x + 1
    assert tw.inline("return_val = tw_sqrt(z);", ["z"]) == np.sqrt(z)
    assert tw.inline("return_val = tw_eq(tw_cast(tw_complex, w), tw_make(3, -1));", ["w"]) == 1


def test_casts():
    lib = tw.compile(
        "void f(T x, out T *half, out tw_complex *wide, out tw_complexf *narrow, out double *real)"
        "{ *half = tw_cast(T, .5); *wide = tw_cast(tw_complex, x); *narrow = tw_cast(tw_complexf, x);"
        "  *real = tw_cast(double, x); }",
        T="lfdFD",
    )
    assert lib.f(3) == (0, 3, 3, 3)
    assert lib.f(np.float32(1.5)) == (0.5, 1.5, 1.5, 1.5)
    assert lib.f(1.5 - 2j) == (0.5, 1.5 - 2j, 1.5 - 2j, 1.5)
    assert lib.f(np.complex64(1.5 - 2j)) == (0.5, 1.5 - 2j, 1.5 - 2j, 1.5)
    assert tw.compile("long f(T x) { return tw_cast(long, x); }", T="l").f(2**62 + 1) == 2**62 + 1


def test_real_type_beside_complex_numbers():
    lib = tw.compile("void f(T x, tw_complex z, out tw_complex *r) { *r = tw_mul(x, z); }", T="fd")
    assert lib.f(2.0, 1 + 1j) == 2 + 2j


def test_imaginary_part_of_infinity():
    assert tw.compile("T f(T x) { return tw_imag(x); }", T="fd").f(np.inf) == 0


# ---- Refusals ----

REFUSED = {
    "return_val = z + z;": "tw_add",
    "return_val = -z;": "tw_add",
    "return_val = sqrt(z);": "tw_sqrt",
    "tw_complex y = 1;": "tw_cast",
    "return_val = tw_add(z, z, z, z, z, z, z, z, z);": "tw_add takes 2 to 8 operands, 9 given",
    "return_val = " + "tw_neg(" * 13 + "z" + ")" * 13 + ";": "nested more than 12 calls deep",
    "return_val = tw_sub(z, z, z);": "tw_sub takes 2 operands, 3 given",
    "return_val = tw_add(z);": "tw_add takes 2 to 8 operands, 1 given",
    "return_val = tw_neg();": "tw_neg takes 1 operand, 0 given",
    "return_val = tw_cast(int);": "tw_cast takes 2 operands, 1 given",
    "return_val = tw_sin(z, z);": "tw_sin takes 1 operand, 2 given",
    "return_val = tw_add((tw_complex){1, 2}, z);": r"separates operands of tw_add: .* tw_make\(re, im\)",
    "double a[2]; return_val = tw_abs(a[0, 1]);": "separates operands of tw_abs",
    "return_val = (tw_complex)1;": r"'tw_complex' is one: tw_cast\(tw_complex, x\)",
    "return_val = tw_real((const tw_complexf)z);": "C casts to no struct",
    "union u { int a; double b; } v; v = (union u)3; return_val = v.a;": "C casts to no struct or union",
    "typedef struct { int a; } s; s v = (s)3; return_val = v.a;": "C casts to no struct or union",
    "tw_complex tw_x = z; return_val = tw_add(tw_x, tw_x);": "'tw_x' is a name that tw_add and its kin use",
}


@pytest.mark.parametrize("code", REFUSED)
def test_refusals(code):
    with pytest.raises(tw.CompileError, match=REFUSED[code]):
        tw.inline(code, ["z"], {"z": 1j})


def test_deep_calls_in_a_source():
    text = "T f(T x) { return " + "tw_add(x, " * 13 + "x" + ")" * 13 + "; }"
    with pytest.raises(tw.CompileError, match="nested more than 12"):
        tw.compile(text, T="fdFD")
    assert tw.compile(text.replace("tw_add(x, ", "", 5).replace(")" * 6 + ";", ");"), T="fdFD").f(1.0) == 9


def test_casts_to_a_complex_type_variable():
    text = "T f(int n, const T a[n]) { T one = (T)1; return tw_add(a[0], one); }"
    with pytest.raises(tw.CompileError, match=r"'T' is one: tw_cast\(T, x\)") as caught:
        tw.compile("\n" + text, T="fdFD")
    assert (caught.value.lineno, caught.value.offset) == (2, text.index("(T)1") + 1)
    with pytest.raises(tw.CompileError, match="'U' is one"):
        tw.ufunc('#pragma tinyweave U "F"\nU f(T x, U y) { return (U)x; }', T="d")
    assert tw.compile(text, T="fd").f([2]) == 3
    assert tw.compile(text).f([2]) == 3


OVERWRITTEN = [
    "double d = z;",
    "double d; d = (z);",
    "float d[2]; d[0] = a[1];",
    "double d = 1; double *p = &d; p[0] = *a;",
    "tw_complexf w = {1}; float d = w;",
    "tw_complex w[2][2]; double d; d = w[1][0];",
    "const tw_complex *p = a; double d = p[1];",
]


@pytest.mark.parametrize("code", OVERWRITTEN)
def test_a_complex_number_is_no_real_one(code):
    """libtcc copies the whole struct, over what lies behind the double."""
    with pytest.raises(tw.CompileError, match=r"a real number is expected.* tw_real\(z\)"):
        tw.inline(code, ["z", "a"], {"z": 1j, "a": np.zeros(3, "D")})


def test_a_complex_type_variable_is_no_real_number():
    text = "double f(int n, const T a[n], T b) { double sum = a[0]; sum = b; return sum; }"
    with pytest.raises(tw.CompileError, match="a real number is expected") as caught:
        tw.compile(text, T="dD")
    assert caught.value.offset == text.index("a[0]") + 1
    with pytest.raises(tw.CompileError, match="a real number is expected"):
        tw.compile(text.replace("T", "tw_complex"))
    assert tw.compile(text, T="fd").f([2], 3) == 3


def test_complex_numbers_where_they_may_stand():
    lib = tw.compile(
        """
    double f(int n, const T a[n], T b)
    {
        T c = a[0], *p = &c, d[2];
        d[0] = c;
        d[1] = *p;
        double real = tw_real(a[0]), part[2] = {0}, *q = part;
        q[0] = real == tw_real(d[1]) ? tw_real(c) : tw_imag(b);
        c = b;
        return q[0];
    }
    double g(double a, double c) { double b = a; b = c; return b; }""",
        T="dD",
    )
    assert lib.f([2j, 3], 3) == 0 and lib.f([2, 3], 3) == 2 and lib.g(1, 2) == 2
    assert tw.inline("tw_complex w = z; w = *a; w = a[1]; return_val = w;", ["z", "a"],
                     {"z": 1j, "a": np.ones(3, "D")}) == 1  # fmt: skip


def test_brackets_that_are_no_cast():
    lib = tw.compile("""
    struct pair { int a, b; };
    typedef struct pair pair;
    static int first(pair);
    int (*chosen)(struct pair) = first;
    static int first(pair p) { return (p).a; }
    int f(int T, tw_complex z)
    {
        pair p = (pair){T, 2}, *q = (pair *)&p;
        if (sizeof(pair) * 2 != sizeof (struct pair) + 8) return (T) * 10;
        return (T) + first((struct pair){q->a, 3}) + (int)sizeof(tw_complex) + (int)(z).real;
    }""")
    assert lib.f(5, 7j) == 26


def test_commas_that_part_no_operand():
    code = """
    tw_complex w = tw_add(((tw_complex){1, 2}), ({ tw_complex p[2] = {{3}, {4}}; p[1]; }));
    tw_complex (*f)(tw_complex, double) = NULL;
    return_val = f == NULL ? tw_add(w, tw_make(0, 1), (z, 1)) : z;
    """
    assert tw.inline(code, ["z"], {"z": 1j}) == 6 + 3j


def test_operands_of_a_macro_are_not_counted():
    code = "return_val = ADD(z, 1, 2);"
    assert tw.inline(code, ["z"], {"z": 1j}, support_code="#define ADD(...) tw_add(__VA_ARGS__)") == 3 + 1j
