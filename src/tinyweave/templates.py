"""C functions that come with the package, and examples to copy: tw.templates.add, tw.templates.filter2d.

Each is a file NAME.c that defines a function NAME, read by tw.compile when the name is first asked for. A
folder of your own, appended to `path`, is searched as well:

    tw.templates.path.append("my/templates")
    tw.templates.mine(x)                        # my/templates/mine.c
"""

from pathlib import Path as _Path

from ._core import compile as _compile

path = [_Path(__file__).parent / "templates"]


def __getattr__(name):
    if not name.startswith("_"):
        for folder in path:
            file = _Path(folder) / f"{name}.c"
            if file.is_file():
                return getattr(_compile(file, name=f"tinyweave.templates.{name}"), name)
    raise AttributeError(f"there is no template {name!r} in {[str(folder) for folder in path]}")


def __dir__():
    names = {file.stem for folder in path for file in _Path(folder).glob("*.c")}
    return sorted(names | {"path"})
