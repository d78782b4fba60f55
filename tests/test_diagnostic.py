"""libtcc's messages -> CompileError with the user's own line (src/frontend/diagnostic.c)."""

import re
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_library import (
    PROBLEM_COMPILE,
    PROBLEM_SYMBOL,
    CompileError,
    compile_error,
    library,
    locate,
    sources,
)

SNIPPETS = (Path(__file__).parent / "snippets" / "errors.c").read_text().split("// ----\n")
# Names of generated text that no message may show.
INTERNAL = re.compile(r"tw:|tw_(kernel|args|call|return|a\b)|generated|got '}'|got ';'")


def refused(code, support=""):
    """The CompileError of the checks in front of libtcc, else of libtcc; None for good code."""
    try:
        library.text_check_raise(sources(code, support)[1:], 1, CompileError)
    except CompileError as error:
        return error
    return compile_error(code, support)


def place(error):
    return error.lineno, error.offset


@pytest.mark.parametrize("code", SNIPPETS)
def test_snippets(code):
    expected = [
        (number, line.split("// error: ")[1])
        for number, line in enumerate(code.splitlines(), 1)
        if "// error: " in line and not line.endswith("none")
    ]
    error = refused(code)
    if not expected:
        assert error is None or INTERNAL.search(str(error)) is None
        return
    assert error is not None
    assert expected[0][1] in error.msg
    assert error.lineno == expected[0][0]
    assert error.text == code.splitlines()[error.lineno - 1]
    assert error.filename.startswith("<inline code, ")
    assert INTERNAL.search(str(error)) is None


@pytest.mark.parametrize(
    ("code", "line", "offset", "message"),
    [
        ("int x = 1\nint y = 2;", 1, 10, "';' expected (got 'int')"),
        ("int x = 1; // c\nint y = 2 // d\n\n int z;", 2, 10, "';' expected"),
        ("int x = 1 long y = 2;", 1, 11, "';' expected (got 'long')"),
        ("int x = 1 int y = 2;", 1, 1, "';' expected (got 'int')"),
        ("x = 1;", 1, 1, "undeclared name 'x'"),
        ("int y = 1 + sqr(2);", 1, 13, "undeclared function 'sqr'"),
        ("  y = y;", 1, 3, "undeclared name 'y'"),
        ("int é = 1; é = b;", 1, 16, "undeclared name 'b'"),
        ("\tint q;\tq = b;", 1, 13, "undeclared name 'b'"),
        ("int x = 1 + ;", 1, 13, "expression expected before ';'"),
        ("int x = 1 +", 1, 12, "expression expected at the end of code"),
        ("int x = 1 + // c\n\n\n", 1, 12, "expression expected at the end of code"),
        ("do ;", 1, 5, "'while' expected at the end of code"),
        ("if (a) goto l;\nelse goto l;", 2, 11, "label 'l'"),
        ('__asm__("nonsense");', 1, 1, "unknown opcode 'nonsense'"),
        ("#include_next <nope.h>\n", 1, 15, "'nope.h' not found: name its folder in include_dirs=[...]"),
        ("int x = M(1);\nint y;", 1, 9, "undeclared function 'M'"),
    ],
)
def test_places(code, line, offset, message):
    error = compile_error(code)
    assert message in error.msg
    assert place(error) == (line, offset)


@pytest.mark.parametrize(
    ("support", "code", "argument", "line", "offset", "message"),
    [
        ("int n\n", "n = 1;", "support_code", 1, 6, "';' expected at the end of support_code"),
        ("struct s { int a; }\n", ";", "support_code", 1, 20, "';' expected at the end of support_code"),
        ("int nnn;\nint f(void) { return nnm; }", "f();", "support_code", 2, 22, "did you mean 'nnn'?"),
        ("#define M(x) ((x) +)", "int y;\ny = M((1));", "code", 2, 1, "expression expected before ')'"),
        ("static int square(int x) { return x*x; }", "squar(2);", "code", 1, 1, "did you mean 'square'?"),
        ("#define LIMIT 3", "int y = LIMTI;", "code", 1, 9, "did you mean 'LIMIT'?"),
        ("#define M(a) a", "int x;\nM(", "code", 2, 1, "EOF in invocation of macro 'M'"),
    ],
)  # fmt: skip
def test_support_code(support, code, argument, line, offset, message):
    error = compile_error(code, support)
    assert message in error.msg
    assert place(error) == (line, offset)
    assert error.filename.startswith(f"<inline {argument}, ")


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("sqr", "sqrt"),
        ("sqtr", "sqrt"),
        ("snni", None),
        ("memcyp", "memcpy"),  # not memcmp, as near
        ("prinft", "printf"),
        ("PyErr_Claer", "PyErr_Clear"),
        ("Sin", "sin"),
        ("zz", None),
        ("retrun", "return"),
        ("q" * 100, None),
    ],
)
def test_suggestions(name, suggested):
    message = locate(f"tw:code:1: error: implicit declaration of function '{name}'", f"{name}(1);").msg
    hint = f"; did you mean '{suggested}'?" if suggested else ""
    assert message == f"undeclared function '{name}'" + hint


