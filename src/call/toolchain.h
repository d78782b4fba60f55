/* toolchain.h: the machine's own C compiler, for the Python part of the package. */
#ifndef TINYWEAVE_TOOLCHAIN_H
#define TINYWEAVE_TOOLCHAIN_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* _native_compiler(command=None): the words of the compiler's command, a tuple of str. FileNotFoundError
 * lists what was looked for. */
PyObject *toolchain_find(PyObject *module, PyObject *arguments);

/* _native_build(sources, output, *, include_dirs=(), macros=(), libraries=(), library_dirs=(),
 *               extra_compile_args=(), extra_link_args=(), compiler=None)
 * makes a shared library and returns what the compiler printed. Paths are str, bytes or os.PathLike; a
 * library is a name or a path; a macro is (name, value), and None for a value undefines it. CompileError:
 * the compiler said no; its messages are the note. FileNotFoundError: there is none. OSError. */
PyObject *toolchain_build(PyObject *module, PyObject *arguments, PyObject *keywords);

extern const char toolchain_find_doc[];
extern const char toolchain_build_doc[];

#endif
