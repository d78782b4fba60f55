/* vectormath_level.c: loops around libmvec's functions of one CPU level; compiled once for each, with its -march.
 *
 * They go chunk by chunk. The end of a block is filled up with an element that exists, and results are stored when
 * special ones among them have been looked after: out may be the operand's block.
 */
#include "vectormath_level.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "fpstatus.h"

/* The level's letter and numbers of elements in the vector ABI's names. */
#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#define PREFIX_f4 "_ZGVeN16"
#define PREFIX_f8 "_ZGVeN8"
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#define PREFIX_f4 "_ZGVdN8"
#define PREFIX_f8 "_ZGVdN4"
#else
#define VECTOR_BYTES 16
#define PREFIX_f4 "_ZGVbN4"
#define PREFIX_f8 "_ZGVbN2"
#endif

enum { CHUNK = 64 };

/* ---- Chunks ---- */

/* The exponent's and the fraction's bits, turned so that those of zero, subnormal and special values are least. */
static inline uint32_t
rank_f4(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return (bits << 1) + (1u << 24);
}

static inline uint64_t
rank_f8(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return (bits << 1) + (1ul << 53);
}

/* Is it zero, subnormal, infinite or NaN? */
#define IS_SPECIAL_f4(rank) ((rank) < 1u << 25)
#define IS_SPECIAL_f8(rank) ((rank) < 1ul << 54)

