/* core.h: the core dimensions of a gufunc, by a plan: "(m,n),(n)->(m)". */
#ifndef TINYWEAVE_CORE_H
#define TINYWEAVE_CORE_H

#include "loop.h"

/* One dimension of the signature. */
struct core_dimension {
    char *
        name; /* as in the signature: "n", "3"; made up for expressions, and where NumPy could not read it */
    int parameter;               /* the parameter that gets its size; -1: none */
    const struct extent *extent; /* of an out, told by the sizes of other dimensions; NULL */
};

struct core {
    struct core_dimension *dimensions; /* in the order in which the signature first names them */
    int count;
    int *axes;                    /* of all operands: the indices of their dimensions, end to end */
    int first[LOOP_OPERANDS + 1]; /* where an operand's axes start */
    struct buffer signature;
    bool computed; /* an out has a dimension that is an expression */
};

/* Fills the core dimensions of operands that loop_read gave. They refer to the plan. Returns 0; or -1, and the reason
 * is appended (nothing: no memory). core_free is owed either way. */
int core_read(const struct plan *plan, const struct loop_operands *operands, struct core *core,
              struct buffer *reason);
void core_free(struct core *core);

#endif
