/* loop.h: C functions as NumPy's inner loops (tw.ufunc, tw.gufunc): which operands they have, and the loops' text. */
#ifndef TINYWEAVE_LOOP_H
#define TINYWEAVE_LOOP_H

#include "../buffer.h"
#include "plan.h"

enum loop_kind {
    LOOP_NONE,
    LOOP_ELEMENTS, /* of a ufunc: a call an element, in loops that are compiled with the function */
    LOOP_CORE, /* of a gufunc: a call for each set of core arrays, through the function's entry */
};

/* NumPy's NPY_MAXARGS. */
enum { LOOP_OPERANDS = 64 };

/* What NumPy sees of a parameter, or of the result. */
struct loop_operand {
    int parameter; /* its index in the plan; -1: the result */
    int type;      /* as in the plan: NumPy's number, or a type variable */
};

/* The inputs in C's order, then the result, then the outs in C's order. */
struct loop_operands {
    struct loop_operand items[LOOP_OPERANDS];
    int in_count;
    int count;
};

/* Fills the operands of a function that Python can call. Returns 0; or -1, and why no such ufunc can be made of it
 * is appended to `reason`. */
int loop_read(const struct plan *plan, enum loop_kind kind, struct loop_operands *operands,
              struct buffer *reason);

/* The indices of a LOOP_ELEMENTS unit's table. Both are NumPy's PyArrayMethod_StridedLoop. */
enum { LOOP_STRIDED, LOOP_CONTIGUOUS };

/* Appends the types that the loops' text is written with; it must stand before the user's macros. */
void loop_types(struct buffer *text);

/* Appends both loops of a function, and the table of them. `callee`: how C text calls the function. */
void loop_text(const struct plan *plan, const struct binding *binding, const char *callee,
               struct buffer *text);

#endif
