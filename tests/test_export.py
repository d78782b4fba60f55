"""Out of a Library: addresses, ctypes, SciPy, numba, pickles, shared libraries of their own."""

import concurrent.futures
import copy
import ctypes
import gc
import multiprocessing
import pathlib
import pickle
import subprocess
import sys
import textwrap
import weakref

import numpy as np
import pytest

import tinyweave as tw

FUNCTIONS = """
#include <string.h>
double square(double x) { return x * x; }
double scaled(double x, void *p) { return x * (p ? *(double *)p : 1); }
double sum(int n, const double a[n]) { double s = 0; for (int i = 0; i < n; i++) s += a[i]; return s; }
void scale(int m, int n, double a[m][n], double s) { for (int i = 0; i < m * n; i++) a[0][i] *= s; }
double first(const float *a) { return a[0]; }
void ramp(int n, out double b[n]) { for (int i = 0; i < n; i++) b[i] = i; }
void limits(int n, const float a[n], out float *low, out float *high)
{
    *low = *high = a[0];
    for (int i = 1; i < n; i++) { if (a[i] < *low) *low = a[i]; if (a[i] > *high) *high = a[i]; }
}
int length(const char *s) { return (int)strlen(s); }
void *same(void *p) { return p; }
double apply(double (*f)(double, void *), double x) { return f(x, 0); }
tw_complex multiply(tw_complex a, tw_complex b) { return tw_mul(a, b); }
tw_complexf multiplyf(tw_complexf a, tw_complexf b) { return tw_mul(a, b); }
_Bool negate(_Bool x) { return !x; }
long many(signed char a, unsigned char b, short c, unsigned short d, unsigned e, long long f,
          float g, double h, unsigned long i, int j)
{
    return a + b + c + d + e + f + (long)g + (long)h + i + j;
}
"""


@pytest.fixture(scope="module")
def lib():
    return tw.compile(FUNCTIONS, name="functions")


def pointer(dtype, ndim=None, written=False):
    return np.ctypeslib.ndpointer(dtype, ndim, flags=["C_CONTIGUOUS", "ALIGNED"] + ["WRITEABLE"] * written)


# ---- the address ----


def test_address(lib):
    assert type(lib.square.address) is int
    assert ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(lib.square.address)(3.0) == 9.0
    assert lib.square.address == lib.square.address != lib.scaled.address


def test_address_of_a_generic_function():
    source = "T twice(T x) { return 2 * x; }"
    many, one = tw.compile(source, T="fd"), tw.compile(source, T="f")
    for name in "address", "ctypes":
        with pytest.raises(AttributeError, match=r'twice\(\): T stands for any of "fd".*with T="d"'):
            getattr(many.twice, name)
        assert not hasattr(many.twice, name)
    with pytest.raises(TypeError, match=r'twice\(\): T stands for any of "fd".*with T="d"'):
        many.twice.low_level_callable()
    assert one.twice.ctypes(1.5) == 3.0 and one.twice.ctypes.restype is ctypes.c_float
    two = tw.compile("T mixed(T x, const U *y) { return x + y[0]; }", T="d", U="i")
    assert two.mixed.ctypes(1.5, np.array([2], "i4")) == 3.5
    assert tw.compile("T a(T x) { return x; } int b(int n) { return n; }", T="fd").b.ctypes(3) == 3


def test_address_of_a_library_function():
    libm = tw.compile(declare="double cbrt(double x);", libraries=["m"])
    assert libm.cbrt.ctypes(27.0) == libm.cbrt(27.0) == pytest.approx(3)


# ---- ctypes ----


@pytest.mark.parametrize("name, types, result", [
    ("square", [ctypes.c_double], ctypes.c_double),
    ("scaled", [ctypes.c_double, ctypes.c_void_p], ctypes.c_double),
    ("sum", [ctypes.c_int, pointer("d", 1)], ctypes.c_double),
    ("scale", [ctypes.c_int, ctypes.c_int, pointer("d", 2, True), ctypes.c_double], None),
    ("first", [pointer("f")], ctypes.c_double),
    ("ramp", [ctypes.c_int, pointer("d", 1, True)], None),
    ("limits", [ctypes.c_int, pointer("f", 1), *[ctypes.POINTER(ctypes.c_float)] * 2], None),
    ("length", [ctypes.c_char_p], ctypes.c_int),
    ("same", [ctypes.c_void_p], ctypes.c_void_p),
    ("negate", [ctypes.c_bool], ctypes.c_bool),
    ("many", [ctypes.c_byte, ctypes.c_ubyte, ctypes.c_short, ctypes.c_ushort, ctypes.c_uint,
              ctypes.c_longlong, ctypes.c_float, ctypes.c_double, ctypes.c_ulong, ctypes.c_int],
     ctypes.c_long),
])  # fmt: skip
def test_ctypes_types(lib, name, types, result):
    function = getattr(lib, name).ctypes
    assert list(function.argtypes) == types and function.restype is result
    assert function.__name__ == name and function is getattr(lib, name).ctypes


def test_ctypes_calls(lib):
    assert lib.square.ctypes(3) == 9.0
    assert lib.sum.ctypes(3, np.arange(3.0)) == 3.0
    a = np.ones((2, 3))
    lib.scale.ctypes(2, 3, a, 2.5)
    assert np.array_equal(a, np.full((2, 3), 2.5))
    low, high = ctypes.c_float(), ctypes.c_float()
    lib.limits.ctypes(3, np.array([2, 1, 3], "f"), ctypes.byref(low), high)
    assert (low.value, high.value) == (1, 3)
    assert lib.length.ctypes(b"abc") == 3 and lib.same.ctypes(12) == 12 and lib.negate.ctypes(True) is False
    assert lib.many.ctypes(-1, 2, -3, 4, 5, -6, 7.5, 8.5, 9, 10) == -1 + 2 - 3 + 4 + 5 - 6 + 7 + 8 + 9 + 10


