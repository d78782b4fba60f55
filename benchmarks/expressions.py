"""Array expressions of 10 to 1e7 elements, beside NumPy, numexpr, numba, blosc2 and gcc.

    python benchmarks/expressions.py [--quick] [--case NAME] [--best] [picture.png]

Each row's result is first checked against NumPy's: tinyweave's has to be the same to the bit (but with
math="fast"), the others' nearly; a row whose result is another is left out, and one of tinyweave's makes the
exit status 1. Then a table for each expression: a row for each way to evaluate it, a column for each size, in
it the time as a multiple of what `gcc -O3 -march=native` makes of the same loop, whose own times are on the
first line. All rows of a size are measured in turn, round after round, and the ratios are those of medians
(with --best: of minima); ratios hold where times do not. Rows with two threads are measured apart from the
others; OpenMP's threads sleep while they wait, so as not to keep a processor from the next row.

Below it what a first evaluation costs, and a picture of the times, out/expressions.png. What is not installed
is left out by name. Nothing is asserted about times.
"""

import argparse
import ctypes
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from timeit import Timer

import numpy as np
from latency import cpu_name, run_python

SIZES = [10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000]
QUICK_SIZES = [10, 1_000, 100_000]
THREADED_FROM = 100_000  # elements: less is not worth a second thread to anybody
ROUNDS, QUICK_ROUNDS = 9, 3
FIRST_TEXTS, QUICK_FIRST_TEXTS = 40, 10  # new texts a round
SAMPLE = 2e-3  # seconds a measurement takes at least
PICTURE = Path("out/expressions.png")
OURS = "tinyweave"
WRONG = "the result is not NumPy's"
GCC = "gcc -O3 -march=native"

NAMES = {"np": np, "sin": np.sin, "cos": np.cos, "where": np.where, "sum": np.sum}
POLYNOMIAL = "4*a + 5*a*b + 6*b*c"


class Case:
    """An expression, its operands by name for a number of elements, and the same loop in C and for numba.

    `text` is what NumPy and tinyweave evaluate; `plain` is the same without indices, for those that have
    none, over the views that `views` names. `loop` is C's assignment to out[i] and `python` numba's; without
    them `c` and `numba` are whole bodies.
    """

    def __init__(self, name, text, bound, operands, loop=None, python=None, **others):
        self.name, self.text, self.bound, self.operands = name, text, bound, operands
        self.plain = others.get("plain", text)
        self.views = others.get("views", {})
        self.sizes = others.get("sizes", SIZES)
        self.scalar = others.get("scalar", False)  # the result is a number
        self.fast = others.get("fast", False)  # math="fast" makes a difference
        types = others.get("types", {})
        self.types = {name: types.get(name, "double") for name in self.operands(10)}
        self.result = others.get("result", "double")
        self.c = others.get("c") or f"for (long i = 0; i < n; i++) out[i] = {loop};"
        self.numba = others.get("numba") or f"for i in prange(out.size):\n    out[i] = {python}"

    def peers_names(self, operands):
        """Names and values for those that cannot index."""
        views = {name: eval(view, dict(operands)) for name, view in self.views.items()}
        return views or operands


def floats(names, dtype="f8", stride=1):
    def operands(n):
        random = np.random.default_rng(1)
        return {name: random.random(n * stride).astype(dtype)[::stride] for name in names}

    return operands


def mixed(n):
    random = np.random.default_rng(1)
    return {
        "i": random.integers(-1000, 1000, n, dtype="i4"),
        "x": random.random(n, dtype="f4"),
        "y": random.random(n),
    }


def outer(n):
    side = math.isqrt(n)
    return floats("ab")(side)


def image(n):
    side = math.isqrt(n)
    return {"a": np.random.default_rng(1).random((side, side))}


SLICES = {
    f"a{i}{j}": f"a[{i}:{i - 2 or ''}, {j}:{j - 2 or ''}]".replace("[0:", "[:").replace(" 0:", " :")
    for i in range(3)
    for j in range(3)
}
WINDOW = "a11 + (a01 + a21 + a10 + a12)/2 + (a00 + a02 + a20 + a22)/4"


