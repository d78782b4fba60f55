"""Callbacks of tw.compile: Python callables, Library functions, ctypes pointers and capsules that C calls.

Oracles: the same computation in Python, ctypes' own callbacks, the C library.
"""

import ctypes
import gc
import math
import shutil
import subprocess
import sys
import threading
import traceback
import tracemalloc
import weakref

import native_library
import numpy as np
import pytest

import tinyweave as tw

INTEGRATE = """
/* Simpson's rule. */
double integrate(double (*f)(double x, void *data), double a, double b, int n, void *data)
{
    double h = (b - a) / n, sum = f(a, data) + f(b, data);
    for (int i = 1; i < n; i++) sum += (i % 2 ? 4 : 2) * f(a + i * h, data);
    return sum * h / 3;
}
double square(double x, void *data) { return x * x; }
double times(double x, void *data) { return x * *(const double *)data; }
double wrong(float x, void *data) { return x; }
double fewer(double x) { return x; }
"""

RK4 = """
void rk4(void (*rhs)(double t, int n, const double y[n], out double dydt[n]), double t, double h, int steps,
         int n, double y[n])
{
    double a[n], b[n], c[n], d[n], z[n];
    for (int step = 0; step < steps; step++, t += h) {
        rhs(t, n, y, a);
        for (int i = 0; i < n; i++) z[i] = y[i] + h / 2 * a[i];
        rhs(t + h / 2, n, z, b);
        for (int i = 0; i < n; i++) z[i] = y[i] + h / 2 * b[i];
        rhs(t + h / 2, n, z, c);
        for (int i = 0; i < n; i++) z[i] = y[i] + h * c[i];
        rhs(t + h, n, z, d);
        for (int i = 0; i < n; i++) y[i] += h / 6 * (a[i] + 2 * b[i] + 2 * c[i] + d[i]);
    }
}
void decay(double t, int n, const double y[n], out double dydt[n])
{
    for (int i = 0; i < n; i++) dydt[i] = -y[i];
}
"""

QSORT = """
void qsort(inout double base[n], size_t n, size_t size, int (*compare)(const double a[1], const double b[1]));
"""


@pytest.fixture(scope="module")
def lib():
    return tw.compile(INTEGRATE)


@pytest.fixture(scope="module")
def ode():
    return tw.compile(RK4)


def simpson(f, a, b, n):
    h = (b - a) / n
    total = f(a) + f(b)
    for i in range(1, n):
        total += (4 if i % 2 else 2) * f(a + i * h)
    return total * h / 3


# ---- the examples ----


def test_integrate_a_python_function(lib):
    assert lib.integrate(lambda x, data: math.sin(x), 0, 2, 100, None) == simpson(math.sin, 0, 2, 100)


def test_integrate_a_library_function(lib):
    assert lib.integrate(lib.square, 0, 3, 10, None) == pytest.approx(9)
    assert lib.integrate(lib.times, 0, 2, 10, np.array([3.0])) == pytest.approx(6)
    assert lib.integrate(f=lib.square, a=0, b=3, n=10, data=None) == pytest.approx(9)


def test_integrate_a_function_of_another_library(lib):
    other = tw.compile("double cube(double x, void *data) { return x * x * x; }", force=True)
    alive = weakref.ref(other)
    assert lib.integrate(other.cube, 0, 2, 10, None) == pytest.approx(4)
    del other
    gc.collect()
    assert alive() is not None  # C may have kept the pointer


def test_integrate_ctypes_pointers(lib):
    prototype = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, ctypes.c_void_p)
    assert lib.integrate(prototype(lambda x, data: x * x), 0, 3, 10, None) == pytest.approx(9)
    plain = tw.compile("double each(double (*f)(double), double x) { return f(x); }")
    cos = ctypes.CDLL("libm.so.6").cos
    assert plain.each(cos, 0.5) == math.cos(0.5)  # nothing is said of its types
    cos.argtypes, cos.restype = [ctypes.c_double], ctypes.c_double
    assert plain.each(cos, 0.25) == math.cos(0.25)


