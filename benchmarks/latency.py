"""What a kernel costs before it does any work: to compile, to load, to call.

    python benchmarks/latency.py

One table for each of the three, tinyweave beside cffi, numba, numexpr and NumPy. All rows of a table are
measured in turn, round after round, and the median of the rounds is shown: ratios hold where times do not.
A package that is not installed is left out by name. Nothing is asserted; tests/ does that.
"""

import ctypes
import importlib.util
import json
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

ROUNDS = 9
KERNELS = 40  # new texts a round, for those that compile in about a millisecond
CALLS = 20_000  # a round
ELEMENTS = 10  # of each array in the warm calls
MANY_LOCALS = 60
OURS = "tinyweave"

FUNCTIONS = """
double plus(double a, double b) { return a + b; }
void add(int n, const double a[n], const double b[n], out double c[n])
{
    for (int i = 0; i < n; i++) c[i] = a[i] + b[i];
}
double each(double (*f)(double), int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += f(i);
    return sum;
}
double same(double x) { return x; }
"""

# Run in a process of its own, since the cache's folder and mode are read at import: milliseconds from text
# to result for each of a range of kernels, the first one left out (it warms libtcc up).
TIME_KERNELS = """
import json, sys, time
import tinyweave as tw
a, times = 3, []
for i in range(int(sys.argv[1]), int(sys.argv[2])):
    code = f"return_val = a + {i};"
    start = time.perf_counter()
    tw.inline(code, ["a"])
    times.append(1e3 * (time.perf_counter() - start))
print(json.dumps(times[1:]))
"""

# Milliseconds from NumPy imported to a first result.
TIME_FRESH = """
import sys, time
import numpy as np
sys.path.insert(0, sys.argv[1])
start = time.perf_counter()
{body}
print(1e3 * (time.perf_counter() - start))
"""


