"""Threads, forks and processes that compile at once."""

# ruff: noqa: F841 (snippets read the locals of the test)

import multiprocessing
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import tinyweave as tw

# From Python 3.12 on a fork beside threads is warned of; just that is tried here.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


def together(count, work):
    """Runs work(i) in `count` threads that start at once; returns the results in order."""
    barrier = threading.Barrier(count)
    results = [None] * count

    def run(i):
        barrier.wait()
        try:
            results[i] = work(i)
        except BaseException as error:
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def in_child(work):
    """Runs work() in a forked child; returns whether it came back true."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if work() else 1
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def test_one_snippet_in_16_threads(fresh, counts):
    for _ in range(10):
        code = fresh("return_val = a + 1;")
        with counts() as c:
            assert together(16, lambda i, code=code: tw.inline(code, ["a"], {"a": i})) == list(range(1, 17))
        assert (c.compiles, c.memory_hits, c.disk_writes) == (1, 15, 1)


def test_one_snippet_of_several_types_in_16_threads(fresh, counts):
    values = [1, 1.5, "s", None]
    for _ in range(5):
        code = fresh("return_val = py_a;")
        with counts() as c:
            results = together(16, lambda i, code=code: tw.inline(code, ["a"], {"a": values[i % 4]}))
        assert results == values * 4
        assert c.compiles == 4


def test_distinct_snippets_in_threads(fresh, counts):
    codes = [[fresh(f"return_val = {100 * i + k};") for k in range(20)] for i in range(8)]
    with counts() as c:
        results = together(8, lambda i: [tw.inline(code) for code in codes[i]])
    assert results == [[100 * i + k for k in range(20)] for i in range(8)]
    assert c.compiles == 160


def test_errors_in_threads(fresh):
    def work(i):
        for _ in range(5):
            try:
                tw.inline(f"\n\nint a{i} = missing{i};")
            except tw.CompileError as error:
                if error.lineno != 3 or f"missing{i}" not in error.msg:
                    return error
            else:
                return "compiled"
        return tw.inline(fresh(f"return_val = {i};"))

    assert together(8, work) == list(range(8))


def test_one_wrong_snippet_in_threads(fresh):
    code = fresh("int b = missing;")

    def work(i):
        with pytest.raises(tw.CompileError):
            tw.inline(code)
        return True

    assert together(16, work) == [True] * 16


def test_force_in_threads(fresh):
    code = fresh("return_val = a;")
    results = together(8, lambda i: [tw.inline(code, ["a"], {"a": i}, force=True) for _ in range(20)])
    assert results == [[i] * 20 for i in range(8)]


def test_clear_while_others_run(fresh):
    codes = [fresh(f"return_val = {i};") for i in range(4)]
    big = np.ones(20_000)
    total = fresh("double s = 0; for (long i = 0; i < Nbig[0]; i++) s += big[i]; return_val = s;")

    def work(i):
        for _ in range(40):
            if i == 0:
                tw.cache.clear()
            elif i < 4:
                assert tw.inline(codes[i]) == i
            else:
                assert tw.inline(total, ["big"], {"big": big}) == 20_000
        return True

    assert together(6, work) == [True] * 6


PROCESS = """
import os
sys.stdin.readline()
a = 20
x = np.arange(10.0)
print(tw.inline("return_val = a + 1;", ["a"]),
      tw.inline("double s = 0; for (int i = 0; i < Nx[0]; i++) s += X1(i); return_val = s;", ["x"]),
      tw.cache.info().errors)