def test_ctypes_structs():
    lib = tw.compile("""
        struct point { double x, y; char tag; };
        struct wave { tw_complex z; };
        double norm(int n, const struct point p[n]) { return p[n - 1].x * p[n - 1].x + p[0].y * p[0].y; }
        void move(struct point *p, double dx) { p->x += dx; }
        void make(double x, out struct point *p) { p->x = x; p->y = 2 * x; p->tag = 'a'; }
        void wave(out struct wave *w) { w->z.imag = 5; }
    """)
    dtype = lib.dtypes["point"]
    points = np.zeros(2, dtype)
    points["x"], points["y"] = (1, 3), (4, 5)
    assert lib.norm.ctypes(2, points) == 25 and lib.norm.ctypes.argtypes[1] == pointer(dtype, 1)
    lib.move.ctypes(points, 2.5)
    assert points["x"].tolist() == [3.5, 3]
    with pytest.raises((TypeError, ctypes.ArgumentError)):
        lib.move.ctypes(np.zeros(3), 2.5)
    point, wave = np.zeros((), dtype), np.zeros((), lib.dtypes["wave"])
    lib.make.ctypes(1.5, point)
    lib.wave.ctypes(wave)
    assert (point["x"], point["y"], point["tag"], wave["z"]) == (1.5, 3, ord("a"), 5j)


def test_ctypes_refuses_wrong_arrays(lib):
    for wrong in (np.arange(3), np.arange(6.0)[::2], np.ones((2, 2)), [1.0], None):
        with pytest.raises((TypeError, ctypes.ArgumentError)):
            lib.sum.ctypes(3, wrong)
    frozen = np.ones((2, 2))
    frozen.flags.writeable = False
    with pytest.raises((TypeError, ctypes.ArgumentError), match="flags"):
        lib.scale.ctypes(2, 2, frozen, 2.0)


def test_ctypes_complex(lib):
    for function in lib.multiply.ctypes, lib.multiplyf.ctypes:
        assert complex(function(1 + 2j, 3 - 1j)) == (1 + 2j) * (3 - 1j)
        result = function(function.restype(1, 2), np.complex128(3 - 1j))
        assert (result.real, result.imag) == (5, 5)
        with pytest.raises(ctypes.ArgumentError):
            function("x", 1)


def test_ctypes_callback(lib):
    apply = lib.apply.ctypes
    assert apply(apply.argtypes[0](lambda x, p: x + 1), 2.0) == 3.0


def test_ctypes_of_python_objects():
    lib = tw.compile("""
        PyObject *same(PyObject *x) { Py_INCREF(x); return x; }
        PyObject *fail(int n) { PyErr_Format(PyExc_KeyError, "no %d", n); return NULL; }
    """)
    item = object()
    before = sys.getrefcount(item)
    assert lib.same.ctypes(item) is item
    with pytest.raises(KeyError, match="no 3"):
        lib.fail.ctypes(3)
    assert sys.getrefcount(item) == before


def test_ctypes_keeps_the_library():
    lib = tw.compile("int answer(void) { return 42; }", force=True)
    watch, function = weakref.ref(lib), lib.answer.ctypes
    del lib
    gc.collect()
    assert watch() is not None and function() == 42
    del function
    gc.collect()
    assert watch() is None


def test_numba_calls(lib):
    numba = pytest.importorskip("numba")
    function = lib.square.ctypes

    @numba.njit
    def total(n):
        s = 0.0
        for i in range(n):
            s += function(float(i))
        return s

    assert total(10) == sum(i * i for i in range(10))


def test_numba_arrays(lib):
    numba = pytest.importorskip("numba")
    raw = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, ctypes.c_void_p)(lib.sum.address)

    @numba.njit
    def total(a):
        return raw(len(a), a.ctypes.data)

    assert total(np.arange(4.0)) == 6


# ---- SciPy ----

CALLBACKS = """
double plain(double x) { return x * x; }
double data(double x, void *p) { return x * *(double *)p; }
double many(int n, double *x) { return x[0] * n; }
double many_data(int n, double *x, void *p) { return x[0] * n + ((double *)p)[1]; }
int filter(double *values, npy_intp size, double *result, void *p)
{
    double s = 0;
    for (npy_intp i = 0; i < size; i++) s += values[i];
    *result = s / size + (p ? *(double *)p : 0);
    return 1;
}
int filter1d(double *in, npy_intp in_size, double *out, npy_intp out_size, void *p)
{
    for (npy_intp i = 0; i < out_size; i++) out[i] = in[i] + in[i + 1] + in[i + 2];
    return 1;
}
int shift(npy_intp *output, double *input, int output_rank, int input_rank, void *p)
{
    for (int i = 0; i < input_rank; i++) input[i] = output[i] - *(double *)p;
    return 1;
}
int constant(const double *values, long size, double *result, void *p) { *result = values[0]; return 1; }
"""


@pytest.fixture(scope="module")
def callbacks():
    pytest.importorskip("scipy")
    return tw.compile(CALLBACKS)


def test_quad(callbacks):
    from scipy.integrate import quad

    assert quad(callbacks.plain.low_level_callable(), 0, 3)[0] == pytest.approx(9)
    assert quad(callbacks.data.low_level_callable(np.array([4.0])), 0, 1)[0] == pytest.approx(2)
    assert quad(callbacks.many.low_level_callable(), 0, 1)[0] == pytest.approx(0.5)
    assert quad(callbacks.many.low_level_callable(), 0, 1, args=(1.0, 2.0))[0] == pytest.approx(1.5)
    values = (ctypes.c_double * 2)(0, 7)
    assert quad(callbacks.many_data.low_level_callable(user_data=values), 0, 1)[0] == pytest.approx(7.5)


def test_ndimage(callbacks):
    ndimage = pytest.importorskip("scipy.ndimage")
    a = np.random.default_rng(3).random((6, 7))
    assert np.allclose(
        ndimage.generic_filter(a, callbacks.filter.low_level_callable(), 3), ndimage.uniform_filter(a, 3)
    )
    assert np.allclose(ndimage.generic_filter(a, callbacks.filter.low_level_callable(np.ones(1)), 3),
                       ndimage.uniform_filter(a, 3) + 1)  # fmt: skip
    assert np.allclose(ndimage.generic_filter(a, callbacks.constant.low_level_callable(), 1), a)
    assert np.allclose(ndimage.generic_filter1d(a, callbacks.filter1d.low_level_callable(), 3),
                       3 * ndimage.uniform_filter1d(a, 3))  # fmt: skip
    assert np.allclose(ndimage.geometric_transform(a, callbacks.shift.low_level_callable(np.array([0.5]))),
                       ndimage.shift(a, 0.5))  # fmt: skip


