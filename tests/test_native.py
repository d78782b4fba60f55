"""The machine's own C compiler: how it is found, run, and what comes back."""

import ctypes
import os
import shutil
import signal
import stat
import sys
import threading

import pytest
from test_references import no_growth

import tinyweave as tw
from tinyweave import _core

# What a made-up compiler does: its output is there.
MAKE = 'for word; do case "$word" in */library) touch "$word";; esac; done'

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ["cc", "gcc", "clang"])), reason="no C compiler on this machine"
)


@pytest.fixture
def clean(monkeypatch):
    """No variable names a compiler."""
    monkeypatch.delenv("TINYWEAVE_CC", raising=False)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setitem(sys.modules, "ziglang", None)  # as good as not installed
    return monkeypatch


@pytest.fixture
def program(tmp_path):
    """Makes a shell script and returns its path."""

    def make(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return str(path)

    return make


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "answer.c"
    path.write_text("int answer(void) { return 42; }\n")
    return path


# ---- Finding ----


def test_the_order(clean, program, tmp_path):
    folder = tmp_path / "bin"
    clean.setenv("PATH", f"/nowhere::{folder}")
    clang = program("bin/clang", "")
    assert _core._native_compiler() == (clang,)
    gcc = program("bin/gcc", "")
    assert _core._native_compiler() == (gcc,)
    cc = program("bin/cc", "")
    assert _core._native_compiler() == (cc,)
    clean.setenv("CC", "clang -m64")
    assert _core._native_compiler() == (clang, "-m64")
    clean.setenv("TINYWEAVE_CC", gcc)
    assert _core._native_compiler() == (gcc,)
    assert _core._native_compiler("cc -O1") == (cc, "-O1")
    clean.setenv("TINYWEAVE_CC", "  ")  # as good as not set
    assert _core._native_compiler() == (clang, "-m64")


def test_ziglang_is_the_last_resort(clean, tmp_path):
    (tmp_path / "ziglang").mkdir()
    (tmp_path / "ziglang" / "__init__.py").touch()
    clean.delitem(sys.modules, "ziglang")
    clean.syspath_prepend(str(tmp_path))
    clean.setenv("PATH", "/nowhere")
    assert _core._native_compiler() == (sys.executable, "-m", "ziglang", "cc")


def test_words_are_quoted_as_in_a_shell(clean, program, tmp_path):
    plain = program("my cc", "")
    quoted = f""" '{plain}'  -DA="b c" d\\ e '' """
    assert _core._native_compiler(quoted) == (plain, "-DA=b c", "d e", "")
    assert _core._native_compiler(plain) == (plain,)  # a path with a blank, by itself


def test_none_found_says_what_was_looked_for(clean):
    clean.setenv("PATH", "/nowhere:/else")
    with pytest.raises(FileNotFoundError) as caught:
        _core._native_compiler()
    assert str(caught.value) == (
        "no C compiler: TINYWEAVE_CC and CC are not set, none of cc, gcc and clang is on PATH "
        "(/nowhere:/else), and the package ziglang is not installed"
    )
    clean.delenv("PATH")
    with pytest.raises(FileNotFoundError, match=r"on PATH \(not set\)"):
        _core._native_compiler()


@pytest.mark.parametrize("variable", ["TINYWEAVE_CC", "CC"])
def test_what_is_named_must_be_there(clean, variable):
    clean.setenv(variable, "nosuchcc -m64")
    with pytest.raises(FileNotFoundError) as caught:
        _core._native_compiler()
    assert (
        str(caught.value)
        == f"no C compiler: {variable} is 'nosuchcc -m64', and there is no such program on PATH"
    )


@pytest.mark.parametrize("name", ["/no/such/cc", "''", "", "/", "x" * 5000])
def test_a_named_one_that_is_not_there(clean, name):
    with pytest.raises(FileNotFoundError, match="no C compiler: the one asked for is "):
        _core._native_compiler(name)


@pytest.mark.parametrize("name", [3, ["gcc"], b"a\0b", "a\0b"])
def test_a_name_that_is_no_text(name):
    with pytest.raises((TypeError, ValueError)):
        _core._native_compiler(name)


def test_a_folder_or_plain_file_is_no_compiler(clean, tmp_path):
    (tmp_path / "cc").mkdir()
    (tmp_path / "gcc").write_text("no program")
    clean.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError):
        _core._native_compiler()


