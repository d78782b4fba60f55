/* sweep.h: a kernel of an array expression over whole arrays, whatever their strides, on several threads.
 *
 * Operands that are not consecutive, aligned and in native byte order along the innermost axis are gathered a block
 * at a time; so is the result.
 */
#ifndef TINYWEAVE_SWEEP_H
#define TINYWEAVE_SWEEP_H

#include "../../runtime/span.h"
#include "call.h"
#include "numpy.h"

struct sweep_operand {
    char *data;
    const npy_intp *strides; /* in bytes, by axis of the sweep: the innermost first; 0 where it is broadcast */
    int size;                /* of an element */
    int swap;                /* bytes of a number to be reversed; 0: in native order */
    bool aligned;
};

struct sweep {
    call_code *code;
    const struct span_loop *loops;
    int block;            /* elements the code works on at once */
    size_t scratch;       /* bytes it needs */
    int step_count;
    unsigned cost;        /* of an element, in tenths of a nanosecond, roughly */
    bool python;          /* the loops need the GIL, or may set an exception */
    bool careful;         /* the result lies upon an operand */
    int array_count;
    int slot_count;       /* arrays and scalars */
    struct sweep_operand *arrays; /* array_count, then the result */
    char *const *scalars; /* the others' values */
    int dimensions;       /* at least 1 */
    npy_intp *extents;    /* the innermost first */
    unsigned char *flags; /* by step: NPY_FPE_ bits are added */
};

/* Runs it. Called with the GIL, which is released where the work is long. The flags of this thread are as before a
 * ufunc of NumPy's afterwards: unspecified. Returns 0, or -1 with an exception: no memory, or a loop's own. */
int sweep_run(struct sweep *sweep);

#endif
