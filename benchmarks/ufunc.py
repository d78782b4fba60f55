"""What a ufunc made of a C function costs, beside loops written by hand and other makers of ufuncs.

    python benchmarks/ufunc.py

Every row is measured in turn with its base, round after round; what is shown is the median of the rounds'
ratios: ratios hold where times do not. A package or compiler that is not there is left out by name.
Nothing is asserted; tests/ does that.
"""

import ctypes
import importlib.util
import itertools
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from statistics import median
from timeit import Timer

import numpy as np

import tinyweave as tw

ROUNDS = 15
SECONDS = 0.004  # about so long a measurement takes
SIZES = 10, 1_000, 1_000_000

FUNCTIONS = {
    "a + b": "double {name}(double a, double b) {{ return a + b; }}",
    "hypot": "double {name}(double a, double b) {{ return sqrt(a * a + b * b); }}",
    "branches": "double {name}(double a, double b) {{ return a > b ? a - b : (b - a) / 2; }}",
}
LOOP = """
{head}
static {function}
void loop(long n, const double *a, const double *b, double *c)
{{
    for (long i = 0; i < n; i++) c[i] = f(a[i], b[i]);
}}"""


def seconds_of(calls):
    """The median seconds a call of each, and of their ratios to the first, all measured in turn."""
    timers = [Timer(call) for call in calls]
    numbers = [max(1, int(SECONDS / max(timer.timeit(3) / 3, 1e-9))) for timer in timers]
    rounds = [[timer.timeit(n) / n for timer, n in zip(timers, numbers, strict=True)] for _ in range(ROUNDS)]
    times = [median(column) for column in zip(*rounds, strict=True)]
    ratios = [median(row[i] / row[0] for row in rounds) for i in range(len(calls))]
    return times, ratios


def hand_written(function):
    """The loop as a C programmer writes it, compiled by libtcc."""
    text = LOOP.format(head="", function=function.format(name="f"))
    return tw.compile(text).loop