def sliced(text):
    for name, view in SLICES.items():
        text = text.replace(name, view)
    return text


MEMORY = "call overhead up to 100 elements, bandwidth of the caches up to 1e6, then of memory: "
CASES = [
    Case(
        "polynomial",
        POLYNOMIAL,
        f"{MEMORY}three arrays read, one written",
        floats("abc"),
        "4*a[i] + 5*a[i]*b[i] + 6*b[i]*c[i]",
        "4*a[i] + 5*a[i]*b[i] + 6*b[i]*c[i]",
    ),
    Case(
        "transcendental",
        "sin(a)**2 + cos(a)**2",
        "the arithmetic of sin and cos, one number at a time but with math='fast'",
        floats("a"),
        "sin(a[i])*sin(a[i]) + cos(a[i])*cos(a[i])",
        "np.sin(a[i])**2 + np.cos(a[i])**2",
        sizes=SIZES[:-1],
        fast=True,
    ),
    Case(
        "where",
        "where((a > b) & (b > c), a, 2*c)",
        f"{MEMORY}three arrays read, one written",
        floats("abc"),
        "(a[i] > b[i]) & (b[i] > c[i]) ? a[i] : 2*c[i]",
        "a[i] if (a[i] > b[i]) & (b[i] > c[i]) else 2*c[i]",
    ),
    Case(
        "mixed dtypes",
        "2*i + x*y",
        f"{MEMORY}int32, float32 and float64 read, float64 written",
        mixed,
        "2*i_[i] + x[i]*y[i]",
        "2*i_[i] + x[i]*y[i]",
        types={"i": "int", "x": "float"},
    ),
    Case(
        "float32",
        POLYNOMIAL,
        f"{MEMORY}half as many bytes as with float64",
        floats("abc", "f4"),
        "4*a[i] + 5*a[i]*b[i] + 6*b[i]*c[i]",
        "np.float32(4)*a[i] + np.float32(5)*a[i]*b[i] + np.float32(6)*b[i]*c[i]",
        types=dict.fromkeys("abc", "float"),
        result="float",
    ),
    Case(
        "strided",
        POLYNOMIAL,
        "as the polynomial; whole cache lines are read for every other number",
        floats("abc", stride=2),
        "4*a[2*i] + 5*a[2*i]*b[2*i] + 6*b[2*i]*c[2*i]",
        "4*a[i] + 5*a[i]*b[i] + 6*b[i]*c[i]",
    ),
    Case(
        "broadcasting",
        "a[:, None]*b",
        "the bandwidth at which one array is written",
        outer,
        plain="column*b",
        views={"column": "a[:, None]", "b": "b"},
        c="long side = lround(sqrt(n));\n"
        "for (long i = 0; i < side; i++) for (long j = 0; j < side; j++) out[i*side + j] = a[i]*b[j];",
        numba="for i in prange(a.size):\n    for j in range(b.size):\n        out[i, j] = a[i]*b[j]",
    ),
    Case(
        "stencil",
        sliced(WINDOW),
        "ten operations on nine views of one array, from the caches; 3x3 over 1000x1000",
        image,
        plain=WINDOW,
        views=SLICES,
        sizes=[1_000_000],
        c="long side = lround(sqrt(n));\n"
        "for (long i = 0; i < side - 2; i++) for (long j = 0; j < side - 2; j++) {\n"
        "    const double *p = a + i*side + j, *q = p + side, *r = q + side;\n"
        "    out[i*(side - 2) + j] = q[1] + (p[1] + r[1] + q[0] + q[2])/2 + (p[0] + p[2] + r[0] + r[2])/4;\n"
        "}",
        numba="for i in prange(out.shape[0]):\n    for j in range(out.shape[1]):\n"
        "        out[i, j] = (a[i+1, j+1] + (a[i, j+1] + a[i+2, j+1] + a[i+1, j] + a[i+1, j+2])/2\n"
        "                     + (a[i, j] + a[i, j+2] + a[i+2, j] + a[i+2, j+2])/4)",
    ),
    Case(
        "sum",
        f"sum({POLYNOMIAL})",
        "as the polynomial, nothing written; gcc adds one number after the other, as C's loop says",
        floats("abc"),
        scalar=True,
        c="double total = 0;\n"
        "for (long i = 0; i < n; i++) total += 4*a[i] + 5*a[i]*b[i] + 6*b[i]*c[i];\nout[0] = total;",
        numba="total = 0.0\nfor i in prange(a.size):\n    total += 4*a[i] + 5*a[i]*b[i] + 6*b[i]*c[i]\n"
        "out[0] = total",
    ),
]