def test_signatures(callbacks):
    assert callbacks.many_data.low_level_callable().signature == "double (int, double *, void *)"
    assert callbacks.constant.low_level_callable().signature == "int (double *, long, double *, void *)"
    generic = tw.compile("T f(const T *x, int n, U *y) { return x[0]; }", T="d", U="q")
    assert generic.f.low_level_callable().signature == "double (double *, int, long long *)"


def test_user_data(callbacks):
    from scipy.integrate import quad

    number = ctypes.c_double(4)
    capsule_new = ctypes.pythonapi.PyCapsule_New
    capsule_new.restype, capsule_new.argtypes = (
        ctypes.py_object,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p],
    )
    capsule = capsule_new(ctypes.addressof(number), None, None)
    address = ctypes.addressof(number)
    addresses = [address, np.uint64(address), ctypes.pointer(number), ctypes.c_void_p(address), capsule]
    memory = [number, np.array([[4.0]]), bytearray(number), bytes(number), memoryview(np.array([4.0]))]
    for data in addresses + memory:
        assert quad(callbacks.data.low_level_callable(data), 0, 1)[0] == pytest.approx(2), data
    for error, values in (
        (ValueError, (np.zeros(4)[::2], -1, 1 << 64)),
        (TypeError, (1.5, True, "abc", object())),
    ):
        for wrong in values:
            with pytest.raises(error, match=r"low_level_callable\(\): 'user_data'"):
                callbacks.data.low_level_callable(wrong)


def test_low_level_callable_keeps_what_it_needs():
    integrate = pytest.importorskip("scipy.integrate")
    lib = tw.compile("double data(double x, void *p) { return x * *(double *)p; }", force=True)
    data = np.array([4.0])
    watches = weakref.ref(lib), weakref.ref(data)
    function = lib.data.low_level_callable(data)
    del lib, data
    gc.collect()
    assert all(watch() is not None for watch in watches)
    assert integrate.quad(function, 0, 1)[0] == pytest.approx(2)
    del function
    gc.collect()
    assert all(watch() is None for watch in watches)


def test_without_scipy(lib, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ImportError, match="low_level_callable.* needs SciPy"):
        lib.square.low_level_callable()


# ---- pickles and copies ----


@pytest.mark.parametrize("protocol", range(6))
def test_pickle_here(lib, protocol):
    assert pickle.loads(pickle.dumps(lib, protocol)) is lib
    assert pickle.loads(pickle.dumps(lib.sum, protocol)) is lib.sum


def test_copies(lib):
    for thing in lib, lib.sum, tw.compile("int f(void) { return 1; }", force=True):
        assert copy.copy(thing) is thing and copy.deepcopy(thing) is thing
        assert copy.deepcopy([thing])[0] is thing


def test_force_is_pickled():
    lib = tw.compile("int count(void) { static int n; return ++n; }", force=True)
    assert lib.count() == 1
    other = pickle.loads(pickle.dumps(lib))
    assert other is not lib and other.count() == 1 and lib.count() == 2


def run_python(program, *arguments, **keywords):
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, **keywords)
    assert done.returncode == 0, done.stderr
    return done.stdout


READ = """
import pickle, sys
import tinyweave as tw
with open(sys.argv[1], "rb") as file:
    function = pickle.load(file)
def work():
    info = tw.cache.info()
    return info.compiles + info.memory_hits + info.disk_hits
before = work()
print(before, function(*map(float, sys.argv[2:])), work())
"""


def test_pickle_elsewhere(tmp_path):
    (tmp_path / "more.h").write_text("#define FACTOR 3\n")
    (tmp_path / "source.c").write_text(
        '#include "own.h"\n#include "more.h"\ndouble f(double x) { return FACTOR * OWN * K * x; }\n'
    )
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "own.h").write_text("#define OWN 5\n")
    lib = tw.compile(
        tmp_path / "source.c", include_dirs=[tmp_path / "include"], define_macros={"K": 7}, name="mine"
    )
    (tmp_path / "source.c").unlink()
    (tmp_path / "f.pickle").write_bytes(pickle.dumps(lib.f))
    assert run_python(READ, tmp_path / "f.pickle", 2).split() == ["0", "210.0", "1"]
    generic = tw.compile("T twice(T x) { return 2 * x; }", T="fd")
    (tmp_path / "g.pickle").write_bytes(pickle.dumps(generic.twice))
    assert run_python(READ, tmp_path / "g.pickle", 2).split() == ["0", "4.0", "1"]
    declared = tw.compile(declare="double cbrt(double);", libraries=["m"], functions=["cbrt"])
    (tmp_path / "h.pickle").write_bytes(pickle.dumps(declared.cbrt))
    assert run_python(READ, tmp_path / "h.pickle", 1).split() == ["0", "1.0", "1"]


def test_pickle_of_a_relative_path(tmp_path, monkeypatch):
    (tmp_path / "source.c").write_text('#include "own.h"\nint f(void) { return OWN; }\n')
    (tmp_path / "own.h").write_text("#define OWN 5\n")
    monkeypatch.chdir(tmp_path)
    lib = tw.compile(pathlib.Path("source.c"))
    (tmp_path / "f.pickle").write_bytes(pickle.dumps(lib.f))
    (tmp_path / "other").mkdir()
    assert run_python(READ, tmp_path / "f.pickle", cwd=tmp_path / "other").split()[1] == "5"


def test_compile_finds_a_restored_library():
    source = "int restored(int n) { return n + 1; }"
    data = pickle.dumps(tw.compile(source))
    gc.collect()
    tw.cache.clear()
    gc.collect()
    lib = pickle.loads(data)
    before = tw.cache.info().compiles
    assert tw.compile(source) is lib and tw.cache.info().compiles == before + 1
    assert lib.restored(2) == 3


def square_in(function, x):
    return function(x)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes(lib, method):
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        assert list(pool.map(lib.square, [1.0, 2.0, 3.0])) == [1.0, 4.0, 9.0]
        assert pool.submit(square_in, lib.sum, np.arange(4.0)).result() == 6.0


