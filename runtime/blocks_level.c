/* blocks_level.c: the block primitives of one CPU level; compiled once for each, with its -march.
 *
 * Plain loops which the compiler makes vector code of: `ivdep` tells it that out, where it is an operand's block too,
 * is exactly that block. No product is fused with a sum (-ffp-contract=off).
 */
#include "blocks_level.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "fpstatus.h"

/* Sixteen bytes, aligned as a complex number is. */
typedef uint64_t pair __attribute__((vector_size(16), aligned(8)));

/* ---- The functions ---- */

#define LOOP _Pragma("GCC ivdep") for (long i = 0; i < count; i++)

#define V(operation, type, X, R, value)                                                            \
    static void operation##_##type##_v(long count, R *out, const X *xs)                            \
    {                                                                                              \
        LOOP                                                                                       \
        {                                                                                          \
            const X x = xs[i];                                                                     \
            out[i] = (R)(value);                                                                   \
        }                                                                                          \
    }

#define VV(operation, type, X, R, value)                                                           \
    static void operation##_##type##_vv(long count, R *out, const X *xs, const X *ys)              \
    {                                                                                              \
        LOOP                                                                                       \
        {                                                                                          \
            const X x = xs[i], y = ys[i];                                                          \
            out[i] = (R)(value);                                                                   \
        }                                                                                          \
    }

#define VS(operation, type, X, R, value)                                                           \
    static void operation##_##type##_vs(long count, R *out, const X *xs, const X *ys)              \
    {                                                                                              \
        const X y = *ys;                                                                           \
        LOOP                                                                                       \
        {                                                                                          \
            const X x = xs[i];                                                                     \
            out[i] = (R)(value);                                                                   \
        }                                                                                          \
    }

/* By a power of two as by its reciprocal, which is exact: the same bits and flags, several times faster. */
#define DIVIDE_VS(operation, type, X, R, value)                                                    \
    static void operation##_##type##_vs(long count, R *out, const X *xs, const X *ys)              \
    {                                                                                              \
        const X y = *ys;                                                                           \
        int exponent;                                                                              \
        const double fraction = frexp((double)y, &exponent);                                       \
        if ((fraction == .5 || fraction == -.5) && exponent > -100 && exponent < 100) {            \
            const X factor = 1 / y;                                                                \
            LOOP                                                                                   \
            {                                                                                      \
                out[i] = xs[i] * factor;                                                           \
            }                                                                                      \
            return;                                                                                \
        }                                                                                          \
        LOOP                                                                                       \
        {                                                                                          \
            const X x = xs[i];                                                                     \
            out[i] = (R)(value);                                                                   \
        }                                                                                          \
    }

#define SV(operation, type, X, R, value)                                                           \
    static void operation##_##type##_sv(long count, R *out, const X *xs, const X *ys)              \
    {                                                                                              \
        const X x = *xs;                                                                           \
        LOOP                                                                                       \
        {                                                                                          \
            const X y = ys[i];                                                                     \
            out[i] = (R)(value);                                                                   \
        }                                                                                          \
    }

/* An ordered comparison of a NaN is invalid to the processor, and not to NumPy. */
#define QUIET(form, operation, type, X, R)                                                         \
    static void operation##_##type##_##form(long count, R *out, const X *xs, const X *ys)          \
    {                                                                                              \
        const unsigned before = fp_quiet_begin();                                                  \
        loud_##operation##_##type##_##form(count, out, xs, ys);                                    \
        fp_quiet_end(before);                                                                      \
    }
#define QUIET_VV(operation, type, X, R, value)                                                     \
    VV(loud_##operation, type, X, R, value)                                                        \
    QUIET(vv, operation, type, X, R)
#define QUIET_VS(operation, type, X, R, value)                                                     \
    VS(loud_##operation, type, X, R, value)                                                        \
    QUIET(vs, operation, type, X, R)
#define QUIET_SV(operation, type, X, R, value)                                                     \
    SV(loud_##operation, type, X, R, value)                                                        \
    QUIET(sv, operation, type, X, R)

#define VVV(operation, type, X, value)                                                             \
    static void operation##_##type##_vvv(long count, X *out, const X *xs, const X *ys,             \
                                         const X *zs)                                              \
    {                                                                                              \
        LOOP                                                                                       \
        {                                                                                          \
            const X x = xs[i], y = ys[i], z = zs[i];                                               \
            out[i] = value;                                                                        \
        }                                                                                          \
    }

#define VSV(operation, type, X, value)                                                             \
    static void operation##_##type##_vsv(long count, X *out, const X *xs, const X *ys,             \
                                         const X *zs)                                              \
    {                                                                                              \
        const X y = *ys;                                                                           \
        LOOP                                                                                       \
        {                                                                                          \
            const X x = xs[i], z = zs[i];                                                          \
            out[i] = value;                                                                        \
        }                                                                                          \
    }

#define VVS(operation, type, X, value)                                                             \
    static void operation##_##type##_vvs(long count, X *out, const X *xs, const X *ys,             \
                                         const X *zs)                                              \
    {                                                                                              \
        const X z = *zs;                                                                           \
        LOOP                                                                                       \
        {                                                                                          \
            const X x = xs[i], y = ys[i];                                                          \
            out[i] = value;                                                                        \
        }                                                                                          \
    }

