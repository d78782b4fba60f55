/* blocks.h: primitives on blocks: what the C text of an array expression calls.
 *
 * A primitive works on `count` consecutive, aligned elements. `out` may be the same block as an operand of elements
 * of the same size, but may not overlap one otherwise. Its name tells its operands: v a block, s one value behind the
 * pointer:
 *
 *     void tw_subtract_f8_sv(long count, double *out, const double *x, const double *y);    out[i] = *x - y[i]
 *     void tw_multiply_add_f8_vsv(long count, double *out, x, y, z);                        out[i] = x[i] * *y + z[i]
 *     void tw_scale_multiply_add_f8_vsvv(long count, double *out, x, s, y, z);   out[i] = (x[i] * *s) * y[i] + z[i]
 *     void tw_cast_i4_f8_v(long count, double *out, const int *x);                          out[i] = x[i]
 *
 * Comparisons and logic give b1, one byte that is 0 or 1, and take any byte but 0 as true. Operations whose operands
 * may change places have the forms vv and vs only; minimum and maximum of floats do not: of equal or NaN operands the
 * place decides. Those that move elements tell the size in bytes:
 *
 *     void tw_select_8_vs(long count, out, const unsigned char *condition, x, y);  out[i] = condition[i] ? x[i] : *y
 *     void tw_fill_8(long count, out, value);                                      out[i] = *value
 *     void tw_gather_8(long count, out, const char *in, long stride);     a strided array that may be misaligned
 *     void tw_scatter_8(long count, char *out, long stride, in);
 *     void tw_swap_8(long count, out, x);      the bytes of each element turned round, out may be x
 *     void tw_swap_8x2(long count, out, x);    of each half of an element
 *
 * Each gives NumPy's bits (NaN payloads aside), and raises the floating-point flags NumPy's loop raises, no others.
 * There is a version for each CPU level; which one is bound is decided once, at import.
 */
#ifndef TINYWEAVE_BLOCKS_H
#define TINYWEAVE_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>

/* Types, as they stand in names: b1 (bool), i4, i8, f4, f8. The table is blocks.def. */

struct block_primitive {
    const char *name; /* "tw_add_f8_vv" */
    const void *address;
};

/* Finds the processor's level, once; the environment's TINYWEAVE_CPU_LEVEL may name a lower one. */
void blocks_init(void);

/* The level in use: "x86-64-v2", "x86-64-v3", "x86-64-v4" or "generic" (on x86-64 that
 * is a processor below v2, which has no primitives). */
const char *blocks_level(void);

/* The primitive of that name at the level in use, or NULL. */
const void *blocks_find(const char *name);

/* The table of one level, for tests; NULL when there is none or the processor lacks it. */
const struct block_primitive *blocks_table(const char *level, size_t *count);

#endif