def test_bad_pickles():
    restore = tw._core._library
    key = tw.compile("int f(void) { return 1; }", T="d").__reduce__()[1][0]
    assert restore(key, True).f() == 1
    for place, wrong in ((0, ()), (0, None), (0, (("text", None),)), (0, ((b"x",),)), (0, ((b"x", "path"),)),
                         (1, ()), (1, 3), (2, b"d"), (3, 4), (4, 5), (5, b"")):  # fmt: skip
        with pytest.raises(TypeError, match="pickle"):
            restore((*key[:place], wrong, *key[place + 1 :]), False)
    for wrong in (), (key,), (key[:-1], False), (None, False):
        with pytest.raises(TypeError):
            restore(*wrong)
    with pytest.raises(TypeError):
        restore((*key[:1], tuple(range(8)), *key[2:]), False)
    with pytest.raises(TypeError):
        restore((*key[:6], 5), False)


# ---- nothing leaks ----


def test_references():
    source = "T f(T x) { return x; } void g(int n, const double a[n], PyObject *x) {}"
    lib, many = tw.compile(source, T="d", force=True), tw.compile(source, T="fd", force=True)
    scipy = pytest.importorskip("scipy")

    def round_trip():
        assert lib.g.ctypes and lib.f.address
        lib.f.low_level_callable(np.ones(3))
        pickle.dumps(lib.f), copy.copy(lib)
        for wrong in (
            lambda: many.f.ctypes,
            lambda: many.f.address,
            lambda: many.f.low_level_callable(),
            lambda: lib.f.low_level_callable("x"),
            lambda: tw._core._library(("x",), False),
        ):
            with pytest.raises((AttributeError, TypeError)):
                wrong()

    assert scipy.LowLevelCallable
    round_trip()
    gc.collect()
    before = [sys.getrefcount(thing) for thing in (lib, many, lib.f, many.f)]
    for _ in range(20):
        round_trip()
    gc.collect()
    assert [sys.getrefcount(thing) for thing in (lib, many, lib.f, many.f)] == before


# ---- shared libraries ----

SAVED = """
#include <stdint.h>
typedef struct { double x, y; } point;
enum color { RED, GREEN = 4 };
struct node { struct node *next; enum color color; char name[K]; };
enum { SIZE = 4 };
typedef double real;
int counter = 3;
static real helper(real x) { return x * 2; }

/* Smooth the interior
   with a 3x3 window. */
void smooth(int m, int n, const double a[m][n], out double b[m][n])
{
    for (int i = 1; i < m - 1; i++)
        for (int j = 1; j < n - 1; j++)
            b[i][j] = a[i][j] + .5*(a[i-1][j] + a[i+1][j] + a[i][j-1] + a[i][j+1]);
}

// Twice.
// Really.
real twice(real x) { return helper(x); }
double norm(point *p) { return sqrt(p->x * p->x + p->y * p->y); }
int color(struct node *node, const double v[SIZE], size_t i) { return node->color + (int)v[i]; }
bool negate(bool x, npy_intp *index, int64_t t, uint8_t u) { return !x; }
double total(int n, const double *restrict a)
{
    double s = 0;
    for (int i = 0; i < n; i++) s += a[i];
    return s;
}
double apply(double (*f)(double, void *), double x) { return f(x, 0) + fabs(x) + isfinite(x); }
tw_complex multiply(tw_complex a, tw_complex b) { return tw_mul(a, b); }
double magnitude(tw_complexf a) { return tw_abs(a); }
int count(void) { static int n; return ++n + counter; }
int empty() { return 5; }
"""


def build(lib, folder, **keywords):
    library, header = lib.save(folder / "kernels.so", **keywords)
    assert (library, header) == (str(folder / "kernels.so"), str(folder / "kernels.h"))
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(("kernels", "."))) == [
        "kernels.h",
        "kernels.so",
    ]
    return pathlib.Path(header).read_text()


