"""Random array expressions against NumPy. `make fuzz` runs more of them."""

import random

import evaluate_library as t
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SEEDS = 1500
CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


def check(source):
    case = t.Case(source)
    message = case.difference()
    assert message is None, f"{message}\n{case}"


@settings(max_examples=500, deadline=None, derandomize=True, database=None, suppress_health_check=CHECKS)
@given(st.randoms(use_true_random=False))
def test_small_expressions(source):
    """What Hypothesis finds it also makes as small as it can."""
    check(source)


@pytest.mark.parametrize("first", range(0, SEEDS, 100))
def test_expressions_by_seed(first):
    for seed in range(first, first + 100):
        try:
            check(random.Random(seed))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from None
