"""Random C functions against gcc. `make fuzz` runs more of them."""

import shutil

import compile_library
import pytest


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
@pytest.mark.parametrize("first", range(0, 40, 10))
def test_functions_by_seed(first):
    assert compile_library.fuzz(10, first) == 0