class Row:
    """A statement to measure. It returns its result, or leaves it in `out`."""

    def __init__(self, label, statement, names, operands, setup=""):
        self.label = label
        locals_ = "".join(f"{name} = operands[{name!r}]; " for name in operands)
        self.timer = Timer(statement, locals_ + setup, globals={**NAMES, "operands": operands, **names})
        self.names = {**NAMES, **operands, **names}
        self.setup, self.statement = setup, statement
        self.number, self.times = 1, []

    def result(self):
        names = dict(self.names)
        exec(self.setup, names)
        if "out" in names:
            exec(self.statement, names)
            return names["out"]
        return eval(self.statement, names)

    def choose_number(self):
        once = min(self.timer.timeit(1) for _ in range(3))
        self.number = max(1, round(SAMPLE / max(once, 1e-8)))

    def measure(self):
        self.times.append(self.timer.timeit(self.number) / self.number)


# ---- Peers: rows(case, operands, out, threads) gives the rows of an expression on one or two threads ----


class NumPy:
    name = "numpy"
    version = np.__version__

    def rows(self, case, operands, out, threads):
        if threads == 1:
            yield Row("NumPy", case.text, {}, operands)


class Tinyweave:
    name = OURS

    def __init__(self):
        import tinyweave

        self.tw = tinyweave
        self.version = tinyweave.__version__

    def rows(self, case, operands, out, threads):
        setup = f"tw.set_num_threads({threads}); "
        names = {"tw": self.tw, "text": case.text, "f": self.tw.expression(case.text)}
        arguments = ", ".join(operands)
        yield Row("tinyweave evaluate", "tw.evaluate(text)", names, operands, setup)
        yield Row("tinyweave expression", f"f({arguments})", names, operands, setup)
        if not case.scalar:
            with_out = names | {"out": out.copy()}
            yield Row("tinyweave expression, out=", f"f({arguments}, out=out)", with_out, operands, setup)
            statement = {"tw": self.tw, "text": f"out = {case.text}", "out": out.copy()}
            yield Row("tinyweave blitz", "tw.blitz(text)", statement, operands, setup)
        if case.fast:
            try:
                fast = self.tw.expression(case.text, math="fast")
            except TypeError:
                return
            yield Row(
                'tinyweave expression, math="fast"', f"f({arguments})", names | {"f": fast}, operands, setup
            )


class Numexpr:
    name = "numexpr"

    def __init__(self):
        import numexpr

        self.numexpr = numexpr
        self.version = numexpr.__version__

    def rows(self, case, operands, out, threads):
        text = case.plain.replace("sum(", "sum((").replace(")", "), 0)") if case.scalar else case.plain
        operands = case.peers_names(operands)
        names = {"ne": self.numexpr, "text": text}
        result = "" if case.scalar else ", out=out"
        if not case.scalar:
            names["out"] = out.copy()
        setup = f"ne.set_num_threads({threads}); "
        evaluate = f"ne.evaluate(text{result})"
        yield Row("numexpr evaluate", evaluate, names, operands, setup)
        yield Row("numexpr re_evaluate", "ne.re_evaluate()", names, operands, setup + evaluate)


