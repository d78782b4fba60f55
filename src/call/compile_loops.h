/* compile_loops.h: the Libraries of tw.ufunc and tw.gufunc (compile.c). */
#ifndef TINYWEAVE_COMPILE_LOOPS_H
#define TINYWEAVE_COMPILE_LOOPS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../frontend/loop.h"
#include "function.h"

/* The Library of a ufunc, which users do not see: its kernels hold the loops of one function (LOOP_ELEMENTS), or its
 * entry (LOOP_CORE). Takes compile's arguments; `name` picks the function. Returns a new reference, or NULL with an
 * exception. */
PyObject *compile_library(PyObject *module, enum loop_kind loops, PyObject *const *arguments,
                          Py_ssize_t count, PyObject *keywords);

/* What its Functions would see, and the plan of its one function, which loop_read accepts; both the Library's. */
const struct function_library *compile_shared(PyObject *library);
const struct plan *compile_loop_plan(PyObject *library);

#endif
