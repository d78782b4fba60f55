"""Reference counts: whatever a call takes and gives, on success and on failure, nothing stays behind."""

# ruff: noqa: F841 (snippets read the locals of the test)

import contextlib
import gc
import sys
import tracemalloc

import native_library
import numpy as np
import pytest

import tinyweave as tw

TIMES = 1000


class Thing:
    pass


VALUES = {
    "int": 10**12,
    "small int": 5,
    "bool": True,
    "float": 2.5,
    "complex": 1 + 2j,
    "str": "some text é",
    "bytes": b"some bytes",
    "None": None,
    "list": [1, 2],
    "dict": {"a": 1},
    "instance": Thing(),
    "function": lambda: None,
    "int64": np.int64(10**12),
    "uint8": np.uint8(200),
    "float32": np.float32(1.5),
    "float64": np.float64(1.5),
    "complex64": np.complex64(1j),
    "complex128": np.complex128(1j),
    "np.bool": np.True_,
    "np.str": np.str_("text"),
    "array": np.arange(5.0),
    "view": np.arange(10)[::-2],
    "0-d": np.array(1.0),
    "empty": np.zeros((0, 3)),
    "complex array": np.zeros(3, complex),
    "matrix": np.zeros((2, 2)).view(np.recarray),
}
VALUES["read-only"] = np.arange(5)
VALUES["read-only"].flags.writeable = False

REFUSED = {
    "huge": 10**30,
    "float16": np.float16(1),
    "longdouble": np.longdouble(1),
    "datetime": np.datetime64("2020"),
    "surrogate": "\udc80",
    "float16 array": np.zeros(3, "float16"),
    "object array": np.zeros(3, object),
    "structured": np.zeros(3, "i4,i4"),
    "swapped": np.zeros(3, np.dtype("f8").newbyteorder()),
    "misaligned": np.zeros(25, np.uint8)[1:25].view("f8"),
}


@contextlib.contextmanager
def no_growth(*objects, slack=0):
    """Reference counts of `objects`, the number of objects the collector knows, and the bytes Python
    allocated are afterwards what they were, or nearly so."""
    gc.collect()
    before = [sys.getrefcount(o) for o in objects]
    known = len(gc.get_objects())
    tracemalloc.start()
    try:
        yield
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    # None and small numbers come and go elsewhere too; what leaks here does so at least 100 times.
    assert all(abs(sys.getrefcount(o) - count) < 20 for o, count in zip(objects, before, strict=True))
    assert len(gc.get_objects()) - known <= slack
    assert grown < 20_000 or native_library.SANITIZED  # which makes tracemalloc count what others keep


def repeat(work, error=None):
    for _ in range(TIMES):
        if error is None:
            work()
        else:
            try:
                work()
            except error:
                pass
            else:
                pytest.fail("nothing was raised")


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("return;", None),
        ("return_val = py_a;", None),
        ("return_val = PyTuple_Pack(2, py_a, py_b);", None),
        ('tw_raise(PyExc_ValueError, "no");', ValueError),
        ('return_val = py_a; tw_raise(PyExc_ValueError, "no");', ValueError),
        ("return_val = py_a; PyErr_SetNone(PyExc_KeyError);", KeyError),
    ],
)
def test_every_kind(name, code, error):
    a, b = VALUES[name], object()
    names = ["a", "b"]
    work = lambda: tw.inline(code, names, {"a": a, "b": b})  # noqa: E731
    repeat(work, error)
    with no_growth(a, b, names, code):
        repeat(work, error)


@pytest.mark.parametrize("name", REFUSED)
def test_every_refusal(name):
    a, before, after = REFUSED[name], object(), object()
    values = {"a": a, "before": before, "after": after}
    work = lambda: tw.inline("return_val = 1;", ["before", "a", "after"], values)  # noqa: E731
    repeat(work, (TypeError, OverflowError, UnicodeEncodeError))
    with no_growth(a, before, after):
        repeat(work, (TypeError, OverflowError, UnicodeEncodeError))


def test_a_name_that_is_missing():
    a = object()
    work = lambda: tw.inline("return_val = 1;", ["a", "missing"], {"a": a})  # noqa: E731
    repeat(work, NameError)
    with no_growth(a):
        repeat(work, NameError)


def test_names_that_c_has():
    a = object()
    work = lambda: tw.inline("return_val = 1;", ["a", "int"], {"a": a, "int": a})  # noqa: E731
    repeat(work, ValueError)
    with no_growth(a):
        repeat(work, ValueError)


def test_a_wrong_number_of_dimensions():
    a = np.zeros((2, 2))
    work = lambda: tw.inline("return_val = A1(0);", ["a"], {"a": a})  # noqa: E731
    repeat(work, ValueError)
    with no_growth(a):
        repeat(work, ValueError)


