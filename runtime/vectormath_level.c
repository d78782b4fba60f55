/* vectormath_level.c: loops around libmvec's functions of one CPU level; compiled once for each, with its -march.
 *
 * They work on copies of a few elements at a time: so the end of a block can be filled up with an element that
 * exists, and a special result still finds its operand when out is the operand's block.
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

/* ---- What special results need ---- */

/* Is it zero, subnormal, infinite or NaN: is the exponent of no bits, or of all? */
static inline bool
special_f4(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return (((bits >> 23) + 1) & 0xFE) == 0;
}

static inline bool
special_f8(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return (((bits >> 52) + 1) & 0x7FE) == 0;
}

#define TYPE(type, T)                                                                              \
    typedef T vector_##type __attribute__((vector_size(VECTOR_BYTES)));                            \
    typedef vector_##type vector_unary_##type(vector_##type);                                      \
    typedef vector_##type vector_binary_##type(vector_##type, vector_##type);                      \
    typedef T scalar_unary_##type(T);                                                              \
    typedef T scalar_binary_##type(T, T);                                                          \
                                                                                                   \
    union chunk_##type {                                                                           \
        T elements[CHUNK];                                                                         \
        vector_##type vectors[CHUNK * sizeof(T) / VECTOR_BYTES];                                   \
    };                                                                                             \
                                                                                                   \
    static long vector_count_##type(long count)                                                    \
    {                                                                                              \
        const long lanes = VECTOR_BYTES / (long)sizeof(T);                                         \
        return (count + lanes - 1) / lanes;                                                        \
    }                                                                                              \
                                                                                                   \
    /* The last vector is filled up with the last element: what that raises is raised anyway. */   \
    static void take_##type(union chunk_##type *chunk, const T *x, long count)                     \
    {                                                                                              \
        memcpy(chunk->elements, x, (size_t)count * sizeof(T));                                     \
        for (long i = count; i % (VECTOR_BYTES / (long)sizeof(T)) != 0; i++) {                     \
            chunk->elements[i] = x[count - 1];                                                     \
        }                                                                                          \
    }                                                                                              \
                                                                                                   \
    static bool any_special_##type(const union chunk_##type *chunk, long count)                    \
    {                                                                                              \
        unsigned found = 0;                                                                        \
        for (long i = 0; i < count; i++) {                                                         \
            found |= special_##type(chunk->elements[i]);                                           \
        }                                                                                          \
        return found != 0;                                                                         \
    }                                                                                              \
                                                                                                   \
    static void unary_chunk_##type(long count, T *out, const T *x, vector_unary_##type *vector,    \
                                   scalar_unary_##type *scalar)                                    \
    {                                                                                              \
        union chunk_##type xs, results;                                                            \
        take_##type(&xs, x, count);                                                                \
        const unsigned before = fp_quiet_begin();                                                  \
        for (long i = 0; i < vector_count_##type(count); i++) {                                    \
            results.vectors[i] = vector(xs.vectors[i]);                                            \
        }                                                                                          \
        fp_quiet_end(before);                                                                      \
        const long special_count = any_special_##type(&results, count) ? count : 0;                \
        for (long i = 0; i < special_count; i++) {                                                 \
            if (special_##type(results.elements[i]) && !isnan(xs.elements[i])) {                   \
                results.elements[i] = scalar(xs.elements[i]);                                      \
            }                                                                                      \
        }                                                                                          \
        memcpy(out, results.elements, (size_t)count * sizeof(T));                                  \
    }                                                                                              \
                                                                                                   \
    static void binary_chunk_##type(long count, T *out, const T *x, const T *y,                    \
                                    vector_binary_##type *vector, scalar_binary_##type *scalar)    \
    {                                                                                              \
        union chunk_##type xs, ys, results;                                                        \
        take_##type(&xs, x, count);                                                                \
        take_##type(&ys, y, count);                                                                \
        const unsigned before = fp_quiet_begin();                                                  \
        for (long i = 0; i < vector_count_##type(count); i++) {                                    \
            results.vectors[i] = vector(xs.vectors[i], ys.vectors[i]);                             \
        }                                                                                          \
        fp_quiet_end(before);                                                                      \
        const long special_count = any_special_##type(&results, count) ? count : 0;                \
        for (long i = 0; i < special_count; i++) {                                                 \
            if (special_##type(results.elements[i])) {                                             \
                results.elements[i] = scalar(xs.elements[i], ys.elements[i]);                      \
            }                                                                                      \
        }                                                                                          \
        memcpy(out, results.elements, (size_t)count * sizeof(T));                                  \
    }
TYPE(f4, float)
TYPE(f8, double)

/* ---- The functions ---- */

static long
chunk_length(long left)
{
    return left < CHUNK ? left : CHUNK;
}

#define UNARY_TYPE(type, T, name, scalar)                                                          \
    static void *address_##name##_##type;                                                          \
    static void name##_##type(long count, void *out, const void *x, const void *y)                 \
    {                                                                                              \
        (void)y;                                                                                   \
        for (long i = 0; i < count; i += CHUNK) {                                                  \
            unary_chunk_##type(chunk_length(count - i), (T *)out + i, (const T *)x + i,            \
                               (vector_unary_##type *)address_##name##_##type, scalar);            \
        }                                                                                          \
    }
#define BINARY_TYPE(type, T, name, scalar)                                                         \
    static void *address_##name##_##type;                                                          \
    static void name##_##type(long count, void *out, const void *x, const void *y)                 \
    {                                                                                              \
        for (long i = 0; i < count; i += CHUNK) {                                                  \
            binary_chunk_##type(chunk_length(count - i), (T *)out + i, (const T *)x + i,           \
                                (const T *)y + i, (vector_binary_##type *)address_##name##_##type, \
                                scalar);                                                           \
        }                                                                                          \
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
