/* function.h: tw.Function, a C function called from Python. */
#ifndef TINYWEAVE_CALL_FUNCTION_H
#define TINYWEAVE_CALL_FUNCTION_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <numpy/ndarraytypes.h>

#include "../frontend/function.h"
#include "call.h"

struct kernel;

/* The kernel that has the functions for what the type variables stand for, compiled if need be. A variable that
 * is not bound is the Library's to choose. Borrowed from the Library; NULL with an exception. */
typedef struct kernel *function_kernel(PyObject *library, const struct binding *binding);

/* A type variable stands for so many dtypes at most: NumPy's numbers up to the last that C has. */
enum { BINDING_TYPES = NPY_CDOUBLE + 1 };

/* How many bindings there are of a set of type variables, and the index of one among them. */
size_t binding_count(unsigned variables);
size_t binding_index(unsigned variables, const struct binding *binding);

/* What a Library gives its Functions. */
struct function_library {
    const struct plans *plans;
    char *letters
        [TYPE_VARIABLES]; /* the dtypes that each type variable may stand for, NumPy's characters */
    function_kernel *kernel_for;
};

/* Makes the function of a plan. `library` owns `shared`. Returns a new reference, or NULL with an exception. */
PyObject *function_new(PyTypeObject *type, PyObject *library, const struct function_library *shared,
                       size_t index);

/* What a Function is made of, all borrowed: for call/export.c. */
struct function_parts {
    PyObject *library;
    const struct function_library *shared;
    const struct plan *plan;
    size_t index;
    PyObject **ctypes; /* where its ctypes object is kept */
};

struct function_parts function_parts(PyObject *function);

extern PyType_Spec function_spec; /* of tw.Function */

#endif
