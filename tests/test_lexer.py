"""C text -> tokens (src/frontend/lexer.c)."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from text_library import KINDS, encode, scan, spellings

PIECES = st.sampled_from(
    ["a", "$x", "é", "1", ".5", "1e-3", "0x1p+3f", '"s\\"t"', "L'\\''", "'", '"', "/*c*/", "/*", "//d"]
    + ["\\\n", "\\\r\n", "\\", "\n", "\r\n", " ", "\t", "#", "#include <a.h>\n", "#if 0\n", "\n#endif\n"]
    + ["<<=", "...", "..", "->", "<%", "%:%:", "{", "}", "@", "\0", "\x01"]
)
GAP = re.compile(
    rb"""(?: [ \t\r\v\f\n]
    | \\\r?\n | \\\r?\Z
    | /(?:\\\r?\n)*/ (?:[^\n\\] | \\\r?\n | \\)*
    | /(?:\\\r?\n)*\* .*? \*(?:\\\r?\n)*/ )*""",
    re.DOTALL | re.VERBOSE,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a+++b", ["a", "++", "+", "b"]),
        ("a<<=b>>c", ["a", "<<=", "b", ">>", "c"]),
        ("x...y..z", ["x", "...", "y", ".", ".", "z"]),
        ("1e-3+.5f-0x1E+1", ["1e-3", "+", ".5f", "-", "0x1E+1"]),
        ('L"a" u8"b" U\'c\' x"d"', ['L"a"', 'u8"b"', "U'c'", "x", '"d"']),
        (r'"a\"b" "c\\" d', [r'"a\"b"', r'"c\\"', "d"]),
        ("a/*b\nc*/d//e\nf", ["a", "d", "f"]),
        ("int ca\\\nfé$1;", ["int", "ca\\\nfé$1", ";"]),
        ("+\\\r\n+", ["+\\\r\n+"]),
        ("/\\\n/ a\\\nb\nc", ["c"]),
        ("<% a<:1:> %>", ["<%", "a", "<:", "1", ":>", "%>"]),
        ("#include <a/b.h>\n", ["#", "include", "<a/b.h>"]),
        ("a <b> c", ["a", "<", "b", ">", "c"]),
        ("// last\\", []),
        ("#define X \\", ["#", "define", "X"]),
        ("#error don't\nx", ["#", "error", "don", "'t", "x"]),
        ("#if 0\ndon't @\n#endif\nx", ["#", "if", "0", "don", "'t @", "#", "endif", "x"]),
        ("??=", ["?", "?", "="]),
    ],
)
def test_tokens(text, expected):
    assert spellings(text) == expected


def test_kinds():
    kinds = [KINDS[token[0]] for token in scan("#include <a>\na 1 \"s\" 'c' +")]
    assert kinds == ["punctuator", "identifier", "header", "identifier", "number", "string", "character",
                     "punctuator", "end"]  # fmt: skip


def test_directive_ends_with_its_logical_line():
    flags = [token[1] for token in scan("a # b\n %: c \\\n d /*\n*/ e\nf")]
    assert flags == [0, 0, 0, 1, 1, 1, 1, 0, 0]
    firsts = [token[2] for token in scan("a # b\n %: c \\\n d /*\n*/ e\nf")]
    assert firsts == [1, 0, 0, 1, 0, 0, 0, 1, 0]


def test_places_count_bytes():
    assert [token[5:] for token in scan("é x\n\ty /*\n*/ z")] == [(1, 1), (1, 4), (2, 2), (3, 4), (3, 5)]


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("a\n /* b\n", 2, 2, "comment"),
        ('a = "b\n";', 1, 5, "string"),
        ("a = 'b", 1, 5, "character"),
        ("a\n @", 2, 2, "'@'"),
        ("a \\ b", 1, 3, "'\\'"),
        ("a\n\x01", 2, 1, "0x01"),
        ("a // \0", 1, 6, "NUL"),
        ("#if 1\n#endif\n'", 3, 1, "character"),
    ],
)
def test_errors(text, line, column, message):
    spot = scan(text)
    assert spot[:2] == (line, column)
    assert message in spot[2]


def assert_round_trip(text):
    tokens = scan(text)
    if isinstance(tokens, tuple):
        line, column, message = tokens
        assert message
        assert 1 <= line <= text.count(b"\n") + 1
        assert column >= 1
        return
    at = 0
    for _, _, _, offset, length, line, column in tokens:
        assert GAP.fullmatch(text[at:offset])
        assert line == text.count(b"\n", 0, offset) + 1
        assert column == offset - (text.rfind(b"\n", 0, offset) + 1) + 1
        at = offset + length
    assert at == len(text)
    assert all(token[4] > 0 for token in tokens[:-1])


@settings(max_examples=500)
@given(st.lists(PIECES, max_size=30).map("".join).map(encode))
@example(b"\\")
@example(b"/\\\r")
def test_round_trip_of_pieces(text):
    assert_round_trip(text)


@settings(max_examples=500)
@given(st.binary(max_size=200))
def test_round_trip_of_bytes(text):
    assert_round_trip(text)


@pytest.mark.parametrize("piece", ["\\\n", '"\\"', "#if\\\n", "'\"", ".\\\n", "/*", "<", "%:"])
def test_long_texts(piece):
    scan(piece * 200_000)
    scan("#define " + piece * 200_000)
