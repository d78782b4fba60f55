"""Random expressions against NumPy: python fuzz_evaluate.py [count] [seed] [reductions]."""

import os
import random
import sys
import time

os.environ.setdefault("TINYWEAVE_CACHE", "off")

import evaluate_library as t  # noqa: E402


def main(count=100_000, seed=0, reductions=1):
    found, start = 0, time.monotonic()
    for number in range(seed, seed + count):
        case = t.Case(random.Random(number), bool(reductions))
        message = case.difference()
        if message is not None:
            found += 1
            print(f"seed {number}: {message}\n{case}\n", flush=True)
        if number % 10_000 == 9_999:
            print(
                f"{number + 1 - seed} cases, {found} differences, {time.monotonic() - start:.0f} s",
                flush=True,
            )
    print(f"{count} cases from seed {seed}: {found} differences, {time.monotonic() - start:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
