/* loops.h: the inner loops of a ufunc, compiled: what keeps them, and how they run. */
#ifndef TINYWEAVE_LOOPS_H
#define TINYWEAVE_LOOPS_H

#include "numpy.h"

#include <numpy/ufuncobject.h>

#include "../frontend/core.h"
#include "call.h"

struct kernel;

/* The loop for one set of dtypes. */
struct loop {
    const struct loops *loops;
    struct kernel *kernel;                           /* the Library's */
    bool guarded;                                    /* it needs the GIL, or prints */
    PyArrayMethod_StridedLoop *strided, *contiguous; /* LOOP_ELEMENTS: compiled */
    call_code *entry;                                /* LOOP_CORE: of the function */
};

/* What a ufunc refers to: kept by its `obj`. */
struct loops {
    PyObject *library; /* which owns plan and kernels */
    const struct plan *plan;
    enum loop_kind kind;
    struct loop_operands operands;
    struct core core; /* LOOP_CORE */
    char *name;
    char *doc;
    char *types; /* NumPy's numbers, a row for each loop */
    struct loop *items;
    int count;
    PyUFuncGenericFunction *functions; /* as loops were before NumPy 2 had errors for them */
    void **data;                       /* of these: each its loop */
};

/* Makes the loops for all dtypes of a Library's lists, each compiled or found in a cache. Returns NULL with an
 * exception; the reference to the Library is taken either way. */
struct loops *loops_new(PyObject *library, enum loop_kind kind);
void loops_free(struct loops *loops);

/* What NumPy gets of a loop. */
PyArrayMethod_StridedLoop *loops_strided(const struct loop *loop);
PyArrayMethod_StridedLoop *loops_contiguous(const struct loop *loop); /* NULL: there is none */

#endif
