"""Extension modules from C snippets: weave's ext_tools.

A module collects functions, each the text of a snippet and the values that say what types its arguments have:

>>> from tinyweave import ext_tools
>>> module = ext_tools.ext_module("increment_ext")
>>> a = 1                           # says that 'a' is an int
>>> module.add_function(ext_tools.ext_function("increment", "return_val = a + 1;", ["a"]))
>>> path = module.compile()
>>> import increment_ext
>>> increment_ext.increment(1)
2
"""

import ast
import contextlib
import hashlib
import importlib.util
import keyword
import os
import sys
import sysconfig
import threading
import time
from pathlib import Path

import numpy as np

from . import _core
from ._core import CompileError
from ._ext_errors import locate
from ._interop import complex_source
from .base_info import base_info, custom_info, info_list, line_of, macro_of, path_of, text_of

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

# ---- The types of arguments ----

_EXPECTED = {
    "long": "int",
    "bool": "bool",
    "double": "float",
    "float": "numpy.float32",
    "complex": "complex",
    "complexf": "numpy.complex64",
    "str": "str or bytes",
    "object": "any object",
}


class arg_spec:
    """The name of an argument and the type C code has it in: that of `value`.

    Parameters
    ----------
    name : str
    value : object
        An example of what will be passed: ``1``, ``2.5``, ``np.float32(1)``, ``np.zeros(3)`` ...

    Attributes
    ----------
    name : str
    kind : str
        ``"long"``, ``"bool"``, ``"double"``, ``"float"``, ``"complex"``, ``"complexf"``, ``"str"``,
        ``"object"`` or ``"array"``.
    dtype : numpy.dtype or None
        Of an array.
    readonly : bool
        An array that C code may not write to.

    Raises
    ------
    TypeError, OverflowError
        A value that C code cannot take.
    """

    __slots__ = ("_type", "dtype", "name")

    def __init__(self, name, value):
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"arg_spec(): 'name' must be an identifier, not {name!r}")
        self.name = name
        self._type = _core._ext_argument(name, value)
        self.dtype = np.dtype(value.dtype) if self.kind == "array" else None

    @property
    def kind(self):
        return self._type[0]

    @property
    def readonly(self):
        return self._type[2]

    @property
    def expected(self):
        """The type in words, as messages have it."""
        if self.kind != "array":
            return _EXPECTED[self.kind]
        return f"{'an' if self.readonly else 'a writable'} array of {self.dtype}"

    def _row(self, dimensions):
        """Of the table of parameters: struct tw_parameter of ext_tools.h."""
        kind, number, readonly = self._type
        writable = int(kind == "array" and not readonly)
        names = f"{_c_string(self.name)}, {_c_string(self.expected)}"
        return f"    {{{names}, TW_{kind.upper()}, {number}, {writable}, {dimensions}}},\n"

    def __eq__(self, other):
        return isinstance(other, arg_spec) and (self.name, self._type) == (other.name, other._type)

    def __hash__(self):
        return hash((self.name, self._type))

    def __repr__(self):
        return f"<arg_spec {self.name}: {self.expected}>"


def _names(args, function):
    try:
        names = args.split() if isinstance(args, str) else list(args)
    except TypeError:
        kind = type(args).__name__
        raise TypeError(f"{function}(): the names must be a list of str, or one str, not {kind}") from None
    for index, name in enumerate(names):
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"{function}(): '{name}' is no identifier")
        if name in names[:index]:
            raise ValueError(f"{function}(): '{name}' is named twice")
    return names


def _look_up(name, local_dict, global_dict):
    for names in (local_dict, global_dict):
        if name in names:
            return names[name]
    raise NameError(f"'{name}' is not defined")


def assign_variable_types(names, local_dict=None, global_dict=None, auto_downcast=1, type_converters=None):
    """Tell the types of variables, by their values.

    Parameters
    ----------
    names : list of str, or one str "a b"
    local_dict, global_dict : mapping, optional
        Where the values are; by default the caller's locals and globals.
    auto_downcast, type_converters
        weave's; conversions are fixed here: an `auto_downcast` changes nothing, and `type_converters` must be
        None.

    Returns
    -------
    list of arg_spec

    Raises
    ------
    TypeError
        Names that are not defined or whose values C code cannot take: all of them, each with its reason.
    """
    if type_converters is not None:
        raise TypeError("assign_variable_types() takes no 'type_converters': conversions are fixed")
    frame = sys._getframe(1)
    return _assign(names, frame, local_dict, global_dict, "assign_variable_types")


