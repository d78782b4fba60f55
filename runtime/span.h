/* span.h: what the C text of an array expression sees: a run of consecutive elements, and NumPy's loops.
 *
 * Floating-point flags are looked at once a span. One that raised some is computed once more, with a look behind every
 * step (`careful`), so that each flag is told by the ufunc that raised it. Where the result lies upon an operand no
 * span can be computed twice, and it is careful at once.
 */
#ifndef TINYWEAVE_SPAN_H
#define TINYWEAVE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SPAN_OPERANDS = 4 }; /* the most inputs of a loop */

/* An inner loop on blocks: a ufunc's of NumPy's, a cast of NumPy's, or a vector function of the C library's. */
struct span_loop {
    int (*ufunc)(void *context, char *const *data, const intptr_t *count, const intptr_t *strides,
                 void *auxdata);
    void (*cast)(void *from, void *to, intptr_t count, void *from_array, void *to_array);
    void (*vector)(long count, void *out, const void *x, const void *y); /* of math="fast" */
    void *context, *auxdata;
    int inputs;
    intptr_t strides[SPAN_OPERANDS + 1];
};

struct span {
    char **data;   /* of each operand the first element or the value; the result last */
    char *scratch; /* blocks for what lies between */
    long count;
    long careful;
    long stream; /* the result goes past the caches */
    const struct span_loop *loops;
    unsigned char *flags; /* of each step, NumPy's NPY_FPE_ bits */
    unsigned seen; /* flags raised while not careful, before a loop of NumPy's that clears them */
};

/* Calls loop `index`; `x` to `w` as many as it has inputs. */
void span_loop(struct span *span, long index, long count, void *out, const void *x, const void *y,
               const void *z, const void *w);
/* Copies a block to the result without the caches keeping it: lines that nobody reads soon need not be fetched before
 * they are written. */
void span_stream(long bytes, void *out, const void *block);
/* Puts the flags raised since the last look down to step `step`. */
void span_check(struct span *span, long step);

#endif
