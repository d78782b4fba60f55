"""tw.compile: prototypes apart from the source, functions of shared libraries, type variables T and U."""

import ctypes
import ctypes.util
import gc
import gzip
import os
import subprocess
import sys
import zlib

import numpy as np
import pytest

import tinyweave as tw

# ---- declare= ----

SMOOTH = """
void smooth(double *a, double *b, int m, int n)
{
    for (int i = 0; i < m * n; i++) b[i] = 2 * a[i];
}
double dot(int n, const double *a, const double *b)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}
"""


def test_the_parameters_keep_their_order():
    lib = tw.compile(SMOOTH, declare="void smooth(const double a[m][n], out double b[m][n], int m, int n);")
    a = np.arange(6.0).reshape(2, 3)
    assert np.array_equal(lib.smooth(a), 2 * a)
    assert lib.dot(2, [1, 2], [3, 4]) == 11  # not declared apart: its own prototype holds
    out = np.empty((2, 3))
    assert lib.smooth(a, out=out) is out and np.array_equal(out, 2 * a)


def test_a_size_that_is_no_parameter_is_checked():
    source = "double first(const double *a, const double *b) { return a[0] * b[0]; }"
    lib = tw.compile(source, declare="double first(const double a[n], const double b[2*n]);")
    assert lib.first([3], [2, 5]) == 6
    with pytest.raises(ValueError, match=r"first\(\): 'b' has 3 elements along axis 0, 2\*n = 2"):
        lib.first([3], [1, 2, 3])


def test_types_of_the_source():
    source = "typedef double number; number twice(number x) { return 2 * x; }"
    assert tw.compile(source, declare="number twice(number x);").twice(3) == 6


def test_a_struct_of_two_doubles_is_a_complex_number():
    source = """struct pair { double re, im; };
    struct pair conj(struct pair z) { z.im = -z.im; return z; }"""
    assert tw.compile(source, declare="tw_complex conj(tw_complex z);").conj(1 + 2j) == 1 - 2j


def test_structs_by_value_must_lie_alike():
    source = "struct pair { double a, b; }; double first(struct pair x) { return x.a; }"
    same = tw.compile(source, declare="struct own { double c, d; }; double first(struct own x);")
    assert same.first((3, 4)) == 3
    for declare in ("struct own { float c, d; }; double first(struct own x);", "double first(double x);"):
        with pytest.raises(tw.CompileError, match="parameter 1 of 'first' is defined with another type"):
            tw.compile(source, declare=declare)


def test_functions_as_parameters_are_compared():
    source = "double call(double (*f)(double, int), double x) { return f(x, 2); }"
    lib = tw.compile(source, declare="double call(double (*f)(double x, int n), double x);")
    assert lib.call(lambda x, n: x * n, 3) == 6
    with pytest.raises(tw.CompileError, match="parameter 1 of 'call' is defined with another type"):
        tw.compile(source, declare="double call(double (*f)(float x, int n), double x);")


def test_a_result_with_dimensions_is_an_array():
    source = "static double t[] = {1, 2, 3, 4}; double *table(int n) { return n < 0 ? 0 : t; }"
    lib = tw.compile(source, declare="double (*table(int n))[n];")
    assert np.array_equal(lib.table(3), [1, 2, 3]) and lib.table(3).dtype == float
    with pytest.raises(ValueError, match="the result' would have n = -1 elements"):
        tw.compile(source.replace("n < 0 ? 0 : t", "t"), declare="double (*table(int n))[n];").table(-1)
    assert tw.compile(source, declare="out double (*table(int n))[n];").table(2).tolist() == [1, 2]
    with pytest.raises(tw.CompileError, match=r"'out' in front of table\(\) needs the dimensions"):
        tw.compile(source, declare="out double *table(int n);")
    grid = tw.compile(source, declare="double (*table(int n))[n][2];").table(2)
    assert np.array_equal(grid, [[1, 2], [3, 4]])


def test_a_null_result_is_none():
    source = "double *none(int n) { return 0; }"
    assert tw.compile(source, declare="double (*none(int n))[n];").none(3) is None