def test_ode(ode):
    y = np.array([1.0, 0.0])
    assert ode.rk4(lambda t, y: [y[1], -y[0]], 0, 0.01, 100, y) is None
    assert y == pytest.approx([math.cos(1), -math.sin(1)], abs=1e-9)
    y = np.ones(3)
    ode.rk4(ode.decay, 0, 0.01, 100, y)
    assert y == pytest.approx(np.exp([-1.0] * 3))


def test_qsort():
    qsort = tw.compile(declare=QSORT).qsort
    a = np.random.default_rng(1).random(1000)
    expected = np.sort(a)
    qsort(a, 8, lambda x, y: int(x[0] > y[0]) - int(x[0] < y[0]))
    assert np.array_equal(a, expected)


def test_qsort_by_addresses():
    qsort = tw.compile(
        declare="void qsort(void *base, size_t n, size_t size, int (*compare)(const void *, const void *));"
    ).qsort
    a = np.array([3, 1, 2], "i4")

    def compare(x, y):
        x, y = (ctypes.c_int.from_address(p).value for p in (x, y))
        return (x > y) - (x < y)

    qsort(a, 3, 4, compare)
    assert a.tolist() == [1, 2, 3]
    descending = tw.compile("int descending(const int *a, const int *b) { return *b - *a; }").descending
    qsort(a, 3, 4, descending)
    assert a.tolist() == [3, 2, 1]


def test_scipy():
    scipy = pytest.importorskip("scipy")
    lib = tw.compile(INTEGRATE)
    prototype = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, ctypes.c_void_p)

    @prototype
    def scaled(x, data):
        return x * (ctypes.c_double.from_address(data).value if data else 1.0)

    assert lib.integrate(scipy.LowLevelCallable(scaled), 0, 2, 10, None) == pytest.approx(2)
    factor = ctypes.c_double(3)
    with_data = scipy.LowLevelCallable(scaled, ctypes.cast(ctypes.byref(factor), ctypes.c_void_p))
    assert lib.integrate(with_data, 0, 2, 10, None) == pytest.approx(6)
    assert lib.integrate(with_data, 0, 2, 10, np.array([5.0])) == pytest.approx(10)
    single = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, ctypes.c_void_p)(lambda n, data: 0.0)
    with pytest.raises(
        TypeError, match=r"'f' is a C function 'double \(int, void \*\)', expected 'double \(double, "
    ):
        lib.integrate(scipy.LowLevelCallable(single), 0, 2, 10, None)
    with pytest.raises(TypeError, match="C function"):
        lib.integrate(tuple.__getitem__(scipy.LowLevelCallable(single), 0), 0, 2, 10, None)


# ---- what is passed, and what is not ----


def test_none_is_null():
    lib = tw.compile("int given(void (*f)(void)) { return f != 0; }")
    assert lib.given(None) == 0
    assert lib.given(lambda: None) == 1
    assert lib.given(ctypes.CFUNCTYPE(None)()) == 0


def test_refused_values(lib):
    place = r" \(double \(\*f\)\(double x, void \*data\)\)$"
    for bad, message in [
        (3, "must be a callable, a C function or None, not int"),
        ("sin", "must be a callable, a C function or None, not str"),
        ((), "must be a callable, a C function or None, not tuple"),
        (lib.wrong, r"expects another C function than double wrong\(float x, void \*data\)"),
        (lib.fewer, r"expects another C function than double fewer\(double x\)"),
        (ctypes.CFUNCTYPE(ctypes.c_double)(float), "is a ctypes function of 0 arguments, expected 2"),
        (
            ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, ctypes.c_void_p)(float),
            "is a ctypes function whose argument 1 is c_int, expected double",
        ),
        (
            ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_double, ctypes.c_void_p)(float),
            "is a ctypes function whose result is c_float, expected double",
        ),
        (
            ctypes.CFUNCTYPE(None, ctypes.c_double, ctypes.c_void_p)(float),
            "is a ctypes function without a result, expected double",
        ),
    ]:
        with pytest.raises(TypeError, match=r"^integrate\(\): 'f' " + message + place):
            lib.integrate(bad, 0, 1, 2, None)