def _assign(names, frame, local_dict, global_dict, function):
    local_dict = frame.f_locals if local_dict is None else local_dict
    global_dict = frame.f_globals if global_dict is None else global_dict
    specs, errors = [], []
    for name in _names(names, function):
        try:
            specs.append(arg_spec(name, _look_up(name, local_dict, global_dict)))
        except (NameError, TypeError, OverflowError) as error:
            errors.append(str(error).removeprefix("ext_function(): "))
    if errors:
        raise TypeError(f"{function}(): {'; '.join(errors)}")
    return specs


# ---- Functions ----


class ext_function_from_specs:
    """A function of an extension module: a snippet, and the types of its arguments.

    Parameters
    ----------
    name : str
    code : str
        The body, as `tinyweave.inline` takes it.
    specs : list of arg_spec
        From `assign_variable_types`, or made by `arg_spec`; ``[]`` for none.

    Attributes
    ----------
    customize : custom_info
        What the function needs beside its code.

    Raises
    ------
    ValueError
        A name that cannot be one.
    Examples
    --------
    >>> from tinyweave import ext_tools
    >>> specs = ext_tools.assign_variable_types(["x"], {"x": 1.5})
    >>> specs
    [<arg_spec x: float>]
    >>> square = ext_tools.ext_function_from_specs("square", "return_val = x * x;", specs)
    """

    def __init__(self, name, code, specs):
        _check_name(name, type(self).__name__)
        text_of(code, type(self).__name__, "code")
        self.name = name
        self.code_block = code
        self.arg_specs = list(specs)
        for spec in self.arg_specs:
            if not isinstance(spec, arg_spec):
                raise TypeError(f"{type(self).__name__}(): 'specs' must hold arg_spec, not {spec!r}")
        self.customize = custom_info()
        with contextlib.suppress(CompileError):  # a macro of the support code may make it right
            self._function(info_list())  # the names are checked

    def build_information(self):
        """The function's own infos, an `info_list`."""
        return info_list([self.customize])

    @property
    def _label(self):
        return f"<code of {self.name}>"

    def _function(self, info):
        """The C text of the code, the contents of the user's headers, and the dimensions of arrays."""
        return _core._ext_function(
            f"tw_ext_{self.name}_code",
            self.code_block,
            self._label,
            tuple(spec.name for spec in self.arg_specs),
            tuple(spec._type for spec in self.arg_specs),
            _macro_text(info),
            "".join(f"#include {header}\n" for header in info.headers()),
            "\n".join(info.support_code()),
            "<support code>",
            tuple(info.include_dirs()),
        )

    def _wrapper(self, dimensions):
        """The C text around the code: the table of parameters and what Python calls."""
        name, count = f"tw_ext_{self.name}", len(self.arg_specs)
        rows = [spec._row(mask) for spec, mask in zip(self.arg_specs, dimensions, strict=True)]
        table = (
            f"static const struct tw_parameter {name}_parameters[] = {{\n{''.join(rows)}}};\n\n"
            if rows
            else ""
        )
        return _WRAPPER.format(
            table=table,
            name=name,
            python_name=_c_string(self.name),
            parameters=f"{name}_parameters" if rows else "NULL",
            count=count,
            room=max(count, 1),
            values=count + 1,
        )

    def _method(self):
        names = ", ".join(spec.name for spec in self.arg_specs)
        lines = [f"{self.name}($module, {names})" if names else f"{self.name}($module)", "--", ""]
        if not lines[0].isascii():  # which inspect cannot read
            lines = []
        lines += [f"{self.name}({names})", ""]
        lines += [f"{spec.name} : {spec.expected}" for spec in self.arg_specs]
        function = f"(PyCFunction)(void (*)(void))tw_ext_{self.name}"
        return (
            f"    {{{_c_string(self.name)}, {function}, METH_FASTCALL | METH_KEYWORDS,\n"
            f"     {_c_string(chr(10).join(lines))}}},\n"
        )