#define VSS(operation, type, X, value)                                                             \
    static void operation##_##type##_vss(long count, X *out, const X *xs, const X *ys,             \
                                         const X *zs)                                              \
    {                                                                                              \
        const X y = *ys, z = *zs;                                                                  \
        LOOP                                                                                       \
        {                                                                                          \
            const X x = xs[i];                                                                     \
            out[i] = value;                                                                        \
        }                                                                                          \
    }

#define VSVV(operation, type, X, value)                                                            \
    static void operation##_##type##_vsvv(long count, X *out, const X *xs, const X *ss,            \
                                          const X *ys, const X *zs)                                \
    {                                                                                              \
        const X s = *ss;                                                                           \
        LOOP                                                                                       \
        {                                                                                          \
            const X x = xs[i], y = ys[i], z = zs[i];                                               \
            out[i] = value;                                                                        \
        }                                                                                          \
    }

/* Both operands are read before one is chosen, so that it is no branch. */
#define CHOOSE(X, x, y)                                                                            \
    LOOP                                                                                           \
    {                                                                                              \
        const X chosen = x, other = y;                                                             \
        const X mask = (X){0} - (condition[i] != 0);                                               \
        out[i] = (chosen & mask) | (other & ~mask);                                                \
    }
#define SELECT_FORM(size, form, X)                                                                 \
    static void select_##size##_##form(long count, X *out, const uint8_t *condition, const X *xs,  \
                                       const X *ys)
#define SELECT(size, X)                                                                            \
    SELECT_FORM(size, vv, X){CHOOSE(X, xs[i], ys[i])} SELECT_FORM(size, vs, X)                     \
    {                                                                                              \
        const X y = *ys;                                                                           \
        CHOOSE(X, xs[i], y)                                                                        \
    }                                                                                              \
    SELECT_FORM(size, sv, X)                                                                       \
    {                                                                                              \
        const X x = *xs;                                                                           \
        CHOOSE(X, x, ys[i])                                                                        \
    }                                                                                              \
    SELECT_FORM(size, ss, X)                                                                       \
    {                                                                                              \
        const X x = *xs, y = *ys;                                                                  \
        CHOOSE(X, x, y)                                                                            \
    }

/* The value may be unaligned. */
#define FILL(size, X)                                                                              \
    static void fill_##size(long count, X *out, const char *value)                                 \
    {                                                                                              \
        X x;                                                                                       \
        memcpy(&x, value, sizeof(X));                                                              \
        LOOP                                                                                       \
        {                                                                                          \
            out[i] = x;                                                                            \
        }                                                                                          \
    }

/* The strided side may be unaligned; its stride is in bytes. Every second element comes by shuffles; else the
 * processors' own gather instructions are slower than one load after another. */
#define GATHER(size, X)                                                                            \
    __attribute__((optimize("no-tree-vectorize"))) static void gather_apart_##size(                \
        long count, X *out, const char *in, long stride)                                           \
    {                                                                                              \
        LOOP                                                                                       \
        {                                                                                          \
            memcpy(&out[i], in + i * stride, sizeof(X));                                           \
        }                                                                                          \
    }                                                                                              \
    static void gather_##size(long count, X *out, const char *in, long stride)                     \
    {                                                                                              \
        if (stride != 2 * (long)sizeof(X)) {                                                       \
            gather_apart_##size(count, out, in, stride);                                           \
            return;                                                                                \
        }                                                                                          \
        LOOP                                                                                       \
        {                                                                                          \
            memcpy(&out[i], in + i * 2 * (long)sizeof(X), sizeof(X));                              \
        }                                                                                          \
    }

