"""printf and its kin of snippets: to sys.stdout, whole, in order, and with its failures."""

# ruff: noqa: F841 (snippets read the locals of the test)

import io
import sys
import threading

import numpy as np
import pytest

import tinyweave as tw

PRINTS = [
    ('printf("text");', "text"),
    ('printf("%d %s %.2f%%\\n", 5, "five", 5.0);', "5 five 5.00%\n"),
    ('printf("%5d|%-5d|%05d|%x|%c", 42, 42, 42, 255, 65);', "   42|42   |00042|ff|A"),
    ('printf("%ld %lu %lld", -1L, 1UL, 1LL << 40);', f"-1 1 {1 << 40}"),
    ('printf("%.3e %g %f", 12345.678, 0.0001, 1.5);', "1.235e+04 0.0001 1.500000"),
    ('printf("%*d|%.*f", 6, 42, 1, 2.55);', f"    42|{2.55:.1f}"),
    ('puts("line");', "line\n"),
    ('puts("");', "\n"),
    ("putchar(65); putchar('\\n');", "A\n"),
    ('fputs("no line", stdout);', "no line"),
    ("fputc('x', stdout); putc('y', stdout);", "xy"),
    ('fprintf(stdout, "%d", 3);', "3"),
    ('fwrite("abcdef", 2, 3, stdout);', "abcdef"),
    ('fwrite("a\\0b", 1, 3, stdout);', "a\0b"),
    ('printf("é€𝄞");', "é€𝄞"),
    ("putchar(0xc3); putchar(0xa9);", "é"),
    ('printf("a"); puts("b"); putchar(99); fputs("d", stdout); fflush(stdout); printf("e");', "ab\ncde"),
    ("fflush(stdout);", ""),
    ("fflush(NULL);", ""),
    ('printf("");', ""),
    ('printf("%s", "");', ""),
]


@pytest.mark.parametrize(("code", "text"), PRINTS)
def test_prints(code, text, written):
    tw.inline(code)
    assert written.text == text


@pytest.mark.parametrize(("code", "text"), PRINTS)
def test_prints_of_code_that_uses_the_api(code, text, written):
    assert tw.inline(code + "return_val = PyLong_FromLong(5);") == 5
    assert written.text == text


def test_functions_return_what_libc_says(written):
    assert tw.inline('return_val = printf("%d", 12345);') == 5
    assert tw.inline("return_val = putchar(65);") == 65
    assert tw.inline('return_val = puts("x") >= 0;') == 1
    assert tw.inline('return_val = fputs("x", stdout) >= 0;') == 1
    assert tw.inline('return_val = fwrite("abcdef", 2, 3, stdout);') == 3
    assert tw.inline("return_val = fflush(stdout);") == 0
    assert tw.inline('return_val = fprintf(stdout, "%s", "abc");') == 3


def test_va_list_forms(written):
    tw.inline(
        'say("%d-%s", 1, "a"); tell(stdout, "%c", 66);',
        support_code="""
        static void say(const char *format, ...)
        { va_list list; va_start(list, format); vprintf(format, list); va_end(list); }
        static void tell(FILE *file, const char *format, ...)
        { va_list list; va_start(list, format); vfprintf(file, format, list); va_end(list); }
        """,
    )
    assert written.text == "1-aB"


def test_bad_bytes_are_replaced(written):
    tw.inline('printf("a\\xff" "b");')
    assert written.text == "a\ufffdb"


def test_in_order_with_print(written):
    for i in range(5):
        print(i, end=" ")
        tw.inline('printf("c%ld ", i);', ["i"])
    assert written.text == "".join(f"{i} c{i} " for i in range(5))


def test_in_order_with_a_callback(written):
    def say():
        print("python", end=" ")

    tw.inline(
        'for (int i = 0; i < 3; i++) { printf("%d ", i); Py_XDECREF(PyObject_CallNoArgs(say)); }'
        'printf("end");',
        ["say"],
    )
    assert written.text == "0 python 1 python 2 python end"


def test_in_order_with_nested_calls(written):
    def inner(depth):
        if depth:
            tw.inline(
                'printf("<%ld", depth);'
                'Py_XDECREF(PyObject_CallFunction(inner, "l", depth - 1)); printf(">");',
                ["depth", "inner"],
                {"depth": depth, "inner": inner},
            )
        else:
            tw.inline('printf("-"); printf("-");')

    inner(3)
    assert written.text == "<3<2<1-->>>"


def test_the_order_holds_where_the_real_stdout_is_a_pipe(python):
    done = python(
        """
        for i in range(3):
            print("py", i)
            tw.inline('printf("c %ld\\\\n", i);', ["i"])
        """
    )
    assert done.out.splitlines() == ["py 0", "c 0", "py 1", "c 1", "py 2", "c 2"]


@pytest.mark.parametrize("api", ["", "Py_XDECREF(PyLong_FromLong(1));"])
def test_more_than_the_buffer_holds(api, written):
    for size in (8191, 8192, 8193, 100_000):
        written.parts.clear()
        text = "x" * size
        tw.inline('printf("%s|", text);' + api, ["text"])
        assert written.text == text + "|"
    written.parts.clear()
    tw.inline('for (int i = 0; i < 20000; i++) printf("%d\\n", i);' + api)
    assert written.text == "".join(f"{i}\n" for i in range(20000))


def test_a_buffer_is_handed_over_midway(written):
    tw.inline("for (int i = 0; i < 100000; i++) putchar('x');")
    assert len(written.parts) >= 5
    assert max(map(len, written.parts)) < 20_000
    written.parts.clear()
    tw.inline("for (int i = 0; i < 1000; i++) putchar('x');")
    assert written.parts == ["x" * 1000]


