/* invoke.h: a call of a Function, by its plan. */
#ifndef TINYWEAVE_INVOKE_H
#define TINYWEAVE_INVOKE_H

#include "call.h"
#include "function.h"

/* Where a function's code is for one dtype. */
struct target {
    struct kernel *kernel; /* the Library's; NULL: not asked for yet */
    call_code *code;
    struct pace pace;
};

struct function {
    PyObject_HEAD;
    vectorcallfunc vectorcall;
    PyObject *library; /* which owns the plan and the kernels */
    const struct function_library *shared;
    const struct plan *plan;
    size_t index;
    PyObject *names; /* of the parameters: a tuple of interned str */
    PyObject *out_name;
    struct target *targets; /* by binding_index of the plan's variables */
    PyObject *ctypes;       /* what `ctypes` returned; NULL: not asked for yet */
};

/* A Function's vectorcall. */
PyObject *invoke_function(PyObject *function, PyObject *const *values, size_t flagged_count,
                          PyObject *keywords);

#endif