class Gcc:
    """The same loop through gcc -O2, called by ctypes: for large arrays only."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.numbers = itertools.count()

    def loop(self, function):
        path = self.folder / f"loop{next(self.numbers)}.so"
        text = LOOP.format(head="#include <math.h>", function=function.format(name="f"))
        command = ["gcc", "-O2", "-fPIC", "-shared", "-x", "c", "-", "-o", str(path), "-lm"]
        subprocess.run(command, input=text, text=True, check=True)
        loop = ctypes.CDLL(str(path)).loop
        loop.argtypes = [ctypes.c_long, *3 * [ctypes.c_void_p]]

        def call(a, b, c):
            pointers = [ctypes.c_void_p(x.ctypes.data) for x in (a, b, c)]
            return lambda keep=c: loop(a.size, *pointers)

        return call


def numba_ufunc(title):
    import numba

    bodies = {
        "a + b": lambda a, b: a + b,
        "hypot": lambda a, b: (a * a + b * b) ** 0.5,
        "branches": lambda a, b: a - b if a > b else (b - a) / 2,
    }
    return numba.vectorize(["float64(float64, float64)"])(bodies[title])


NUMPYS = {"a + b": np.add, "hypot": np.hypot}


def rows_of(title, function, gcc):
    """(name, maker of a call of a, b, c, the least size it is measured at); the first is the base."""
    ufunc = tw.ufunc(function.format(name="f"))
    plain = hand_written(function)
    rows = [
        ("tw.ufunc", lambda a, b, c: lambda: ufunc(a, b, c), 0),
        ("libtcc's plain loop", lambda a, b, c: lambda: plain(a.size, a, b, c), 0),
    ]
    if title in NUMPYS:
        rows.append((f"np.{NUMPYS[title].__name__}", lambda a, b, c: lambda: NUMPYS[title](a, b, c), 0))
    if gcc is not None:
        rows.append(("gcc -O2", gcc.loop(function), 1000))
    if importlib.util.find_spec("numba"):
        vectorized = numba_ufunc(title)
        rows.append(("numba.vectorize", lambda a, b, c: lambda: vectorized(a, b, c), 0))
    return rows


def show_function(title, function, gcc):
    print(f"\n{title}: nanoseconds an element, and tw.ufunc's time by the row's")
    rows = rows_of(title, function, gcc)
    for size in SIZES:
        a, b = np.random.default_rng(0).random((2, size))
        chosen = [(name, make(a, b, np.empty(size))) for name, make, least in rows if size >= least]
        times, ratios = seconds_of([call for _, call in chosen])
        for (name, _), time, ratio in zip(chosen, times, ratios, strict=True):
            print(f"  {size:>9,}  {name:20} {1e9 * time / size:9.2f}  {1 / ratio:6.2f}")


def show_layouts():
    """What is not contiguous, beside the contiguous case."""
    print("\na + b over 100,000 elements: time by that of contiguous arrays, and NumPy's own by its own")
    ufunc = tw.ufunc(FUNCTIONS["a + b"].format(name="f"))
    a = np.random.default_rng(0).random(200_000)
    half, out = a[:100_000].copy(), np.empty(100_000)
    cases = {
        "contiguous": (half, half),
        "every second": (a[::2], half),
        "a scalar": (half, 2.0),
        "int64 and float64": (np.arange(100_000), half),
    }
    for title, operands in cases.items():
        shown = []
        for function in (ufunc, np.add):
            _, ratios = seconds_of(
                [
                    lambda f=function: f(half, half, out),
                    lambda f=function, operands=operands: f(*operands, out),
                ]
            )
            shown.append(ratios[1])
        print(f"  {title:20} {shown[0]:6.2f}  {shown[1]:6.2f}")


def show_reductions():
    print("\nreduce over 100,000 elements: time by np.add's")
    ufunc = tw.ufunc("double f(double a, double b) { return a + b; }", identity=0)
    a = np.random.default_rng(0).random((100, 1000))
    for axis in (0, 1, None):
        _, ratios = seconds_of(
            [lambda axis=axis: np.add.reduce(a, axis=axis), lambda axis=axis: ufunc.reduce(a, axis=axis)]
        )
        print(f"  axis={axis!s:16} {ratios[1]:6.2f}")


def show_making():
    """From text to ufunc, with libtcc and the disk at work; then again of the same text."""
    print("\nmaking a ufunc: milliseconds")
    texts = (f"T f(T a, T b) {{ return a + b + {i}; }}" for i in itertools.count())
    for title, letters in [("one dtype", "d"), ("two dtypes", "fd"), ("twelve dtypes", None)]:
        made = [next(texts) for _ in range(ROUNDS)]
        new = [Timer(lambda text=text, T=letters: tw.ufunc(text, T=T)).timeit(1) for text in made]
        again = [Timer(lambda text=text, T=letters: tw.ufunc(text, T=T)).timeit(1) for text in made]
        print(f"  {title:20} {1e3 * median(new):6.2f}  {1e3 * median(again):6.3f}")


def show_gufunc():
    print("\nmatrix times vector over a stack: time by a loop in C over the stack")
    body = """
        for (int i = 0; i < m; i++) {
            const double *row = a[i];
            double sum = 0;
            for (int j = 0; j < n; j++) sum += row[j] * x[j];
            y[i] = sum;
        }"""
    parameters = "int m, int n, const double a[m][n], const double x[n], {out}double y[m]"
    gufunc = tw.gufunc(f"void f({parameters.format(out='out ')}) {{ {body} }}")
    stacked = tw.compile(f"""
        static void f({parameters.format(out="")}) {{ {body} }}
        void stack(int k, int m, int n, const double a[k][m][n], const double x[k][n], double y[k][m])
        {{
            for (int i = 0; i < k; i++) f(m, n, a[i], x[i], y[i]);
        }}""").stack
    for k, m, n in [(10_000, 2, 2), (1000, 8, 8), (10, 100, 100)]:
        a, x = np.random.default_rng(0).random((k, m, n)), np.random.default_rng(1).random((k, n))
        y = np.empty((k, m))
        flipped = a.transpose(0, 2, 1).copy().transpose(0, 2, 1)
        _, ratios = seconds_of(
            [
                lambda a=a, x=x, y=y: stacked(a, x, y),
                lambda a=a, x=x, y=y: gufunc(a, x, out=y),
                lambda a=flipped, x=x, y=y: gufunc(a, x, out=y),
            ]
        )
        print(
            f"  {k:>6} x ({m},{n}),({n})->({m})  {ratios[1]:6.2f}  {ratios[2]:6.2f} where arrays are copied"
        )


def main():
    found = {"numba": importlib.util.find_spec("numba"), "gcc": shutil.which("gcc")}
    print(f"tinyweave {tw.__version__}, NumPy {np.__version__}, Python {platform.python_version()}")
    print("left out:", ", ".join(name for name, there in found.items() if not there) or "nothing")
    with tempfile.TemporaryDirectory() as folder:
        gcc = Gcc(folder) if found["gcc"] else None
        for title, function in FUNCTIONS.items():
            show_function(title, function, gcc)
    show_layouts()
    show_reductions()
    show_making()
    show_gufunc()


if __name__ == "__main__":
    main()