def test_types_that_are_the_same_in_c():
    lib = tw.compile("""
    long call(long (*f)(const long *p, unsigned long n, const void *q))
    { long x[] = {5, 6}; return f(x, 1, x); }
    long long pick(long long *p, size_t n, int *q) { return p[n]; }
    long other(double *p, size_t n, void *q) { return 0; }
    """)
    assert lib.call(lib.pick) == 6
    with pytest.raises(TypeError, match="another C function"):
        lib.call(lib.other)


EVERY = {
    "_Bool": (True, False),
    "signed char": (-128, 127),
    "unsigned char": (0, 255),
    "short": (-32768, 32767),
    "unsigned short": (0, 65535),
    "int": (-(2**31), 2**31 - 1),
    "unsigned int": (0, 2**32 - 1),
    "long": (-(2**63), 2**63 - 1),
    "unsigned long": (0, 2**64 - 1),
    "float": (1.5, -0.25),
    "double": (1.1, math.inf),
    "tw_complexf": (1.5 + 2j, -3j),
    "tw_complex": (1.1 + 2.2j, -3j),
}


@pytest.mark.parametrize("type_", EVERY)
def test_every_number(type_):
    """Through registers and the stack, beside others, and back."""
    lib = tw.compile(f"""
    typedef {type_} X;
    X call(X (*f)(int, X a, double, X b, X, X, X, X, X c), X a, X b)
    {{ return f(7, a, 0.5, b, a, b, a, b, a); }}""")
    a, b = EVERY[type_]
    seen = []

    def f(*values):
        seen.append(values)
        return values[3]

    assert lib.call(f, a, b) == b
    assert seen == [(7, a, 0.5, b, a, b, a, b, a)]
    assert type(seen[0][1]) is type(a)


def test_wrong_results(lib, ode):
    begin = r"^the callback 'f' of integrate\(\): 'the result' "
    with pytest.raises(TypeError, match=begin + r"must be a real number, not str \(double\)$"):
        lib.integrate(lambda x, data: "1", 0, 1, 2, None)
    with pytest.raises(TypeError, match=begin + "must be a real number, not NoneType"):
        lib.integrate(lambda x, data: None, 0, 1, 2, None)
    small = tw.compile("int call(short (*f)(void)) { return f(); }").call
    with pytest.raises(
        OverflowError, match=r"'f' of call\(\): 'the result' does not fit C's short: .*, got 32768"
    ):
        small(lambda: 32768)
    with pytest.raises(TypeError, match="must be an integer, not float"):
        small(lambda: 1.0)
    nothing = tw.compile("void call(void (*f)(void)) { f(); }").call
    with pytest.raises(TypeError, match=r"the callback 'f' of call\(\) must return None, not int"):
        nothing(lambda: 1)
    y = np.ones(2)
    begin = r"^the callback 'rhs' of rk4\(\): 'dydt' "
    with pytest.raises(ValueError, match=begin + r"has shape \(3,\), expected \(2,\) \(double dydt\[n\]\)$"):
        ode.rk4(lambda t, y: [1, 2, 3], 0, 1, 1, y)
    with pytest.raises(ValueError, match=begin + r"has shape \(\), expected \(2,\)"):
        ode.rk4(lambda t, y: 1.0, 0, 1, 1, y)
    with pytest.raises(TypeError, match=begin + "has dtype complex128"):
        ode.rk4(lambda t, y: [1j, 2], 0, 1, 1, y)
    assert y.tolist() == [1, 1]  # zeros were added


