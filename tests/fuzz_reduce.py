"""Random reductions against NumPy: python fuzz_reduce.py [count] [seed]."""

import os
import sys

os.environ.setdefault("TINYWEAVE_CACHE", "off")

import evaluate_library  # noqa: E402
import reduce_library  # noqa: E402


def main(count=100_000, seed=0):
    return evaluate_library.fuzz(reduce_library.Case, count, seed)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