class Numba:
    name = "numba"

    def __init__(self):
        import numba

        self.numba = numba
        self.version = numba.__version__
        self.compiled = {}

    def compile(self, case, parallel):
        if (case.name, parallel) not in self.compiled:
            arguments = ", ".join(f"{name}_" if name == "i" else name for name in case.types)
            body = case.numba.replace("\n", "\n    ")
            names = {"np": np, "prange": self.numba.prange}
            exec(f"def loop({arguments}, out):\n    {body}", names)
            self.compiled[case.name, parallel] = self.numba.njit(names["loop"], parallel=parallel)
        return self.compiled[case.name, parallel]

    def rows(self, case, operands, out, threads):
        names = {"loop": self.compile(case, threads > 1), "out": out.copy(), "numba": self.numba}
        setup = f"numba.set_num_threads({threads})" if threads > 1 else ""
        yield Row("numba", f"loop({', '.join(operands)}, out)", names, operands, setup)


class Blosc2:
    name = "blosc2"

    def __init__(self):
        import blosc2

        self.blosc2 = blosc2
        self.version = blosc2.__version__

    def rows(self, case, operands, out, threads):
        operands = case.peers_names(operands)
        lazy = self.blosc2.lazyexpr(case.plain, dict(operands))
        names = {"blosc2": self.blosc2, "text": case.plain, "lazy": lazy}
        setup = f"blosc2.set_nthreads({threads}); "
        yield Row("blosc2 evaluate", "blosc2.evaluate(text)", names, operands, setup)
        yield Row("blosc2 lazyexpr[()]", "lazy[()]", names, operands, setup)


class Gcc:
    """The loops as C functions in a shared library, one with OpenMP for two threads, called through cffi."""

    name = "gcc"
    flags = ["-O3", "-march=native", "-fPIC", "-shared"]

    def __init__(self, folder):
        import cffi

        if shutil.which("cc") is None:
            raise ImportError("no C compiler")
        self.ffi = cffi.FFI()
        self.version = subprocess.run(
            ["cc", "-dumpfullversion"], capture_output=True, text=True
        ).stdout.strip()
        self.libraries = {}
        for threads in (1, 2):
            source, library = folder / f"loops{threads}.c", folder / f"loops{threads}.so"
            source.write_text(self.text(threads))
            openmp = ["-fopenmp"] if threads > 1 else []
            subprocess.run(["cc", *self.flags, *openmp, source, "-o", library, "-lm"], check=True)
            self.libraries[threads] = str(library)
        for case in CASES:
            self.ffi.cdef(self.prototype(case) + ";")
        self.ffi.cdef("void nothing(long, void *, void *, void *, void *);")
        self.libraries = {threads: self.ffi.dlopen(name) for threads, name in self.libraries.items()}

    def prototype(self, case):
        arrays = ", ".join(
            f"const {type} *{'i_' if name == 'i' else name}" for name, type in case.types.items()
        )
        return f"void {case.name.replace(' ', '_')}(long n, {arrays}, {case.result} *out)"

    def text(self, threads):
        text = "#include <math.h>\nvoid nothing(long n, void *a, void *b, void *c, void *d) {}\n"
        for case in CASES:
            reduction = " reduction(+:total)" if case.scalar else ""
            pragma = f'_Pragma("omp parallel for num_threads(2){reduction}")\n' if threads > 1 else ""
            body = case.c.replace("for (long i", f"{pragma}for (long i")
            text += f"{self.prototype(case)}\n{{\n{body}\n}}\n"
        return text

    def rows(self, case, operands, out, threads):
        function = getattr(self.libraries[threads], case.name.replace(" ", "_"))
        out = out.copy()
        n = next(iter(operands.values())).size if case.views == {} else out_elements(case, operands)
        pointers = [self.ffi.cast("void *", array.ctypes.data) for array in [*operands.values(), out]]
        names = {"f": function, "p": pointers, "n": n, "out": out, "keep": operands}
        setup = "".join(f"p{i} = p[{i}]; " for i in range(len(pointers)))
        places = ", ".join(f"p{i}" for i in range(len(pointers)))
        yield Row(GCC, f"f(n, {places})", names, {}, setup)

    def empty_call(self):
        names = {"f": self.libraries[1].nothing, "p": self.ffi.NULL}
        return Row("gcc's share: an empty function through cffi", "f(0, p, p, p, p)", names, {})


