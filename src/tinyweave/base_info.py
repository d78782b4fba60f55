"""What an extension module needs beside its functions: headers, support code, libraries and so on.

Weave's module of that name, for `tinyweave.ext_tools`.
"""

import os
import re

__all__ = ["base_info", "custom_info", "info_list"]

# ---- Values ----


def text_of(value, function, name):
    if not isinstance(value, str):
        raise TypeError(f"{function}(): '{name}' must be str, not {type(value).__name__}")
    return value


def line_of(value, function, name):
    """A text that must not start another line of the C file."""
    if not set("\r\n\0").isdisjoint(text_of(value, function, name)):
        raise ValueError(f"{function}(): '{name}' holds a line break or a NUL: {value!r}")
    return value


def path_of(value, function, name):
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{function}(): '{name}' must be str or a path, not {type(value).__name__}")
    return line_of(os.fsdecode(value), function, name)


def macro_of(macro, function, name):
    """'A', ('A',), ('A', None) and ('A', 1) -> (name, text)."""
    parts = (macro,) if isinstance(macro, str) else tuple(macro) if isinstance(macro, (tuple, list)) else ()
    if not 1 <= len(parts) <= 2 or not isinstance(parts[0], str):
        raise TypeError(f"{function}(): '{name}' must be (name, value or None), not {macro!r}")
    if not re.fullmatch(r"[^\W\d]\w*(\([\w, .]*\))?", parts[0]):
        raise ValueError(f"{function}(): '{name}': no name of a macro: {parts[0]!r}")
    value = parts[1] if len(parts) == 2 else None
    return parts[0], "1" if value is None else line_of(str(value), function, name)


class base_info:
    """What a function or module asks of the C file and its build; a subclass gives its own lists.

    Each method returns a list: ``headers()``, ``support_code()``, ``libraries()`` and so on.
    """

    _warnings = _libraries = _library_dirs = _include_dirs = _define_macros = _undefine_macros = ()
    _headers = _preheader_defines = _support_code = _module_init_code = _sources = ()
    _extra_compile_args = _extra_link_args = ()

    def warnings(self):
        return list(self._warnings)

    def libraries(self):
        return list(self._libraries)

    def library_dirs(self):
        return list(self._library_dirs)

    def include_dirs(self):
        return list(self._include_dirs)

    def define_macros(self):
        return list(self._define_macros)

    def undefine_macros(self):
        return list(self._undefine_macros)

    def headers(self):
        return list(self._headers)

    def preheader_defines(self):
        return list(self._preheader_defines)

    def support_code(self):
        return list(self._support_code)

    def module_init_code(self):
        return list(self._module_init_code)

    def sources(self):
        return list(self._sources)

    def extra_compile_args(self):
        return list(self._extra_compile_args)

    def extra_link_args(self):
        return list(self._extra_link_args)


class custom_info(base_info):
    """The lists of a function or module, to be added to: what ``customize`` is."""

    def __init__(self):
        for name, value in vars(base_info).items():
            if isinstance(value, tuple):
                setattr(self, name, list(value))

    def add_support_code(self, code):
        """Add C text at file scope, in front of all functions."""
        self._support_code.append(text_of(code, "add_support_code", "code"))

    def add_header(self, header):
        """Add a header, ``"<math.h>"`` or ``'"mine.h"'``; a bare ``mine.h`` is put in quotes."""
        line_of(header, "add_header", "header")
        self._headers.append(header if header[:1] in ("<", '"') else f'"{header}"')

    def add_preheader_define(self, macro):
        """Add a macro, (name, value), that is defined in front of Python's headers."""
        self._preheader_defines.append(macro_of(macro, "add_preheader_define", "macro"))

    def add_define_macro(self, macro):
        """Add a macro, (name, value); without a value it is 1."""
        self._define_macros.append(macro_of(macro, "add_define_macro", "macro"))

    def add_undefine_macro(self, name):
        """Undefine a macro, after all others are defined."""
        self._undefine_macros.append(
            macro_of(text_of(name, "add_undefine_macro", "name"), "add_undefine_macro", "name")[0]
        )

    def add_include_dir(self, folder):
        """Add a folder where headers are looked for."""
        self._include_dirs.append(path_of(folder, "add_include_dir", "folder"))

    def add_library(self, library):
        """Add a library to link to: ``"z"``, or a path."""
        self._libraries.append(path_of(library, "add_library", "library"))

    def add_library_dir(self, folder):
        """Add a folder where libraries are looked for, when the module is built and when it is loaded."""
        self._library_dirs.append(path_of(folder, "add_library_dir", "folder"))

    def add_source(self, path):
        """Add a C file that is compiled into the module."""
        self._sources.append(path_of(path, "add_source", "path"))

    def add_module_init_code(self, code):
        """Add C text that runs when the module is imported, with ``PyObject *module`` in scope."""
        self._module_init_code.append(text_of(code, "add_module_init_code", "code"))

    def add_extra_compile_arg(self, argument):
        """Add an argument of the C compiler, as ``"-O3"``."""
        self._extra_compile_args.append(line_of(argument, "add_extra_compile_arg", "argument"))

    def add_extra_link_arg(self, argument):
        """Add an argument for linking."""
        self._extra_link_args.append(line_of(argument, "add_extra_link_arg", "argument"))

    def add_warning(self, warning):
        """Add what follows ``#pragma warning``, for compilers that know it."""
        self._warnings.append(line_of(warning, "add_warning", "warning"))


base_info.custom_info = custom_info  # weave has them in a module base_info


class info_list(list):
    """Several infos together: each method returns the values of all, each value once."""

    def get_unique_values(self, attribute):
        return list(dict.fromkeys(value for info in self for value in getattr(info, attribute)()))


def _gather(attribute):
    def gather(self):
        return self.get_unique_values(attribute)

    gather.__name__ = attribute
    return gather


for _name in [name for name in vars(base_info) if not name.startswith("_") and name != "custom_info"]:
    setattr(info_list, _name, _gather(_name))
