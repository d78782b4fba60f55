from collections.abc import Mapping, Sequence
from inspect import Signature
from os import PathLike
from typing import Any, Final, NamedTuple, SupportsIndex, final, type_check_only

from . import templates

__all__ = [
    "CompileError",
    "Function",
    "Library",
    "__version__",
    "cache",
    "compile",
    "get_num_threads",
    "inline",
    "set_num_threads",
    "templates",
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
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

@final
class Library:
    """Compiled C functions, as attributes. Made by `compile`."""

    @property
    def __name__(self) -> str: ...
    @property
    def source(self) -> str: ...
    def __getattr__(self, name: str) -> Function: ...

def compile(
    source: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    T: str | None = None,
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
def get_num_threads() -> int: ...
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