def test_several_sources():
    lib = tw.compile(
        ["double a(double *x) { return x[0]; }", "double b(double *x) { return x[1]; }"],
        declare="double a(const double x[2]); double b(const double x[2]);",
    )
    assert (lib.a([1, 2]), lib.b([1, 2])) == (1, 2)


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (
            "double dot(const double a[n], const double b[n]);",
            "2 parameters, and defined with 3",
        ),
        ("float dot(int n, const double a[n], const double b[n]);", "a result of another type"),
        (
            "double dot(int n, const float a[n], const double b[n]);",
            "parameter 2 of 'dot'",
        ),
        ("double dot(long n, const double a[n], const double b[n]);", "parameter 1 of 'dot'"),
        ("double dot(int n, double a, const double b[n]);", "parameter 2 of 'dot'"),
        ("double absent(double x);", "undefined symbol 'absent': no library given has it"),
        ("double dot(int n, const double *a, const double *b) { return 0; }", "'dot' has a body"),
        ("double dot(int k, out double a[n], const double *b);", "nothing tells the size 'n'"),
        ("double dot(int n, const double a[x.y], const double *b);", "expected"),
        ("double dot(n, a, b) int n; double *a, *b;", "K&R"),
        ("class dot;", "C\\+\\+"),
        ("DECLARE(double, dot)(int n);", r"'DECLARE\(\.\.\.\)' has no type, and no macro"),
        ("EXPORT double dot(int n);", r"'EXPORT' is no type, and no macro .* define_macros=\{"),
        ("double dot(int n, const double a[n] const double b[n]);", "found 'const'"),
    ],
)
def test_a_declaration_that_does_not_fit(declare, message):
    with pytest.raises(tw.CompileError, match=message) as caught:
        tw.compile(SMOOTH, declare=declare)
    assert "declare" in caught.value.filename
    assert caught.value.lineno == 1


def test_the_line_is_of_the_declarations():
    with pytest.raises(tw.CompileError) as caught:
        tw.compile(SMOOTH, declare="\n\ndouble dot(int n);")
    assert caught.value.lineno == 3 and caught.value.text == "double dot(int n);"


def test_wrong_types():
    with pytest.raises(TypeError, match=r"compile\(\): 'declare' must be str, not int"):
        tw.compile("", declare=3)
    with pytest.raises(TypeError, match=r"compile\(\): 'functions' must be a list of str"):
        tw.compile(SMOOTH, functions=3)
    with pytest.raises(TypeError, match="missing required argument: 'source'"):
        tw.compile(libraries=["m"])


def test_one_library_for_one_text_and_declaration():
    declare = "double dot(int n, const double a[n], const double b[n]);"
    lib = tw.compile(SMOOTH, declare=declare)
    assert tw.compile(SMOOTH, declare=declare) is lib
    assert tw.compile(SMOOTH) is not lib


# ---- functions= ----


def test_only_the_functions_asked_for():
    lib = tw.compile(SMOOTH, functions=["dot"])
    assert hasattr(lib, "dot") and not hasattr(lib, "smooth")
    assert tw.compile(SMOOTH, functions="dot smooth").smooth
    with pytest.raises(tw.CompileError, match="'functions' names 'cross', which neither"):
        tw.compile(SMOOTH, functions=["cross"])


# ---- Functions of headers ----


def test_functions_of_a_system_header():
    lib = tw.compile(headers="<math.h>", functions="hypot fma signgam")
    assert lib.hypot(3, 4) == 5 and lib.fma(2, 3, 4) == 10
    assert np.pi == lib.M_PI
    assert isinstance(lib.signgam, int)
    assert not hasattr(lib, "sin")


def test_zlib_by_its_header():
    if not os.path.exists("/usr/include/zlib.h"):
        pytest.skip("no zlib.h")
    lib = tw.compile(
        headers=["<zlib.h>"],
        libraries=["z"],
        functions=["crc32", "compress2", "compressBound", "gzopen", "gzread", "gzclose", "zError"],
    )
    data = b"a" * 1000
    assert lib.crc32(0, data, len(data)) == zlib.crc32(data)
    out = np.zeros(lib.compressBound(len(data)), "u1")
    size = np.array([out.size], "u8")
    assert lib.compress2(out, size, data, len(data), lib.Z_BEST_COMPRESSION) == lib.Z_OK
    assert zlib.decompress(out[: size[0]].tobytes()) == data
    assert lib.zError(lib.Z_STREAM_END) == "stream end"


def test_a_handle_of_a_header_is_passed_on(tmp_path):
    if not os.path.exists("/usr/include/zlib.h"):
        pytest.skip("no zlib.h")
    lib = tw.compile(headers=["<zlib.h>"], libraries=["z"], functions=["gzopen", "gzread", "gzclose"])
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"hello"))
    file = lib.gzopen(str(tmp_path / "a.gz"), "rb")
    buffer = bytearray(10)
    assert lib.gzread(file, buffer, 10) == 5 and buffer[:5] == b"hello"
    assert lib.gzclose(file) == 0


