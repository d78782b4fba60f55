"""The declarations of a C text (src/frontend/declaration.c)."""

import random

import pytest
from declaration_library import parse
from declaration_oracle import PRELUDE, Generator, Normaliser, plain


def compare(theirs, ours):
    expected = Normaliser().unit("\n".join(PRELUDE.values()) + "\n" + theirs)[len(PRELUDE) :]
    result = parse(ours)
    assert isinstance(result[0], list), (result, ours.splitlines()[result[0] - 1])
    found = [
        (item["name"], item["storage"], item["inline"], item["definition"], plain(item["type"]))
        for item in result[0]
    ]
    assert [item[0] for item in found] == [item[0] for item in expected]
    for ours_, theirs_ in zip(found, expected, strict=True):
        assert ours_ == theirs_


@pytest.mark.parametrize("seed", range(20))
def test_pycparser_reads_the_same(seed):
    compare(*Generator(random.Random(seed)).texts(200))
