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
          float g, double h, unsigned long i, int j) { return a + b + c + d + e + f + (long)g + (long)h + i + j; }
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
              ctypes.c_longlong, ctypes.c_float, ctypes.c_double, ctypes.c_ulong, ctypes.c_int], ctypes.c_long),
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
    for data in (address, np.uint64(address), ctypes.pointer(number), number, ctypes.c_void_p(address), capsule,
                 np.array([[4.0]]), bytearray(number), bytes(number), memoryview(np.array([4.0]))):  # fmt: skip
        assert quad(callbacks.data.low_level_callable(data), 0, 1)[0] == pytest.approx(2), data
    for wrong, error in ((np.zeros(4)[::2], ValueError), (-1, ValueError), (1 << 64, ValueError),
                         (1.5, TypeError), (True, TypeError), ("abc", TypeError), (object(), TypeError)):  # fmt: skip
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


# ---- complex numbers in a shared library ----

ANY_NUMBER = """
#include <stdlib.h>
T f(T x, T y) { return tw_cast(T, tw_add(tw_sqrt(x), tw_div(x, y), tw_mul(x, y, 2), tw_neg(y))); }
void each(long n, const T x[n], const T y[n], out T r[n])
{
    for (long i = 0; i < n; i++) {
        r[i] = tw_eq(x[i], y[i]) ? tw_exp(x[i]) : tw_pow(tw_cast(T, tw_abs(x[i])), tw_conj(y[i]));
    }
}
tw_complexf product(tw_complexf x, tw_complexf y) { return tw_mul(tw_sin(x), y); }
"""

CALLER = """
#include <stdio.h>
#include "numbers.h"
int main(void)
{
    tw_complex x[2] = {{1.5, -2}, {0.25, 3}}, y[2] = {{-0.5, 1}, {0.25, 3}}, r[2];
    each_complex128(2, x, y, r);
    r[0] = tw_complex_sum(r[0], r[1]);
    printf("%a %a\\n", r[0].real, r[0].imag);
}
"""


@pytest.mark.skipif(COMPILER is None, reason="no C compiler on this machine")
def test_saved_complex_numbers(tmp_path):
    lib = tw.compile(ANY_NUMBER, T="fdFD")
    path, header = lib.save(tmp_path / "numbers.so")
    saved = ctypes.CDLL(path)
    for letter in "fdFD":
        ours = tw.compile(ANY_NUMBER, T=letter)
        x, y = (np.array(v, "D").astype(letter) if letter in "FD" else np.real(v).astype(letter)
                for v in ([1.5 - 2j, 3, 0.25 + 1j], [-0.5 + 1j, 3, 7 - 2j]))  # fmt: skip
        for name in "f", "each":
            function = getattr(saved, f"{name}_{x.dtype}")
            mine = getattr(ours, name).ctypes
            function.argtypes, function.restype = mine.argtypes, mine.restype
        for pair in zip(x, y, strict=True):
            result = getattr(saved, f"f_{x.dtype}")(*pair)
            assert complex(result) == ours.f(*pair) or ours.f(*pair) != ours.f(*pair)
        result = np.zeros_like(x)
        getattr(saved, f"each_{x.dtype}")(3, x, y, result)
        assert result.tobytes() == ours.each(x, y).tobytes()


# ---- nothing leaks ----


def test_references():
    source = "T f(T x) { return x; } void g(int n, const double a[n], PyObject *x) {}"
    lib, many = tw.compile(source, T="d", force=True), tw.compile(source, T="fd", force=True)
    scipy = pytest.importorskip("scipy")

    def round_trip():
        assert lib.g.ctypes and lib.f.address
        lib.f.low_level_callable(np.ones(3))
        pickle.dumps(lib.f), copy.copy(lib)
        for wrong in (lambda: many.f.ctypes, lambda: many.f.address, lambda: many.f.low_level_callable(),
                      lambda: lib.f.low_level_callable("x"), lambda: tw._core._library(("x",), False)):  # fmt: skip
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