def test_results_and_outs():
    lib = tw.compile("""
    double call(int (*f)(double x, out double *twice, out float row[2]), double x)
    {
        double twice = -1;
        float row[2] = {-1, -1};
        int result = f(x, &twice, row);
        return result * 1000000 + twice * 10000 + row[0] * 100 + row[1];
    }""")
    assert lib.call(lambda x: (1, 2 * x, [3, 4]), 1) == 1020304
    for bad, message in [((1, 2), "a tuple of 3, not of 2"), (1, "a tuple of 3, not int")]:
        with pytest.raises(TypeError, match=rf"callback 'f' of call\(\) must return {message}"):
            lib.call(lambda x, bad=bad: bad, 1)


def test_arrays():
    lib = tw.compile("""
    double call(void (*f)(int m, int n, const double a[m][n], double b[m*n], const int *p),
                int m, int n, double b[6])
    {
        double a[2][3] = {{1, 2, 3}, {4, 5, 6}};
        f(m, n, (void *)a, b, 0);
        return a[0][0];
    }""")
    kept = []

    def f(a, b, p):
        assert p == 0
        kept.append((a, b))
        b[:] = a.T.ravel()
        a[:] = 0

    b = np.arange(6.0)
    assert lib.call(f, 2, 3, b) == 1  # a copy
    assert b.tolist() == [1, 4, 2, 5, 3, 6]
    assert kept[0][0].shape == (2, 3)
    assert kept[0][0].flags.owndata and kept[0][1].flags.owndata
    with pytest.raises(
        ValueError, match=r"the callback 'f' of call\(\): C calls it with a 'a' of m = -1 elements"
    ):
        lib.call(f, -1, 3, b)
    with pytest.raises(ValueError, match="cannot be computed: it overflows"):
        tw.compile("void g(void (*f)(long m, const double a[m*m])) { double x; f(1L << 40, &x); }").g(
            lambda m, a: None
        )

    def resizing(a, b, p):
        b.resize(2, refcheck=False)

    with pytest.raises(ValueError, match=r"'b' has shape \(2,\), expected \(6,\)"):
        lib.call(resizing, 2, 3, b)


def test_sizes_of_the_function_around():
    lib = tw.compile(
        """
    static void (*kept)(const double y[2]);
    void each(int m, int n, double a[m][n], void (*f)(int i, double row[n], const double all[m][n]))
    {
        for (int i = 0; i < m; i++) f(i, a[i], a);
    }
    void keep(int n, void (*f)(out double y[n])) { kept = (void *)f; }
    double fire(void) { double y[] = {7, 7}; kept(y); return y[0]; }
    """,
        force=True,
    )

    def f(i, row, everything):
        assert everything.shape == (2, 3) and np.array_equal(everything[i], row)
        row += i + 1

    a = np.zeros((2, 3))
    lib.each(a, f)
    assert a.tolist() == [[1, 1, 1], [2, 2, 2]]
    lib.keep(2, lambda: [1, 2])
    with pytest.raises(ValueError, match=r"C calls it with a 'y' of n = -1 elements"):
        lib.fire()
    threaded = tw.compile(
        "#include <pthread.h>\n"
        """
    static void *enter(void *f) { double y[] = {5, 6}; ((void (*)(double *))f)(y); return 0; }
    void elsewhere(int n, void (*f)(const double y[n]))
    {
        pthread_t thread;
        pthread_create(&thread, 0, enter, (void *)f);
        pthread_join(thread, 0);
    }""",
        libraries=["pthread"],
    )
    seen = []
    threaded.elsewhere(2, lambda y: seen.append(y.tolist()))
    assert seen == [[5, 6]]


