from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

from numpy import ndarray
from numpy.typing import ArrayLike

from . import expressions as expressions
from . import interpreter as interpreter
from . import necompiler as necompiler
from . import utils as utils
from . import version as version
from .expressions import E
from .interpreter import NumExpr as _NumExpr

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

_Order: TypeAlias = Literal["C", "F", "A", "K"]
_Casting: TypeAlias = Literal["no", "equiv", "safe", "same_kind", "unsafe"]
_Optimization: TypeAlias = Literal["none", "moderate", "aggressive"]

__version__: Final[str]
__BLOCK_SIZE1__: Final[int]
MAX_THREADS: Final[int]
ncores: Final[int]
nthreads: Final[int]
use_vml: Final = False
is_cpu_amd_intel: Final = False

def evaluate(
    ex: str,
    local_dict: Mapping[str, ArrayLike] | None = None,
    global_dict: Mapping[str, ArrayLike] | None = None,
    out: ndarray[Any, Any] | None = None,
    order: _Order = "K",
    casting: _Casting = "same_kind",
    sanitize: bool | None = None,
    _frame_depth: int = 3,
    disable_cache: bool = False,
    *,
    optimization: _Optimization = "aggressive",
    truediv: bool | Literal["auto"] = "auto",
) -> ndarray[Any, Any]:
    """Computes an expression of arrays, element by element, by numexpr's rules."""

def re_evaluate(
    local_dict: Mapping[str, ArrayLike] | None = None,
    global_dict: Mapping[str, ArrayLike] | None = None,
    _frame_depth: int = 2,
) -> ndarray[Any, Any]:
    """Computes this thread's last expression again, of what its names stand for now."""

def validate(
    ex: str,
    local_dict: Mapping[str, ArrayLike] | None = None,
    global_dict: Mapping[str, ArrayLike] | None = None,
    out: ndarray[Any, Any] | None = None,
    order: _Order = "K",
    casting: _Casting = "safe",
    _frame_depth: int = 2,
    sanitize: bool | None = None,
    *,
    optimization: _Optimization = "aggressive",
    truediv: bool | Literal["auto"] = "auto",
) -> Exception | None:
    """Checks an expression without computing it. Returns the exception, or None."""

def NumExpr(
    ex: str | expressions.ExpressionNode,
    signature: Sequence[tuple[str, type]] = (),
    sanitize: bool = True,
    *,
    optimization: _Optimization = "aggressive",
    truediv: bool | Literal["auto"] = "auto",
) -> _NumExpr:
    """Compiles an expression for arrays of given types."""

def disassemble(program: _NumExpr) -> list[list[bytes | int | None]]:
    """The operations of a compiled expression: [operation, result, operand, ...]."""

def set_num_threads(nthreads: int) -> int:
    """Sets tinyweave's number of threads and returns the one of before."""

def get_num_threads() -> int: ...
def detect_number_of_cores() -> int: ...
def detect_number_of_threads() -> int: ...
def _init_num_threads() -> int: ...
def print_versions() -> None: ...
def get_vml_version() -> None: ...
def get_vml_num_threads() -> None: ...
def set_vml_accuracy_mode(mode: Literal["low", "high", "fast"] | None) -> None: ...
def set_vml_num_threads(nthreads: int) -> None: ...
