"""The pool of threads: by counting, never by a clock."""

import ctypes
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import native_library
import pytest

import tinyweave as tw

# From Python 3.12 on a fork beside threads is warned of; just that is tried here.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")

THREADS_MOST = 256
LONG = 20_000  # spins of a part that takes some microseconds


def open_library():
    """The pool of the library for tests; that of the package is another one."""
    library = native_library.load()
    for name, result, arguments in (
        ("threads_squares", ctypes.py_object, (ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int)),
        ("threads_nested", ctypes.py_object, (ctypes.c_size_t, ctypes.c_size_t)),
        ("threads_count", ctypes.c_int, ()),
        ("threads_set", ctypes.c_int, (ctypes.c_int,)),
        ("threads_configure", ctypes.c_int, (ctypes.c_char_p,)),
        ("threads_alive", ctypes.c_size_t, ()),
        ("threads_jobs", ctypes.c_size_t, ()),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


POOL = open_library()

# For subprocesses: the same, before anything has run.
OPEN = f"""
import os, sys
sys.path.insert(0, {os.path.dirname(os.path.abspath(__file__))!r})
from test_threads import *
"""


@pytest.fixture(autouse=True)
def same_count():
    before = POOL.threads_count()
    yield
    POOL.threads_set(before)


def run(parts, spins=0, started=-1, release=-1):
    """Runs a job of squares, checks that each part was done once, and returns the threads that did them."""
    calls, squares, threads = POOL.threads_squares(parts, spins, started, release)
    assert calls == [1] * parts + [0]
    assert squares[:-1] == [i * i for i in range(parts)]
    assert 0 not in threads[:-1]
    return set(threads[:-1])


def run_right(parts=50, count=4):
    """For a child: whether jobs are done there, by new threads."""
    if POOL.threads_alive() != 0:
        return False
    POOL.threads_set(count)
    for _ in range(20):
        run(parts)
    return POOL.threads_alive() == count - 1


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


class Held:
    """A job of another thread that has begun and cannot end before the block does."""

    def __init__(self, parts=10):
        self.parts = parts

    def __enter__(self):
        self.started, note = os.pipe()
        wait, self.release = os.pipe()
        self.pipes = [self.started, note, wait, self.release]
        self.executor = ThreadPoolExecutor(1)
        self.job = self.executor.submit(run, self.parts, 0, note, wait)
        os.read(self.started, 1)
        return self

    def __exit__(self, *unused):
        os.write(self.release, b".")
        self.threads = self.job.result()
        self.executor.shutdown()
        for pipe in self.pipes:
            os.close(pipe)


def is_worker(task):
    try:
        return (task / "comm").read_text() == "tinyweave\n"
    except OSError:  # it has just ended
        return False


def workers():
    """The folders in /proc of this process's workers."""
    return [task for task in Path("/proc/self/task").iterdir() if is_worker(task)]


# ---- Parts ----


@pytest.mark.parametrize("count", range(1, 9))
def test_every_part_is_done_once(count):
    POOL.threads_set(count)
    for parts in [*range(40), 100, 255, 256, 257, 999, 1000]:
        assert len(run(parts)) <= min(count, max(parts, 0))


def test_many_short_jobs():
    POOL.threads_set(4)
    for i in range(5000):
        run(i % 7)


def test_jobs_of_one_part_or_one_thread_do_not_go_to_the_pool():
    POOL.threads_set(4)
    before = POOL.threads_jobs()
    run(0)
    run(1)
    POOL.threads_set(1)
    run(1000)
    assert POOL.threads_jobs() == before
    POOL.threads_set(2)
    run(2)
    assert POOL.threads_jobs() == before + 1


def test_workers_do_take_parts():
    POOL.threads_set(2)
    while len(run(100, LONG)) < 2:
        pass


def test_no_more_threads_than_set():
    for count in (8, 3, 5, 2, 8, 2):
        POOL.threads_set(count)
        for _ in range(50):
            assert len(run(64, 100)) <= count


def test_surplus_workers_end(python):
    done = python(
        OPEN
        + """
POOL.threads_set(8)
run(64)
print(POOL.threads_alive())
while len(workers()) != 7:  # each names itself
    pass
POOL.threads_set(3)
while POOL.threads_alive() != 2:
    run(64)
while len(workers()) != 2:
    pass
"""
    )
    assert done.out == "7\n"


def test_no_more_workers_than_parts_need(python):
    done = python(OPEN + "POOL.threads_set(8); run(3); print(POOL.threads_alive())")
    assert done.out == "2\n"


def test_a_job_in_a_job_is_done_by_the_thread_that_asks():
    POOL.threads_set(4)
    for _ in range(100):
        before = POOL.threads_jobs()
        assert POOL.threads_nested(20, 10) == (200, 0)
        assert POOL.threads_jobs() == before + 1


def test_a_job_in_a_job_of_one_part():
    POOL.threads_set(4)
    before = POOL.threads_jobs()
    assert POOL.threads_nested(1, 10) == (10, 0)
    assert POOL.threads_jobs() == before


# ---- Several callers ----


def test_callers_at_once():
    POOL.threads_set(4)
    with ThreadPoolExecutor(6) as executor:
        jobs = [executor.submit(run, i % 90, i % 300) for i in range(3000)]
        for job in jobs:
            job.result()


def test_a_caller_works_alone_while_another_has_the_pool():
    POOL.threads_set(4)
    with Held():
        before = POOL.threads_jobs()
        for _ in range(20):
            assert run(50) == {threading.get_ident()}
        assert POOL.threads_jobs() == before


def test_the_count_is_set_while_jobs_run():
    POOL.threads_set(4)
    with Held() as held:
        assert POOL.threads_set(2) == 4
        assert POOL.threads_set(6) == 2
        assert POOL.threads_set(1) == 6
    assert len(held.threads) <= 4
    assert run(50) == {threading.get_ident()}


def test_counts_set_from_another_thread():
    stop = threading.Event()

    def change():
        while not stop.is_set():
            for count in range(1, 9):
                POOL.threads_set(count)

    with ThreadPoolExecutor(1) as executor:
        executor.submit(change)
        for i in range(2000):
            assert len(run(i % 60)) <= 8
        stop.set()


# ---- Processes ----


def test_nothing_is_started_by_import_nor_by_a_job_of_one_part(python):
    done = python(
        OPEN
        + """
threads = len(os.listdir("/proc/self/task"))
tw.set_num_threads(4)
POOL.threads_set(4)
run(0), run(1)
POOL.threads_set(1)
run(10)
print(POOL.threads_alive(), len(workers()), len(os.listdir("/proc/self/task")) - threads)
"""
    )
    assert done.out == "0 0 0\n"


def test_import_starts_no_thread(python):
    done = python(
        """
        import os
        import numpy
        before = len(os.listdir("/proc/self/task"))
        import tinyweave
        print(len(os.listdir("/proc/self/task")) - before)
        """,
        preamble=False,
    )
    assert done.out == "0\n"


def test_fork():
    POOL.threads_set(3)
    run(100)
    for _ in range(10):
        assert in_child(run_right)
        run(100)


def test_fork_of_a_child():
    POOL.threads_set(3)
    run(100)
    assert in_child(lambda: run_right() and in_child(lambda: run_right() and in_child(run_right)))
    run(100)


def test_fork_while_another_thread_runs_a_job():
    POOL.threads_set(3)
    for _ in range(10):
        with Held() as held:
            assert in_child(run_right)
        assert len(held.threads) <= 3
        run(100)


def test_fork_while_other_threads_run_short_jobs():
    POOL.threads_set(3)
    stop = threading.Event()

    def work():
        while not stop.is_set():
            run(20)

    with ThreadPoolExecutor(2) as executor:
        jobs = [executor.submit(work) for _ in range(2)]
        try:
            for _ in range(30):
                assert in_child(run_right)
        finally:
            stop.set()
        for job in jobs:
            job.result()


def test_the_count_is_the_childs_too():
    POOL.threads_set(5)
    assert in_child(lambda: POOL.threads_count() == 5)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(method):
    POOL.threads_set(3)
    run(100)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert all(pool.map(run_right_anew, range(4)))
    run(100)


def run_right_anew(i):
    POOL.threads_set(4)
    for _ in range(20):
        run(50)
    return POOL.threads_alive() == 3


@pytest.mark.parametrize("ending", ["", "sys.exit(0)", "os._exit(0)"])
def test_exit_with_a_pool(python, ending):
    # At once: its workers still spin, or sleep.
    assert python(OPEN + f"POOL.threads_set(6)\nrun(100)\n{ending}").error == ""


def test_exit_while_a_daemon_thread_runs_a_job(python):
    done = python(
        OPEN
        + """
POOL.threads_set(4)
started, note = os.pipe()
wait, release = os.pipe()
threading.Thread(target=run, args=(10, 0, note, wait), daemon=True).start()
os.read(started, 1)
print("begun")
"""
    )
    assert done.out == "begun\n"


@pytest.mark.skipif(native_library.SANITIZED, reason="AddressSanitizer needs memory for each thread")
def test_threads_that_cannot_be_had(python):
    # More address space than there is: no stack for a thread.
    done = python(
        OPEN
        + """
import resource
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 20), resource.RLIM_INFINITY))
POOL.threads_set(8)
for _ in range(1500):
    run(20)
few = POOL.threads_alive() < 7
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
for _ in range(1500):
    run(20)
print(few, POOL.threads_alive())
"""
    )
    assert done.out == "True 7\n"


# ---- Signals ----


def test_workers_leave_signals_to_the_program():
    POOL.threads_set(3)
    run(100)
    for task in workers():
        status = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines())
        blocked = int(status["SigBlk"], 16)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGPROF, signal.SIGUSR1):
            assert blocked >> (number - 1) & 1
        for number in (signal.SIGSEGV, signal.SIGFPE):  # a fault is for the handler
            assert not blocked >> (number - 1) & 1
    assert signal.SIGUSR1 not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_keyboard_interrupt(python):
    done = python(
        OPEN
        + """
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
POOL.threads_set(4)
run(100)
for _ in range(50):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            run(10)
    except KeyboardInterrupt:
        pass
run(100)
print("interrupted")
"""
    )
    assert done.out == "interrupted\n"