def test_null_arrays_are_none():
    lib = tw.compile("""
    int call(int (*f)(const double a[2], double b[2], out double c[2], const char *s))
    { return f(0, 0, 0, 0); }""")
    seen = []
    assert lib.call(lambda *values: (seen.append(values), (4, [1, 2]))[1]) == 4
    assert seen == [(None, None, None)]


def test_strings_and_pointers():
    lib = tw.compile("""
    long call(const char *(*f)(const char *s, void *p), const char *s)
    { const char *t = f(s, (void *)16); return t ? (long)strlen(t) : -1; }
    void *address(void *(*f)(void)) { return f(); }""")
    seen = []
    assert lib.call(lambda *values: (seen.append(values), "é" * 3)[1], "straße") == 6
    assert seen == [("straße", 16)]
    assert lib.call(lambda s, p: b"ab", "") == 2
    with pytest.raises(TypeError, match="must be a str or bytes, not int"):
        lib.call(lambda s, p: 1, "")
    assert lib.address(lambda: 32) == 32
    assert lib.address(lambda: None) == 0
    with pytest.raises(
        TypeError, match=r"'the result' must be an int address or None, not float \(void \*\)"
    ):
        lib.address(lambda: 1.0)


def test_objects():
    lib = tw.compile("PyObject *call(PyObject *(*f)(PyObject *x), PyObject *x) { return f(x); }")
    thing = object()
    before = sys.getrefcount(thing)
    for _ in range(100):
        assert lib.call(lambda x: x, thing) is thing
    assert sys.getrefcount(thing) == before
    with pytest.raises(KeyError, match="gone"):
        lib.call({}.__getitem__, "gone")


def test_generic():
    lib = tw.compile(
        """
    void map(T (*f)(T x), int n, const T a[n], out T b[n]) { for (int i = 0; i < n; i++) b[i] = f(a[i]); }
    T twice(T x) { return 2 * x; }
    int sign(int x) { return (x > 0) - (x < 0); }
    """,
        T="dfi",
    )
    assert lib.map(lambda x: x / 2, np.array([1.0, 2.0])).tolist() == [0.5, 1]
    assert lib.map(lambda x: x // 2, np.array([3, 4], "i4")).dtype == np.dtype("i4")
    for letter in "dfi":
        result = lib.map(lib.twice, np.array([1, 2], letter))
        assert result.tolist() == [2, 4] and result.dtype == np.dtype(letter)
    assert lib.map(lib.sign, np.array([-3, 4], "i")).tolist() == [-1, 1]
    with pytest.raises(TypeError, match="another C function"):
        lib.map(lib.sign, np.array([-3.0]))
    narrow = tw.compile("T thrice(T x) { return 3 * x; }", T="f")
    with pytest.raises(TypeError, match="another C function"):
        lib.map(narrow.thrice, np.array([1.0]))


def test_plans_of_callbacks():
    lib = tw.compile(
        "double ok(double x) { return x; }void a(void (*f)(int, ...)) { } void b(double (*(*f)(void))[3]) { }"
    )
    for name, reason in [("a", r"\.\.\."), ("b", "returns an array")]:
        with pytest.raises(AttributeError, match=reason):
            getattr(lib, name)
    with pytest.raises(tw.CompileError, match="is no parameter of the function"):
        tw.compile(declare="void qsort(void (*f)(const double a[n]));")


# ---- exceptions ----


def test_an_exception_comes_out_as_itself(lib):
    error = ValueError("mine")
    calls = []

    def f(x, data):
        calls.append(x)
        if len(calls) == 3:
            raise error
        return 1.0

    with pytest.raises(ValueError) as info:
        lib.integrate(f, 0, 1, 100, None)
    assert info.value is error
    assert len(calls) == 3  # Python is left alone from then on
    assert error.__context__ is None
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names == ["test_an_exception_comes_out_as_itself", "f"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError])
def test_exceptions_of_every_kind(lib, kind):
    def f(x, data):
        raise kind

    with pytest.raises(kind):
        lib.integrate(f, 0, 1, 2, None)


