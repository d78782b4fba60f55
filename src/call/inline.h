/* inline.h: tw.inline. */
#ifndef TINYWEAVE_INLINE_H
#define TINYWEAVE_INLINE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern const char inline_doc[];

/* inline(code, arg_names=(), local_dict=None, global_dict=None, *, ...): METH_FASTCALL | METH_KEYWORDS. */
PyObject *inline_call(PyObject *module, PyObject *const *arguments, Py_ssize_t count,
                      PyObject *keywords);

/* Forgets every site and its kernels (tw.cache.clear). */
void inline_clear(PyObject *module);

#endif
