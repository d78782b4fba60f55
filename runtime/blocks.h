/* blocks.h: primitives on blocks: what the C text of an array expression calls.
 *
 * A primitive works on `count` consecutive, aligned elements. `out` may be the same block as an operand, but may not
 * overlap one otherwise. Its name tells its operands: v a block, s one value behind the pointer:
 *
 *     void tw_subtract_f8_sv(long count, double *out, const double *x, const double *y);    out[i] = *x - y[i]
 *
 * Each gives NumPy's bits (NaN payloads aside), and raises the floating-point flags NumPy's loop raises, no others.
 * There is a version for each CPU level; which one is bound is decided once, at import.
 */
#ifndef TINYWEAVE_BLOCKS_H
#define TINYWEAVE_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>

/* Types, as they stand in names: b1 (bool), i4, i8, f4, f8. */

struct block_primitive {
    const char *name; /* "tw_add_f8_vv" */
    const void *address;
};

/* Finds the processor's level, once. */
void blocks_init(void);

/* The level in use: "x86-64-v2", "x86-64-v3", "x86-64-v4" or "generic". */
const char *blocks_level(void);

/* The primitive of that name at the level in use, or NULL. */
const void *blocks_find(const char *name);

/* The table of one level, for tests; NULL when there is none or the processor lacks it. */
const struct block_primitive *blocks_table(const char *level, size_t *count);

#endif
