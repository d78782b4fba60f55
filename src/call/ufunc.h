/* ufunc.h: tw.ufunc and tw.gufunc. */
#ifndef TINYWEAVE_CALL_UFUNC_H
#define TINYWEAVE_CALL_UFUNC_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

PyObject *ufunc_call(PyObject *module, PyObject *const *arguments, Py_ssize_t count,
                     PyObject *keywords);
PyObject *gufunc_call(PyObject *module, PyObject *const *arguments, Py_ssize_t count,
                      PyObject *keywords);
extern const char ufunc_doc[];
extern const char gufunc_doc[];

#endif