def run_c(folder, program, compiler="gcc", *flags):
    """What a program prints that uses the header and the library."""
    source = folder / ("main.c" if compiler == "gcc" else "main.cc")
    source.write_text(program)
    command = [compiler, "-Wall", "-Wextra", "-Werror", *flags, source.name, "./kernels.so", "-o", "main"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return subprocess.run(["./main"], cwd=folder, capture_output=True, text=True, check=True).stdout


def symbols(folder):
    lines = subprocess.run(
        ["nm", "-D", "--defined-only", folder / "kernels.so"], capture_output=True, text=True
    )
    return {line.split()[-1] for line in lines.stdout.splitlines()}


@pytest.fixture
def gcc():
    try:
        tw._core._native_compiler()
    except FileNotFoundError:
        pytest.skip("no C compiler")


def test_save(tmp_path, gcc):
    lib = tw.compile(SAVED, define_macros={"K": 7})
    header = build(lib, tmp_path)
    for text in (
        "/* Smooth the interior\n   with a 3x3 window. */\n",
        "void smooth(int m, int n, const double a[m][n], double b[m][n]);\n",
        "void smooth(int m, int n, const double *a, double *b);\n",
        "// Twice.\n// Really.\nreal twice(real x);\n",
        "typedef struct {\n    double x, y;\n} point;\n",
        "double norm(point *p);\n",
        "char name[7];\n",
        "#include <stdint.h>\n",
        "double apply(double (*f)(double, void *), double x);\n",
        "int empty(void);\n",
    ):
        assert text in header, header
    assert "helper" not in header and "counter" not in header and "sqrt" not in header
    names = "smooth twice norm color negate total apply multiply magnitude count empty"
    assert symbols(tmp_path) == set(names.split())


def test_saved_library_without_tinyweave(tmp_path, gcc):
    lib = tw.compile(SAVED, define_macros={"K": 7})
    build(lib, tmp_path)
    a = np.random.default_rng(5).random((6, 7))
    np.save(tmp_path / "a.npy", a)
    run_python(
        "import ctypes, sys\nimport numpy as np\n"
        "a = np.load('a.npy')\nb = np.zeros_like(a)\n"
        "lib = ctypes.CDLL('./kernels.so')\n"
        "lib.smooth(6, 7, ctypes.c_void_p(a.ctypes.data), ctypes.c_void_p(b.ctypes.data))\n"
        "np.save('b.npy', b)\nassert 'tinyweave' not in sys.modules\n"
        "assert (lib.count(), lib.count()) == (4, 5)",
        cwd=tmp_path,
    )
    assert np.array_equal(np.load(tmp_path / "b.npy"), lib.smooth(a))


C_PROGRAM = """
#include "kernels.h"
#include <stdio.h>
static double inverse(double x, void *p) { return p ? 0 : 1 / x; }
int main(void)
{
    double a[3][3] = {{1, 1, 1}, {1, 1, 1}, {1, 1, 1}}, b[3][3] = {{0}}, v[SIZE] = {1, 2, 3, 4};
    point p = {3, 4};
    struct node node = {NULL, GREEN, "x"};
    npy_intp index = 1;
    tw_complex x = {1, 2}, y = {3, -1};
    smooth(3, 3, ROWS(a), ROWS(b));
    printf("%g %g %g %d %d ", b[1][1], twice(4), norm(&p), color(&node, v, 2), negate(0, &index, 1, 2));
    printf("%g %g ", total(4, v), apply(inverse, 4));
    x = multiply(x, y);
    printf("%g %g %d %d\\n", x.real, x.imag, count(), empty());
    return 0;
}
"""


@pytest.mark.parametrize("compiler, flags", [("gcc", ()), ("gcc", ("-std=c99",)), ("g++", ())])
def test_saved_library_from_c(tmp_path, gcc, compiler, flags):
    build(tw.compile(SAVED, define_macros={"K": 7}), tmp_path)
    rows = ("(const double (*)[3])a", "b") if compiler == "gcc" else ("a[0]", "b[0]")
    assert (
        run_c(tmp_path, C_PROGRAM.replace("ROWS(a), ROWS(b)", ", ".join(rows)), compiler, *flags)
        == "3 8 5 7 1 10 5.25 5 5 4 5\n"
    )


def test_save_generic(tmp_path, gcc):
    source = """
        int calls;
        /* The sum of a's elements. */
        T sum(int n, const T a[n])
        {
            T s = tw_sub(a[0], a[0]);
            calls++;
            for (int i = 0; i < n; i++) s = tw_add(s, tw_mul(a[i], a[i]));
            return s;
        }
        void convert(int n, const T a[n], out U b[n]) { for (int i = 0; i < n; i++) b[i] = (U)tw_real(a[i]); }
        int called(void) { return calls; }
    """
    lib = tw.compile(source, T="dflqF", U="iB")
    header = build(lib, tmp_path)
    for text in (
        "double sum_float64(int n, const double a[n]);",
        "long sum_int64(int n, const long a[n]);",
        "tw_complexf sum_complex64(int n, const tw_complexf *a);",
        "void convert_float32_uint8(int n, const float a[n], unsigned char b[n]);",
        "int called(void);",
    ):
        assert text in header, header
    assert header.count("The sum of") == 1
    dtypes, others = ["float64", "float32", "int64", "complex64"], ["int32", "uint8"]
    expected = (
        {f"sum_{t}" for t in dtypes} | {f"convert_{t}_{u}" for t in dtypes for u in others} | {"called"}
    )
    assert symbols(tmp_path) == expected
    saved = ctypes.CDLL(tmp_path / "kernels.so")
    for dtype in dtypes:
        a = (np.random.default_rng(1).random(50) * 10).astype(dtype)
        function = saved[f"sum_{dtype}"]
        one = tw.compile(source, T=np.dtype(dtype).char, U="i").sum.ctypes
        function.argtypes, function.restype = one.argtypes, one.restype
        result = function(50, a)
        if dtype == "complex64":
            assert complex(result) == complex(one(50, a)) == complex(lib.sum(a))
        else:
            assert result == lib.sum(a)
    assert saved.called() == 1  # of the first dtype's


def test_save_complex_functions(tmp_path, gcc):
    names = "sqrt exp log sin cos tan sinh cosh tanh asin acos atan asinh acosh atanh"
    calls = "".join(f"    s = tw_add(s, tw_{name}(x));\n" for name in names.split())
    lib = tw.compile(
        f"T all(T x, T y)\n{{\n    T s = x;\n{calls}"
        "    return tw_sub(tw_div(s, tw_pow(y, x)), tw_conj(y));\n}\n"
        "double size(T x) { return tw_abs(x) + tw_abs2(x); }",
        T="DF",
    )
    build(lib, tmp_path)
    saved = ctypes.CDLL(tmp_path / "kernels.so")
    for dtype in np.complex128, np.complex64:
        one = tw.compile(lib.source, T=np.dtype(dtype).char)
        for name, values in (("all", (0.3 + 0.1j, 1.5 - 0.5j)), ("size", (3 + 4j,))):
            function, model = saved[f"{name}_{dtype.__name__}"], getattr(one, name)
            function.argtypes, function.restype = model.ctypes.argtypes, model.ctypes.restype
            assert complex(function(*values)) == model(*map(dtype, values))


ANY_NUMBER = """
#include <complex.h>
T f(T x, T y) { return tw_cast(T, tw_add(tw_sqrt(x), tw_div(x, y), tw_mul(x, y, 2), tw_neg(y), tw_arg(x))); }
void each(long n, const T x[n], const T y[n], out T r[n])
{
    for (long i = 0; i < n; i++)
        r[i] = tw_cast(T, tw_eq(x[i], y[i]) ? tw_abs2(x[i]) : tw_abs(tw_sub(x[i], tw_conj(y[i]))));
}
"""

ANY_NUMBER_FROM_C = """
#include "kernels.h"
#include <stdio.h>
int main(void)
{
    tw_complex x = {1.5, -2}, y = {0.25, 3}, z = f_complex128(x, y);
    tw_complexf xf = {1.5f, -2}, yf = {0.25f, 3}, zf = f_complex64(xf, yf);
    printf("%a %a ", f_float64(1.5, -2), (double)f_float32(1.5f, -2));
    printf("%a %a %a %a", z.real, z.imag, zf.real, zf.imag);
    return 0;
}
"""


def test_save_arithmetic_of_any_number(tmp_path, gcc):
    """The saved functions give the results of the Library's, through ctypes and from C."""
    lib = tw.compile(ANY_NUMBER, T="fdFD")
    build(lib, tmp_path)
    saved = ctypes.CDLL(tmp_path / "kernels.so")
    for letter in "fdFD":
        one, dtype = tw.compile(ANY_NUMBER, T=letter), np.dtype(letter)
        x, y = np.array([[1.5 - 2j, 3, 0.25 + 1j], [-0.5 + 1j, 3, 7 - 2j]])
        x, y = (x, y) if dtype.kind == "c" else (x.real, y.real)
        x, y = x.astype(dtype), y.astype(dtype)
        f, each = saved[f"f_{dtype}"], saved[f"each_{dtype}"]
        for function, model in (f, one.f.ctypes), (each, one.each.ctypes):
            function.argtypes, function.restype = model.argtypes, model.restype
        for i in range(3):
            assert complex(f(x[i], y[i])) == one.f(x[i], y[i])
        result = np.zeros_like(x)
        each(3, x, y, result)
        assert result.tobytes() == one.each(x, y).tobytes()
    parts = map(float.fromhex, run_c(tmp_path, ANY_NUMBER_FROM_C).split())
    z, w = lib.f(1.5 - 2j, 0.25 + 3j), lib.f(np.complex64(1.5 - 2j), np.complex64(0.25 + 3j))
    expected = lib.f(1.5, -2.0), lib.f(np.float32(1.5), np.float32(-2)), z.real, z.imag, w.real, w.imag
    assert tuple(parts) == expected


def test_save_several_units(tmp_path, gcc):
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "shared.h").write_text(
        "#ifndef SHARED\n#define SHARED\ntypedef struct pair { int a, b; } pair;\n"
        "extern int state;\nint other(pair *p);\n#endif\n"
    )
    lib = tw.compile(
        ['#include "shared.h"\nint state = 5;\nstatic int own(void) { return 1; }\n'
         "int one(pair *p) { return other(p) + own(); }\n",
         '#include "shared.h"\nstatic int own(void) { return 2; }\n'
         "int other(pair *p) { return p->a * state + own(); }\n"],
        include_dirs=[tmp_path / "include"],
    )  # fmt: skip
    header = build(lib, tmp_path)
    assert header.count("typedef struct pair {") == 1 and "shared.h" not in header
    program = "int main(void) { pair p = {3, 0}; return one(&p) - 18; }"
    assert run_c(tmp_path, '#include "kernels.h"\n' + program) == "" and symbols(tmp_path) == {"one", "other"}