def test_suggestions_are_names_seen_before():
    assert compile_error("int count = 1; cuont = later; int coutn;").msg.endswith("did you mean 'count'?")
    assert compile_error("int x; y = 1;").msg == "undeclared name 'y'"
    assert compile_error("int N; n = 1;").msg == "undeclared name 'n'; did you mean 'N'?"
    assert compile_error("first = 1; int firts;").msg == "undeclared name 'first'"


def test_undefined_symbols():
    error = locate("foo bar", "a = 1;\nb = bar(foo());", kind=PROBLEM_SYMBOL)
    assert error.msg.startswith("undefined symbols 'foo', 'bar'")
    assert "libraries=" in error.msg
    assert place(error) == (2, 9)
    error = locate("foo", "a = 1;", kind=PROBLEM_SYMBOL)
    assert error.msg.startswith("undefined symbol 'foo'")
    assert (error.lineno, error.text) == (None, None)
    assert len(locate(" ".join(["name" * 20] * 12), "", kind=PROBLEM_SYMBOL).msg) < 600


def test_own_files_keep_their_name():
    error = compile_error('#line 7 "mine.y"\n b = 1;')
    assert (error.filename, error.lineno, error.text) == ("mine.y", 7, None)
    error = locate("In file included from tw:headers:1:\n/x/y.h:3: error: 'q' undeclared", "")
    assert (error.filename, error.lineno) == ("/x/y.h", 3)
    assert error.msg == "undeclared name 'q'"


@pytest.mark.parametrize(
    "message",
    [
        "tw:generated:1: error: incompatible types for redefinition of 'tw_kernel'",
        "tw:generated:1: error: 'tw_call' undeclared",
        "tw:code:1: error: macro 'tw_return' used with too many args",
        "tw:code:1: error: 'tw_Sa' undeclared",
        "tw:generated:2: error: ';' expected (got '}')",
        "<string>:900: error: invalid type",
        "tw:code:99: error: invalid type",
    ],
)
def test_generated_text_is_never_shown(message):
    error = locate(message, "a = 1;\nb = 2;\n")
    assert INTERNAL.search(error.msg) is None
    assert error.text in ("a = 1;", "b = 2;")


@pytest.mark.parametrize(
    "message",
    ["", "error", ": error: ", "1: error: x", "tcc: error: x", "tw:code:-1: error: x", "tw:code:0: error: '"]
    + ["tw:code:1: error: (got '", "tw:code:1: error: ''' expected", "tw:code:99999999999: error: x"]
    + ["\xff: error: \xff"],
)
def test_odd_messages(message):
    assert isinstance(locate(message.encode("latin-1"), "a = 1;\n"), CompileError)


@settings(max_examples=300)
@given(st.text(max_size=40), st.text("ab;'(){}=\n\t é\r", max_size=40), st.integers(0, 5))
def test_any_message_and_text(words, code, line):
    quoted = code.split()[0] if code.split() else ""
    message = f"tw:code:{line}: error: {words} '{quoted}'".replace("\0", "")
    try:
        library.text_raise(sources(code), PROBLEM_COMPILE, message.encode(), CompileError)
    except CompileError as error:
        assert error.text is None or error.offset <= len(error.text) + 1
        assert "".join(traceback.format_exception_only(error))


def caret_line(error):
    lines = "".join(traceback.format_exception_only(error)).splitlines()
    return lines[-3], lines[-2]


@pytest.mark.parametrize("code", ["int é = 1; é = sqr(é);", "\tint a;\ta = sqr(1);", "  int a = sqr(1);\r\n"])
def test_caret_stands_under_the_token(code):
    text, caret = caret_line(compile_error(code))
    assert text[caret.index("^") : caret.rindex("^") + 1] == "sqr"


def test_caret_behind_the_end():
    text, caret = caret_line(compile_error("int a = 1\nint b;"))
    assert caret.index("^") == len(text)


def test_call_site():
    error = compile_error("x = 1;")
    assert re.fullmatch(r"<inline code, text_library\.py:\d+>", error.filename)
    assert str(error) == f"undeclared name 'x' ({error.filename}, line 1)"
    assert isinstance(error, SyntaxError)


@pytest.mark.parametrize("code", ["  int é = sqr(1);", "int a;\n\t a = sqr(1);"])
def test_uncaught(code):
    """The interpreter's own printing, in C up to Python 3.12."""
    script = f"import text_library as t\nraise t.compile_error({code!r})"
    result = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent, capture_output=True)
    text, caret, message = result.stderr.decode().splitlines()[-3:]
    assert text[caret.index("^") :].startswith("sqr(1)")
    assert "undeclared function 'sqr'" in message