class ext_function(ext_function_from_specs):
    """A function of an extension module: a snippet, and the values that declare the types of its arguments.

    Parameters
    ----------
    name : str
    code : str
        The body, as `tinyweave.inline` takes it.
    args : list of str, or one str "a b"
        The arguments. Their values, of this moment, say what types the function takes: ``1`` an int, ``1.0``
        a float, an array one of its dtype. An array that is read-only also lets read-only ones in.
    local_dict, global_dict : mapping, optional
        Where the values are; by default the caller's locals and globals.
    auto_downcast, type_converters
        weave's; see `assign_variable_types`.

    Raises
    ------
    TypeError
        Names that are not defined, or whose values C code cannot take.
    ValueError
        A name that cannot be one.

    Examples
    --------
    >>> from tinyweave import ext_tools
    >>> a = 1
    >>> increment = ext_tools.ext_function("increment", "return_val = a + 1;", ["a"])
    >>> increment.arg_specs
    [<arg_spec a: int>]
    """

    def __init__(
        self, name, code, args, local_dict=None, global_dict=None, auto_downcast=1, type_converters=None
    ):
        if type_converters is not None:
            raise TypeError("ext_function() takes no 'type_converters': conversions are fixed")
        specs = _assign(args, sys._getframe(1), local_dict, global_dict, "ext_function")
        super().__init__(name, code, specs)


def _check_name(name, function):
    text_of(name, function, "name")
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"{function}(): 'name' must be an identifier, not {name!r}")


# ---- The C file ----


def _c_string(text):
    """A C literal, a line for each line of the text."""
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"') for line in text.split("\n"))
    return '"' + '\\n"\n     "'.join(escaped) + '"'


def _macro_text(info):
    return "".join(f"#define {name} {value}\n" for name, value in info.define_macros()) + "".join(
        f"#undef {name}\n" for name in info.undefine_macros()
    )


_ORIGIN = ": a module of C functions, generated by tinyweave "
_FIRST = """\
/* {name}{origin}{version}; edit where it was generated.
 * sha256 {digest} */
"""

# Python's own headers come first.
_HEADERS = """\
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#ifndef NPY_NO_DEPRECATED_API
#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#endif
#include <numpy/arrayobject.h>

"""

_WRAPPER = """\
{table}static const struct tw_function {name}_function = {{
    {python_name}, {parameters}, {count}, {name}_code
}};

static PyObject *
{name}(PyObject *tw_module, PyObject *const *tw_given, Py_ssize_t tw_count, PyObject *tw_keywords)
{{
    PyObject *tw_values[{values}];
    struct tw_argument tw_args[{room}];
    (void)tw_module;
    return tw_run(&{name}_function, tw_given, tw_count, tw_keywords, tw_values, tw_args);
}}

"""

_MODULE = """\
static PyMethodDef tw_ext_methods[] = {{
{methods}    {{NULL, NULL, 0, NULL}},
}};

static int
tw_ext_exec(PyObject *module)
{{
    (void)module;
    import_array1(-1);
{init}    return PyErr_Occurred() ? -1 : 0;
}}

static PyModuleDef_Slot tw_ext_slots[] = {{
    {{Py_mod_exec, (void *)tw_ext_exec}},
    {{0, NULL}},
}};

static struct PyModuleDef tw_ext_module = {{
    PyModuleDef_HEAD_INIT,
    .m_name = {name},
    .m_methods = tw_ext_methods,
    .m_slots = tw_ext_slots,
}};

#ifdef TW_STAMP
/* Of what and how this was built; ext_module.compile looks for it. */
static const char tw_ext_stamp[] __attribute__((used)) = TW_STAMP;
#endif

PyMODINIT_FUNC
PyInit_{bare}(void)
{{
    return PyModuleDef_Init(&tw_ext_module);
}}
"""

# Macros of compilers and of complex.h, which NumPy's headers bring, that are good names of arguments.
_SYSTEM_MACROS = ("I", "complex", "imaginary", "linux", "unix", "major", "minor")

# What C compilers may only warn of, and what is a crash or a wrong number later.
_STRICT = (
    "-Werror=implicit-function-declaration",
    "-Werror=incompatible-pointer-types",
    "-Werror=int-conversion",
)

_GENERATED = '#line 1 "tw:generated"'


def _number_lines(text, file_name):
    """Tell compilers where text of the user's ends and the file's own goes on."""
    lines = text.split("\n")
    for index, line in enumerate(lines):
        if line == _GENERATED:
            lines[index] = f'#line {index + 2} "{file_name}"'
    return "\n".join(lines)