def out_elements(case, operands):
    """What n is for loops over two axes: the side squared."""
    first = next(iter(operands.values()))
    return first.size if first.ndim > 1 else first.size**2


# ---- Measuring ----


def open_peers(folder):
    """Return (those that are here, those that are not and why)."""
    peers, missing = [NumPy(), Tinyweave()], []
    for make in (Numexpr, Numba, Blosc2, lambda: Gcc(folder)):
        try:
            peers.append(make())
        except (ImportError, OSError, subprocess.CalledProcessError) as error:
            missing.append(str(error))
    return peers, missing


def is_right(row, expected):
    """Whether a row's result is NumPy's: to the bit, or for the others nearly."""
    result = np.asarray(row.result())
    if row.label.startswith(OURS) and "fast" not in row.label:
        return result.dtype == expected.dtype and result.tobytes() == expected.tobytes()
    tolerance = 1e-4 if expected.dtype == np.float32 else 1e-10
    return np.allclose(result.reshape(expected.shape), expected, rtol=tolerance, atol=tolerance)


def make_rows(case, peers, n, threads, refused):
    """The rows that give NumPy's result; in `refused` the others."""
    operands = case.operands(n)
    expected = np.asarray(eval(case.text, {**NAMES, **operands}))
    out = np.empty(expected.shape or (1,), expected.dtype)
    rows = []
    for peer in peers:
        try:
            for row in peer.rows(case, operands, out, threads):
                if is_right(row, expected):
                    rows.append(row)
                else:
                    refused.add(f"{row.label} of {case.name}: {WRONG}")
        except Exception as error:  # whatever a peer raises
            refused.add(f"{peer.name} of {case.name}: {type(error).__name__}: {error}"[:120])
    return rows


def measure(rows, rounds):
    for row in rows:
        row.choose_number()
    for _ in range(rounds):
        for row in rows:
            row.measure()


def measure_case(case, peers, sizes, rounds, typical, refused):
    """Seconds by label and size, for one thread and for two."""
    by_threads = {1: {}, 2: {}}
    for threads, times in by_threads.items():
        for n in sizes:
            if n not in case.sizes or (threads > 1 and n < THREADED_FROM):
                continue
            rows = make_rows(case, peers, n, threads, refused)
            measure(rows, rounds)
            for row in rows:
                times.setdefault(row.label, {})[n] = typical(row.times)
    return by_threads


# ---- First evaluations ----

# In a process of its own: milliseconds of each of a range of texts that nobody has seen, and how many were
# compiled. The first is left out: it warms libtcc up.
TIME_FIRST = """
import json, sys, time
import numpy as np
import tinyweave as tw
a = b = c = np.arange(10.0)
times = []
for i in range(int(sys.argv[1]), int(sys.argv[2]) + 1):
    signs = ["+-*"[i // 3**k % 3] for k in range(8)]
    text = "4{}a {} 5{}a{}b {} 6{}b{}c {} a".format(*signs)
    start = time.perf_counter()
    tw.evaluate(text)
    times.append(1e3 * (time.perf_counter() - start))
info = tw.cache.info()
print(json.dumps([times[1:], info.compiles, info.disk_hits]))
"""


