"""What compiled code prints reaches sys.stdout (runtime/stdio.c)."""

import contextlib
import ctypes
import io
import sys
from contextlib import redirect_stdout

import native_library
import pytest
from test_symbols import loaded, prelude

LIBRARY = ctypes.PyDLL(native_library.load()._name)


class Call(ctypes.Structure):
    """struct call of src/call/call.h."""


Call._fields_ = [
    ("kind", ctypes.c_int),
    ("result", ctypes.c_double * 2),
    ("raised", ctypes.c_void_p),
    ("raise_message", ctypes.c_void_p),
    ("out_of_memory", ctypes.c_bool),
    ("direct", ctypes.c_bool),
    ("gil_released", ctypes.c_bool),
    ("thread", ctypes.c_void_p),
    ("output", ctypes.c_void_p),
    ("outer", ctypes.POINTER(Call)),
]
CLIBRARY = ctypes.CDLL(None)
STDOUT = ctypes.c_void_p.in_dll(CLIBRARY, "stdout")
STDERR = ctypes.c_void_p.in_dll(CLIBRARY, "stderr")
LIBRARY.stdio_fwrite.restype = ctypes.c_size_t


class Recorder(io.StringIO):
    """Remembers each write, and the flushes."""

    def __init__(self):
        super().__init__()
        self.writes = []
        self.flushes = 0

    def write(self, text):
        self.writes.append(text)
        return super().write(text)

    def flush(self):
        self.flushes += 1


@contextlib.contextmanager
def call(direct=False):
    made = Call()
    LIBRARY.stdio_enter(ctypes.byref(made), ctypes.c_bool(direct))
    try:
        yield made
    finally:
        LIBRARY.stdio_leave(ctypes.byref(made))
        assert not made.output


@pytest.fixture
def out():
    """Made sys.stdout by the test itself: pytest sets its own after the fixtures."""
    return Recorder()


def test_gathers_until_the_end(out):
    with redirect_stdout(out), call():
        assert LIBRARY.stdio_printf(b"%d %s\n", 3, b"x") == 4
        LIBRARY.stdio_puts(b"line")
        assert LIBRARY.stdio_putchar(ord("c")) == ord("c")
        LIBRARY.stdio_fputs(b"s", STDOUT)
        assert LIBRARY.stdio_fwrite(b"abcd", ctypes.c_size_t(2), ctypes.c_size_t(2), STDOUT) == 2
        LIBRARY.stdio_fprintf(STDOUT, b"%c", ord("!"))
        assert out.writes == []
    assert out.writes == ["3 x\nline\ncsabcd!"]


def test_direct_writes_at_once(out):
    with redirect_stdout(out), call(direct=True):
        LIBRARY.stdio_printf(b"a")
        out.write("b")
        LIBRARY.stdio_puts(b"c")
    assert out.writes == ["a", "b", "c\n"]


def test_hands_over_past_its_limit(out):
    with redirect_stdout(out), call():
        for _ in range(1000):
            LIBRARY.stdio_printf(b"%0100d", 7)
    assert out.getvalue() == ("0" * 99 + "7") * 1000
    assert 5 < len(out.writes) < 20


def test_a_long_text(out):
    with redirect_stdout(out), call():
        assert LIBRARY.stdio_printf(b"%s|", b"x" * 100_000) == 100_001
    assert out.getvalue() == "x" * 100_000 + "|"


@pytest.mark.parametrize("direct", [False, True])
def test_characters_are_not_split(out, direct):
    with redirect_stdout(out), call(direct):
        for byte in "aé€😀".encode():
            LIBRARY.stdio_putchar(byte)
    assert out.getvalue() == "aé€😀"
    with redirect_stdout(out), call(direct):
        LIBRARY.stdio_printf(b"%s", b"x" * 8191 + "é".encode())
    assert out.getvalue().endswith("xé")


def test_bad_bytes_are_replaced(out):
    with redirect_stdout(out), call():
        LIBRARY.stdio_printf(b"a\xffb\xe2\x82")
    assert out.getvalue() == "a\ufffdb\ufffd"


def test_flush(out):
    with redirect_stdout(out), call():
        LIBRARY.stdio_printf(b"a")
        assert LIBRARY.stdio_fflush(STDOUT) == 0
        assert (out.writes, out.flushes) == (["a"], 1)
        LIBRARY.stdio_printf(b"b")
        assert LIBRARY.stdio_fflush(None) == 0
        assert (out.writes, out.flushes) == (["a", "b"], 2)
        assert LIBRARY.stdio_fflush(STDERR) == 0
    assert out.flushes == 2


