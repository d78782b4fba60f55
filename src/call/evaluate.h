/* evaluate.h: tw.evaluate, tw.expression, tw.explain and tw.blitz. */
#ifndef TINYWEAVE_EVALUATE_H
#define TINYWEAVE_EVALUATE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

PyObject *evaluate_call(PyObject *module, PyObject *const *arguments, Py_ssize_t count,
                        PyObject *keywords);
PyObject *expression_call(PyObject *module, PyObject *const *arguments, Py_ssize_t count,
                          PyObject *keywords);
PyObject *explain_call(PyObject *module, PyObject *const *arguments, Py_ssize_t count,
                       PyObject *keywords);
PyObject *blitz_call(PyObject *module, PyObject *const *arguments, Py_ssize_t count,
                     PyObject *keywords);
/* What a pickled expression calls. */
PyObject *expression_restore(PyObject *module, PyObject *arguments);
extern const char evaluate_doc[], expression_doc[], explain_doc[], blitz_doc[];

/* Forgets every expression and its kernels. */
void evaluate_clear(PyObject *module);

#endif