def test_the_context_of_an_exception(lib):
    def f(x, data):
        raise KeyError(x)

    try:
        raise OSError
    except OSError as outer:
        with pytest.raises(KeyError) as info:
            lib.integrate(f, 0, 1, 2, None)
        assert info.value.__context__ is outer


def test_a_failing_callback_gives_zeros():
    lib = tw.compile("""
    void call(int (*f)(int i, out double *q, out double r[2]), double x[6])
    {
        for (int i = 0; i < 2; i++) {
            double q = 5, r[2] = {6, 7};
            x[3*i] = f(i, &q, r);
            x[3*i + 1] = q;
            x[3*i + 2] = r[0] + r[1];
        }
    }""")
    x = np.full(6, 9.0)

    def f(i):
        raise ValueError

    with pytest.raises(ValueError):
        lib.call(f, x)
    assert x.tolist() == [0] * 6  # what C wrote is there
    odd = np.full(12, 9.0)
    with pytest.raises(ValueError):
        lib.call(f, odd[::2])
    assert odd.tolist() == [0, 9] * 6


def test_nested_calls(lib):
    def inner(x, data):
        return lib.integrate(lambda y, data: x * y, 0, 1, 2, None)

    assert lib.integrate(inner, 0, 2, 4, None) == pytest.approx(1)

    def failing(x, data):
        with pytest.raises(KeyError):
            lib.integrate(lambda y, data: {}[y], 0, 1, 2, None)
        return 1.0

    assert lib.integrate(failing, 0, 1, 2, None) == pytest.approx(1)
    with pytest.raises(ZeroDivisionError):
        lib.integrate(lambda x, data: lib.integrate(lambda y, data: 1 / 0, 0, 1, 2, None), 0, 1, 2, None)


def test_recursion(lib):
    depth = []

    def f(x, data):
        depth.append(x)
        return lib.integrate(f, 0, 1, 1, None)

    with pytest.raises(RecursionError):
        lib.integrate(f, 0, 1, 1, None)
    assert len(depth) > 50


def test_callbacks_that_compile_and_drop():
    lib = tw.compile(INTEGRATE, force=True)
    alive = weakref.ref(lib)
    integrate = [lib.integrate]
    del lib

    def f(x, data):
        integrate.clear()
        gc.collect()
        return tw.compile(f"double g(void) {{ return {x}; }}").g()

    assert integrate.pop()(f, 0, 1, 2, None) == pytest.approx(0.5)
    gc.collect()
    assert alive() is None


def test_order_of_prints(capsys):
    lib = tw.compile("""
    void call(void (*f)(int))
    {
        for (int i = 0; i < 3; i++) { printf("C %d\\n", i); f(i); printf("then %d\\n", i); }
    }
    """)
    lib.call(lambda i: print("Python", i))
    assert capsys.readouterr().out == "".join(f"C {i}\nPython {i}\nthen {i}\n" for i in range(3))
    printing = tw.compile('void say(int i) { printf("say %d\\n", i); }')
    lib.call(printing.say)
    assert capsys.readouterr().out == "".join(f"C {i}\nsay {i}\nthen {i}\n" for i in range(3))
    quiet = tw.compile("void call(void (*f)(int)) { f(1); }")
    quiet.call(printing.say)
    assert capsys.readouterr().out == "say 1\n"


# ---- pointers that C keeps ----

REGISTER = """
static int (*handler)(int);
void set_handler(int (*f)(int)) { handler = f; }
int fire(int x) { return handler ? handler(x) : -1; }
"""


def test_a_handler_that_c_keeps():
    lib = tw.compile(REGISTER, force=True)
    assert lib.fire(1) == -1
    lib.set_handler(lambda x: x + 1)
    gc.collect()
    assert lib.fire(1) == 2
    lib.set_handler(lambda x: {}[x])
    with pytest.raises(KeyError):
        lib.fire(3)
    lib.set_handler(None)
    assert lib.fire(1) == -1


