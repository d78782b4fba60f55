/* library_loops.h: the Libraries of tw.ufunc and tw.gufunc, which users do not see. Their kernels hold the loops of one
 * function (LOOP_ELEMENTS), or its entry (LOOP_CORE).
 */
#ifndef TINYWEAVE_LIBRARY_LOOPS_H
#define TINYWEAVE_LIBRARY_LOOPS_H

#include "build.h"

/* compile.c: the Library of a ufunc. Takes compile's arguments; `name` picks the function. Returns a new reference, or NULL with an
 * exception. */
PyObject *compile_library(PyObject *module, enum loop_kind loops, PyObject *const *arguments,
                          Py_ssize_t count, PyObject *keywords);

/* Picks the function, and makes the kernels of all its bindings out of one reading of the sources. Returns 0, or -1
 * with an exception that says why the function makes no ufunc. */
int library_build_loops(struct library *library, struct build *build);

/* What its Functions would see, and the plan of its one function, which loop_read accepts; both the Library's. */
const struct function_library *library_shared(PyObject *library);
const struct plan *library_loop_plan(PyObject *library);

#endif
