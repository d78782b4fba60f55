"""What the documents show is what happens: their Python blocks, and the examples of docstrings.

A block that starts with >>> is a doctest; any other block marked python is run. Blocks of one document share
their names; np, tw and math are there from the start.
"""

import doctest
import inspect
import math
import re
from pathlib import Path

import numpy as np
import pytest

import tinyweave as tw

ROOT = Path(__file__).parent.parent
# The pages "Coming from ..." build things: test_guide.py runs them.
DOCUMENTS = [
    ROOT / "README.md",
    *sorted(path for path in (ROOT / "docs").glob("**/*.md") if not path.name.startswith("from_")),
]
FENCED = re.compile(r"^```(?:python|pycon|doctest)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def given_names():
    return {"np": np, "tw": tw, "math": math}


def run_doctest(text, names, title, line):
    test = doctest.DocTestParser().get_doctest(text, names, title, title, line)
    report = []
    runner = doctest.DocTestRunner(optionflags=OPTIONS, verbose=False)
    runner.run(test, out=report.append, clear_globs=False)
    names.update(test.globs)  # get_doctest works on a copy
    assert not report, "".join(report)
    assert runner.tries > 0


def run_document(text, title):
    """Run every block. Return how many there were."""
    names = given_names()
    blocks = list(FENCED.finditer(text))
    for block in blocks:
        code, line = block[1], text.count("\n", 0, block.start(1))
        if code.lstrip().startswith(">>>"):
            run_doctest(code, names, title, line)
        else:
            exec(compile("\n" * line + code, title, "exec"), names)
    return len(blocks)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_blocks_of(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the blocks write their files, and import them from
    monkeypatch.syspath_prepend(str(tmp_path))
    run_document(path.read_text(encoding="utf-8"), path.name)


def test_the_readme_has_blocks():
    assert len(FENCED.findall((ROOT / "README.md").read_text(encoding="utf-8"))) >= 5


@pytest.mark.parametrize(
    "name", ["inline", "evaluate", "expression", "blitz", "explain", "extension", "ufunc", "gufunc"]
)
def test_examples_of(name):
    run_doctest(inspect.getdoc(getattr(tw, name)), given_names(), f"tw.{name}", 0)


@pytest.mark.parametrize(
    "method", [tw.Library.save, tw.Function.low_level_callable], ids=lambda f: f.__name__
)
def test_examples_of_methods(method):
    run_doctest(inspect.getdoc(method), given_names(), f"tw.{method.__qualname__}", 0)


@pytest.mark.parametrize("name", [name for name in tw.__all__ if not name.startswith("__")])
def test_public_names_have_docstrings(name):
    assert inspect.getdoc(getattr(tw, name))


def test_a_wrong_block_is_noticed():
    with pytest.raises(AssertionError, match="Expected"):
        run_document("```python\n>>> 1 + 1\n3\n```\n", "made up")