def test_save_with_libraries(tmp_path, gcc):
    (tmp_path / "deep").mkdir()
    base = tw.compile("int base(int n) { return n + 100; }")
    base.save(tmp_path / "deep" / "libbase.so")
    lib = tw.compile("int base(int n);\nint more(int n) { return base(n) + 1; }", libraries=["base", "m"],
                     library_dirs=[tmp_path / "deep"])  # fmt: skip
    build(lib, tmp_path)
    assert run_python("import ctypes; print(ctypes.CDLL('./kernels.so').more(1))", cwd=tmp_path) == "102\n"
    only = tw.compile(declare="double cbrt(double);", libraries=["m"])
    with pytest.raises(tw.CompileError, match="none of the library's functions"):
        only.save(tmp_path / "x.so")


def test_save_declared(tmp_path, gcc):
    lib = tw.compile("double sum(const double *a, int n) { double s = 0; while (n--) s += *a++; return s; }\n"
                     "int hidden(int n) { return n; }",
                     declare="double sum(const double a[n], int n);", functions=["sum"])  # fmt: skip
    header = build(lib, tmp_path)
    assert "double sum(const double *a, int n);" in header and symbols(tmp_path) == {"sum"}


EVERYTHING = """
#define PASTE(a, b) a##b
double PASTE(num, bers)(double x)
{
    char text[40];
    double parts[3] = {NAN, INFINITY, M_PI};
    snprintf(text, sizeof text, "%g", parts[2]);
    if (isnan(x) || isinf(x) || !isnormal(x) || signbit(x) ||
        isgreater(x, 1e300)) return -1;
    errno = 0;
    return strtod(text, NULL) + fmax(x, DBL_EPSILON) + (double)strlen(text) + errno + INT_MAX * 0.0;
}
int say(int n) { printf("%d said\\n", n); fflush(stdout); return n; }
"""


def test_save_what_the_prelude_declares(tmp_path, gcc):
    lib = tw.compile(EVERYTHING)
    build(lib, tmp_path)
    saved = ctypes.CDLL(tmp_path / "kernels.so")
    saved.numbers.argtypes, saved.numbers.restype = [ctypes.c_double], ctypes.c_double
    for x in (1.5, 0.0, -2.0, float("nan"), 1e301):
        assert saved.numbers(x) == lib.numbers(x)
    assert run_python("import ctypes; ctypes.CDLL('./kernels.so').say(3)", cwd=tmp_path) == "3 said\n"


def test_saved_results_are_the_librarys(tmp_path, gcc):
    lib = tw.compile("""
        int grows(int n) { return n + 1 > n; }
        int punned(float *f, int *i) { *i = 1; *f = 0; return *i; }
        double chain(double a, double b, double c) { return a * b + c; }
    """)
    build(lib, tmp_path, flags="-O3 -march=native")
    saved = ctypes.CDLL(tmp_path / "kernels.so")
    top, memory = 2**31 - 1, ctypes.c_int(5)
    assert saved.grows(top) == lib.grows(top) == 0
    assert saved.punned(ctypes.byref(memory), ctypes.byref(memory)) == 0
    saved.chain.argtypes, saved.chain.restype = lib.chain.ctypes.argtypes, ctypes.c_double
    for a, b, c in np.random.default_rng(2).random((50, 3)):
        assert saved.chain(a, b, -c) == lib.chain(a, b, -c)


def test_save_flags(tmp_path, gcc):
    source = "#ifndef EXTRA\n#define EXTRA 0\n#endif\n"
    source += "int level(void) {\n#ifdef __OPTIMIZE__\nreturn 1 + EXTRA;\n#endif\nreturn EXTRA; }"
    for given, flags, expected in (
        ((), (), 1),
        ((), "-O0", 0),
        ((), ["-O0", "-DEXTRA=4"], 4),
        (["-O0"], (), 0),
        (["-O0"], "-O3 -DEXTRA='2 + 1'", 4),
    ):
        path = tmp_path / f"{expected}{len(flags)}{len(given)}.so"
        tw.compile(source, extra_compile_args=given).save(path, flags=flags)
        assert ctypes.CDLL(path).level() == expected


