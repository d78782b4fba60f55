/* evaluation.h: the values of a formula's nodes, computed in the order they are needed. */
#ifndef TINYWEAVE_EVALUATION_H
#define TINYWEAVE_EVALUATION_H

#include "../frontend/formula.h"
#include "numpy.h"
#include "region.h"

/* So many nodes have their values on the stack. */
enum { EVALUATION_SMALL = 64 };

struct evaluation {
    struct state *state;
    const struct formula *formula;
    struct partition *partition; /* a reference */
    struct partition
        *apart;        /* borrowed: with the root cut, to turn to for an `out` of other elements */
    bool is_apart;     /* it was turned to */
    PyObject **values; /* by node, owned */
    PyObject *const *names; /* by name, operands */
    const char *function;
    bool fast; /* math="fast" */
    PyObject *small[EVALUATION_SMALL];
};

/* Starts with the partition given, of which it takes a reference. Returns 0, or -1 with an exception;
 * evaluation_finish is owed either way. */
int evaluation_start(struct evaluation *evaluation, struct state *state,
                     const struct formula *formula, struct partition *partition,
                     PyObject *const *names, const char *function);
void evaluation_finish(struct evaluation *evaluation);

/* Computes a node and all it needs, of a condition with a scalar the chosen branch only; values[node] then has it.
 * The result of a region at the node goes to `out` where that is given and fits (region.h). A node that blocks refuse
 * is cut out of its region: evaluation->partition is then a new one. Returns 0, or -1 with an exception. */
int evaluation_compute(struct evaluation *evaluation, int node, PyArrayObject *out);

#endif
