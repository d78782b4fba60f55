"""Random expressions against NumPy: python fuzz_evaluate.py [count] [seed] [reductions]."""

import os
import sys

os.environ.setdefault("TINYWEAVE_CACHE", "off")

import evaluate_library  # noqa: E402


def main(count=100_000, seed=0, reductions=1):
    return evaluate_library.fuzz(
        lambda generator: evaluate_library.Case(generator, bool(reductions)), count, seed
    )


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