def test_characters_across_buffers(written):
    tw.inline('for (int i = 0; i < 5000; i++) printf("%s", "€");')
    assert written.text == "€" * 5000
    written.parts.clear()
    tw.inline('putchar(0x61); for (int i = 0; i < 5000; i++) printf("%s", "𝄞");')
    assert written.text == "a" + "𝄞" * 5000


def test_flush_reaches_stdout(written):
    tw.inline('printf("a"); fflush(stdout); printf("b");')
    assert written.parts[0] == "a" and written.flushes == 1


def test_without_the_gil(written):
    big = np.ones(100_000)
    code = """
    double sum = 0;
    for (long i = 0; i < Nbig[0]; i++) { sum += big[i]; if (i % 1000 == 0) printf("%ld ", i); }
    printf("end");
    return_val = sum;
    """
    assert tw.inline(code, ["big"]) == 100_000
    assert written.text == "".join(f"{i} " for i in range(0, 100_000, 1000)) + "end"


def test_without_the_gil_beyond_the_buffer(written):
    big = np.ones(100_000)
    tw.inline('for (long i = 0; i < Nbig[0]; i++) printf("%ld\\n", i);', ["big"])
    assert written.text == "".join(f"{i}\n" for i in range(100_000))


def test_threads_do_not_mix_within_a_call(written):
    big = np.zeros(20_000)

    def run(letter):
        for _ in range(20):
            tw.inline(
                "for (int i = 0; i < 1000; i++) putchar(letter);",
                "letter big",
                {"letter": ord(letter), "big": big},
            )

    threads = [threading.Thread(target=run, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(written.parts) == [letter * 1000 for letter in "abcd" for _ in range(20)]


# ---- Other streams and other stdouts ----


def test_stdout_may_be_a_stringio(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    tw.inline('printf("%d", 5);')
    assert stream.getvalue() == "5"


def test_stdout_none_drops_the_text(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert tw.inline('return_val = printf("lost");') == 4
    assert tw.inline('for (int i = 0; i < 20000; i++) printf("lost"); fflush(stdout); return_val = 1;') == 1


def test_stdout_deleted(monkeypatch):
    monkeypatch.delattr(sys, "stdout")
    assert tw.inline('printf("lost"); return_val = 1;') == 1


def test_stderr_stays_the_process_own(python):
    done = python(
        """
        tw.inline('fprintf(stderr, "to stderr"); printf("to stdout");')
        sys.stdout.flush()
        """
    )
    assert (done.out, done.error) == ("to stdout", "to stderr")


class Failing(io.TextIOBase):
    def __init__(self, after=0):
        self.calls = 0
        self.after = after

    def write(self, text):
        self.calls += 1
        if self.calls > self.after:
            raise OSError(28, f"no room {self.calls}")
        return len(text)


@pytest.mark.parametrize("api", ["", "Py_XDECREF(PyLong_FromLong(1));"])
def test_a_stdout_that_fails_raises(api, monkeypatch):
    stream = Failing()
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(OSError, match="no room 1"):
        tw.inline('printf("a"); printf("b"); return_val = 1;' + api)
    assert stream.calls == 1


def test_a_failure_midway_is_the_one_that_is_raised(monkeypatch):
    stream = Failing(after=1)
    monkeypatch.setattr(sys, "stdout", stream)
    done = np.zeros(1)
    with pytest.raises(OSError, match="no room 2"):
        tw.inline("for (int i = 0; i < 100000; i++) putchar('x'); done[0] = 1;", ["done"])
    assert stream.calls == 2
    assert done[0] == 1


def test_a_failing_print_says_so_to_c(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Failing())
    out = np.zeros(2, int)
    with pytest.raises(OSError):
        tw.inline('printf("a"); out[0] = fflush(stdout); out[1] = printf("b");', ["out"])
    assert out[0] == -1 and out[1] < 0


def test_the_codes_own_error_goes_before_stdouts(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Failing())
    with pytest.raises(KeyError):
        tw.inline('printf("a"); tw_raise(PyExc_KeyError, "k");')
    with pytest.raises(IndexError):
        tw.inline('printf("a"); PyErr_SetString(PyExc_IndexError, "i");')


def test_text_before_an_error_is_written(written):
    with pytest.raises(KeyError):
        tw.inline('printf("before"); tw_raise(PyExc_KeyError, "k"); printf("after");')
    with pytest.raises(IndexError):
        tw.inline('printf(" and"); PyErr_SetString(PyExc_IndexError, "i"); printf(" more"); ')
    assert written.text == "before and more"


def test_stdout_that_prints_again(monkeypatch):
    """A sys.stdout that itself runs snippets that print."""
    real = []

    class Echo(io.TextIOBase):
        def write(self, text):
            real.append(text)
            if len(real) < 3:
                tw.inline('printf("[%s]", text);', ["text"])
            return len(text)

    monkeypatch.setattr(sys, "stdout", Echo())
    tw.inline('printf("a");')
    assert real == ["a", "[a]", "[[a]]"]


def test_stdout_replaced_from_within(written):
    other = io.StringIO()

    def swap():
        sys.stdout = other

    tw.inline('printf("first"); Py_XDECREF(PyObject_CallNoArgs(swap)); printf("second");', ["swap"])
    assert (written.text, other.getvalue()) == ("first", "second")


def test_capture_by_redirect_stdout():
    import contextlib

    with contextlib.redirect_stdout(io.StringIO()) as stream:
        tw.inline('printf("caught");')
    assert stream.getvalue() == "caught"
