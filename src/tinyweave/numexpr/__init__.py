"""numexpr's module on tinyweave: the same names, the same rules, another engine.

    import tinyweave.numexpr as ne
    ne.evaluate("2*a + 3*b")

docs/numexpr.md lists what differs.
"""

from . import expressions, interpreter, necompiler, utils, version  # noqa: F401
from .expressions import E
from .interpreter import __BLOCK_SIZE1__, MAX_THREADS, use_vml
from .necompiler import NumExpr, disassemble, evaluate, re_evaluate, validate
from .utils import (
    _init_num_threads,
    detect_number_of_cores,
    detect_number_of_threads,
    get_num_threads,
    get_vml_num_threads,
    get_vml_version,
    set_num_threads,
    set_vml_accuracy_mode,
    set_vml_num_threads,
)
from .version import version as __version__

is_cpu_amd_intel = False
ncores = detect_number_of_cores()
nthreads = _init_num_threads()


def print_versions():
    """Prints the versions of tinyweave, NumPy and Python, and the number of threads."""
    import platform
    import sys

    import numpy

    from .. import __version__ as tinyweave_version

    print(f"Numexpr version:   {__version__} (its rules, by tinyweave {tinyweave_version})")
    print(f"NumPy version:     {numpy.__version__}")
    print(f"Python version:    {sys.version}")
    print(f"Platform:          {platform.platform()}")
    print(f"VML available?     {use_vml}")
    print(f"Number of threads used by default: {nthreads} (out of {ncores} detected cores)")
    print(f"Maximum number of threads: {MAX_THREADS}")


__all__ = [
    "E",
    "MAX_THREADS",
    "NumExpr",
    "__BLOCK_SIZE1__",
    "__version__",
    "detect_number_of_cores",
    "detect_number_of_threads",
    "disassemble",
    "evaluate",
    "get_num_threads",
    "get_vml_num_threads",
    "get_vml_version",
    "ncores",
    "nthreads",
    "print_versions",
    "re_evaluate",
    "set_num_threads",
    "set_vml_accuracy_mode",
    "set_vml_num_threads",
    "use_vml",
    "validate",
]
