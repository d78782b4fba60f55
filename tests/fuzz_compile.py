"""Random C functions against gcc: python fuzz_compile.py [count] [seed]."""

import os
import sys

os.environ.setdefault("TINYWEAVE_CACHE", "off")

import compile_library  # noqa: E402


def main(count=1000, seed=0):
    return compile_library.fuzz(count, seed)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
