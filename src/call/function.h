/* function.h: tw.Function, a C function called from Python. */
#ifndef TINYWEAVE_CALL_FUNCTION_H
#define TINYWEAVE_CALL_FUNCTION_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../frontend/function.h"
#include "call.h"

struct kernel;

/* The kernel that has a function for the dtype bound to T (NumPy's number of it; -1: not generic), compiled
 * if need be. Borrowed from the Library; NULL with an exception. */
typedef struct kernel *function_kernel(PyObject *library, int type);

/* Makes the function of a plan, which the Library owns, as `kernel_for` gives its code. Returns a new
 * reference, or NULL with an exception. */
PyObject *function_new(PyTypeObject *type, PyObject *library, const struct plan *plan, size_t index,
                       const char *letters, function_kernel *kernel_for);

extern PyType_Spec function_spec; /* of tw.Function */

#endif