def _marked(label, text):
    # The second line break is for a text that ends in a backslash.
    return f'#line 1 "{label}"\n{text}\n\n{_GENERATED}\n'


# ---- Keywords of compile and setup_extension ----


def _items(value, name):
    if value is None:
        return []
    if isinstance(value, (str, os.PathLike)):
        return [value]
    if isinstance(value, dict):
        return list(value.items())
    try:
        return list(value)
    except TypeError:
        raise TypeError(f"compile(): '{name}' must be a list, not {type(value).__name__}") from None


def _macro_name(value, function, name):
    return macro_of(text_of(value, function, name), function, name)[0]


_OPTIONS = {
    "sources": path_of,
    "include_dirs": path_of,
    "define_macros": macro_of,
    "undef_macros": _macro_name,
    "library_dirs": path_of,
    "libraries": path_of,
    "runtime_library_dirs": path_of,
    "extra_objects": path_of,
    "extra_compile_args": line_of,
    "extra_link_args": line_of,
}

_REFUSED = {
    "export_symbols": "a module exports its PyInit_ function alone",
    "swig_opts": "SWIG is not used",
    "depends": "the contents of your headers and sources are looked at by themselves",
    "language": "the language is always C",
    "temp_dir": "object files are the compiler's own business",
}


def _read_options(keywords, function):
    for name in keywords:
        if name in _REFUSED:
            raise TypeError(f"{function}() takes no '{name}': {_REFUSED[name]}")
        if name not in _OPTIONS:
            raise TypeError(f"{function}() got an unexpected keyword argument '{name}'")
    return {
        name: [convert(item, function, name) for item in _items(keywords.get(name), name)]
        for name, convert in _OPTIONS.items()
    }


def _merge(info, options):
    """What all the infos ask for, and the keywords."""
    merged = dict(options)
    for name in (
        "sources",
        "include_dirs",
        "libraries",
        "library_dirs",
        "extra_compile_args",
        "extra_link_args",
    ):
        merged[name] = list(dict.fromkeys(getattr(info, name)() + options[name]))
    return merged


# ---- Files ----


def _write(path, text):
    """Write a text file at once, and only when that changes it."""
    data = text.encode()
    try:
        if path.read_bytes() == data:
            return
    except OSError:
        pass
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def _folder(location, function):
    folder = Path(path_of(location, function, "location"))
    if not folder.is_dir():
        raise FileNotFoundError(f"{function}(): 'location' is no folder: {str(location)!r}")
    return folder


_STUB = '''\
"""{name}: loaded through tinyweave from {name}.c, for want of a C compiler.

{stamp}
"""

import sys
from pathlib import Path

import tinyweave

_spec = __spec__
_module = tinyweave.extension(
    [Path(__file__).with_suffix(".c").absolute(){sources}],
    __name__,
{options})
_module.__spec__ = _spec
sys.modules[__name__] = _module
'''


