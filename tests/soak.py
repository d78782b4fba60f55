"""200,000 compile-and-drop cycles, 40,000 kernels alive at once, each way to be refused 100,000 times:
neither memory nor maps may grow.

python tests/soak.py [CYCLES [KERNELS [REFUSALS]]]
"""

import ctypes
import gc
import os
import sys
import tempfile

os.environ["TINYWEAVE_CACHE"] = "off"

import native_library  # noqa: E402
import numpy as np  # noqa: E402
from native_library import Object, Offer, Problem  # noqa: E402

import tinyweave as tw  # noqa: E402

STEPS = 20
WARM_UP = 5000  # cycles: the 1,024 kept kernels are replaced several times
CYCLE_ROOM = 24 << 20  # bytes: the arenas are walked through, and so touched, once
LATE_ROOM = 2 << 20  # bytes in the second half of the cycles, when that is over
KERNEL_ROOM = 1024  # bytes a live kernel: its code, its data, its lists
REFUSAL_ROOM = 12 << 20  # bytes: 64 of the arena for each image that was loaded and given back
MAPS_ROOM = 16  # lines of /proc/self/maps


def memory():
    """Bytes of this process that are in RAM."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def maps():
    with open("/proc/self/maps") as file:
        return sum(1 for _ in file)


def tell(text):
    print(f"{text}: {memory() / 1e6:.1f} MB, {maps()} maps", flush=True)


def check(what, memory_grown, maps_grown, memory_room, maps_room=MAPS_ROOM):
    print(f"{what}: {memory_grown / 1e6:+.1f} MB (at most {memory_room / 1e6:.0f}), {maps_grown:+d} maps")
    if memory_grown > memory_room or maps_grown > maps_room:
        sys.exit(f"{what}: memory or maps have grown")


def cycle(i, x):
    """A text nobody has seen, in one of four shapes."""
    kind = i % 4
    if kind == 0:
        assert tw.inline(f"return_val = a + {i};", ["a"], {"a": 1}) == i + 1
    elif kind == 1:
        assert tw.inline(f"x[0] = {i}; return_val = X1(0);", ["x"], {"x": x}) == i
    elif kind == 2:
        support = f"static double table[{1 + i % 500}]; static int f(int n) {{ return n + {i}; }}"
        assert tw.inline("return_val = f(1);", support_code=support) == i + 1
    else:
        try:
            tw.inline(f"int a{i} = missing;")
        except tw.CompileError:
            return
        raise AssertionError("compiled")


def soak_cycles(count):
    x = np.zeros(3)
    for i in range(WARM_UP):
        cycle(i, x)
    gc.collect()
    before = memory(), maps()
    tell("warm")
    for step in range(STEPS):
        for i in range(step * count // STEPS, (step + 1) * count // STEPS):
            cycle(WARM_UP + i, x)
        tell(f"{(step + 1) * count // STEPS} cycles")
        if step + 1 == STEPS // 2:
            half = memory(), maps()
    gc.collect()
    if count >= 100_000:
        check("second half of the cycles", memory() - half[0], maps() - half[1], LATE_ROOM)
    check("cycles", memory() - before[0], maps() - before[1], CYCLE_ROOM)
    tw.cache.clear()


# ---- Live kernels: inline keeps 1,024 alive, so the loader is asked itself ----


def an_object():
    """The object of a snippet, as it lies in the cache of another process."""
    import pathlib
    import subprocess

    with tempfile.TemporaryDirectory() as folder:
        code = "import tinyweave as tw; tw.inline('static long n = 5; tw_args += 0; *(long *)tw_args = ++n;')"
        variables = {
            **os.environ,
            "TINYWEAVE_CACHE": "on",
            "TINYWEAVE_CACHE_DIR": os.path.join(folder, "cache"),
        }
        subprocess.run([sys.executable, "-c", code], env=variables, check=False)
        (path,) = pathlib.Path(folder).rglob("*.o")
        return path.read_bytes()


def soak_kernels(count):
    library = native_library.load()
    library.code_heap_new.restype = ctypes.c_void_p
    library.image_free.argtypes = [ctypes.c_void_p]
    library.image_free.restype = None
    load, symbol = library.loader_test_load, library.image_symbol
    load.restype = symbol.restype = ctypes.c_void_p
    load.argtypes = [
        ctypes.c_void_p,
        ctypes.POINTER(Object),
        ctypes.c_size_t,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    symbol.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    content = an_object()
    heap, item, offer, problem = library.code_heap_new(), Object(content, len(content)), Offer(), Problem()
    enter = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)

    def fill():
        images = []
        for i in range(count):
            image = load(heap, item, 1, ctypes.byref(offer), ctypes.byref(problem))
            if not image:
                sys.exit(f"kernel {i}: {problem.text.decode()}")
            images.append(image)
        return images

    def run(image, expected):
        result = ctypes.c_long()
        enter(symbol(image, b"tw_kernel"))(None, ctypes.byref(result))
        assert result.value == expected, (result.value, expected)

    before = memory(), maps()
    images = fill()
    for image in images:
        run(image, 6)
    for image in images[::100]:
        run(image, 7)
    tell(f"{count} kernels alive")
    check("live kernels", memory() - before[0], maps() - before[1], count * KERNEL_ROOM, 200)
    full = memory(), maps()
    for _ in range(3):
        for image in images:
            library.image_free(image)
        images = fill()
    tell("three times freed and loaded again")
    check("reloading", memory() - full[0], maps() - full[1], CYCLE_ROOM)
    for image in images:
        library.image_free(image)
    tell("all freed")
    check("after freeing", memory() - before[0], maps() - before[1], count * KERNEL_ROOM, 200)


# ---- What is refused leaves nothing behind ----

SQUARE = "double square(const double *a) { return a[0] * a[0]; }"


def refusals():
    """Each way: a name, and a function of a number that raises."""
    lib = tw.compile(
        "double first(int n, const double a[n]) { return a[0]; }\n"
        "struct point { double x, y; };\ndouble norm(const struct point *p) { return p->x; }\n"
        "double call(double (*f)(double)) { return f(1); }\nint count = 3;\nconst int fixed = 4;\n"
    )

    def fail(x):
        raise KeyError(x)

    return {
        "K&R definition": lambda i: tw.compile(f"int f(x) int x; {{ return {i}; }}"),
        "C++": lambda i: tw.compile(f"class f{i};"),
        "bit-field by value": lambda i: tw.compile(
            f"struct s {{ int a : 3; }}; int f{i}(struct s x) {{ return 0; }}"
        ),
        "undeclared name": lambda i: tw.compile(f"int f(void) {{ return missing{i}; }}"),
        "declare that differs": lambda i: tw.compile(
            SQUARE, declare=f"double square(const double a[1], int n{i});"
        ),
        "out without a size": lambda i: tw.compile(
            "void f(double *b) {}", declare=f"void f(out double b[n{i}]);"
        ),
        "missing library": lambda i: tw.compile(libraries=[f"missing{i}"], declare="int f(void);"),
        "missing symbol": lambda i: tw.compile(libraries=["m"], declare=f"int missing{i}(void);"),
        "missing header": lambda i: tw.compile(headers=[f"<missing{i}.h>"], functions=["f"]),
        "no PyInit_": lambda i: tw.extension(f"int x{i};", "module"),
        "ufunc of an array": lambda i: tw.ufunc(f"double f{i}(int n, const double a[n]) {{ return n; }}"),
        "gufunc without a size": lambda i: tw.gufunc(f"void f{i}(int k, out double b[k]) {{}}"),
        "dtype": lambda i: lib.first(["x"]),
        "shape": lambda i: lib.first([[1.0, 2.0]]),
        "record": lambda i: lib.norm((1, "x")),
        "callback that raises": lambda i: lib.call(fail),
        "callback that is none": lambda i: lib.call(i),
        "constant": lambda i: setattr(lib, "fixed", i),
        "variable": lambda i: setattr(lib, "count", 2**40),
    }


def soak_refusals(count):
    for name, refuse in refusals().items():
        before = None
        for i in range(count + count // 10):
            if i == count // 10:  # tables have found their size
                gc.collect()
                before = memory(), maps()
            try:
                refuse(i)
            except (tw.CompileError, TypeError, ValueError, OverflowError, OSError, KeyError, AttributeError):
                continue
            raise AssertionError(f"{name}: not refused")
        gc.collect()
        check(f"{count} times {name}", memory() - before[0], maps() - before[1], REFUSAL_ROOM)


if __name__ == "__main__":
    soak_cycles(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
    soak_kernels(int(sys.argv[2]) if len(sys.argv) > 2 else 40_000)
    soak_refusals(int(sys.argv[3]) if len(sys.argv) > 3 else 100_000)