def test_a_kept_handler_that_nobody_called(monkeypatch):
    lib = tw.compile(REGISTER + "void *get_handler(void) { return handler; }", force=True)
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)

    def f(x):
        raise KeyError(x)

    lib.set_handler(f)
    assert ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lib.get_handler())(3) == 0
    assert [(hint.exc_type, hint.object) for hint in seen] == [(KeyError, f)]
    seen.clear()


def addresses(lib, values):
    return [lib.address(value) for value in values]


def test_pointers_are_used_again():
    lib = tw.compile("void *address(void (*f)(void)) { return (void *)f; }", force=True)

    class Thing:
        def method(self):
            pass

    thing, items = Thing(), []
    one, two, three = addresses(lib, [thing.method, Thing().method, items.append])
    assert one != two
    assert addresses(lib, [thing.method, items.append]) == [one, three]
    many = [lambda: None for _ in range(1023)]
    addresses(lib, many)
    gone = weakref.ref(many[0])
    del many[0]
    gc.collect()
    assert gone() is not None
    addresses(lib, [lambda: None for _ in range(1024)])
    gc.collect()
    assert gone() is None


def test_a_handler_that_replaces_itself():
    lib = tw.compile(REGISTER, force=True)

    def f(x):
        for _ in range(1100):
            lib.set_handler(lambda x: x)
        return 5

    lib.set_handler(f)
    del f
    assert lib.fire(1) == 5
    assert lib.fire(1) == 1


def test_cycles_are_collected():
    def make():
        lib = tw.compile(REGISTER, force=True)

        def f(x):
            return lib.fire(x)

        lib.set_handler(f)
        return weakref.ref(f), weakref.ref(lib)

    gone = make()
    gc.collect()
    assert [ref() for ref in gone] == [None, None]


def test_fresh_lambdas_do_not_leak(lib):
    def rounds(count):
        for i in range(count):
            lib.integrate(lambda x, data: x, 0, 1, 1, None)
            if i % 10 == 0:
                with pytest.raises(ZeroDivisionError):
                    lib.integrate(lambda x, data: 1 / 0, 0, 1, 1, None)
                with pytest.raises(TypeError):
                    lib.integrate(b"", 0, 1, 1, None)

    rounds(30000)  # until the room for code has been used once
    with open("/proc/self/statm") as file:
        before = int(file.read().split()[1])
    rounds(30000)
    with open("/proc/self/statm") as file:
        grown = int(file.read().split()[1]) - before
    assert grown < 100 or native_library.SANITIZED  # pages: 128 bytes a thunk would be 900


def test_references(lib):
    kept = []

    def f(x, data):
        kept.append(x)
        return 1.0

    lib.integrate(f, 0, 1, 1, None)
    before = sys.getrefcount(f), sys.getrefcount(lib)
    tracemalloc.start()
    for _ in range(1000):
        lib.integrate(f, 0, 1, 1, None)
        kept.clear()
    tracemalloc.stop()
    assert (sys.getrefcount(f), sys.getrefcount(lib)) == before


# ---- threads, and the end ----

THREADS = """
#include <pthread.h>
struct work { int (*f)(int); int i, result; };
static void *work(void *p) { struct work *w = p; w->result = w->f(w->i); return 0; }
int on_threads(int (*f)(int), int n)
{
    pthread_t threads[n];
    struct work works[n];
    int sum = 0;
    for (int i = 0; i < n; i++) {
        works[i] = (struct work){f, i, 0};
        pthread_create(&threads[i], 0, work, &works[i]);
    }
    for (int i = 0; i < n; i++) { pthread_join(threads[i], 0); sum += works[i].result; }
    return sum;
}
static int (*handler)(int);
void set_handler(int (*f)(int)) { handler = f; }
int fire(int n) { return on_threads(handler, n); }
"""


