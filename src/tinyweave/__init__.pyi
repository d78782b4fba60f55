from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Final, NamedTuple, final, type_check_only

__all__ = ["CompileError", "__version__", "cache", "inline"]

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