class ext_module:
    """An extension module in the making.

    Parameters
    ----------
    name : str
        Its name, an ASCII identifier.
    compiler : str
        The command of the C compiler, as ``"gcc"`` or ``"gcc -m64"``; by default the environment's
        TINYWEAVE_CC, else its CC, else cc, gcc or clang. A CC that names a missing program is passed over;
        the others must be there.

    Attributes
    ----------
    functions : list
        The functions added.
    customize : custom_info
        What the module needs beside them.

    Examples
    --------
    >>> from tinyweave import ext_tools
    >>> module = ext_tools.ext_module("fibonacci")
    >>> n = 1
    >>> module.add_function(ext_tools.ext_function("fib", '''
    ... long a = 0, b = 1;
    ... while (n-- > 0) {
    ...     long next = a + b;
    ...     a = b;
    ...     b = next;
    ... }
    ... return_val = a;
    ... ''', ["n"]))
    >>> path = module.compile()        # and then: import fibonacci
    """

    def __init__(self, name, compiler=""):
        _check_name(name, "ext_module")
        if not name.isascii():
            raise ValueError(f"ext_module(): 'name' must be ASCII, not {name!r}")
        self.name = name
        self.functions = []
        self.compiler = text_of(compiler, "ext_module", "compiler")
        self.customize = custom_info()

    def add_function(self, function):
        """Add an `ext_function`. ValueError when there is one of that name."""
        if not isinstance(function, ext_function_from_specs):
            raise TypeError(
                f"add_function(): 'function' must be an ext_function, not {type(function).__name__}"
            )
        if any(other.name == function.name for other in self.functions):
            raise ValueError(f"add_function(): module '{self.name}' has a function '{function.name}' already")
        self.functions.append(function)

    def set_compiler(self, compiler):
        """Set the command of the C compiler."""
        self.compiler = text_of(compiler, "set_compiler", "compiler")

    def build_information(self):
        """The infos of the module and its functions, an `info_list`."""
        return info_list([self.customize, *(info for f in self.functions for info in f.build_information())])

    def arg_specs(self):
        """The `arg_spec` of all arguments of all functions."""
        return [spec for function in self.functions for spec in function.arg_specs]

    def module_code(self):
        """The whole C text: what `generate_file` writes.

        Raises
        ------
        CompileError
            The text of a function is wrong, as far as can be told without a compiler.
        """
        return self._text(f"{self.name}.c")[0]

    def _text(self, file_name):
        """The C text, and the contents of the user's headers."""
        info = self.build_information()
        contents = b""
        before = "".join(f"#define {name} {value}\n" for name, value in info.preheader_defines())
        parts = [before, _HEADERS, _runtime(), _user_text(info)]
        for function in self.functions:
            code, headers, dimensions = function._function(info)
            contents += headers
            parts += [_undefine(function), code, "\n", function._wrapper(dimensions)]
        parts.append(self._module_text(info))
        text = "".join(parts)
        digest = hashlib.sha256(text.encode()).hexdigest()
        first = _FIRST.format(name=self.name, origin=_ORIGIN, version=_core.__version__, digest=digest)
        return _number_lines(first + text, file_name), contents

    def _module_text(self, info):
        init = "".join("    {\n" + _marked(*code) + "    }\n" for code in _init_codes(info).items())
        methods = "".join(function._method() for function in self.functions)
        return _MODULE.format(methods=methods, init=init, name=_c_string(self.name), bare=self.name)

    def generate_file(self, file_name="", location="."):
        """Write the C text to a file that any build system can use; return its path.

        It needs the headers of Python and NumPy, and none of tinyweave.

        Parameters
        ----------
        file_name : str
            Default: the module's name and ``.c``.
        location : str or path
            The folder.

        Raises
        ------
        CompileError, OSError
            A file of that name that was not written here is left alone: FileExistsError.
        """
        file_name = path_of(file_name, "generate_file", "file_name") or f"{self.name}.c"
        path = _folder(location, "generate_file") / file_name
        text = self._text(path.name.replace("\\", "\\\\").replace('"', '\\"'))[0]
        _leave_alone("generate_file", (path, _is_our_c))
        _write(path, text)
        return str(path)

    def setup_extension(self, location=".", **kw):
        """Write the C file and return a ``setuptools.Extension`` of it, for a setup.py.

        Takes the keywords of `compile`. ImportError when setuptools is not there.
        """
        options = _merge(self.build_information(), _read_options(kw, "setup_extension"))
        try:
            from setuptools import Extension
        except ImportError as error:
            raise ImportError("setup_extension() needs setuptools") from error
        options["sources"].insert(0, self.generate_file(location=location))
        options["include_dirs"].append(np.get_include())
        return Extension(self.name, **options)

    def compile(self, location=".", compiler=None, verbose=0, **kw):
        """Write and build the module; afterwards it can be imported from `location`.

        With a C compiler on the machine the result is an ordinary extension module, optimised. Without one
        a small Python file loads the C file through tinyweave; it is loaded once to see that it can be.
        What is there and still right is not built again.

        Parameters
        ----------
        location : str or path
            The folder.
        compiler : str, optional
            The command of the C compiler; default: the module's.
        verbose : int
            1 tells on sys.stderr what is built and how long that took, 2 also the compiler and its messages.
        sources, include_dirs, define_macros, undef_macros, library_dirs, libraries, runtime_library_dirs,
        extra_objects, extra_compile_args, extra_link_args : list
            As setuptools' Extension has them; `customize` may ask for more.

        Returns
        -------
        str
            The path of the file that ``import`` loads.

        Raises
        ------
        CompileError
            With the line of the user's own text.
        FileNotFoundError
            The folder is not there, or the compiler that `compiler`, the module or TINYWEAVE_CC asks for.
        FileExistsError
            A file of the module's name that was not written here: it is left alone.
        TypeError
            A keyword that has no meaning here.
        """
        options = _merge(self.build_information(), _read_options(kw, "compile"))
        folder = _folder(location, "compile")
        command = self.compiler if compiler is None else text_of(compiler, "compile", "compiler")
        text, contents = self._text(f"{self.name}.c")
        target = folder / (self.name + sysconfig.get_config_var("EXT_SUFFIX"))
        _leave_alone("compile", (folder / f"{self.name}.c", _is_our_c), (target, _is_our_binary))
        _write(folder / f"{self.name}.c", text)
        words = _find_compiler(command)
        stamp = _stamp(text, contents, options, words)
        start = time.perf_counter()
        build = self._load_through_tinyweave if words is None else self._build
        path, built = build(folder, options, words, stamp, verbose)
        if verbose > 0:
            done = f"built in {time.perf_counter() - start:.2f} s" if built else "is up to date"
            print(f"{path} {done}", file=sys.stderr)
        importlib.invalidate_caches()
        return str(path)

    def _build(self, folder, options, words, stamp, verbose):
        target = folder / (self.name + sysconfig.get_config_var("EXT_SUFFIX"))
        stub = folder / f"{self.name}.py"
        if not _has_stamp(target, stamp):
            if verbose > 1:
                print(*words, file=sys.stderr)
            printed = self._run(folder, options, words, stamp, target)
            if verbose > 1 and printed:
                print(printed, file=sys.stderr)
            built = True
        else:
            built = False
        if _is_ours(stub):
            stub.unlink()
        return target, built

    def _run(self, folder, options, words, stamp, target):
        python = [sysconfig.get_path("include"), sysconfig.get_path("platinclude"), np.get_include()]
        folders = dict.fromkeys(
            map(os.path.abspath, options["library_dirs"] + options["runtime_library_dirs"])
        )
        try:
            return _core._native_build(
                [folder / f"{self.name}.c", *options["sources"]],
                target,
                compiler=" ".join(map(_quote, words)),
                include_dirs=list(dict.fromkeys(options["include_dirs"] + python)),
                macros=[
                    *options["define_macros"],
                    *((name, None) for name in options["undef_macros"]),
                    ("TW_STAMP", f'"{stamp}"'),
                ],
                library_dirs=options["library_dirs"],
                libraries=options["libraries"],
                extra_compile_args=[*_STRICT, *options["extra_compile_args"]],
                extra_link_args=[
                    *options["extra_objects"],
                    *(word for path in folders for word in ("-Xlinker", "-rpath", "-Xlinker", path)),
                    *options["extra_link_args"],
                ],
            )
        except CompileError as error:
            located = self._locate(error)
        raise located

    def _load_through_tinyweave(self, folder, options, words, stamp, verbose):
        for name in ("extra_objects", "extra_link_args"):
            if options[name]:
                raise ValueError(
                    f"compile(): '{name}' needs a C compiler, and there is none: {options[name]}"
                )
        stub = folder / f"{self.name}.py"
        target = folder / (self.name + sysconfig.get_config_var("EXT_SUFFIX"))
        _leave_alone("compile", (stub, _is_ours))
        built = not _has_stamp(stub, stamp)
        if built:
            self._try_loading(folder, options)
            _write(stub, self._stub(options, stamp))
            # It holds the time of the file in seconds: that may be the same.
            Path(importlib.util.cache_from_source(str(stub))).unlink(missing_ok=True)
        target.unlink(missing_ok=True)  # import would take it first
        return stub, built

    def _try_loading(self, folder, options):
        """Load it once, so that errors in C are told now. What the init code raises is import's to tell."""
        sources = [folder / f"{self.name}.c", *map(Path, options["sources"])]
        try:
            _core.extension([path.absolute() for path in sources], self.name, **_loading(options))
        except CompileError as error:
            located = self._locate(error)
        except (OSError, TypeError, ValueError):
            raise
        except Exception:
            return
        else:
            return
        raise located

    def _stub(self, options, stamp):
        lines = "".join(f"    {name}={value!r},\n" for name, value in _loading(options).items())
        return _STUB.format(
            name=self.name,
            stamp=stamp,
            sources="".join(f", Path({os.path.abspath(path)!r})" for path in options["sources"]),
            options=lines,
        )

    def _locate(self, error):
        info = self.build_information()
        texts = {function._label: function.code_block for function in self.functions}
        texts |= _init_codes(info) | {"<support code>": "\n".join(info.support_code())}
        return locate(error, texts, f"{self.name}.c", self.module_code())


