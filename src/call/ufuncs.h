/* ufuncs.h: NumPy's functions that expressions are made of, looked up once. */
#ifndef TINYWEAVE_UFUNCS_H
#define TINYWEAVE_UFUNCS_H

#include "../frontend/formula.h"
#include "../state.h"

/* Behind the operators' ufuncs, by enum formula_operator. */
#define UFUNCS(UFUNC)                                                                              \
    UFUNC(SQUARE, "square")                                                                        \
    UFUNC(RECIPROCAL, "reciprocal")                                                                \
    UFUNC(SQRT, "sqrt")                                                                            \
    UFUNC(MINIMUM, "minimum")                                                                      \
    UFUNC(MAXIMUM, "maximum")                                                                      \
    UFUNC(LOGICAL_AND, "logical_and")                                                              \
    UFUNC(LOGICAL_OR, "logical_or")                                                                \
    UFUNC(RESULT_TYPE, "result_type")                                                              \
    UFUNC(GETERR, "geterr")                                                                        \
    UFUNC(COPYTO, "copyto")

enum ufunc_index {
    UFUNC_OPERATORS = FORMULA_OPERATOR_COUNT - 1,
#define UFUNC(name, function) UFUNC_##name,
    UFUNCS(UFUNC)
#undef UFUNC
        UFUNC_CLIP, /* the ufunc behind numpy.clip; None where this NumPy shows none */
    UFUNC_ERRSTATE, /* the context variable behind numpy.errstate; or None */
    UFUNC_COUNT
};

/* NumPy's function of that index; borrowed. NULL with an exception. */
PyObject *ufunc_get(struct state *state, int index);

#endif