# ---- Building ----


@needs_compiler
def test_a_library_is_made(source, tmp_path):
    output = tmp_path / "answer.so"
    assert _core._native_build([source], output) == ""
    assert ctypes.CDLL(str(output)).answer() == 42
    assert sorted(p.name for p in tmp_path.iterdir()) == ["answer.c", "answer.so"]
    mask = os.umask(0o022)
    os.umask(mask)
    assert stat.S_IMODE(output.stat().st_mode) & 0o555 == 0o555 & ~mask


@needs_compiler
def test_options(tmp_path):
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "value.h").write_text("#define VALUE 5\n")
    (tmp_path / "one.c").write_text(
        '#include "value.h"\n#include <math.h>\n#ifdef GONE\n#error GONE\n#endif\n'
        "double one(double x) { return cbrt(x) + VALUE + MACRO + FLAG + OPTIMIZED; }\n"
    )
    (tmp_path / "two.c").write_text("const char *two(void) { return TEXT; }\n")
    output = tmp_path / "options.so"
    _core._native_build(
        [tmp_path / "one.c", str(tmp_path / "two.c")],
        output,
        include_dirs=[tmp_path / "include"],
        macros=[("MACRO", 10), ("TEXT", '"a b"'), ("GONE", None)],
        libraries=["m"],
        library_dirs=[tmp_path],
        extra_compile_args=["-DGONE", "-DFLAG=100", "-DOPTIMIZED=1000", "-O3"],
        extra_link_args=["-Wl,-z,now"],
    )
    library = ctypes.CDLL(str(output))
    library.one.restype = ctypes.c_double
    library.one.argtypes = [ctypes.c_double]
    library.two.restype = ctypes.c_char_p
    assert library.one(8.0) == 1117.0
    assert library.two() == b"a b"


@needs_compiler
def test_a_library_may_be_a_path(source, tmp_path):
    first = tmp_path / "libanswer.so"
    _core._native_build([source], first)
    (tmp_path / "next.c").write_text("int answer(void); int next(void) { return answer() + 1; }\n")
    _core._native_build([tmp_path / "next.c"], tmp_path / "next.so", libraries=[first])
    assert ctypes.CDLL(str(tmp_path / "next.so")).next() == 43


@needs_compiler
def test_an_error_of_the_compiler(tmp_path):
    path = tmp_path / "wrong.c"
    path.write_text("int one;\nint f(void) { return none; }\n")
    output = tmp_path / "wrong.so"
    output.write_text("what was there")
    with pytest.raises(tw.CompileError) as caught:
        _core._native_build([path], output)
    error = caught.value
    assert (error.filename, error.lineno, error.offset) == (str(path), 2, 22)
    assert error.text == "int f(void) { return none; }\n"
    assert "'none'" in error.msg
    assert "wrong.c:2:22: error" in error.__notes__[0]
    assert output.read_text() == "what was there"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["wrong.c", "wrong.so"]


@needs_compiler
def test_an_error_of_the_linker(source, tmp_path):
    with pytest.raises(tw.CompileError, match="nosuchlibrary") as caught:
        _core._native_build([source], tmp_path / "answer.so", libraries=["nosuchlibrary"])
    assert caught.value.lineno is None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["answer.c"]


@needs_compiler
def test_warnings_are_returned(tmp_path):
    path = tmp_path / "warn.c"
    path.write_text("int f(void) { int unused; return 0; }\n")
    assert "unused" in _core._native_build([path], tmp_path / "warn.so", extra_compile_args=["-Wall"])


def test_a_folder_that_is_not_there(clean, program, source, tmp_path):
    with pytest.raises(OSError, match="cannot write '/nowhere/x.so': No such file"):
        _core._native_build([source], "/nowhere/x.so", compiler=program("mycc", ""))


