"""The pages "Coming from ..." are what happens: every block in them is run, in a folder of the page's own.

A block with a file's name behind its language ("c kernels.c") is written to that file. Of the others, those
marked sh are run by a shell, with this Python and its tools in front of the PATH; those marked python are
run here, as doctests where they start with >>>. What stands under "## Before" needs the other tool and a
compiler, and is skipped where these are missing.
"""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from test_docs import run_doctest

import tinyweave as tw

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(DOCS.glob("from_*.md"))
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LANGUAGES = {"c", "cython", "fortran", "python", "sh", "swig"}

# What the "before" of a page takes, beside gcc: modules, and commands of their own.
NEEDS = {
    "from_weave": [],
    "from_f2py": ["numpy.f2py"],
    "from_ctypes": [],
    "from_cffi": ["cffi", "setuptools"],
    "from_cython": ["Cython", "setuptools"],
    "from_swig": ["swig", "setuptools"],
}


def environment():
    """Quick builds: what the other tools make is not measured here."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "CFLAGS": "-O0 -w", "PYTHONPATH": os.pathsep.join(sys.path)}


def run_shell(text):
    done = subprocess.run(
        ["sh", "-e", "-c", text], env=environment(), capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr


def missing(page):
    """What of the other tool is not there."""
    modules = [name for name in NEEDS[page.stem] if find_spec(name) is None]
    return modules + [name for name in ["gcc"] if shutil.which(name) is None]


def split(text):
    """The text's parts, before and from "## After" on, each with the line it starts at."""
    at = text.index("\n## After\n")
    return (text[:at], 0), (text[at:], text.count("\n", 0, at))


def run_part(text, first_line, title, names):
    """Run the blocks of a part. Return how many there were."""
    blocks = list(BLOCK.finditer(text))
    for block in blocks:
        language, file, code = block.groups()
        line = first_line + text.count("\n", 0, block.start(3))
        assert language in LANGUAGES, language
        if file:
            Path(file).write_text(code, encoding="utf-8")
        elif language == "sh":
            run_shell(code)
        elif code.startswith(">>>"):
            run_doctest(code, names, title, line)
        else:
            assert language == "python", f"{title}, line {line}: a block that is not run"
            exec(compile("\n" * line + code, title, "exec"), names)
    return len(blocks)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "weave", tw)  # the names the page speaks of are the same
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page(page, folder):
    before, after = split(page.read_text(encoding="utf-8"))
    names = {}
    without = missing(page)
    if not without:
        assert run_part(*before, page.name, names) >= 2
    elif "gcc" not in without:
        for block in BLOCK.finditer(before[0]):
            if block[2]:
                Path(block[2]).write_text(block[3], encoding="utf-8")
    if "gcc" not in without or "```sh" not in after[0]:
        assert run_part(*after, page.name, names) >= 2
    if without:
        pytest.skip(f"without {', '.join(without)} only the second half was run")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_before_and_after_agree(page, folder):
    """Both functions, for all four types, against NumPy."""
    _, after = split(page.read_text(encoding="utf-8"))
    names = {}
    exec(next(block[3] for block in BLOCK.finditer(after[0]) if "\nkernels = tw.compile" in block[3]), names)
    random = np.random.default_rng(0)
    for letter in "fdFD":
        a = random.normal(size=(6, 7)).astype(letter)
        assert np.array_equal(names["kernels"].add(a[0], a[1]), a[0] + a[1])
        edges = a[:-2, 1:-1] + a[2:, 1:-1] + a[1:-1, :-2] + a[1:-1, 2:]
        corners = a[:-2, :-2] + a[:-2, 2:] + a[2:, :-2] + a[2:, 2:]
        half, quarter = np.float32(0.5), np.float32(0.25)
        expected = np.zeros_like(a)
        expected[1:-1, 1:-1] = a[1:-1, 1:-1] + half * edges + quarter * corners
        assert np.allclose(names["kernels"].filter2d(a), expected, rtol=8 * np.finfo(letter).eps)


def test_the_guide_has_a_page_for_each_neighbour():
    assert [page.stem for page in PAGES] == sorted(NEEDS)
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    for page in PAGES:
        assert f"docs/{page.name}" in readme
        text = page.read_text(encoding="utf-8")
        for heading in ("## Before", "## After", "## What is better here", "## Limits"):
            assert f"\n{heading}" in text, (page.name, heading)


def test_a_wrong_block_is_noticed(folder):
    with pytest.raises(AssertionError, match="Expected"):
        run_part("```python\n>>> 1 + 1\n3\n```\n", 0, "made up", {})
    with pytest.raises(AssertionError):
        run_part("```sh\nfalse\n```\n", 0, "made up", {})
    with pytest.raises(AssertionError, match="not run"):
        run_part("```c\nint x;\n```\n", 0, "made up", {})