@pytest.mark.parametrize("source, message", [
    ("PyObject *f(PyObject *x) { Py_INCREF(x); return x; }", "'Py_INCREF' belongs to Python"),
    ("int f(int n) { if (n) PyErr_SetString(PyExc_ValueError, \"no\"); return n; }",
     "'PyErr_SetString' belongs to Python"),
    ("#include <Python.h>\nint f(int n) { return n; }", "<Python.h> is included"),
    ("typedef struct { T a; } box;\nT f(T *x, box *b) { return *x; }", "cannot hold a type made of 'T'"),
])  # fmt: skip
def test_save_refuses(tmp_path, source, message):
    with pytest.raises(tw.CompileError, match=message):
        tw.compile(source).save(tmp_path / "kernels.so")
    assert list(tmp_path.iterdir()) == []


def test_save_bad_arguments(tmp_path, monkeypatch, gcc):
    lib = tw.compile("int f(int n) { return n; }")
    for wrong, error in (
        (("x.h",), ValueError),
        (("",), ValueError),
        ((), TypeError),
        ((5,), TypeError),
        (("x.so", "-O3"), TypeError),
        ((tmp_path / "missing" / "x.so",), OSError),
    ):
        with pytest.raises(error):
            lib.save(*wrong)
    for wrong in 5, [5], [b"-O3"]:
        with pytest.raises(TypeError):
            lib.save(tmp_path / "x.so", flags=wrong)
    with pytest.raises(ValueError, match="'flags': No closing quotation"):
        lib.save(tmp_path / "x.so", flags="'")
    hidden = tw.compile("int g(void) { return 2; }\n#ifdef __TINYC__\nint f(int n) { return n; }\n#endif")
    with pytest.raises(tw.CompileError, match="f"):
        hidden.save(tmp_path / "x.so")
    monkeypatch.setenv("TINYWEAVE_CC", "no-such-compiler")
    with pytest.raises(FileNotFoundError, match="no-such-compiler"):
        lib.save(tmp_path / "x.so")
    assert list(tmp_path.iterdir()) == []


def test_save_replaces_at_once(tmp_path, gcc):
    build(tw.compile("int f(void) { return 1; }"), tmp_path)
    before = [(tmp_path / name).read_bytes() for name in ("kernels.so", "kernels.h")]
    broken = tw.compile("int f(void) {\n#ifdef __TINYC__\nreturn 1;\n#else\nbroken!\n#endif\n}")
    with pytest.raises(tw.CompileError, match="broken") as error:
        broken.save(tmp_path / "kernels.so")
    assert (error.value.filename, error.value.lineno, error.value.text) == ("<source>", 5, "broken!")
    assert [(tmp_path / name).read_bytes() for name in ("kernels.so", "kernels.h")] == before
    header = build(tw.compile("int g(void) { return 2; }"), tmp_path)
    assert "int g(void);" in header and symbols(tmp_path) == {"g"}


def test_references_of_save(tmp_path, gcc):
    lib = tw.compile("int f(int n) { return n; }", force=True)
    refused = tw.compile("int f(int n) { if (n) PyErr_Clear(); return n; }", force=True)

    def round_trip():
        lib.save(tmp_path / "x.so")
        for call in (lambda: refused.save(tmp_path / "y.so"), lambda: lib.save("x.h"), lambda: lib.save()):
            with pytest.raises((tw.CompileError, ValueError, TypeError)):
                call()

    round_trip()
    before = sys.getrefcount(lib), sys.getrefcount(refused), sys.getrefcount(tw._core)
    for _ in range(3):
        round_trip()
    assert (sys.getrefcount(lib), sys.getrefcount(refused), sys.getrefcount(tw._core)) == before


MANY_TYPES = r"""
#include <stdio.h>
#include "own/types.h"
#define DECLARE(name) typedef struct name##_s { int v; } name
DECLARE(box);
_Static_assert(sizeof(int) == 4, "int");
struct __attribute__((packed)) tight { char c; int n; } __attribute__((aligned(2)));
typedef int (*compare)(const void *, const void *);
typedef double vector[3];
union value { int i; struct { float x, y; } parts; double d[2]; };
static struct { int a; } hidden = { 1 };
static const int table[] = { 1, 2, 3 };
struct list { struct list *next; struct item *items; };
struct item { struct list *owner; enum { ONE = 1, TWO = ONE + 1 } kind; };
struct made { int q; } *make(int n) { static struct made m; m.q = n; return &m; }
static int local(void) { struct inner { int a; } x = { 1 }; return x.a; }
int uses(box *b, struct tight *t, compare c, vector v, union value *u)
{
    return b->v + hidden.a + table[0] + local();
}
int lists(struct list *l, struct opaque *o) { return 1; }
void print(FILE *f, int n) { fprintf(f, "%d\n", n); }
unsigned long long int big(unsigned x) { return x; }
extern int called(int (*f)(int n, const double *a), signed char x);
int called(int (*f)(int n, const double *a), signed char x) { double a[2] = {1, 2}; return f(2, a) + x; }
tagged *tag(tagged *t, count_t n) { return t; }
int nameless(int, double);
int nameless(int a, double b) { return a; }
void rows(int n, double a[n][3], volatile int *q, int *const r) { a[0][0] = *q + *r; }
int many(int n, int m, const double a[const restrict static n], float b[2*n+m], char *s) { return n; }
int trailing(int n) // a comment behind
{ return n; }
"""