def _loading(options):
    """The keywords of `tinyweave.extension`."""
    given = {
        "include_dirs": [os.path.abspath(path) for path in options["include_dirs"]],
        "define_macros": options["define_macros"],
        "undef_macros": options["undef_macros"],
        "libraries": options["libraries"],
        "library_dirs": [
            os.path.abspath(path) for path in options["library_dirs"] + options["runtime_library_dirs"]
        ],
        "extra_compile_args": options["extra_compile_args"],
    }
    return {name: value for name, value in given.items() if value}


def _quote(word):
    return "'" + word.replace("'", "'\\''") + "'"


def _runtime():
    """What every module has: ext_tools.h with the functions of complex numbers, and what snippets say."""
    text = Path(__file__).with_suffix(".h").read_text(encoding="utf-8")
    text = text.replace("#include <tinyweave/complex.h>\n", complex_source())
    return f"{text}\n/* ---- What snippets say ---- */\n\n{_core._ext_macros()}\n"


def _user_text(info):
    parts = ["/* ---- The module's own ---- */\n\n"]
    warnings = "".join(f"#pragma warning({text})\n" for text in info.warnings())
    parts += ["#ifdef _MSC_VER\n", warnings, "#endif\n"] if warnings else []
    parts += [_macro_text(info), *(f"#include {header}\n" for header in info.headers())]
    support_code = "\n".join(info.support_code())
    parts += [_marked("<support code>", support_code)] if support_code else []
    return "".join(parts) + "\n"