def test_what_the_compiler_gets(program, source, tmp_path):
    """No shell looks at the words, nothing is read, and messages are in English."""
    script = program(
        "mycc",
        f'for w in "$@"; do echo "[$w]"; done > {tmp_path}/words\n'
        'echo "$LC_ALL"; cat; echo out; echo err >&2\n' + MAKE,
    )
    printed = _core._native_build([source], tmp_path / "a b;$(x).so", compiler=f"'{script}' -first")
    assert printed == "C\nout\nerr\n"
    words = (tmp_path / "words").read_text().split("\n")
    assert words[:-2] == ["[-first]", "[-shared]", "[-fPIC]", "[-O2]", f"[{source}]", "[-o]"]
    assert words[-2].startswith(f"[{tmp_path}/a b;$(x).so.") and words[-2].endswith("/library]")


def test_a_compiler_that_fails(program, source, tmp_path):
    with pytest.raises(tw.CompileError, match="mycc failed with status 3"):
        _core._native_build([source], tmp_path / "x.so", compiler=program("mycc", "exit 3"))
    with pytest.raises(OSError, match="mycc was ended by signal 9"):
        _core._native_build([source], tmp_path / "x.so", compiler=program("mycc", "kill -9 $$"))
    broken = tmp_path / "broken"
    broken.write_text("no program")
    broken.chmod(0o755)
    with pytest.raises(OSError, match="cannot run the C compiler .*broken: "):
        _core._native_build([source], tmp_path / "x.so", compiler=str(broken))
    assert not list(tmp_path.glob("x.so*"))


def test_long_messages(program, source, tmp_path):
    script = program(
        "mycc",
        "for i in $(seq 20000); do echo 'message of the compiler'; done; echo 'x.c:1: error: é'; exit 1",
    )
    with pytest.raises(tw.CompileError) as caught:
        _core._native_build([source], tmp_path / "x.so", compiler=script)
    assert (caught.value.msg, caught.value.lineno, caught.value.offset) == ("é", 1, None)
    assert len(caught.value.__notes__[0]) > 400000


@needs_compiler
def test_ignored_sigchld_is_told(source, tmp_path, python):
    done = python(
        """
        import signal
        from tinyweave import _core
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        try:
            _core._native_build([sys.argv[1]], sys.argv[2])
        except OSError as error:
            print(error)
        """,
        source,
        tmp_path / "x.so",
    )
    assert "ended is not known" in done.out


def test_ctrl_c_ends_it(program, source, tmp_path):
    script = program("mycc", f"kill -INT {os.getpid()}; exit 1")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            _core._native_build([source], tmp_path / "x.so", compiler=script)
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_go_on(program, source, tmp_path):
    """The compiler waits until another thread of this process has run."""
    go = tmp_path / "go"
    os.mkfifo(go)
    script = program("mycc", f"read line < {go}\n{MAKE}")
    writer = threading.Thread(target=lambda: go.write_text("go\n"))
    writer.start()
    _core._native_build([source], tmp_path / "x.so", compiler=script)
    writer.join()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"sources": "a.c"}, "expected a list, not 'a.c'"),
        ({"sources": [3]}, "expected str, bytes or os.PathLike"),
        ({"sources": 3}, "not iterable"),
        ({"macros": ["A"]}, r"'macros' must hold \(name, value\), not 'A'"),
        ({"macros": [("A",)]}, r"'macros' must hold \(name, value\)"),
        ({"libraries": [None]}, "expected str, bytes or os.PathLike"),
        ({"include_dirs": "x"}, "expected a list"),
        ({"compiler": 3}, "expected str, bytes or os.PathLike"),
        ({"other": 3}, "other"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(TypeError, match=message):
        _core._native_build(**{"sources": [], "output": "x.so", **arguments})


def test_nothing_stays_behind(program, source, tmp_path):
    fine, wrong = program("fine", MAKE), program("wrong", "echo 'x.c:1:2: error: no'; exit 1")
    files = len(os.listdir("/proc/self/fd"))

    def all_ways():
        _core._native_build([source], tmp_path / "x.so", compiler=fine, macros=[("A", 1)], libraries=["m"])
        for bad in ({"compiler": wrong}, {"compiler": "nosuchcc"}, {"compiler": fine, "macros": [3]}):
            with pytest.raises((tw.CompileError, OSError, TypeError)):
                _core._native_build([source], tmp_path / "x.so", **bad)

    all_ways()
    with no_growth(source, fine, slack=2000):
        for _ in range(20):
            all_ways()
    assert len(os.listdir("/proc/self/fd")) == files