def run_python(script, *arguments, **environment):
    """The last line of what a script prints, read as JSON."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, env=os.environ | environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


class Tinyweave:
    name = OURS
    fresh = "import tinyweave as tw; a = 3; tw.inline('return_val = a + 1;', ['a'])"

    def __init__(self, folder):
        import tinyweave

        self.tw = tinyweave
        self.version = tinyweave.__version__
        self.folder = folder
        self.next = 1

    def calls(self):
        scalars = "tw.inline('return_val = a + b;', ['a', 'b'])"
        arrays = "tw.inline('for (long i = 0; i < Na[0]; i++) c[i] = a[i] + b[i];', ['a', 'b', 'c'])"
        lib = self.tw.compile(FUNCTIONS)
        many = "".join(f"local{i} = {i}; " for i in range(MANY_LOCALS))
        names = {"tw": self.tw}
        compiled = {"plus": lib.plus, "add": lib.add, "template": self.tw.templates.add}
        return [
            ("scalars", OURS, scalars, "", names),
            ("scalars", f"{OURS}, {MANY_LOCALS} locals", scalars, many, names),
            ("arrays", OURS, arrays, "", names),
            ("arrays", f"{OURS}, {MANY_LOCALS} locals", arrays, many, names),
            ("scalars", f"{OURS}, compile", "plus(a, b)", "", compiled),
            ("arrays", f"{OURS}, compile", "add(a, b, out=c)", "", compiled),
            ("arrays", f"{OURS}, template", "template(a, b, out=c)", "", compiled),
        ]

    def new_kernels(self):
        """(row, milliseconds of each) of compiling new texts and of loading the same ones from disk."""
        texts = self.next, self.next + KERNELS
        self.next += KERNELS
        return [
            (OURS, run_python(TIME_KERNELS, *texts)),
            (f"{OURS}, from disk", run_python(TIME_KERNELS, *texts)),
            (f"{OURS}, cache off", run_python(TIME_KERNELS, *texts, TINYWEAVE_CACHE="off")),
        ]


class Peer:
    """A package beside tinyweave. `compile_new(i)` goes from new text to a result."""

    kernels = 1  # a round

    def new_kernels(self):
        times = []
        for _ in range(self.kernels):
            self.next += 1
            times.append(1e3 * Timer(lambda: self.compile_new(self.next)).timeit(1))
        return [(self.name, times)]


class Numexpr(Peer):
    name = "numexpr"
    fresh = "import numexpr; a = np.arange(10.0); numexpr.evaluate('a + 1')"
    kernels = KERNELS

    def __init__(self, folder):
        import numexpr

        self.numexpr = numexpr
        self.version = numexpr.__version__
        self.next = 0

    def compile_new(self, i):
        self.numexpr.evaluate(f"a + {i}", {"a": 3})

    def calls(self):
        names = {"numexpr": self.numexpr}
        return [
            ("scalars", self.name, "numexpr.evaluate('a + b')", "", names),
            ("arrays", self.name, "numexpr.evaluate('a + b', out=c)", "", names),
        ]


class Numba(Peer):
    name = "numba"
    fresh = "import bench_numba; bench_numba.add(3, 1)"

    def __init__(self, folder):
        import numba

        self.numba = numba
        self.version = numba.__version__
        self.next = 0
        text = "import numba\n@numba.njit(cache=True)\ndef add(a, b):\n    return a + b\n"
        (folder / "bench_numba.py").write_text(text)
        self.compile_new(self.next)  # starts LLVM

    def compile_new(self, i):
        names = {}
        exec(f"def add(a):\n    return a + {i}", names)
        self.numba.njit(names["add"])(3)

    def calls(self):
        @self.numba.njit
        def add(a, b):
            return a + b

        @self.numba.njit
        def add_arrays(a, b, c):
            for i in range(a.size):
                c[i] = a[i] + b[i]

        names = {"add": add, "add_arrays": add_arrays}
        return [
            ("scalars", self.name, "add(a, b)", "", names),
            ("arrays", self.name, "add_arrays(a, b, c)", "", names),
        ]


class Cffi(Peer):
    name = "cffi, API mode"
    fresh = "import bench_cffi; bench_cffi.lib.add(3, 1)"

    def __init__(self, folder):
        import cffi

        if shutil.which("cc") is None:
            raise ImportError("no C compiler")
        self.cffi = cffi
        self.version = cffi.__version__
        self.folder = folder
        self.next = 0
        self.module = self.build(
            "bench_cffi",
            {
                "double add(double a, double b)": "return a + b;",
                "void add_arrays(double *a, double *b, double *c, long n)": "for (long i = 0; i < n; i++) "
                "c[i] = a[i] + b[i];",
            },
        )

    def build(self, name, functions):
        ffi = self.cffi.FFI()
        ffi.cdef("".join(f"{prototype};" for prototype in functions))
        ffi.set_source(name, "".join(f"{head} {{ {body} }}\n" for head, body in functions.items()))
        path = ffi.compile(tmpdir=str(self.folder))
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def compile_new(self, i):
        self.build(f"bench_cffi_{i}", {"long add(long a)": f"return a + {i};"}).lib.add(3)

    def calls(self):
        names = {"lib": self.module.lib, "ffi": self.module.ffi}
        pointers = "p, q, r = (ffi.cast('double *', x.ctypes.data) for x in (a, b, c)); "
        buffers = ", ".join(f"ffi.from_buffer('double[]', {x})" for x in "abc")
        return [
            ("scalars", self.name, "lib.add(a, b)", "", names),
            ("arrays", f"{self.name}, from_buffer", f"lib.add_arrays({buffers}, {ELEMENTS})", "", names),
            (
                "arrays",
                f"{self.name}, pointers kept",
                f"lib.add_arrays(p, q, r, {ELEMENTS})",
                pointers,
                names,
            ),
        ]


# What is below any compiled call: Python's own addition, a built-in C function, NumPy's ufunc.
REFERENCE_CALLS = [
    ("scalars", "bound: math.hypot(a, b)", "hypot(a, b)", "from math import hypot; ", {}),
    ("scalars", "Python, a + b", "a + b", "", {}),
    ("arrays", "NumPy, np.add(a, b, out=c)", "add(a, b, out=c)", "add = np.add; ", {}),
]
SETUP = {
    "scalars": "a = 1.5; b = 2.5; ",
    "arrays": f"a = np.arange({ELEMENTS}.0); b = a + 1; c = np.empty_like(a); ",
}


def open_packages(folder):
    """Return (tinyweave and the peers that are here, those that are not and why)."""
    packages, missing = [Tinyweave(folder)], []
    for package in (Numexpr, Numba, Cffi):
        try:
            packages.append(package(folder))
        except ImportError as error:
            missing.append(f"{package.name} ({error})")
    return packages, missing


def collect(rounds, measure):
    """Run measure() that many times; it yields (row, value). Return the median of each row."""
    values = {}
    for _ in range(rounds):
        for row, value in measure():
            values.setdefault(row, []).append(value)
    return {row: median(of_row) for row, of_row in values.items()}


def measure_kernels(packages):
    def measure():
        for package in packages:
            for row, times in package.new_kernels():
                yield row, median(times)

    return collect(ROUNDS, measure)


def measure_fresh(packages, folder):
    def measure():
        for package in packages:
            yield package.name, run_python(TIME_FRESH.format(body=package.fresh), folder)

    collect(1, measure)  # fills the caches on disk
    return collect(ROUNDS, measure)


def measure_calls(packages, case):
    """Nanoseconds a call, less the cost of the loop. The timed code's names are locals of a function."""
    calls = [call for call in REFERENCE_CALLS if call[0] == case]
    calls = [call for package in packages for call in package.calls() if call[0] == case] + calls
    timers = [
        (row, Timer(text, SETUP[case] + setup, globals={"np": np, **names}))
        for _, row, text, setup, names in calls
    ]
    empty = Timer("pass")

    def measure():
        for row, timer in timers:
            yield row, 1e9 * (timer.timeit(CALLS) - empty.timeit(CALLS)) / CALLS

    for _, timer in timers:
        timer.timeit(1)  # compiles
    return collect(ROUNDS, measure)


