"""What #include lines reach (src/frontend/include.c)."""

import os

import pytest
from text_library import compile_text, library


def follow(text, *folders, source="tw:support_code"):
    """({path: contents} in order, flags that are set)."""
    contents, *flags = library.text_include(
        [(source, "support_code", text.encode())], [os.fsencode(folder) for folder in folders]
    )
    headers = {}
    while contents:
        path, length, rest = contents.split(b"\0", 2)
        assert path not in headers
        headers[os.fsdecode(path)] = rest[: int(length)].decode()
        contents = rest[int(length) :]
    names = ("any", "computed", "python", "numpy")
    return headers, {name for name, flag in zip(names, flags, strict=True) if flag}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "one/a.h": '#include "b.h"\n#include <c.h>\n',
        "one/b.h": "int b;\n",
        "one/sub/d.h": '#include "../b.h"\n#include "e.h"\n',
        "one/sub/e.h": '#include "d.h"\n',
        "two/b.h": "int other;\n",
        "two/c.h": "#if 0\n#include <stdio.h>\n#include <numpy/arrayobject.h>\n#endif",
        "here.h": "int here;",
        "circle.h": '#include "circle.h"\n#include "./circle.h"\n',
        "empty.h": "",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_nothing():
    assert follow('int x; // #include "a.h"\nconst char *s = "\\\n#include <b.h>";') == ({}, set())


def test_system_headers():
    assert follow("#include <stdio.h>\n#include <nope/Python.h>\n") == ({}, {"any"})
    assert follow("# include /* c */ <Python.h>\n") == ({}, {"any", "python"})
    assert follow('#include "numpy/ndarraytypes.h"') == ({}, {"any", "python", "numpy"})


def test_folders_in_order(folder):
    headers, flags = follow("#include <a.h>\n#include <b.h>\n", "one", "two")
    assert list(headers) == ["one/a.h", "one/b.h", "two/c.h"]
    assert headers["one/b.h"] == "int b;\n"
    assert flags == {"any", "python", "numpy"}
    headers, _ = follow("#include <b.h>\n", "two", "one/")
    assert headers == {"two/b.h": "int other;\n"}


def test_beside_the_including_file(folder):
    headers, flags = follow('#include "sub/d.h"\n', "one")
    assert list(headers) == ["one/sub/d.h", "one/sub/../b.h", "one/sub/e.h"]
    assert flags == {"any"}


def test_quotes_look_in_the_current_folder_as_libtcc_does(folder):
    assert follow('#include "here.h"')[0] == {"here.h": "int here;"}
    assert follow("#include <here.h>")[0] == {}
    assert compile_text('#line 1 "tw:code"\n#include "here.h"\nint f(void) { return here; }') == []
    assert "not found" in compile_text("#include <here.h>")[0]


def test_absolute(folder):
    path = str(folder / "here.h")
    assert follow(f"#include <{path}>")[0] == {path: "int here;"}


def test_circles_end(folder):
    assert list(follow('#include "circle.h"')[0]) == ["circle.h"]


def test_empty_header(folder):
    assert follow('#include "empty.h"') == ({"empty.h": ""}, {"any"})


@pytest.mark.parametrize(
    "text",
    ["#include NAME\n", "#include\n", "#include_next <stdio.h>\n", "#include <stdio.h\n"]
    + ['#include "stdio.h\n', '#include "one"\n', '#include "pipe"\n', '#include "broken.h"\n']
    + ['#include "' + "a/" * 5000 + '"\n', '#include "' + "a" * 4000 + '"\n'],
)
def test_computed(folder, text):
    os.mkfifo(folder / "pipe")
    (folder / "broken.h").write_text("/* never closed")
    assert "computed" in follow(text)[1]


def test_unreadable(folder):
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (folder / "here.h").chmod(0)
    assert follow('#include "here.h"') == ({}, {"any", "computed"})


def test_several_sources(folder):
    texts = [("tw:headers", "headers", b'#include "here.h"\n'), ("tw:code", "code", b'#include "empty.h"\n')]
    contents = library.text_include(texts, [])[0]
    assert contents == b"here.h\x009\0int here;empty.h\x000\0"