"""


def test_one_snippet_in_16_processes(python_cached, tmp_path):
    preamble = "import sys\nimport numpy as np\nimport tinyweave as tw\n"
    environment = {
        **os.environ,
        "TINYWEAVE_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [
        subprocess.Popen([sys.executable, "-c", preamble + PROCESS], env=environment, **pipe)
        for _ in range(16)
    ]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    results = [process.communicate(timeout=100)[0].split() for process in processes]
    assert results == [["21", "45.0", "0"]] * 16
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(files) == 2 and all(path.suffix == ".o" for path in files)
    done = python_cached("print(tw.inline('return_val = a + 1;', ['a'], {'a': 20}), *tw.cache.info()[:3])")
    assert done.out.split() == ["21", "0", "0", "1"]


# ---- Fork ----


def test_parent_and_child_compile_in_turn(fresh):
    kept = fresh("static long n = 100; return_val = ++n;")
    assert tw.inline(kept) == 101
    to_child, to_parent = os.pipe(), os.pipe()

    def child():
        for i in range(20):
            os.read(to_child[0], 1)
            if tw.inline(f"return_val = {i} + a; /* child */", ["a"], {"a": 1000}) != 1000 + i:
                return False
            if tw.inline(kept) != 102 + i:
                return False
            os.write(to_parent[1], b"x")
        return True

    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = 0 if child() else 1
        finally:
            os._exit(status)
    for i in range(20):
        assert tw.inline(f"return_val = {i} + a; /* parent */", ["a"], {"a": 5000}) == 5000 + i
        os.write(to_child[1], b"x")
        os.read(to_parent[0], 1)
        assert tw.inline(kept) == 102 + i
    assert os.waitpid(pid, 0)[1] == 0
    for i in range(20):
        assert tw.inline(f"return_val = {i} + a; /* parent */", ["a"], {"a": 5000}) == 5000 + i
    for fd in (*to_child, *to_parent):
        os.close(fd)


def test_a_child_that_clears_leaves_the_parents_kernels(fresh):
    codes = [fresh(f"static int n = {100 * i}; return_val = ++n;") for i in range(20)]
    for i, code in enumerate(codes):
        assert tw.inline(code) == 100 * i + 1

    def child():
        tw.cache.clear()
        return all(tw.inline(f"return_val = {i};") == i for i in range(100))

    assert in_child(child)
    for i, code in enumerate(codes):
        assert tw.inline(code) == 100 * i + 2


def test_a_parent_that_clears_leaves_the_childs_kernels(fresh):
    codes = [fresh(f"static int n = {100 * i}; return_val = ++n;") for i in range(20)]
    for code in codes:
        tw.inline(code)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.read(reader, 1)
            status = 0 if all(tw.inline(code) == 100 * i + 2 for i, code in enumerate(codes)) else 1
        finally:
            os._exit(status)
    tw.cache.clear()
    for i in range(100):
        assert tw.inline(fresh(f"return_val = {i};")) == i
    os.write(writer, b"x")
    assert os.waitpid(pid, 0)[1] == 0
    os.close(reader)
    os.close(writer)


def test_grandchildren(fresh):
    def level(depth):
        if tw.inline(fresh(f"return_val = {depth};")) != depth:
            return False
        return depth == 0 or in_child(lambda: level(depth - 1))

    assert level(4)


def test_fork_while_another_thread_compiles(fresh):
    stop = threading.Event()
    failed = []

    def compiling():
        i = 0
        while not stop.is_set():
            i += 1
            if tw.inline(fresh(f"return_val = {i};")) != i:
                failed.append(i)

    threads = [threading.Thread(target=compiling) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for i in range(20):
            assert in_child(lambda i=i: tw.inline(f"return_val = {i}; /* {os.getpid()} */") == i)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed


def test_fork_while_another_thread_compiles_the_same_snippet(fresh):
    for _ in range(10):
        code = fresh("return_val = 5;" + " " * 20_000)
        thread = threading.Thread(target=tw.inline, args=(code,))
        thread.start()
        assert in_child(lambda code=code: tw.inline(code) == 5)
        thread.join()


def square(n):
    return tw.inline("return_val = n*n;", ["n"])


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method):
    assert square(3) == 9
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        assert pool.map(square, range(20)) == [n * n for n in range(20)]