def test_header_of_many_types(tmp_path, gcc):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "types.h").write_text(
        "#pragma once\n#include <stdint.h>\n/* doc */ typedef struct tagged { int x; uint16_t y; } tagged;\n"
        "typedef unsigned count_t;\n"
    )
    (tmp_path / "source.c").write_text(MANY_TYPES)
    header = build(tw.compile(tmp_path / "source.c"), tmp_path)
    for word in "hidden", "table", "inner", "local", "own/", "_Static_assert", "comment behind":
        assert word not in header
    for text in "struct made *make(int n);", "struct opaque;", "const double a[const restrict static n]":
        assert text in header
    program = '#include "kernels.h"\nint main(void) { box b = {3}; return uses(&b, 0, 0, 0, 0) - 6; }\n'
    run_c(tmp_path, program, "gcc", "-std=c11", "-pedantic", "-Wno-nonnull")
    run_c(tmp_path, program, "g++", "-std=c++17")


def test_pickle_without_its_header(tmp_path):
    (tmp_path / "own.h").write_text("#define OWN 5\n")
    lib = tw.compile('#include "own.h"\nint f(int n) { return n + OWN; }', include_dirs=[tmp_path])
    data = pickle.dumps(lib.f)
    (tmp_path / "own.h").unlink()
    del lib
    tw.cache.clear()
    gc.collect()
    with pytest.raises(tw.CompileError, match="own.h"):
        pickle.loads(data)(1)


PACKED = """
#pragma pack(push, 1)
struct tight { char c; int i; };
#pragma pack(pop)
#pragma pack(2)
typedef struct { char c; double d; } half;
#pragma pack()
struct loose { char c; int i; };
int sizes(const struct tight *a, const half *b, const struct loose *c)
{
    return sizeof(*a) * 10000 + sizeof(*b) * 100 + sizeof(*c);
}
"""


@pytest.mark.parametrize("compiler", ["gcc", "g++"])
def test_packed_structs_are_packed_in_the_header(tmp_path, gcc, compiler):
    header = build(tw.compile(PACKED), tmp_path)
    assert header.count("#pragma pack(push, 1)") == header.count("#pragma pack(push, 2)") == 1
    program = """
    #include <stdio.h>
    #include "kernels.h"
    int main(void)
    {
        int own = sizeof(struct tight) * 10000 + sizeof(half) * 100 + sizeof(struct loose);
        printf("%d", own == sizes(0, 0, 0));
        return 0;
    }"""
    assert run_c(tmp_path, program, compiler) == "1"


WORDS_OF_CPLUSPLUS = """
struct item { int i; };
int class(int x) { return x; }
int pick(int class, struct item *this) { return class + this->i; }
double euler(void (*rhs)(int n, const double y[n], out double new[n], int (*g)(int m, int a[m][2])),
             int n, double y[n])
{
    double d[n];
    rhs(n, y, d, 0);
    return d[0] + y[1];
}
"""


def test_header_for_cplusplus(tmp_path, gcc):
    header = build(tw.compile(WORDS_OF_CPLUSPLUS), tmp_path)
    assert "int class(int x);" in header and "int pick(int class, struct item *this);" in header
    program = """
    #include <stdio.h>
    #include "kernels.h"
    static void rhs(int n, const double *y, double *d, int (*)(int, int *)) { d[0] = y[n - 1]; }
    int main(void)
    {
        struct item one = {1};
        double y[] = {1, 2};
        printf("%d %g", pick(2, &one), euler(rhs, 2, y));
        return 0;
    }"""
    assert run_c(tmp_path, program, "g++") == "3 4"


def test_save_functions_called_like_those_of_c(tmp_path, gcc):
    lib = tw.compile("int abs(int x) { return 7; } int f(int x) { return abs(x); }")
    build(lib, tmp_path)
    assert ctypes.CDLL(str(tmp_path / "kernels.so")).f(-3) == lib.f(-3) == 7


def test_save_names_beyond_ascii(tmp_path, gcc):
    build(tw.compile("int größe(void) { return 4; }"), tmp_path)
    assert ctypes.CDLL(str(tmp_path / "kernels.so"))["größe"]() == 4


def test_save_names_what_is_wrong(tmp_path):
    lib = tw.compile("int f(void) { return 1; }")
    with pytest.raises(FileNotFoundError, match="no such folder") as caught:
        lib.save(tmp_path / "nowhere" / "k.so")
    assert caught.value.filename == str(tmp_path / "nowhere")
    with pytest.raises(TypeError, match="'flags' must be a str or a list of str, not int"):
        lib.save(tmp_path / "k.so", flags=3)


def test_ctypes_callbacks_can_read_arrays():
    lib = tw.compile("""
    struct pair { int a, b; };
    void run(void (*f)(int n, const double y[n], out double d[n], struct pair *p), int n, const double y[n],
             out double d[n], out struct pair *p)
    {
        f(n, y, d, p);
    }""")
    run = lib.run.ctypes

    def double(n, y, d, pair):
        for i in range(n):
            d[i] = 2 * y[i]
        pair.contents.b = n

    d, pair = np.zeros(3), np.zeros((), lib.dtypes["pair"])
    run(run.argtypes[0](double), 3, np.arange(3.0), d, pair)
    assert d.tolist() == [0, 2, 4] and pair["b"] == 3


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("int n = 1;", "double n = 2;"),
        ("int n = 1, m = 2;", "int m = 1, n = 2;"),
        ("int n[2];", "int n[3];"),
        ("typedef double row[3]; void g(const row r);", "typedef double row[4]; void g(const row r);"),
        ("typedef double (*row)(double);", "typedef int (*row)(int);"),
        ("typedef struct { int a[2]; } *row;", "typedef struct { int a[3]; } *row;"),
    ],
)
def test_a_header_that_changed_before_the_pickle_is_compiled(tmp_path, before, after):
    header = tmp_path / "changing.h"
    own = "typedef int row[2];" if "row" not in before else ""
    (tmp_path / "source.c").write_text(f'#include "changing.h"\n{own}\nint f(row r) {{ return 1; }}')
    header.write_text(before)
    pickled = pickle.dumps(tw.compile(tmp_path / "source.c"))
    program = """
        import pathlib, pickle, sys
        lib = pickle.loads(bytes.fromhex(sys.argv[1]))
        pathlib.Path(sys.argv[2]).write_text(sys.argv[3])
        try:
            lib.f(None)
        except RuntimeError as error:
            print("refused" if "has changed" in str(error) else error)
        except (TypeError, ValueError):
            try:
                lib.f.address
            except RuntimeError:
                print("refused")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), pickled.hex(), str(header), after],
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("refused\n", "")