# ---- How many ----


def test_set_returns_the_number_before():
    before = tw.get_num_threads()
    assert tw.set_num_threads(3) == before
    assert tw.get_num_threads() == 3
    assert tw.set_num_threads(THREADS_MOST) == 3
    assert tw.set_num_threads(1) == THREADS_MOST
    assert tw.set_num_threads(before) == 1


def test_set_takes_what_is_like_an_int():
    class Three:
        def __index__(self):
            return 3

    before = tw.set_num_threads(Three())
    assert tw.set_num_threads(before) == 3


@pytest.mark.parametrize("value", [0, -1, THREADS_MOST + 1, 1 << 40, -(1 << 80), 1 << 80])
def test_set_refuses_numbers_out_of_range(value):
    before = tw.get_num_threads()
    with pytest.raises(ValueError) as caught:
        tw.set_num_threads(value)
    assert str(caught.value) == f"set_num_threads(): 'n' must be from 1 to {THREADS_MOST}, not {value}"
    assert tw.get_num_threads() == before


@pytest.mark.parametrize("value", [2.0, "2", None, True, False, [2]])
def test_set_refuses_what_is_no_int(value):
    with pytest.raises(TypeError) as caught:
        tw.set_num_threads(value)
    assert str(caught.value) == f"set_num_threads(): 'n' must be int, not {type(value).__name__}"


