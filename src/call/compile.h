/* compile.h: tw.compile and tw.Library. */
#ifndef TINYWEAVE_COMPILE_H
#define TINYWEAVE_COMPILE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

PyObject *compile_call(PyObject *module, PyObject *const *arguments, Py_ssize_t count,
                       PyObject *keywords);
extern const char compile_doc[];

/* _library(key, force): what a pickled Library calls. Reads the sources; the first call of a function compiles. */
PyObject *compile_restore(PyObject *module, PyObject *arguments);

/* Adds Library and Function to the module, and makes the table of Libraries. Returns 0, or -1 with an
 * exception. */
int compile_init(PyObject *module);

/* Forgets every Library; those that are in use live on. */
void compile_clear(PyObject *module);

#endif
