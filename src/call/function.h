/* function.h: tw.Function, a C function called from Python. */
#ifndef TINYWEAVE_CALL_FUNCTION_H
#define TINYWEAVE_CALL_FUNCTION_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "numpy.h"

#include "../frontend/function.h"
#include "call.h"
#include "record.h"

struct callbacks;
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
    struct records records;
    struct callbacks *callbacks; /* what Python gave C to call */
};

/* How many choices of a dtype there are for each of a set of type variables, by the lists; and the binding of one, by
 * its number: the last variable's dtype changes fastest. */
size_t function_choices(const struct function_library *shared, unsigned variables);
struct binding function_choice(const struct function_library *shared, unsigned variables,
                               size_t number);

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
/* ---- What a Function is in C ---- */

/* Its plan, the Library's. */
const struct plan *function_plan(PyObject *function);

/* The Library's own number of a dtype that a type variable may stand for; PLAN_NONE: it may not. */
int function_variable_type(PyObject *function, int variable, int type);

/* The C function itself, for what its type variables stand for, compiled if need be. Returns its kernel, borrowed
 * from the Library; NULL with an exception. */
struct kernel *function_address(PyObject *function, const struct binding *binding, void **address);

/* Writes a value as C's integer of a type, by NumPy's number. Returns 0, or -1 where it does not fit. */
int function_write_integer(int type, long long value, void *slot);

extern PyType_Spec function_spec; /* of tw.Function */

#endif