def first_text(i):
    signs = ["+-*"[i // 3**k % 3] for k in range(8)]
    return "4{}a {} 5{}a{}b {} 6{}b{}c {} a".format(*signs)


class First:
    """What the first evaluation of a new text costs, for those that make something of a text."""

    def __init__(self, peers, texts):
        self.peers = {peer.name: peer for peer in peers}
        self.texts = texts
        self.next = 0
        self.values = np.arange(10.0)

    def timed(self, function, count):
        times = [1e3 * Timer(lambda: function(self.next + i)).timeit(1) for i in range(count)]  # noqa: B023
        return median(times)

    def names(self):
        return dict.fromkeys("abc", self.values)

    def measure(self):
        """Milliseconds by row of one round."""
        texts = self.next, self.next + self.texts
        results = {}
        times, compiles, _ = run_python(TIME_FIRST, *texts)
        results[f"{OURS}, compiled"] = median(times)
        times, compiles, hits = run_python(TIME_FIRST, *texts)
        results[f"{OURS}, from disk, fresh process"] = median(times)
        if compiles > 0 or hits == 0:
            raise AssertionError(f"{compiles} compiled, {hits} from disk")
        if "numexpr" in self.peers:
            evaluate = self.peers["numexpr"].numexpr.evaluate
            results["numexpr"] = self.timed(lambda i: evaluate(first_text(i), self.names()), self.texts)
        if "blosc2" in self.peers:
            evaluate = self.peers["blosc2"].blosc2.evaluate
            results["blosc2"] = self.timed(lambda i: evaluate(first_text(i), self.names()), self.texts)
        if "numba" in self.peers:
            results["numba"] = self.timed(self.compile_numba, 1)
        if "gcc" in self.peers:
            results["gcc, to a shared library"] = self.timed(self.compile_gcc, 1)
        self.next += self.texts + 1
        return results

    def compile_numba(self, i):
        names = {}
        text = first_text(i)
        for name in "abc":
            text = text.replace(name, f"{name}[i]")
        exec(f"def loop(a, b, c, out):\n    for i in range(out.size):\n        out[i] = {text}", names)
        arrays = [self.values] * 3
        self.peers["numba"].numba.njit(names["loop"])(*arrays, np.empty(10))

    def compile_gcc(self, i):
        text = first_text(i)
        for name in "abc":
            text = text.replace(name, f"{name}[i]")
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "loop.c")
            source.write_text(
                "void loop(long n, const double *a, const double *b, const double *c, double *out)\n"
                f"{{ for (long i = 0; i < n; i++) out[i] = {text}; }}\n"
            )
            subprocess.run(["cc", *Gcc.flags, source, "-o", Path(folder, "loop.so")], check=True)
            ctypes.CDLL(str(Path(folder, "loop.so")))


def measure_first(peers, rounds, texts, typical):
    first = First(peers, texts)
    times = {}
    for _ in range(rounds):
        for row, value in first.measure().items():
            times.setdefault(row, []).append(value)
    return {row: typical(values) for row, values in times.items()}


# ---- Showing ----


def short_number(value):
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def short_time(seconds):
    for unit, factor in (("ns", 1e9), ("us", 1e6), ("ms", 1e3)):
        if seconds * factor < 999.5:
            return f"{short_number(seconds * factor)} {unit}"
    return f"{short_number(seconds)} s"


def print_rows(times, base, sizes, suffix=""):
    for label, by_size in times.items():
        if label == base:
            continue
        cells = [
            short_number(by_size[n] / times[base][n]) if n in by_size and n in times[base] else ""
            for n in sizes
        ]
        print(f"  {label + suffix:36}" + "".join(f"{cell:>12}" for cell in cells))


def print_case(case, times, sizes):
    sizes = [n for n in sizes if n in case.sizes]
    print(f"\n{case.name}: {case.text}\n  bound: {case.bound}")
    print(f"  {'elements':36}" + "".join(f"{n:>12,}" for n in sizes))
    for threads, of_threads in times.items():
        if not of_threads:
            continue
        base = GCC if GCC in of_threads else "tinyweave expression"
        suffix = "" if threads == 1 else f", {threads} threads"
        base_times = [short_time(of_threads[base][n]) if n in of_threads[base] else "" for n in sizes]
        print(f"  {base + suffix + ' = 1':36}" + "".join(f"{time:>12}" for time in base_times))
        print_rows(of_threads, base, sizes, suffix)
    if times[2]:
        gains = [
            short_number(times[1][label][n] / times[2][label][n]) if n in times[2].get(label, {}) else ""
            for label in ["tinyweave expression"]
            for n in sizes
        ]
        print(f"  {'gain of tinyweave by two threads':36}" + "".join(f"{gain:>12}" for gain in gains))


def print_warm(case, times, empty):
    """Calls at the smallest size, in time and against NumPy's."""
    n = min(case.sizes)
    print(f"\nWarm call, {case.text} over arrays of {n}\n  bound: call overhead")
    rows = {label: by_size[n] for label, by_size in times[1].items() if n in by_size}
    rows |= empty
    for label, seconds in rows.items():
        print(f"  {label:46}{1e9 * seconds:10.0f} ns{seconds / rows['NumPy']:10.2f} of NumPy's")


def print_first(times):
    print(
        "\nFirst evaluation of a new text of nine operands\n  bound: the compiler's start, or reading a file"
    )
    for label, milliseconds in times.items():
        print(f"  {label:36}{milliseconds:10.3f} ms")


def print_machine(peers, rounds, typical):
    load = os.getloadavg()[0]
    print(f"{cpu_name()}, {os.cpu_count()} CPUs, load {load:.1f}, {platform.system()} {platform.machine()}")
    print(
        ", ".join([f"Python {platform.python_version()}", *(f"{peer.name} {peer.version}" for peer in peers)])
    )
    kind = "medians" if typical is median else "minima"
    print(f"Ratios of {kind} of {rounds} interleaved rounds to the row that is 1.")


def draw(path, results):
    try:
        from matplotlib import use

        use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        print(f"\nNo picture: {error}")
        return
    drawn = [(case, times) for case, times in results if len(times[1].get("NumPy", {})) > 1]
    if not drawn:
        return
    labels = list(dict.fromkeys(label for _, times in drawn for label in times[1]))
    colours = dict(zip(labels, pyplot.get_cmap("tab10").colors * 2, strict=False))
    columns = min(4, len(drawn))
    lines = -(-len(drawn) // columns)
    figure, axes = pyplot.subplots(
        lines, columns, figsize=(4.5 * columns, 4 * lines + 0.6), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(drawn) :]:
        axis.set_axis_off()
    for axis, (case, times) in zip(axes.flat, drawn, strict=False):
        for label, by_size in times[1].items():
            ours = label.startswith(OURS)
            axis.loglog(
                list(by_size),
                [1e9 * seconds / n for n, seconds in by_size.items()],
                marker="o" if ours else ".",
                linewidth=2 if ours else 1,
                color="black" if label == GCC else colours[label],
                label=label,
            )
        axis.set_title(f"{case.name}: {case.text}", fontsize=8)
        axis.set_xlabel("elements")
        axis.set_ylabel("ns an element")
        axis.grid(alpha=0.3)
    handles = {}
    for axis in axes.flat:
        handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=6, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    print(f"\nPicture: {path}")


def read_options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("picture", nargs="?", type=Path, default=PICTURE)
    parser.add_argument("--quick", action="store_true", help="a few sizes and rounds, to see that it runs")
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES], metavar="NAME")
    parser.add_argument("--best", action="store_true", help="minima instead of medians: for a busy machine")
    return parser.parse_args()