#define TYPE(type, T, B)                                                                           \
    typedef T vector_##type __attribute__((vector_size(VECTOR_BYTES)));                            \
    typedef T operand_##type __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T))));       \
    typedef vector_##type unary_##type(vector_##type);                                             \
    typedef vector_##type binary_##type(vector_##type, vector_##type);                             \
    enum { LANES_##type = VECTOR_BYTES / sizeof(T) };                                              \
                                                                                                   \
    union chunk_##type {                                                                           \
        T elements[CHUNK];                                                                         \
        vector_##type vectors[CHUNK / LANES_##type];                                               \
    };                                                                                             \
                                                                                                   \
    static inline vector_##type load_##type(const T *x, long vector)                               \
    {                                                                                              \
        return ((const operand_##type *)x)[vector];                                                \
    }                                                                                              \
                                                                                                   \
    /* The elements, and the last again: what that raises is raised anyway. */                     \
    static const T *fill_up_##type(union chunk_##type *chunk, const T *x, long count)              \
    {                                                                                              \
        for (long i = 0; i < CHUNK; i++) {                                                         \
            chunk->elements[i] = x[i < count ? i : count - 1];                                     \
        }                                                                                          \
        return chunk->elements;                                                                    \
    }                                                                                              \
                                                                                                   \
    static inline bool any_special_##type(const union chunk_##type *chunk)                         \
    {                                                                                              \
        B least = rank_##type(chunk->elements[0]);                                                 \
        for (long i = 0; i < CHUNK; i++) {                                                         \
            const B rank = rank_##type(chunk->elements[i]);                                        \
            least = rank < least ? rank : least;                                                   \
        }                                                                                          \
        return IS_SPECIAL_##type(least);                                                           \
    }                                                                                              \
                                                                                                   \
    static inline void store_##type(T *out, const union chunk_##type *chunk, long count)           \
    {                                                                                              \
        if (count >= CHUNK) {                                                                      \
            memcpy(out, chunk, sizeof(*chunk));                                                    \
        }                                                                                          \
        else {                                                                                     \
            memcpy(out, chunk, (size_t)count * sizeof(T));                                         \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    static void unary_patch_##type(long count, T *results, const T *x, T (*scalar)(T))             \
    {                                                                                              \
        for (long i = 0; i < count && i < CHUNK; i++) {                                            \
            if (IS_SPECIAL_##type(rank_##type(results[i])) && !isnan(x[i])) {                      \
                results[i] = scalar(x[i]);                                                         \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    static void binary_patch_##type(long count, T *results, const T *x, const T *y,                \
                                    T (*scalar)(T, T))                                             \
    {                                                                                              \
        for (long i = 0; i < count && i < CHUNK; i++) {                                            \
            if (IS_SPECIAL_##type(rank_##type(results[i]))) {                                      \
                results[i] = scalar(x[i], y[i]);                                                   \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    static void unary_loop_##type(long count, T *out, const T *x, unary_##type *vector,            \
                                  T (*scalar)(T))                                                  \
    {                                                                                              \
        union chunk_##type x_end, results;                                                         \
        unsigned before = fp_quiet_begin();                                                        \
        for (; count > 0; count -= CHUNK, out += CHUNK, x += CHUNK) {                              \
            x = count < CHUNK ? fill_up_##type(&x_end, x, count) : x;                              \
            for (long i = 0; i < CHUNK / LANES_##type; i++) {                                      \
                results.vectors[i] = vector(load_##type(x, i));                                    \
            }                                                                                      \
            if (any_special_##type(&results)) {                                                    \
                fp_quiet_end(before);                                                              \
                unary_patch_##type(count, results.elements, x, scalar);                            \
                before = fp_quiet_begin();                                                         \
            }                                                                                      \
            store_##type(out, &results, count);                                                    \
        }                                                                                          \
        fp_quiet_end(before);                                                                      \
    }                                                                                              \
                                                                                                   \
    static void binary_loop_##type(long count, T *out, const T *x, const T *y,                     \
                                   binary_##type *vector, T (*scalar)(T, T))                       \
    {                                                                                              \
        union chunk_##type x_end, y_end, results;                                                  \
        unsigned before = fp_quiet_begin();                                                        \
        for (; count > 0; count -= CHUNK, out += CHUNK, x += CHUNK, y += CHUNK) {                  \
            x = count < CHUNK ? fill_up_##type(&x_end, x, count) : x;                              \
            y = count < CHUNK ? fill_up_##type(&y_end, y, count) : y;                              \
            for (long i = 0; i < CHUNK / LANES_##type; i++) {                                      \
                results.vectors[i] = vector(load_##type(x, i), load_##type(y, i));                 \
            }                                                                                      \
            if (any_special_##type(&results)) {                                                    \
                fp_quiet_end(before);                                                              \
                binary_patch_##type(count, results.elements, x, y, scalar);                        \
                before = fp_quiet_begin();                                                         \
            }                                                                                      \
            store_##type(out, &results, count);                                                    \
        }                                                                                          \
        fp_quiet_end(before);                                                                      \
    }
TYPE(f4, float, uint32_t)
TYPE(f8, double, uint64_t)

/* ---- The functions ---- */

#define UNARY_TYPE(type, T, name, scalar)                                                          \
    static void *address_##name##_##type;                                                          \
    static void name##_##type(long count, void *out, const void *x, const void *y)                 \
    {                                                                                              \
        (void)y;                                                                                   \
        unary_loop_##type(count, out, x, (unary_##type *)address_##name##_##type, scalar);         \
    }
#define BINARY_TYPE(type, T, name, scalar)                                                         \
    static void *address_##name##_##type;                                                          \
    static void name##_##type(long count, void *out, const void *x, const void *y)                 \
    {                                                                                              \
        binary_loop_##type(count, out, x, y, (binary_##type *)address_##name##_##type, scalar);    \
    }
#define UNARY(name, function)                                                                      \
    UNARY_TYPE(f4, float, name, function##f)                                                       \
    UNARY_TYPE(f8, double, name, function)
#define BINARY(name, function)                                                                     \
    BINARY_TYPE(f4, float, name, function##f)                                                      \
    BINARY_TYPE(f8, double, name, function)
#include "vectormath.def"
#undef UNARY
#undef BINARY

/* ---- Their table ---- */

#define ENTRY(type, operands, letters, name, symbol)                                               \
    {#name,                                                                                        \
     #type,                                                                                        \
     operands,                                                                                     \
     4,                                                                                            \
     name##_##type,                                                                                \
     PREFIX_##type letters "_" symbol,                                                             \
     &address_##name##_##type},
#define UNARY(name, function)                                                                      \
    ENTRY(f4, 1, "v", name, #function "f")                                                         \
    ENTRY(f8, 1, "v", name, #function)
#define BINARY(name, function)                                                                     \
    ENTRY(f4, 2, "vv", name, #function "f")                                                        \
    ENTRY(f8, 2, "vv", name, #function)
static const struct vector_function functions[] = {
#include "vectormath.def"
};

struct vectormath_level VECTORMATH_TABLE = {LEVEL_NAME, functions,
                                            sizeof(functions) / sizeof(functions[0]), false};