def _init_codes(info):
    """Label -> text."""
    return {
        f"<module init code{'' if number == 0 else f' {number + 1}'}>": code
        for number, code in enumerate(info.module_init_code())
    }


def _undefine(function):
    names = {spec.name for spec in function.arg_specs}
    return "".join(f"#undef {name}\n" for name in _SYSTEM_MACROS if name in names)


def _find_compiler(command):
    """The words of the compiler's command, or None where the machine has no compiler."""
    if command:
        return _core._native_compiler(command)
    try:
        return _core._native_compiler()
    except FileNotFoundError:
        if os.environ.get("TINYWEAVE_CC", "").strip():
            raise
    # CC is meant for all builds: where it names a program that is missing, any other will do.
    for program in ("cc", "gcc", "clang"):
        with contextlib.suppress(FileNotFoundError):
            return _core._native_compiler(program)
    return None


def _stamp(text, contents, options, words):
    """All that could change what is built, as one word."""
    key = hashlib.sha256()
    about = [text, words, sorted(options.items()), sys.version, np.__version__, _core.__version__]
    key.update(repr(about).encode())
    key.update(contents)
    for source in options["sources"]:
        key.update(Path(source).read_bytes())
    return f"tinyweave:{key.hexdigest()}"


def _has_stamp(path, stamp):
    try:
        return stamp.encode() in path.read_bytes()
    except OSError:
        return False


def _is_our_c(path):
    """Whether a C file is one that was written here, or holds nothing."""
    try:
        with open(path, "rb") as file:
            first = file.readline()
    except OSError:
        return True  # writing it says what is wrong
    return first == b"" or _ORIGIN.encode() in first


def _is_our_binary(path):
    """Whether an extension file is one of a C file that was written here."""
    return _has_stamp(path, "tinyweave:") or _has_stamp(path, "tw_ext_")


def _leave_alone(function, *files):
    """Refuse to replace what others wrote: files are pairs of a path and of what says that it is ours."""
    for path, is_ours in files:
        if path.exists() and not is_ours(path):
            raise FileExistsError(f"{function}(): {str(path)!r} is there, and not from here: left alone")


def _is_ours(stub):
    """Whether a file is one that `compile` wrote."""
    try:
        return "\ntinyweave:" in (ast.get_docstring(ast.parse(stub.read_text(encoding="utf-8"))) or "")
    except (OSError, SyntaxError, ValueError):
        return False