def main(folder):
    options = read_options()
    sizes = QUICK_SIZES if options.quick else SIZES
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    typical = min if options.best else median
    peers, missing = open_peers(folder)
    cases = [case for case in CASES if options.case is None or case.name in options.case]
    refused, results = set(), []
    print_machine(peers, rounds, typical)
    for case in cases:
        own_sizes = sizes if set(sizes) & set(case.sizes) else case.sizes
        times = measure_case(case, peers, own_sizes, rounds, typical, refused)
        print_case(case, times, own_sizes)
        results.append((case, times))
        if case is CASES[0]:
            empty = [peer.empty_call() for peer in peers if peer.name == "gcc"]
            measure(empty, rounds)
            print_warm(case, times, {row.label: typical(row.times) for row in empty})
    if options.case is None:
        texts = QUICK_FIRST_TEXTS if options.quick else FIRST_TEXTS
        print_first(measure_first(peers, rounds, texts, typical))
    draw(options.picture, results)
    for line in [*missing, *sorted(refused)]:
        print(f"Left out: {line}")
    return any(line.startswith(OURS) and line.endswith(WRONG) for line in refused)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        os.environ["TINYWEAVE_CACHE_DIR"] = str(Path(name) / "cache")
        os.environ["TINYWEAVE_CACHE"] = "on"
        os.environ["OMP_WAIT_POLICY"] = "passive"
        sys.exit(main(Path(name)))
