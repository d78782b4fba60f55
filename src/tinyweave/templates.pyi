from os import PathLike

from . import Function

path: list[str | PathLike[str]]

add: Function
filter2d: Function

def __getattr__(name: str) -> Function: ...