@pytest.mark.parametrize("stdout", [None, "missing"])
def test_no_stdout_drops(monkeypatch, stdout):
    monkeypatch.setattr(sys, "stdout", stdout)
    if stdout == "missing":
        monkeypatch.delattr(sys, "stdout")
    with call():
        assert LIBRARY.stdio_printf(b"gone") == 4
        assert LIBRARY.stdio_fflush(STDOUT) == 0


class Failing:
    writes = 0

    def write(self, text):
        self.writes += 1
        raise OSError("disk full")


@pytest.mark.parametrize("direct", [False, True])
def test_a_failing_stdout_raises_once(monkeypatch, direct):
    failing = Failing()
    monkeypatch.setattr(sys, "stdout", failing)
    with pytest.raises(OSError, match="disk full") as caught, call(direct):
        for _ in range(3):
            LIBRARY.stdio_printf(b"x")
    assert failing.writes == 1
    assert caught.value.__traceback__.tb_next is not None
    with call():
        pass


# What ctypes cannot do between two calls: an exception stays set, and the GIL is released.
STRUCT_CALL = """
struct call {
    int kind; double result[2]; void *raised; char *message;
    _Bool out_of_memory, direct, gil_released; void *thread;
};
"""
WITH_ERROR = """
int run(struct call *call, int (*leave)(struct call *))
{
    printf("before");
    PyErr_SetString(PyExc_KeyError, "mine");
    printf(" after");
    fflush(stdout);
    return leave(call);
}
"""
WITHOUT_GIL = """
int run(struct call *call, void *(*save)(void), void (*restore)(void *))
{
    char *text = malloc(20001);
    memset(text, 'y', 20000);
    text[20000] = 0;
    call->gil_released = 1;
    call->thread = save();
    int size = printf("%s", text);
    int released = call->gil_released;
    printf("end");
    restore(call->thread);
    call->gil_released = 0;
    free(text);
    return size + released;
}
"""


def address_of(function):
    return ctypes.cast(function, ctypes.c_void_p)


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("out", [Recorder(), Failing()])
def test_the_error_that_is_set_stays(out, direct):
    made = Call()
    names = ["printf", "fflush", "stdout", "PyErr_SetString", "PyExc_KeyError"]
    with loaded(prelude(*names) + STRUCT_CALL + WITH_ERROR) as address, redirect_stdout(out):
        run = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(address("run"))
        LIBRARY.stdio_enter(ctypes.byref(made), ctypes.c_bool(direct))
        with pytest.raises(KeyError, match="mine"):
            run(ctypes.addressof(made), address_of(LIBRARY.stdio_leave))
    assert not made.output
    if isinstance(out, Recorder):
        assert out.getvalue().endswith("before after")
        assert out.flushes > 0


def test_without_the_gil(out):
    names = ["printf", "memset", "malloc", "free"]
    with loaded(prelude(*names) + STRUCT_CALL + WITHOUT_GIL) as address, redirect_stdout(out), call() as made:
        run = ctypes.PYFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 3)(address("run"))
        save, restore = (
            address_of(ctypes.pythonapi.PyEval_SaveThread),
            address_of(ctypes.pythonapi.PyEval_RestoreThread),
        )
        assert run(ctypes.addressof(made), save, restore) == 20_001
    assert out.writes == ["y" * 20_000, "end"]


def test_nested_calls(out):
    with redirect_stdout(out), call() as outer:
        LIBRARY.stdio_printf(b"outer ")
        with call() as inner:
            LIBRARY.stdio_printf(b"inner ")
            assert ctypes.addressof(inner.outer.contents) == ctypes.addressof(outer)
        LIBRARY.stdio_printf(b"again")
    assert out.writes == ["inner ", "outer again"]


def test_a_stdout_that_prints_itself(monkeypatch):
    texts = []

    class Echo:
        def write(self, text):
            texts.append(text)
            if text == "a":
                with call():
                    LIBRARY.stdio_printf(b"nested")

    monkeypatch.setattr(sys, "stdout", Echo())
    with call(direct=True):
        LIBRARY.stdio_printf(b"a")
        LIBRARY.stdio_printf(b"b")
    assert texts == ["a", "nested", "b"]


def test_outside_of_a_call_it_is_libc_s(capfd):
    LIBRARY.stdio_printf(b"real %d\n", 1)
    LIBRARY.stdio_puts(b"puts")
    LIBRARY.stdio_fflush(STDOUT)
    with call():
        LIBRARY.stdio_fprintf(STDERR, b"error %d\n", 2)
    captured = capfd.readouterr()
    assert captured.out == "real 1\nputs\n"
    assert captured.err == "error 2\n"
