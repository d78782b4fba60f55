from collections.abc import Mapping, Sequence
from inspect import Signature
from os import PathLike
from types import ModuleType
from typing import Any, Final, Literal, NamedTuple, SupportsIndex, final, type_check_only

from numpy import bool_, dtype, ndarray, number
from numpy import ufunc as _ufunc
from numpy.typing import ArrayLike, DTypeLike

from . import ext_tools as ext_tools
from . import numexpr as numexpr
from . import templates as templates

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

__version__: Final[str]

class CompileError(SyntaxError):
    """C text that cannot be compiled; msg, filename, lineno, offset and text say where."""

@type_check_only
class CacheInfo(NamedTuple):
    """What `cache.info()` returns. At run time a struct sequence: a tuple with these names."""

    compiles: int
    memory_hits: int
    disk_hits: int
    disk_writes: int
    evictions: int
    errors: int
    entries: int
    bytes: int
    path: str

@final
@type_check_only
class Cache:
    """The type of `cache`; there is one, and no way to make another."""

    @property
    def path(self) -> str: ...
    def info(self) -> CacheInfo: ...
    def clear(self) -> int: ...

cache: Final[Cache]

@final
class Expression:
    """A compiled array expression: a call takes a value for each name. Made by `expression`."""

    @property
    def text(self) -> str: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def source(self) -> str: ...
    def __call__(self, *args: Any, out: ndarray | None = None, **kwargs: Any) -> Any: ...

@final
class Function:
    """A C function; a call converts and checks its arguments by the prototype."""

    @property
    def __name__(self) -> str: ...
    @property
    def __qualname__(self) -> str: ...
    @property
    def __text_signature__(self) -> str: ...
    @property
    def __signature__(self) -> Signature: ...
    @property
    def source(self) -> str: ...
    @property
    def address(self) -> int: ...
    @property
    def ctypes(self) -> Any: ...
    def low_level_callable(self, user_data: Any = None) -> Any: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

@final
class Library:
    """Compiled C functions, as attributes. Made by `compile`."""

    @property
    def __name__(self) -> str: ...
    @property
    def source(self) -> str: ...
    def save(self, path: str | PathLike[str], *, flags: str | Sequence[str] = ()) -> tuple[str, str]: ...
    @property
    def dtypes(self) -> dict[str, dtype[Any]]: ...
    def __getattr__(self, name: str) -> Any: ...
    def __setattr__(self, name: str, value: Any) -> None: ...

def blitz(
    expr: str,
    local_dict: Mapping[str, Any] | None = None,
    global_dict: Mapping[str, Any] | None = None,
    check_size: int = 1,
    verbose: int = 0,
) -> None: ...
def compile(
    source: str | PathLike[str] | Sequence[str | PathLike[str]] = "",
    *,
    declare: str | None = None,
    functions: str | Sequence[str] | None = None,
    T: str | None = None,
    U: str | None = None,
    headers: str | Sequence[str] = (),
    define_macros: Mapping[str, object] | Sequence[str | tuple[str] | tuple[str, object]] = (),
    undef_macros: str | Sequence[str] = (),
    include_dirs: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    libraries: str | Sequence[str] = (),
    library_dirs: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    extra_compile_args: str | Sequence[str] = (),
    name: str | None = None,
    force: bool = False,
) -> Library: ...
def evaluate(
    expr: str,
    local_dict: Mapping[str, Any] | None = None,
    global_dict: Mapping[str, Any] | None = None,
    *,
    out: ndarray | tuple[ndarray] | None = None,
    dtype: DTypeLike | None = None,
    casting: Literal["no", "equiv", "safe", "same_kind", "unsafe"] = "same_kind",
    order: Literal["K", "A", "C", "F"] = "K",
    where: ArrayLike = True,
    math: Literal["numpy", "fast"] | None = None,
) -> Any: ...
def explain(
    text: str,
    local_dict: Mapping[str, Any] | None = None,
    global_dict: Mapping[str, Any] | None = None,
    **values: Any,
) -> str: ...
def expression(text: str, *, math: Literal["numpy", "fast"] | None = None) -> Expression: ...
def extension(
    source: str | PathLike[str] | Sequence[str | PathLike[str]],
    name: str,
    *,
    headers: str | Sequence[str] = (),
    define_macros: Mapping[str, object] | Sequence[str | tuple[str] | tuple[str, object]] = (),
    undef_macros: str | Sequence[str] = (),
    include_dirs: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    libraries: str | Sequence[str] = (),
    library_dirs: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    extra_compile_args: str | Sequence[str] = (),
    compat: bool | None = None,
) -> ModuleType: ...
def get_num_threads() -> int: ...
def gufunc(
    source: str | PathLike[str] | Sequence[str | PathLike[str]] = ...,
    *,
    T: str | None = None,
    U: str | None = None,
    name: str | None = None,
    doc: str | None = None,
    declare: str | None = None,
    functions: str | Sequence[str] | None = None,
    headers: str | Sequence[str] = (),
    define_macros: Mapping[str, object] | Sequence[str | tuple[str] | tuple[str, object]] = (),
    undef_macros: str | Sequence[str] = (),
    include_dirs: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    libraries: str | Sequence[str] = (),
    library_dirs: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    extra_compile_args: str | Sequence[str] = (),
    force: bool = False,
) -> _ufunc: ...
def inline(
    code: str,
    arg_names: str | Sequence[str] = (),
    local_dict: Mapping[str, Any] | None = None,
    global_dict: Mapping[str, Any] | None = None,
    *,
    support_code: str | None = None,
    headers: str | Sequence[str] = (),
    define_macros: Mapping[str, object] | Sequence[str | tuple[str] | tuple[str, object]] = (),
    undef_macros: str | Sequence[str] = (),
    include_dirs: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    libraries: str | Sequence[str] = (),
    library_dirs: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    extra_compile_args: str | Sequence[str] = (),
    force: bool = False,
    verbose: int = 0,
) -> Any: ...
def set_num_threads(n: SupportsIndex, /) -> int: ...
def ufunc(
    source: str | PathLike[str] | Sequence[str | PathLike[str]] = ...,
    *,
    T: str | None = None,
    U: str | None = None,
    identity: complex | number | bool_ | None = ...,
    name: str | None = None,
    doc: str | None = None,
    declare: str | None = None,
    functions: str | Sequence[str] | None = None,
    headers: str | Sequence[str] = (),
    define_macros: Mapping[str, object] | Sequence[str | tuple[str] | tuple[str, object]] = (),
    undef_macros: str | Sequence[str] = (),
    include_dirs: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    libraries: str | Sequence[str] = (),
    library_dirs: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    extra_compile_args: str | Sequence[str] = (),
    force: bool = False,
) -> _ufunc: ...