def test_a_header_of_ones_own(tmp_path, own_library):
    (tmp_path / "own.h").write_text(
        "/* Twice as much. */\nextern long twice(long x);\nextern int count;\n"
        "static inline int three(void) { return 3; }\n#define LIMIT 12\nint many(int, ...);\n"
    )
    options = {"headers": ['"own.h"'], "include_dirs": [tmp_path], "libraries": [own_library]}
    lib = tw.compile(functions=["twice", "count"], **options)
    assert lib.twice(4) == 8 and lib.count == 7 and lib.LIMIT == 12
    assert "Twice as much." in lib.twice.__doc__
    with pytest.raises(tw.CompileError, match="'functions' names 'three'"):
        tw.compile(functions=["twice", "three"], **options)
    with pytest.raises(AttributeError, match=r"many\(\): a function with \.\.\. cannot"):
        tw.compile(functions=["twice", "many"], **options).many  # noqa: B018
    with pytest.raises(tw.CompileError, match=r"header 'absent\.h' not found"):
        tw.compile(headers=['"absent.h"'], functions=["f"])


def test_a_source_beside_a_header():
    lib = tw.compile("double twice(double x) { return 2 * x; }", headers="<math.h>", functions="twice cbrt")
    assert lib.twice(2) == 4 and lib.cbrt(8) == 2


# ---- Shared libraries ----


def test_libm():
    lib = tw.compile(libraries=["m"], declare="double cbrt(double x); double hypot(double, double);")
    libm = ctypes.CDLL(ctypes.util.find_library("m"))
    libm.cbrt.restype, libm.cbrt.argtypes = ctypes.c_double, [ctypes.c_double]
    assert lib.cbrt(27) == libm.cbrt(27)
    assert lib.hypot(3, 4) == 5
    assert lib.hypot.__text_signature__ == "(arg1, arg2)"


def test_zlib():
    if ctypes.util.find_library("z") is None:
        pytest.skip("no libz")
    lib = tw.compile(
        libraries=["z"],
        declare="""
        /* The checksum of a buffer. */
        unsigned long crc32(unsigned long crc, const unsigned char buf[len], unsigned len);
        const char *zlibVersion(void);
        """,
    )
    assert lib.crc32(0, b"hello") == zlib.crc32(b"hello")
    assert lib.crc32(0, np.arange(5, dtype="u1")) == zlib.crc32(bytes(range(5)))
    assert lib.zlibVersion() == zlib.ZLIB_RUNTIME_VERSION
    assert "The checksum of a buffer." in lib.crc32.__doc__


def test_a_pointer_out_is_an_address():
    if ctypes.util.find_library("sqlite3") is None:
        pytest.skip("no libsqlite3")
    lib = tw.compile(
        libraries=["sqlite3"],
        declare="""
        typedef struct sqlite3 sqlite3;
        int sqlite3_open(const char *name, out sqlite3 **db);
        int sqlite3_close(sqlite3 *db);
        int sqlite3_exec(sqlite3 *db, const char *sql, void *callback, void *data, char **message);
        """,
    )
    code, db = lib.sqlite3_open(":memory:")
    assert code == 0 and isinstance(db, int) and db != 0
    assert lib.sqlite3_exec(db, "create table t (x)", None, None, None) == 0
    assert lib.sqlite3_close(db) == 0


@pytest.fixture
def own_library(tmp_path):
    """A shared library of our own, made by the machine's compiler."""
    source = tmp_path / "own.c"
    source.write_text("long twice(long x) { return 2 * x; }\nint count = 7;\n")
    path = tmp_path / "libown.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", path, source], check=True)
    return path


def test_a_library_by_path_and_by_folder(own_library):
    declare = "long twice(long x);"
    assert tw.compile(libraries=[own_library], declare=declare).twice(21) == 42
    assert tw.compile(libraries=["own"], library_dirs=[own_library.parent], declare=declare).twice(4) == 8


def test_a_source_calls_a_library(own_library):
    lib = tw.compile(
        "long twice(long x); long four(long x) { return twice(twice(x)); }", libraries=[own_library]
    )
    assert lib.four(3) == 12
    assert not hasattr(lib, "twice")  # declared only


def test_a_missing_library_lists_the_folders(tmp_path):
    with pytest.raises(
        OSError, match=f"library 'nowhere' not found: no libnowhere.so in {tmp_path}, .*/usr/lib"
    ):
        tw.compile(libraries=["nowhere"], library_dirs=[tmp_path], declare="int f(void);")


