"""C functions that come with the package, and examples to copy: tw.templates.add, tw.templates.filter2d.

Each is a file NAME.c that defines a function NAME, read by tw.compile when the name is first asked for. A
folder of your own, appended to `path`, is searched as well:

    tw.templates.path.append("my/templates")
    tw.templates.mine(x)                        # my/templates/mine.c
"""

import os as _os

from ._core import compile as _compile

path = [_os.path.join(_os.path.dirname(__file__), "templates")]


def __getattr__(name):
    from pathlib import Path

    if not name.startswith("_"):
        for folder in path:
            file = Path(folder, f"{name}.c")
            if file.is_file():
                function = getattr(_compile(file, name=f"tinyweave.templates.{name}"), name)
                globals()[name] = function  # found at once from now on
                return function
    raise AttributeError(f"there is no template {name!r} in {[str(folder) for folder in path]}")


def __dir__():
    names = {name[:-2] for folder in path for name in _os.listdir(folder) if name.endswith(".c")}
    return sorted(names | {"path"})