def test_set_passes_on_what_index_raises():
    class Odd:
        def __index__(self):
            raise KeyError("odd")

    with pytest.raises(KeyError, match="odd"):
        tw.set_num_threads(Odd())


COUNT = "print(tw.get_num_threads())"


def number_of(python, value, code=COUNT):
    return python(code, environment={"TINYWEAVE_NUM_THREADS": value})


@pytest.mark.parametrize("value", ["1", "3", "007", str(THREADS_MOST)])
def test_variable(python, value):
    done = number_of(python, value)
    assert (done.out, done.error) == (f"{int(value)}\n", "")


def test_variable_that_is_empty(python):
    done = number_of(python, "")
    assert (done.out, done.error) == (python(COUNT).out, "")


@pytest.mark.parametrize("value", ["0", "-2", "257", "two", "2x", "2 ", " 2", "+2", "2.0", "9" * 30, "0x2"])
def test_variable_that_is_malformed(python, value):
    done = number_of(python, value)
    assert done.out == python(COUNT).out
    assert (
        f'RuntimeWarning: TINYWEAVE_NUM_THREADS is "{value}": expected a number from 1 to 256' in done.error
    )
    assert done.error.count("RuntimeWarning") == 1


def test_default_is_the_processors_this_process_may_use(python):
    done = python("import os\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n" + COUNT)
    assert done.out == "1\n"
    assert 1 <= int(python(COUNT).out) <= len(os.sched_getaffinity(0))


def test_configure():
    before = POOL.threads_count()
    for text in (None, b"", b"0", b"x"):
        assert POOL.threads_configure(text) == (-1 if text else 0)
        assert POOL.threads_count() == before
    assert POOL.threads_configure(b"7") == 0
    assert POOL.threads_count() == 7
