"""When the GIL is let go. Events are counted, no time is taken: C waits, for a bounded number of rounds,
for what another Python thread does."""

# ruff: noqa: F841 (snippets read the locals of the test)

import gc
import sys
import threading
import weakref

import numpy as np
import pytest

import tinyweave as tw

# usleep gives the machine to the other thread; it is no function of Python's.
WAIT = """
volatile long *flag = flags;
flag[0] = 1;
for (long i = 0; i < rounds && !flag[1]; i++) usleep(100);
return_val = flag[1];
"""
SUPPORT = "int usleep(unsigned int);"
BIG = 100_000


def answered(code, rounds, size=BIG, **extra):
    """Whether a thread could set flags[1] while the snippet ran."""
    flags = np.zeros(size, int)
    done = threading.Event()

    def answer():
        while not done.is_set():
            if flags[0]:
                flags[1] = 1
                return

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        values = {"flags": flags, "rounds": rounds, **extra}
        return bool(tw.inline(code, list(values), values, support_code=SUPPORT))
    finally:
        done.set()
        thread.join()


def test_c_over_big_arrays_runs_without_the_gil():
    assert answered(WAIT, 100_000)


def test_code_that_uses_the_api_holds_the_gil():
    assert not answered(WAIT + "(void)PyLong_AsLong(Py_None); PyErr_Clear();", 100)


def test_code_that_takes_an_object_holds_the_gil():
    assert not answered(WAIT + "if (o == 0) return;", 100, o=[])


def test_code_that_only_names_exceptions_does_not_need_it():
    assert answered(WAIT + 'if (flag[2]) tw_raise(PyExc_ValueError, "x");', 100_000)


def test_small_calls_keep_it(fresh):
    assert not answered(fresh(WAIT), 20, size=4)


def test_a_call_that_was_long_lets_it_go_the_next_time(fresh):
    code = fresh(WAIT)
    assert not answered(code, 1000, size=4)
    assert answered(code, 100_000, size=4)


def test_the_real_headers_hold_it():
    flags = np.zeros(BIG, int)
    done = threading.Event()

    def answer():
        while not done.is_set() and not flags[0]:
            pass
        flags[1] = 1

    thread = threading.Thread(target=answer)
    thread.start()
    result = tw.inline(
        WAIT,
        ["flags", "rounds"],
        {"flags": flags, "rounds": 100},
        support_code=SUPPORT,
        headers=["<Python.h>"],
    )
    done.set()
    thread.join()
    assert result == 0


def test_two_snippets_meet():
    """Each waits for the other: only possible when both run at once."""
    flags = np.zeros(BIG, int)
    code = """
    volatile long *f = flags;
    f[me] = 1;
    for (long i = 0; i < 100000 && !f[1 - me]; i++) usleep(100);
    return_val = f[1 - me];
    """
    results = []

    def run(me):
        results.append(tw.inline(code, "flags me", {"flags": flags, "me": me}, support_code=SUPPORT))

    threads = [threading.Thread(target=run, args=(me,)) for me in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [1, 1]


def test_arguments_live_while_c_runs():
    """The only other reference goes away while C reads the array."""
    flags = np.zeros(BIG, int)
    scope = {"flags": flags, "data": np.full(BIG, 7), "rounds": 100_000}
    gone = weakref.ref(scope["data"])
    seen = []

    def drop():
        while not flags[0]:
            pass
        del scope["data"]
        gc.collect()
        seen.append(gone() is not None)
        flags[1] = 1

    thread = threading.Thread(target=drop)
    thread.start()
    code = WAIT + "long s = 0; for (long i = 0; i < Ndata[0]; i++) s += data[i]; return_val = s;"
    assert tw.inline(code, ["flags", "data", "rounds"], scope, support_code=SUPPORT) == 7 * BIG
    thread.join()
    assert seen == [True]
    assert gone() is None


def test_a_callback_may_let_others_run():
    event = threading.Event()
    order = []

    def other():
        event.wait()
        order.append("other")

    thread = threading.Thread(target=other)
    thread.start()

    def callback():
        event.set()
        thread.join()
        order.append("callback")

    tw.inline("Py_XDECREF(PyObject_CallNoArgs(callback));", ["callback"])
    assert order == ["other", "callback"]


@pytest.mark.parametrize("size", [10, BIG])
def test_errors_and_results_without_the_gil(size):
    a = np.arange(size)
    for _ in range(20):
        assert tw.inline("return_val = a[5];", ["a"]) == 5
        assert tw.inline('return_val = "text";', ["a"]) == "text"
        with pytest.raises(ValueError, match="^5$"):
            tw.inline('tw_raise(PyExc_ValueError, "%ld", a[5]);', ["a"])
    assert sys.getrefcount(a) == 2
