from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, TypeAlias

from numpy import dtype

from .base_info import base_info as base_info
from .base_info import custom_info as custom_info
from .base_info import info_list as info_list

__all__ = [
    "arg_spec",
    "assign_variable_types",
    "base_info",
    "custom_info",
    "ext_function",
    "ext_function_from_specs",
    "ext_module",
    "info_list",
]

_Path: TypeAlias = str | PathLike[str]
_Macro: TypeAlias = str | tuple[str] | tuple[str, object]
_Values: TypeAlias = _Path | Iterable[_Path] | None
_Macros: TypeAlias = Mapping[str, object] | Iterable[_Macro] | None

class arg_spec:
    name: str
    dtype: dtype[Any] | None
    def __init__(self, name: str, value: object) -> None: ...
    @property
    def kind(
        self,
    ) -> Literal["long", "bool", "double", "float", "complex", "complexf", "str", "object", "array"]: ...
    @property
    def readonly(self) -> bool: ...
    @property
    def expected(self) -> str: ...
    def __hash__(self) -> int: ...

def assign_variable_types(
    names: str | Sequence[str],
    local_dict: Mapping[str, Any] | None = None,
    global_dict: Mapping[str, Any] | None = None,
    auto_downcast: int = 1,
    type_converters: None = None,
) -> list[arg_spec]: ...

class ext_function_from_specs:
    name: str
    code_block: str
    arg_specs: list[arg_spec]
    customize: custom_info
    def __init__(self, name: str, code: str, specs: Iterable[arg_spec]) -> None: ...
    def build_information(self) -> info_list: ...

class ext_function(ext_function_from_specs):
    def __init__(
        self,
        name: str,
        code: str,
        args: str | Sequence[str],
        local_dict: Mapping[str, Any] | None = None,
        global_dict: Mapping[str, Any] | None = None,
        auto_downcast: int = 1,
        type_converters: None = None,
    ) -> None: ...

class ext_module:
    name: str
    functions: list[ext_function_from_specs]
    compiler: str
    customize: custom_info
    def __init__(self, name: str, compiler: str = "") -> None: ...
    def add_function(self, function: ext_function_from_specs) -> None: ...
    def set_compiler(self, compiler: str) -> None: ...
    def build_information(self) -> info_list: ...
    def arg_specs(self) -> list[arg_spec]: ...
    def module_code(self) -> str: ...
    def generate_file(self, file_name: _Path = "", location: _Path = ".") -> str: ...
    def setup_extension(
        self,
        location: _Path = ".",
        *,
        sources: _Values = None,
        include_dirs: _Values = None,
        define_macros: _Macros = None,
        undef_macros: _Values = None,
        library_dirs: _Values = None,
        libraries: _Values = None,
        runtime_library_dirs: _Values = None,
        extra_objects: _Values = None,
        extra_compile_args: _Values = None,
        extra_link_args: _Values = None,
    ) -> Any: ...
    def compile(
        self,
        location: _Path = ".",
        compiler: str | None = None,
        verbose: int = 0,
        *,
        sources: _Values = None,
        include_dirs: _Values = None,
        define_macros: _Macros = None,
        undef_macros: _Values = None,
        library_dirs: _Values = None,
        libraries: _Values = None,
        runtime_library_dirs: _Values = None,
        extra_objects: _Values = None,
        extra_compile_args: _Values = None,
        extra_link_args: _Values = None,
    ) -> str: ...