#define SCATTER(size, X)                                                                           \
    __attribute__((optimize("no-tree-vectorize"))) static void scatter_##size(                     \
        long count, char *out, long stride, const X *in)                                           \
    {                                                                                              \
        LOOP                                                                                       \
        {                                                                                          \
            memcpy(out + i * stride, &in[i], sizeof(X));                                           \
        }                                                                                          \
    }

/* NumPy's sum of consecutive floats (numpy/_core/src/umath/loops_utils.h.src): eight sums side by side, of at most
 * 128 elements, which are the leaves of a tree; less than eight elements one after another. */
#define PAIRWISE(type, T)                                                                          \
    typedef T eight_##type __attribute__((vector_size(8 * sizeof(T)), aligned(sizeof(T))));        \
    static T pairwise_sum_##type(long count, const T *x)                                           \
    {                                                                                              \
        if (count > 128) {                                                                         \
            const long half = count / 2 - count / 2 % 8;                                           \
            const T left = pairwise_sum_##type(half, x);                                           \
            return left + pairwise_sum_##type(count - half, x + half);                             \
        }                                                                                          \
        T sum = (T) - 0.0;                                                                         \
        long i = 0;                                                                                \
        if (count >= 8) {                                                                          \
            eight_##type r;                                                                        \
            memcpy(&r, x, sizeof(r));                                                              \
            for (i = 8; i < count - count % 8; i += 8) {                                           \
                eight_##type next;                                                                 \
                memcpy(&next, x + i, sizeof(next));                                                \
                r += next;                                                                         \
            }                                                                                      \
            sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));               \
        }                                                                                          \
        for (; i < count; i++) {                                                                   \
            sum += x[i];                                                                           \
        }                                                                                          \
        return sum;                                                                                \
    }                                                                                              \
    static void pairwise_##type(long count, T *out, const T *x)                                    \
    {                                                                                              \
        *out = pairwise_sum_##type(count, x);                                                      \
    }

#define SWAP(size, X, value, parts)                                                                \
    static void swap_##size(long count, X *out, const X *xs)                                       \
    {                                                                                              \
        count *= parts;                                                                            \
        LOOP                                                                                       \
        {                                                                                          \
            const X x = xs[i];                                                                     \
            out[i] = value;                                                                        \
        }                                                                                          \
    }

#include "blocks.def"

#undef V
#undef VV
#undef VS
#undef SV
#undef QUIET
#undef DIVIDE_VS
#undef QUIET_VV
#undef QUIET_VS
#undef QUIET_SV
#undef VVV
#undef VSV
#undef VVS
#undef VSS
#undef VSVV
#undef SELECT
#undef FILL
#undef GATHER
#undef SCATTER
#undef SWAP
#undef PAIRWISE

/* ---- Their names ---- */

#define ENTRY(function) {"tw_" #function, (const void *)function},
#define V(operation, type, ...) ENTRY(operation##_##type##_v)
#define VV(operation, type, ...) ENTRY(operation##_##type##_vv)
#define VS(operation, type, ...) ENTRY(operation##_##type##_vs)
#define SV(operation, type, ...) ENTRY(operation##_##type##_sv)
#define QUIET_VV VV
#define QUIET_VS VS
#define DIVIDE_VS VS
#define QUIET_SV SV
#define VVV(operation, type, ...) ENTRY(operation##_##type##_vvv)
#define VSV(operation, type, ...) ENTRY(operation##_##type##_vsv)
#define VVS(operation, type, ...) ENTRY(operation##_##type##_vvs)
#define VSS(operation, type, ...) ENTRY(operation##_##type##_vss)
#define VSVV(operation, type, ...) ENTRY(operation##_##type##_vsvv)
#define SELECT(size, X)                                                                            \
    ENTRY(select_##size##_vv)                                                                      \
    ENTRY(select_##size##_vs)                                                                      \
    ENTRY(select_##size##_sv)                                                                      \
    ENTRY(select_##size##_ss)
#define FILL(size, X) ENTRY(fill_##size)
#define GATHER(size, X) ENTRY(gather_##size)
#define SCATTER(size, X) ENTRY(scatter_##size)
#define SWAP(size, ...) ENTRY(swap_##size)
#define PAIRWISE(type, T) ENTRY(pairwise_##type)

static struct block_primitive primitives[] = {
#include "blocks.def"
};

struct block_level TABLE = {LEVEL_NAME, primitives, sizeof(primitives) / sizeof(primitives[0])};
