/* extension.h: tw.extension: the C source of a CPython extension module -> the module. */
#ifndef TINYWEAVE_EXTENSION_MODULE_H
#define TINYWEAVE_EXTENSION_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

PyObject *extension_call(PyObject *module, PyObject *const *arguments, Py_ssize_t count,
                         PyObject *keywords);
extern const char extension_doc[];

#endif