def test_nothing_stays_of_what_failed():
    def fail(i):
        with pytest.raises(tw.CompileError):
            tw.compile(SMOOTH, declare=f"double dot(int n{i});")
        with pytest.raises(tw.CompileError):
            tw.compile(libraries=["m"], declare=f"double absent{i}(double);")
        with pytest.raises(OSError, match="not found"):
            tw.compile(libraries=[f"absent{i}"], declare="double absent(double);")

    growth = []
    for window in range(3):  # tables find their size in the first
        before = sys.getallocatedblocks()
        for i in range(200):
            fail(1000 * window + i)
        gc.collect()
        growth.append(sys.getallocatedblocks() - before)
    assert min(growth) < 100


# ---- T and U ----


def test_two_type_variables():
    lib = tw.compile(
        """void scale(int n, const T x[n], U s, out T y[n])
        {
            for (int i = 0; i < n; i++) y[i] = tw_mul(x[i], (T)s);
        }""",
        T="fd",
        U="il",
    )
    single = lib.scale(np.ones(3, "f4"), 3)
    assert single.dtype == "f4" and np.array_equal(single, [3, 3, 3])
    assert lib.scale([1.5, 2], np.int32(2)).dtype == "f8"
    with pytest.raises(TypeError, match="float64"):
        lib.scale([1.5, 2], 2.5)


def test_each_pair_is_compiled_once(counts, fresh):
    lib = tw.compile(fresh("void f(T x, U y, out T *q) { *q = x + y; }"), T="fd", U="il")
    calls = [(np.float32(1), np.int32(1)), (1.0, np.int32(1)), (1.0, 1), (2.0, 2), (np.float32(1), 1)]
    with counts() as count:
        for x, y in calls:
            lib.f(x, y)
    assert count.compiles == 4


def test_u_alone_and_a_pragma():
    lib = tw.compile('#pragma tinyweave U "bh"\nU f(U x) { return sizeof(x); }')
    assert lib.f(np.int8(1)) == 1 and lib.f(np.int16(1)) == 2
    assert tw.compile("double f(double U) { return U; }").f(2) == 2  # a name like any


def test_real_and_complex_together():
    lib = tw.compile("T f(T z, U x) { return tw_mul(z, x); }", T="FD", U="fd")
    assert lib.f(1 + 2j, 2.0) == 2 + 4j


def test_a_list_that_is_wrong():
    with pytest.raises(ValueError, match="'U' has 'x'; expected dtype characters"):
        tw.compile("U f(U x) { return x; }", U="x")
    with pytest.raises(TypeError, match="no argument tells what U is"):
        tw.compile("void f(int n, out U x[n]) { }").f(3)


# ---- The C library ----


def test_the_c_library_needs_no_name():
    lib = tw.compile(headers=["<sys/resource.h>"], functions=["getrusage"])
    usage = np.zeros(1, lib.dtypes["rusage"])
    assert lib.getrusage(lib.RUSAGE_SELF, usage) == 0 and usage["ru_maxrss"] > 0
    assert tw.compile(declare="int getpagesize(void);").getpagesize() == os.sysconf("SC_PAGESIZE")
    with pytest.raises(tw.CompileError, match="undefined symbol 'no_such_function'"):
        tw.compile(declare="int no_such_function(void);")


# ---- What cannot be declared ----


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("void f(int n, out double a[]) { }", {}, r"'double a\[\]' is an out whose extent nothing tells"),
        ("", {"declare": "void f(out double a[]);"}, r"'double a\[\]' is an out whose extent nothing tells"),
        ("", {"declare": "void f(void (*g)(out double y[]));"}, "is an out whose extent nothing tells"),
        (
            "",
            {"declare": "double cos(double);\nfloat cos(float);"},
            "'cos' is declared before, with other types",
        ),
        ("static int f(void) { return 1; }", {"declare": "int f(void);"}, "'f' is static in the source"),
        ("#define SQUARE(x) ((x) * (x))", {"functions": ["SQUARE"]}, "'SQUARE', a macro with parameters"),
    ],
)
def test_refused_with_the_line(source, options, message):
    with pytest.raises(tw.CompileError, match=message) as caught:
        tw.compile(source, **options)
    assert caught.value.lineno == (2 if "before" in message else 1)


def test_declared_twice_alike():
    assert tw.compile(declare="double cos(double x); double cos(double);").cos(0) == 1


def test_libraries_by_their_file_names():
    """As ctypes.util.find_library gives them."""
    name = ctypes.util.find_library("m")
    assert tw.compile(libraries=[name], declare="double cos(double x);").cos(0) == 1
    with pytest.raises(OSError, match=r"library 'libno\.so\.3' not found: no libno\.so\.3 in /usr/local/lib"):
        tw.compile(libraries=["libno.so.3"], declare="int f(void);")