def measure_callbacks(tinyweave):
    """Nanoseconds that a callback takes; the same C loop calls each of them."""
    lib = tinyweave.tw.compile(FUNCTIONS)
    pointer = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)

    def same(x):
        return x

    values = {OURS: same, "ctypes, CFUNCTYPE": pointer(same), f"{OURS}, a Library's function": lib.same}

    def measure():
        for row, value in values.items():
            yield row, 1e9 * Timer(lambda value=value: lib.each(value, CALLS)).timeit(1) / CALLS
        yield "Python, f(x)", 1e9 * Timer("f(x)", globals={"f": same, "x": 1.0}).timeit(CALLS) / CALLS

    return collect(ROUNDS, measure)


def print_table(title, medians, unit, digits):
    print(f"\n{title}")
    for row, value in medians.items():
        print(f"  {row:34}{value:12.{digits}f} {unit}{value / medians[OURS]:10.2f}")


def cpu_name():
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def print_machine(packages):
    load = os.getloadavg()[0]
    print(f"{cpu_name()}, {os.cpu_count()} CPUs, load {load:.1f}, {platform.system()} {platform.machine()}")
    versions = [f"Python {platform.python_version()}", f"numpy {np.__version__}"]
    versions += [f"{package.name.partition(',')[0]} {package.version}" for package in packages]
    print(", ".join(versions))
    print(f"Medians of {ROUNDS} interleaved rounds; the last column is the ratio to {OURS}'s first row.")


def main(folder):
    packages, missing = open_packages(folder)
    print_machine(packages)
    print_table("A new kernel, text to result", measure_kernels(packages), "ms", 3)
    print_table(
        "Fresh process: import and first result, all caches filled, beyond importing NumPy",
        measure_fresh(packages, folder),
        "ms",
        2,
    )
    print_table("Warm call, two float scalars", measure_calls(packages, "scalars"), "ns", 0)
    print_table(f"Warm call, c = a + b over arrays of {ELEMENTS}", measure_calls(packages, "arrays"), "ns", 0)
    print_table("A callback, one float, from a loop in C", measure_callbacks(packages[0]), "ns", 0)
    if missing:
        print(f"\nLeft out: {', '.join(missing)}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        for variable in ("TINYWEAVE_CACHE_DIR", "NUMBA_CACHE_DIR"):
            os.environ[variable] = str(Path(name) / variable.lower())
        os.environ["TINYWEAVE_CACHE"] = "on"
        main(Path(name))
