"""Random reductions against NumPy, as many as wanted: python fuzz_reduce.py [count] [seed]."""

import os
import random
import sys
import time

os.environ.setdefault("TINYWEAVE_CACHE", "off")

import reduce_library  # noqa: E402


def main(count=100_000, seed=0):
    found, start = 0, time.monotonic()
    for number in range(seed, seed + count):
        case = reduce_library.Case(random.Random(number))
        message = case.difference()
        if message is not None:
            found += 1
            print(f"seed {number}: {message}\n{case}\n", flush=True)
    print(f"{count} cases from seed {seed}: {found} differences, {time.monotonic() - start:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