@pytest.fixture(scope="module")
def pthreads():
    return tw.compile(THREADS, libraries=["pthread"], force=True)


def test_callbacks_from_threads_of_c(pthreads):
    seen = set()

    def f(i):
        seen.add(threading.get_ident())
        return i

    assert pthreads.on_threads(f, 8) == 28
    assert threading.get_ident() not in seen
    pthreads.set_handler(f)
    assert pthreads.fire(8) == 28


def test_exceptions_from_threads_of_c(pthreads, monkeypatch):
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)

    def f(i):
        raise ValueError(i)

    with pytest.raises(ValueError):
        pthreads.on_threads(f, 4)
    assert all(hint.exc_type is ValueError for hint in unraisable)  # of those that were on their way
    unraisable.clear()


def test_many_python_threads(lib):
    """Each call gets the exception of its own callback."""
    failures = []

    def f(x, data):
        if x == 1.0:
            raise ValueError(threading.get_ident())
        return 1.0

    def run():
        for _ in range(50):
            try:
                lib.integrate(f, 0, 1, 4, None)
            except ValueError as error:
                if error.args[0] != threading.get_ident():
                    failures.append(error)
            else:
                failures.append(None)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_gil_is_free_while_c_runs():
    lib = tw.compile("#include <unistd.h>\nvoid wait(int (*done)(void)) { while (!done()) usleep(1000); }")
    event = threading.Event()
    threading.Timer(0.05, event.set).start()
    lib.wait(lambda: int(event.is_set()))
    assert event.is_set()


def test_a_real_shared_library(tmp_path):
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    (tmp_path / "each.c").write_text(
        "void each(void (*f)(int, double *), int n, double *x) { for (int i = 0; i < n; i++) f(i, x + i); }"
    )
    path = tmp_path / "libeach.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", tmp_path / "each.c", "-o", path], check=True)
    each = tw.compile(
        declare="void each(void (*f)(int i, inout double x[1]), int n, inout double x[n]);",
        libraries=[str(path)],
    ).each
    x = np.arange(3.0)

    def f(i, x):
        x[0] += 10 * i

    each(f, x)
    assert x.tolist() == [0, 11, 22]


END = """
import threading, time
import tinyweave as tw
lib = tw.compile('''
#include <unistd.h>
void forever(int (*f)(int)) { for (int i = 0;; i++) { f(i); usleep(100); } }
''')
declare = "int on_exit(void (*f)(int status, void *data), void *data);"
on_exit = tw.compile(declare=declare, libraries=["c"]).on_exit
def farewell(status, data): print("called", flush=True)
assert on_exit(farewell, None) == 0
if THREAD: threading.Thread(target=lib.forever, args=(lambda i: 0,), daemon=True).start()
time.sleep(0.1)
print("over", flush=True)
"""


@pytest.mark.parametrize("thread", [False, True])
def test_the_end_of_the_interpreter(thread):
    """C's own on_exit calls after Python is gone, and a thread goes on calling while it goes."""
    code = f"THREAD = {thread}\n{END}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, "over\n", "")


RUNS_ON = """
import time
import tinyweave as tw

lib = tw.compile('''
#include <pthread.h>
static double (*kept)(double);
static void *run(void *data) { for (;;) kept(1.5); return NULL; }
void start(double (*f)(double))
{
    pthread_t thread;
    kept = f;
    pthread_create(&thread, NULL, run, NULL);
}''', libraries=["pthread"])
lib.start(lambda x: x + 1)
time.sleep(0.05)
print("over")
"""


def test_a_library_stays_when_the_interpreter_ends():
    """A thread of C that nobody stops runs the Library's code until the process is gone."""
    for _ in range(3):
        result = subprocess.run([sys.executable, "-c", RUNS_ON], capture_output=True, text=True, timeout=60)
        assert (result.returncode, result.stdout, result.stderr) == (0, "over\n", "")
