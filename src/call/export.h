/* export.h: what leaves a Library: a Function's address, as ctypes and SciPy take it; pickles; a shared library. */
#ifndef TINYWEAVE_EXPORT_H
#define TINYWEAVE_EXPORT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../frontend/standalone.h"

/* ---- Of a Function ---- */

/* Function.address: where the C function's code is, an int; it stays while the Library lives. AttributeError
 * where the function is generic and its type variables stand for several dtypes. */
PyObject *export_address(PyObject *function, void *closure);

/* Function.ctypes: the C function as a ctypes object, the same one each time; it keeps the Library alive. Fails
 * as export_address does. */
PyObject *export_ctypes(PyObject *function, void *closure);

/* Function.low_level_callable(user_data=None): a scipy.LowLevelCallable; it keeps the Library and user_data's
 * memory alive. ImportError without SciPy; TypeError where there is no one address. */
PyObject *export_low_level_callable(PyObject *function, PyObject *arguments, PyObject *keywords);
extern const char export_low_level_callable_doc[];

/* Function.__reduce__: the attribute of its Library. */
PyObject *export_reduce_function(PyObject *function, PyObject *ignored);

/* ---- Of both ---- */

/* __copy__, __deepcopy__: a Library never changes, so a copy is the Library itself. */
PyObject *export_itself(PyObject *self, PyObject *ignored);

/* ---- Of a Library ---- */

/* A program as plain C, and what it is built with. */
struct export_program {
    const struct standalone *standalone;
    const struct strings *include_dirs;
    const struct strings *libraries; /* paths */
    PyObject *options;               /* canonical; NULL: none */
};

/* Library.save(path, *, flags=()): a shared library and its header. Returns their paths, a tuple of str; or NULL
 * with an exception. */
PyObject *export_save(const struct export_program *program, PyObject *arguments,
                      PyObject *keywords);
extern const char export_save_doc[];

#endif