@pytest.mark.parametrize(
    "code", ["int b = 1 +;", "missing(1);", "}", "return_val;", "extern int q(void); q();"]
)
def test_a_compile_error(code):
    a = object()
    names = ["a"]
    work = lambda: tw.inline(code, names, {"a": a})  # noqa: E731
    repeat(work, tw.CompileError)
    with no_growth(a, names, code):
        repeat(work, tw.CompileError)


def test_an_error_from_a_callback():
    def fail(argument):
        raise KeyError(argument)

    a = object()

    def work():
        tw.inline("return_val = PyObject_CallOneArg(fail, a);", ["fail", "a"], {"fail": fail, "a": a})

    repeat(work, KeyError)
    with no_growth(a, fail):
        repeat(work, KeyError)


def test_the_callers_frame():
    a, b = [1], object()
    cell = object()

    def f(a, b):
        keep = lambda: cell  # noqa: E731
        return tw.inline("return_val = PyTuple_Pack(3, a, b, cell);", ["a", "b", "cell"])

    repeat(lambda: f(a, b))
    with no_growth(a, b, cell):
        repeat(lambda: f(a, b))


def test_an_unbound_local():
    def f(a):
        if False:
            b = 1
        return tw.inline("return_val = 1;", ["a", "b"])

    a = object()
    repeat(lambda: f(a), NameError)
    with no_growth(a):
        repeat(lambda: f(a), NameError)


def test_a_mapping_that_makes_its_values():
    class Making:
        def __getitem__(self, name):
            if name == "c":
                raise LookupError
            return [name]

    mapping = Making()
    for names, error in ((["a", "b"], None), (["a", "c"], LookupError)):
        work = lambda names=names: tw.inline("return_val = py_a;", names, mapping)  # noqa: E731
        repeat(work, error)
        with no_growth(mapping):
            repeat(work, error)


RESULTS = [
    "return_val = 10000000000;",
    "return_val = 1.5;",
    'return_val = "text";',
    "return_val = (tw_complex){1, 2};",
    "return_val = PyList_New(3); return_val = PyList_New(2);",
    'return_val = PyList_New(3); return_val = "text"; return_val = PyDict_New();',
]


@pytest.mark.parametrize("code", RESULTS)
def test_results(code):
    repeat(lambda: tw.inline(code))
    with no_growth():
        repeat(lambda: tw.inline(code))


def test_bad_results():
    cases = [('return_val = "\\xff";', UnicodeDecodeError), ("PyObject *p = 0; return_val = p;", SystemError)]
    for code, error in cases:
        repeat(lambda code=code: tw.inline(code), error)
        with no_growth():
            repeat(lambda code=code: tw.inline(code), error)


def test_printing(written):
    work = lambda: tw.inline('printf("%d", 5); puts("x");')  # noqa: E731
    repeat(work)
    written.parts.clear()
    with no_growth():
        repeat(work)
        written.parts.clear()


def test_a_stdout_that_fails(monkeypatch):
    class Failing:
        def write(self, text):
            raise OSError(text)

    monkeypatch.setattr(sys, "stdout", Failing())
    work = lambda: tw.inline('printf("%d", 5);')  # noqa: E731
    repeat(work, OSError)
    with no_growth():
        repeat(work, OSError)


OPTIONS = {
    "support_code": "static int f(void) { return 1; }",
    "define_macros": {"A": 1, "B": None},
    "headers": ["<math.h>"],
    "libraries": ["m"],
    "include_dirs": ["relative"],
}


def test_options():
    work = lambda: tw.inline("return_val = f();", **OPTIONS)  # noqa: E731
    repeat(work)
    with no_growth(*OPTIONS.values()):
        repeat(work)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"headers": [5]}, TypeError),
        ({"define_macros": [("a", "b", "c")]}, TypeError),
        ({"colour": 1}, TypeError),
        ({"compiler": "gcc"}, TypeError),
        ({"libraries": ["no_such_library"]}, OSError),
        ({"extra_compile_args": ["-run"]}, ValueError),
        ({"headers": ["a\nb"]}, ValueError),
        ({"local_dict": 5}, TypeError),
    ],
    ids=repr,
)
def test_wrong_options(options, error):
    repeat(lambda: tw.inline("return_val = 1;", **options), error)
    with no_growth(*options.values()):
        repeat(lambda: tw.inline("return_val = 1;", **options), error)


def test_forced_compiles():
    code = "return_val = py_a;"
    a = object()
    for _ in range(50):
        tw.inline(code, ["a"], force=True)
    with no_growth(a):
        for _ in range(100):
            tw.inline(code, ["a"], force=True)


def test_sites_that_are_cleared():
    def run():
        for i in range(50):
            tw.inline(f"return_val = {i} + a;", ["a"], {"a": 1})
            with contextlib.suppress(tw.CompileError):
                tw.inline(f"return_val = {i} +;", ["a"], {"a": 1})
        tw.cache.clear()

    run()
    with no_growth():
        run()
        run()


def test_info():
    tw.cache.info()
    with no_growth():
        repeat(tw.cache.info)
